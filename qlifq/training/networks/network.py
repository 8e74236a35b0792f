"""Spiking networks, built from a design."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from qlifq.backends import Backend, Plan
from qlifq.errors import ShapeError
from qlifq.neurons import QLIF, BrandPetruccione, SeedStream, SpikingSequential
from qlifq.random import BatchShard
from qlifq.training.networks.design import Design
from qlifq.training.networks.layers import Answer, MeanReadout, PopulationReadout
from qlifq.training.networks.neurons import NEURONS, SHORT_TAU, Shape, make_neurons, parameters_for

__all__ = ["Network", "NetworkRun", "build", "matched"]

#: Held by the one thread of this process that has seeded torch's global generator.
_GLOBAL_GENERATOR = threading.RLock()


class NetworkRun(NamedTuple):
    """What happened in a network.

    Args:
        answer: what it says.
        spikes: those of each hidden layer, `(time, batch, ...)`.
    """

    answer: Answer
    spikes: tuple[Tensor, ...]


@final
class Network(nn.Module):
    """Layers of spiking neurons, one after the other, and a readout.

    Args:
        layers: each with its "weights" and its "neurons", from a signal `(time, batch, ...)` to spikes `(time, batch, ...)`.
        readout: from spikes to an answer.
    """

    def __init__(self, layers: list[SpikingSequential], readout: nn.Module) -> None:
        super().__init__()
        self.layers, self.readout = nn.ModuleList(layers), readout

    def forward(self, signal: Tensor) -> Answer:
        """A signal `(time, batch, pixels)` to an answer."""
        return self.run(signal).answer

    def run(self, signal: Tensor) -> NetworkRun:
        """As `forward`, and the spikes of every hidden layer."""
        spikes = []
        for layer in self.layers:
            signal, _ = layer(signal)
            spikes.append(signal)
        return NetworkRun(self.readout(signal), tuple(spikes))

    def neurons(self) -> Iterator[QLIF | BrandPetruccione]:
        """The layers of neurons, from the input on."""
        yield from (module for module in self.modules() if isinstance(module, QLIF | BrandPetruccione))

    def reseed(self, seed: int, shard: BatchShard) -> None:
        """Give every layer of neurons fresh noise for one batch, which depends on the seed and the share alone."""
        seeds = SeedStream(seed)
        for layer in self.neurons():
            layer.seeds = SeedStream(seeds.next_seed(), shard)

    def plans(self, batch: int) -> list[Plan]:
        """What one step of a batch costs on each layer of neurons; spends nothing."""
        return [layer.plan(batch) for layer in self.neurons()]

    def parameter_count(self) -> int:
        """How many numbers the network is made of, trained or not."""
        return sum(parameter.numel() for parameter in self.parameters())


def build(
    design: Design,
    *,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    seed: int | None = None,
) -> Network:
    """Build a network.

    Args:
        design: what it consists of.
        backend: where the spike decisions of all its neurons run, or one for each layer of neurons, from the input on.
        shots: shots per decision, as for `qlifq.QLIF`.
        seed: of the initial weights; None takes torch's global generator as it is.

    Raises:
        QLIFError: if the design and the backend do not go together.

    Example:
        >>> design = Design(network="mlp", picture=(8, 8), classes=10, hidden=(32,), steps=5)
        >>> network = build(design, seed=0)
        >>> network(torch.rand(5, 2, 64)).scores.shape, network.parameter_count()
        (torch.Size([2, 10]), 2410)
    """
    # torch's initialisers draw from the global generator; it is put back, so that building a network changes no other draw.
    # One thread at a time, or two would draw from each other's.
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return _Builder(design, backend, shots).network()


def matched(design: Design, neuron: str) -> Design:
    """The design with another neuron, its last hidden layer so wide that the number of parameters is the nearest.

    Where the neurons have as many weights per connection, the width stays. A paper's network becomes the one of its kind
    that is read out by a linear map.
    """
    other = replace(
        design,
        neuron=neuron,
        network=design.kind.matched or design.network,
        spike_loss=0.0,
        pooling="spikes",
        bias=0.0 if NEURONS[design.neuron].rotated else design.bias,
        scale=1.0 if NEURONS[design.neuron].rotated else design.scale,
        parameters=parameters_for(neuron, SHORT_TAU if NEURONS[design.neuron].rotated else design.parameters),
    )
    if NEURONS[design.neuron].rotated == NEURONS[neuron].rotated:
        return other
    target = build(design, seed=0).parameter_count()
    # The number of parameters is a straight line in the width of the last hidden layer.
    sizes = [replace(other, hidden=(*other.hidden[:-1], width)) for width in (1, 2)]
    one, two = (build(size, seed=0).parameter_count() for size in sizes)
    # The width w with N(1) + (w − 1)(N(2) − N(1)) nearest to the target number of parameters.
    width = max(1, round(1 + (target - one) / (two - one)))
    return replace(other, hidden=(*other.hidden[:-1], width))


class _Builder:
    """Puts a network together."""

    def __init__(self, design: Design, backend: str | Backend | Sequence[Backend], shots: int | None) -> None:
        self.design, self.shots = design, shots
        self.pixels, self.picture, self.sizes = design.pixels, design.picture, design.hidden
        self.averages_currents = design.pooling == "currents"
        each = [backend] * design.neuron_layers if isinstance(backend, str) or not isinstance(backend, Sequence) else backend
        if len(each) != design.neuron_layers:
            raise ShapeError(
                f"Argument `backend` must be one backend or {design.neuron_layers}, one for each layer of neurons, but holds "
                f"{len(each)}."
            )
        #: The shape of the last hidden layer that is built.
        self._last_shape: Shape = 0
        #: Those of the layers that are not built yet: they are built from the input on.
        self.backends = iter(each)

    def network(self) -> Network:
        design = self.design
        body = design.kind.body(self)
        outputs = design.task.outputs(design)

        def last(size: int) -> nn.Module:
            return nn.Sequential(*body.ending, nn.Linear(body.width, size))

        readout: nn.Module
        if design.kind.neuron_readout:
            readout = PopulationReadout(self._layer(last, outputs, outputs), ties=not NEURONS[design.neuron].untrained)
        else:
            readout = MeanReadout(self._last_shape, last(outputs))
        network = Network(body.layers, readout)
        if NEURONS[design.neuron].untrained:
            # Their gradient is zero by construction, so none is computed.
            network.layers.requires_grad_(False)
        return network

    def hidden(self, weights: Callable[[int], nn.Module], size: int, neurons: Shape) -> SpikingSequential:
        """A hidden layer, with its first weights scaled and its first biases shifted."""
        layer = self._layer(weights, size, neurons)
        self._last_shape = neurons
        weighing = next(module for module in layer.modules() if isinstance(module, nn.Linear | nn.Conv2d))
        with torch.no_grad():
            # Of two weights per connection those of the rotation come first.
            weighing.weight[:size] *= self.design.scale
            cast(Tensor, weighing.bias)[:size] += self.design.bias
        return layer

    def _layer(self, weights: Callable[[int], nn.Module], size: int, neurons: Shape) -> SpikingSequential:
        """A layer from what makes its weights for this many outputs, or for twice as many where a connection has two."""
        design = self.design
        made = make_neurons(design.neuron, neurons, design.parameters, backend=next(self.backends), shots=self.shots, seed=0)
        if not isinstance(made, BrandPetruccione):
            return SpikingSequential({"weights": weights(size), "neurons": made})
        if isinstance(neurons, int):
            return SpikingSequential({"weights": weights(2 * size), "neurons": made})
        # These neurons stand in a row, W_q before W_t, whatever shape their maps have.
        row, maps = nn.Flatten(), nn.Unflatten(1, neurons)
        return SpikingSequential({"weights": weights(2 * size), "row": row, "neurons": made, "maps": maps})
