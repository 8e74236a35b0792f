"""The networks by name: what each consists of, what it needs, and what it is trained with by default."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from torch import nn

from qlifq._registry import Registry
from qlifq.neurons import SpikingSequential
from qlifq.training.networks.layers import PooledConvolution
from qlifq.training.networks.neurons import SHORT_TAU, Shape

__all__ = ["NETWORKS", "Body", "Builder", "NetworkKind", "Recipe"]

#: Rows and columns of a convolution's kernel.
_KERNEL = 5
_DIGITS = {"epochs": 12, "batch": 64, "learning_rate": 1e-2}


@dataclass(frozen=True)
class Recipe:
    """Defaults of a network.

    Args:
        design: of what it is built from.
        settings: of its training.
        small: what differs for small pictures, of both.
        regression: what differs where numbers are predicted, of its training.
        published: what differs where the neurons are as they were published, of the design and of the training: there the
            network is trained as the paper's was.
    """

    design: Mapping[str, Any]
    settings: Mapping[str, Any]
    small: Mapping[str, Any] = field(default_factory=dict)
    regression: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})


class Body(NamedTuple):
    """A network up to its last weights.

    Args:
        layers: the hidden layers.
        ending: what comes between them and the last weights.
        width: how many numbers arrive at the last weights.
    """

    layers: list[SpikingSequential]
    ending: list[nn.Module]
    width: int


class Builder(Protocol):
    """What a network kind builds with."""

    @property
    def pixels(self) -> int:
        """Pixels of an image."""

    @property
    def picture(self) -> tuple[int, int]:
        """Rows and columns of an image."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons, or channels, of each hidden layer."""

    @property
    def averages_currents(self) -> bool:
        """Whether pooling averages currents instead of taking the maximum of spikes."""

    def hidden(self, weights: Callable[[int], nn.Module], size: int, neurons: Shape) -> SpikingSequential:
        """A hidden layer of this many neurons or this shape of them, from what makes its weights for `size` outputs."""


@dataclass(frozen=True, kw_only=True)
class NetworkKind(abc.ABC):
    """All that is known of one kind of network; a kind of one's own is one row, `NETWORKS.register("mine", Mine(...))`.

    Args:
        recipe: what it is built from and trained with where the user says nothing else.
        neuron_readout: whether its last layer is one of Brand and Petruccione neurons, as are all its neurons; else it is
            read out by a linear map.
        reconstructs: whether it gives its input back, instead of a class.
        layers: how many hidden layers it must have; None for any number.
        layers_are: what the sizes of its hidden layers count, for an error message.
        least_side: the fewest rows and columns of an image.
        pools: whether it knows the design's `pooling`.
        matched: the kind with other neurons that it is compared with; None for itself.
    """

    recipe: Recipe
    neuron_readout: bool = False
    reconstructs: bool = False
    layers: int | None = None
    layers_are: str = "size"
    least_side: int = 1
    pools: bool = False
    matched: str | None = None

    @abc.abstractmethod
    def body(self, builder: Builder) -> Body:
        """The hidden layers and what follows them."""


class Connected(NetworkKind):
    """Fully connected layers."""

    def body(self, builder: Builder) -> Body:
        """One linear map for each hidden layer."""
        widths = (builder.pixels, *builder.sizes)
        layers = [builder.hidden(partial(nn.Linear, before), size, size) for before, size in pairwise(widths)]
        return Body(layers, [], widths[-1])


class Convolutional(NetworkKind):
    """Padded convolutions, each followed by a maximum over 2 × 2 currents."""

    def body(self, builder: Builder) -> Body:
        """Each layer halves its picture before its neurons."""
        channels, picture = 1, builder.picture
        start: list[nn.Module] = [nn.Unflatten(1, (1, *picture))]
        layers = []
        for size in builder.sizes:
            picture = picture[0] // 2, picture[1] // 2
            convolution = partial(nn.Conv2d, channels, padding=_KERNEL // 2)
            layers.append(_layer(builder, start, convolution, [nn.MaxPool2d(2)], size, picture))
            channels, start = size, []
        return Body(layers, [nn.Flatten()], channels * picture[0] * picture[1])


class ConvolutionalAsPublished(NetworkKind):
    """Convolutions without padding; what is pooled are the spikes of whole maps, or the currents."""

    def body(self, builder: Builder) -> Body:
        """Each layer halves its picture: before its neurons where currents are pooled, else after them."""
        averaged = builder.averages_currents
        channels, picture = 1, builder.picture
        start: list[nn.Module] = [nn.Unflatten(1, (1, *picture))]
        pool: list[nn.Module] = [] if averaged else [nn.MaxPool2d(2)]
        layers = []
        for size in builder.sizes:
            whole = picture[0] - _KERNEL + 1, picture[1] - _KERNEL + 1
            picture = whole[0] // 2, whole[1] // 2
            convolution = partial(PooledConvolution if averaged else nn.Conv2d, channels)
            layers.append(_layer(builder, start, convolution, [], size, picture if averaged else whole))
            channels, start = size, pool
        return Body(layers, [*pool, nn.Flatten()], channels * picture[0] * picture[1])


def _layer(
    builder: Builder,
    start: list[nn.Module],
    convolution: Callable[..., nn.Module],
    end: list[nn.Module],
    channels: int,
    picture: tuple[int, int],
) -> SpikingSequential:
    """A layer of neurons behind a convolution, with what comes before and after the convolution."""

    def weights(size: int) -> nn.Module:
        return nn.Sequential(*start, convolution(size, kernel_size=_KERNEL), *end)

    return builder.hidden(weights, channels, (channels, *picture))


#: mlp and paper: fully connected; conv and paper-conv: convolutional; the paper's are read out by neurons.
NETWORKS: Registry[NetworkKind] = Registry(
    "network",
    {
        "mlp": Connected(
            recipe=Recipe(
                {"hidden": (512,), "steps": 20, "parameters": SHORT_TAU},
                {"epochs": 5, "batch": 128, "learning_rate": 1.5e-2, "schedule": "one-cycle", "smoothing": 0.1},
                {"hidden": (128,), "steps": 12, "gain": 2.0, **_DIGITS},
                {"epochs": 40, "schedule": "cosine", "smoothing": 0.0},
            ),
        ),
        "conv": Convolutional(
            recipe=Recipe(
                {"hidden": (12, 32), "steps": 12, "gain": 2.0, "parameters": SHORT_TAU},
                {"epochs": 3, "batch": 128, "learning_rate": 2e-3, "schedule": "cosine"},
                _DIGITS,
            ),
            layers=2,
            layers_are="channels",
            least_side=4,
        ),
        "autoencoder": Connected(
            recipe=Recipe(
                {"hidden": (256,), "steps": 40, "parameters": SHORT_TAU},
                {"epochs": 10, "batch": 128, "learning_rate": 1e-2, "schedule": "one-cycle"},
                {"hidden": (64,), **_DIGITS},
            ),
            reconstructs=True,
            layers=1,
        ),
        "paper": Connected(
            recipe=Recipe(
                {"neuron": "brand-petruccione", "hidden": (1000,), "steps": 25, "spike_loss": 5.0, "bias": -0.2},
                {"epochs": 3, "batch": 200, "learning_rate": 2e-3, "schedule": "one-cycle"},
                published=({"spike_loss": 0.0, "bias": 0.0}, {"learning_rate": 5e-3, "schedule": "constant"}),
            ),
            neuron_readout=True,
            matched="mlp",
        ),
        "paper-conv": ConvolutionalAsPublished(
            recipe=Recipe(
                {
                    "neuron": "brand-petruccione",
                    "hidden": (12, 64),
                    "steps": 16,
                    "spike_loss": 5.0,
                    "scale": 2.0,
                    "pooling": "currents",
                },
                {"epochs": 2, "batch": 128, "learning_rate": 5e-3, "schedule": "one-cycle"},
                published=(
                    {"steps": 50, "spike_loss": 0.0, "scale": 1.0, "pooling": "spikes"},
                    {"batch": 200, "learning_rate": 5e-4, "schedule": "constant"},
                ),
            ),
            neuron_readout=True,
            layers=2,
            layers_are="channels",
            least_side=16,
            pools=True,
            matched="conv",
        ),
    },
)
