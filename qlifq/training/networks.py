"""Spiking networks, built from a design that a file can keep."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.backends import Backend, Plan
from qlifq.backends.sampling import Share
from qlifq.errors import ArgumentError, ShapeError, UnsupportedError
from qlifq.neurons import QLIF, BrandPetruccione, SeedStream
from qlifq.training.encoders import ENCODINGS, current, latency, poisson
from qlifq.training.layers import Answer, CurrentLayer, MeanReadout, PooledConvolution, PopulationReadout, RotatedLayer
from qlifq.training.neuron_kinds import FAST, NEURONS, make_neurons, parameters_for

__all__ = ["NETWORKS", "Design", "Network", "build", "matched"]

#: mlp and paper: fully connected; conv and paper-conv: convolutional; the paper's are read out by neurons.
NETWORKS = ("mlp", "conv", "autoencoder", "paper", "paper-conv")
_KERNEL = 5


@dataclass(frozen=True, kw_only=True)
class Design:
    """Everything that a network is built from, in plain values.

    Args:
        network: a name in `NETWORKS`.
        neuron: a name in `NEURONS`.
        picture: rows and columns of an image.
        classes: how many there are; an autoencoder needs none, but data have them.
        hidden: neurons of each hidden layer, or for a convolutional network its channels.
        steps: time steps that an image is shown for.
        encoding: "current", "poisson" or "latency".
        gain: the current of a full pixel, or of an input spike.
        rate: for "poisson", input spikes a step of a full pixel.
        spike_loss: weight of the cross entropy of the spike counts in the loss of a paper's network, beside that of its
            populations.
        bias: added to the initial biases of the hidden layers' currents or rotations; below 0 they spike less at first.
        scale: factor of their initial weights.
        pooling: of a paper's convolutional network: "spikes" pools the spikes of whole maps by their maximum, as published;
            "currents" averages the currents, so that there is a quarter of the neurons.
        parameters: further options of the neurons.

    Raises:
        QLIFError: for a value that cannot be used.
    """

    network: str
    neuron: str = "qlif"
    picture: tuple[int, int]
    classes: int
    hidden: tuple[int, ...]
    steps: int
    encoding: str = "current"
    gain: float = 1.0
    rate: float = 0.25
    spike_loss: float = 0.0
    bias: float = 0.0
    scale: float = 1.0
    pooling: str = "spikes"
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.choice("network", self.network, NETWORKS)
        check.choice("neuron", self.neuron, NEURONS)
        check.choice("encoding", self.encoding, ENCODINGS)
        check.integer("steps", self.steps, at_least=1)
        check.integer("classes", self.classes, at_least=2)
        check.real("gain", self.gain)
        check.real("rate", self.rate, at_least=0, at_most=1)
        check.real("spike_loss", self.spike_loss, at_least=0)
        check.real("bias", self.bias)
        check.real("scale", self.scale, above=0)
        check.choice("pooling", self.pooling, ("spikes", "currents"))
        if self.pooling != "spikes" and self.network != "paper-conv":
            raise UnsupportedError(
                f"Argument `pooling` would be ignored: it is for network paper-conv, but the network is {self.network}."
            )
        if self.spike_loss and not self.network.startswith("paper"):
            raise UnsupportedError(
                f"Argument `spike_loss` would be ignored: network {self.network} is not read out by neurons, "
                f"but it is {self.spike_loss:g}."
            )
        if not self.hidden:
            raise ArgumentError("Argument `hidden` must hold the size of at least one layer, but is empty.")
        for size in (*self.hidden, *self.picture):
            check.integer("hidden" if size in self.hidden else "picture", size, at_least=1)
        if self.network.startswith("paper") and not NEURONS[self.neuron].rotated:
            raise UnsupportedError(
                f"Argument `neuron` must be a Brand and Petruccione neuron for network {self.network}, but is {self.neuron!r}."
            )
        if self.network in {"conv", "paper-conv"}:
            if len(self.hidden) != 2:
                raise ArgumentError(f"Argument `hidden` must hold the channels of 2 layers, but holds {len(self.hidden)}.")
            least = 16 if self.network == "paper-conv" else 4
            if min(self.picture) < least:
                raise ArgumentError(
                    f"Argument `picture` must have at least {least} rows and columns for network {self.network}, "
                    f"but is {self.picture[0]} × {self.picture[1]}."
                )
        if self.network == "autoencoder" and len(self.hidden) != 1:
            raise ArgumentError(f"Argument `hidden` must hold the size of 1 layer, but holds {len(self.hidden)}.")

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self.picture[0] * self.picture[1]

    @property
    def neuron_layers(self) -> int:
        """How many layers of neurons a network has that is built from it."""
        return len(self.hidden) + self.network.startswith("paper")

    @property
    def reconstructs(self) -> bool:
        """Whether the network gives its input back, instead of a class."""
        return self.network == "autoencoder"

    def encode(self, images: Tensor, seed: int, share: Share) -> Tensor:
        """The input in time, `(steps, batch, pixels)`; what is drawn depends on seed and share alone."""
        if self.encoding == "poisson":
            return poisson(images, self.steps, self.gain, self.rate, seed, share)
        return (current if self.encoding == "current" else latency)(images, self.steps, self.gain)

    def losses(self, answer: Answer, images: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """The loss of each image, `(batch,)`.

        Cross entropy, summed over the moments of the answer, with that of the spike counts if they have a weight; for an
        autoencoder the binary cross entropy of its input, averaged over the pixels. With a smoothing the wanted class has that
        much less than 1, and all classes share it.
        """
        moments, batch, _ = answer.trace.shape
        if self.reconstructs:
            pixelwise = nn.functional.binary_cross_entropy_with_logits(answer.scores.float(), images, reduction="none")
            return pixelwise.mean(dim=1)
        entropy = partial(nn.functional.cross_entropy, reduction="none", label_smoothing=smoothing)
        every = entropy(answer.trace.flatten(0, 1).float(), labels.repeat(moments))
        loss = every.reshape(moments, batch).sum(dim=0)
        if self.spike_loss:
            loss = torch.add(loss, entropy(answer.scores.float(), labels), alpha=self.spike_loss)
        return loss

    def plain(self) -> dict[str, object]:
        """As plain values for a file; see `from_plain`."""
        return {**asdict(self), "hidden": list(self.hidden), "picture": list(self.picture), "parameters": dict(self.parameters)}

    @classmethod
    def from_plain(cls, values: Mapping[str, object]) -> "Design":
        """From what `plain` gave, perhaps through a file."""
        given: dict[str, Any] = dict(values)
        listed = {name: tuple(given[name]) for name in ("hidden", "picture")}
        parameters = {name: tuple(value) if isinstance(value, list) else value for name, value in given["parameters"].items()}
        return cls(**{**given, **listed, "parameters": parameters})


class Run(NamedTuple):
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
        layers: each from a signal `(time, batch, ...)` to spikes `(time, batch, ...)`.
        readout: from spikes to an answer.
    """

    def __init__(self, layers: list[nn.Module], readout: nn.Module) -> None:
        super().__init__()
        self.layers, self.readout = nn.ModuleList(layers), readout

    def forward(self, signal: Tensor) -> Answer:
        """A signal `(time, batch, pixels)` to an answer."""
        return self.run(signal).answer

    def run(self, signal: Tensor) -> Run:
        """As `forward`, and the spikes of every hidden layer."""
        spikes = []
        for layer in self.layers:
            signal = layer(signal)
            spikes.append(signal)
        return Run(self.readout(signal), tuple(spikes))

    def neurons(self) -> Iterator[QLIF | BrandPetruccione]:
        """The layers of neurons, from the input on."""
        yield from (module for module in self.modules() if isinstance(module, QLIF | BrandPetruccione))

    def stage(self, seed: int, share: Share) -> None:
        """Give every layer of neurons fresh noise for one batch, which depends on the seed and the share alone."""
        seeds = SeedStream(seed)
        for layer in self.neurons():
            layer.seeds = SeedStream(seeds.take(), share)

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
        backend: where the decisions of all its neurons are asked, or one for each layer of neurons, from the input on.
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
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return _Builder(design, backend, shots).network()


def matched(design: Design, neuron: str) -> Design:
    """The design with another neuron, its last hidden layer so wide that the number of parameters is the nearest.

    Where the neurons have as many weights per connection, the width stays. A paper's network becomes the one of its kind
    that is read out by a linear map.
    """
    networks = {"paper": "mlp", "paper-conv": "conv"}
    other = replace(
        design,
        neuron=neuron,
        network=networks.get(design.network, design.network),
        spike_loss=0.0,
        pooling="spikes",
        bias=0.0 if NEURONS[design.neuron].rotated else design.bias,
        scale=1.0 if NEURONS[design.neuron].rotated else design.scale,
        parameters=parameters_for(neuron, FAST if NEURONS[design.neuron].rotated else design.parameters),
    )
    if NEURONS[design.neuron].rotated == NEURONS[neuron].rotated:
        return other
    wanted = build(design, seed=0).parameter_count()
    # The number of parameters is a straight line in the width of the last hidden layer.
    sizes = [replace(other, hidden=(*other.hidden[:-1], width)) for width in (1, 2)]
    one, two = (build(size, seed=0).parameter_count() for size in sizes)
    width = max(1, round(1 + (wanted - one) / (two - one)))
    return replace(other, hidden=(*other.hidden[:-1], width))


class _Builder:
    """Puts a network together."""

    def __init__(self, design: Design, backend: str | Backend | Sequence[Backend], shots: int | None) -> None:
        self.design, self.shots = design, shots
        each = [backend] * design.neuron_layers if isinstance(backend, str) or not isinstance(backend, Sequence) else backend
        if len(each) != design.neuron_layers:
            raise ShapeError(
                f"Argument `backend` must be one backend or {design.neuron_layers}, one for each layer of neurons, but holds "
                f"{len(each)}."
            )
        #: Those of the layers that are not built yet: they are built from the input on.
        self.backends = iter(each)

    def network(self) -> Network:
        design = self.design
        layers, ending, width = (self._convolutions if design.network in {"conv", "paper-conv"} else self._connected)()
        outputs = design.pixels if design.reconstructs else design.classes

        def last(size: int) -> nn.Module:
            return nn.Sequential(*ending, nn.Linear(width, size))

        readout: nn.Module = MeanReadout(last(outputs))
        if design.network.startswith("paper"):
            readout = PopulationReadout(
                cast(RotatedLayer, self._layer(last, outputs, outputs)), ties=not NEURONS[design.neuron].untrained
            )
        network = Network(layers, readout)
        if NEURONS[design.neuron].untrained:
            # Their gradient is zero by construction, so none is computed.
            network.layers.requires_grad_(False)
        return network

    def _connected(self) -> tuple[list[nn.Module], list[nn.Module], int]:
        """The hidden layers, what goes before the last weights, and how many numbers arrive there."""
        widths = (self.design.pixels, *self.design.hidden)
        layers: list[nn.Module] = [self._hidden(partial(nn.Linear, before), size, size) for before, size in pairwise(widths)]
        return layers, [], widths[-1]

    def _convolutions(self) -> tuple[list[nn.Module], list[nn.Module], int]:
        """Alike. Each layer halves its picture: in network conv, and where currents are pooled, before its neurons."""
        design = self.design
        padded, averaged = design.network == "conv", design.pooling == "currents"
        channels, picture = 1, design.picture
        layers: list[nn.Module] = []
        start: list[nn.Module] = [nn.Unflatten(1, (1, *picture))]
        for size in design.hidden:
            rows, columns = picture if padded else (picture[0] - _KERNEL + 1, picture[1] - _KERNEL + 1)
            picture = rows // 2, columns // 2
            if padded:
                weights = partial(_chain, start, partial(nn.Conv2d, channels, padding=_KERNEL // 2), [nn.MaxPool2d(2)])
            else:
                weights = partial(_chain, start, partial(PooledConvolution if averaged else nn.Conv2d, channels), [])
            shown = picture if padded or averaged else (rows, columns)
            layers.append(self._hidden(weights, size, size * shown[0] * shown[1]))
            channels, start = size, [] if padded or averaged else [nn.MaxPool2d(2)]
        return layers, [*start, nn.Flatten()], channels * picture[0] * picture[1]

    def _layer(self, weights: Callable[[int], nn.Module], size: int, neurons: int) -> CurrentLayer | RotatedLayer:
        """A layer from what makes its weights for so many outputs, or for twice as many where a connection has two."""
        design = self.design
        made = make_neurons(design.neuron, neurons, design.parameters, backend=next(self.backends), shots=self.shots, seed=0)
        if isinstance(made, BrandPetruccione):
            return RotatedLayer(weights(2 * size), made)
        return CurrentLayer(weights(size), made)

    def _hidden(self, weights: Callable[[int], nn.Module], size: int, neurons: int) -> nn.Module:
        """A hidden layer, with its first weights scaled and its first biases shifted."""
        layer = self._layer(weights, size, neurons)
        weighing = next(module for module in layer.modules() if isinstance(module, nn.Linear | nn.Conv2d))
        with torch.no_grad():
            # Of two weights per connection those of the rotation come first.
            weighing.weight[:size] *= self.design.scale
            cast(Tensor, weighing.bias)[:size] += self.design.bias
        return layer


def _chain(start: list[nn.Module], convolution: Callable[..., nn.Module], end: list[nn.Module], size: int) -> nn.Module:
    """A convolution to so many channels, between what goes before and after it."""
    return nn.Sequential(*start, convolution(size, kernel_size=_KERNEL), *end)
