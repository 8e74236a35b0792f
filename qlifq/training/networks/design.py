"""Everything that a network is built from, as a file can keep it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from qlifq import _validation as check
from qlifq.errors import ArgumentError, UnsupportedError
from qlifq.random import BatchShard
from qlifq.training.data.encoders import ENCODINGS
from qlifq.training.networks.kinds import NETWORKS, NetworkKind
from qlifq.training.networks.layers import Answer
from qlifq.training.networks.neurons import NEURONS
from qlifq.training.networks.tasks import TASKS, Task

__all__ = ["Design"]


@dataclass(frozen=True, kw_only=True)
class Design:
    """Everything that a network is built from, in JSON values.

    Args:
        network: a name in `NETWORKS`.
        neuron: a name in `NEURONS`.
        picture: rows and columns of an image.
        classes: how many there are; 0 for a regression. An autoencoder needs none, but data have them.
        targets: for a regression, how many numbers are predicted; 0 for any other task.
        hidden: neurons of each hidden layer, or for a convolutional network its channels.
        steps: time steps that an image is shown for.
        encoding: a name in `ENCODINGS`.
        gain: the current of a full pixel, or of an input spike.
        rate: for "poisson", input spikes per step of a full pixel.
        change: for "delta", the change of a value that sends a spike.
        bits: for "phase", steps of a period.
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
    classes: int = 0
    targets: int = 0
    hidden: tuple[int, ...]
    steps: int
    encoding: str = "current"
    gain: float = 1.0
    rate: float = 0.25
    change: float = 0.1
    bits: int = 8
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
        check.integer("targets", self.targets, at_least=0)
        if self.targets == 0 or self.classes != 0:
            check.integer("classes", self.classes, at_least=2)
        check.real("gain", self.gain)
        check.real("rate", self.rate, at_least=0, at_most=1)
        check.real("change", self.change, above=0)
        check.integer("bits", self.bits, at_least=1, at_most=16)
        check.real("spike_loss", self.spike_loss, at_least=0)
        check.real("bias", self.bias)
        check.real("scale", self.scale, above=0)
        check.choice("pooling", self.pooling, ("spikes", "currents"))
        if not self.hidden:
            raise ArgumentError("Argument `hidden` must hold the size of at least one layer, but is empty.")
        for size in (*self.hidden, *self.picture):
            check.integer("hidden" if size in self.hidden else "picture", size, at_least=1)
        self._check_kind()

    def _check_kind(self) -> None:
        """What the kind of network allows."""
        kind = self.kind
        if self.targets and (self.classes or kind.reconstructs or kind.neuron_readout):
            reason = f"there are {self.classes} classes" if self.classes else f"network {self.network} predicts no numbers"
            raise UnsupportedError(f"Argument `targets` would be ignored: {reason}, but it is {self.targets}.")
        if self.pooling != "spikes" and not kind.pools:
            users = " or ".join(name for name, row in NETWORKS.items() if row.pools)
            raise UnsupportedError(
                f"Argument `pooling` would be ignored: it is for network {users}, but the network is {self.network}."
            )
        if self.spike_loss and not kind.neuron_readout:
            raise UnsupportedError(
                f"Argument `spike_loss` would be ignored: network {self.network} is not read out by neurons, "
                f"but it is {self.spike_loss:g}."
            )
        if kind.neuron_readout and not NEURONS[self.neuron].rotated:
            raise UnsupportedError(
                f"Argument `neuron` must be a Brand and Petruccione neuron for network {self.network}, but is {self.neuron!r}."
            )
        if kind.layers is not None and len(self.hidden) != kind.layers:
            layers = "1 layer" if kind.layers == 1 else f"{kind.layers} layers"
            raise ArgumentError(f"Argument `hidden` must hold the {kind.layers_are} of {layers}, but holds {len(self.hidden)}.")
        if min(self.picture) < kind.least_side:
            raise ArgumentError(
                f"Argument `picture` must have at least {kind.least_side} rows and columns for network {self.network}, "
                f"but is {self.picture[0]} × {self.picture[1]}."
            )

    @property
    def kind(self) -> NetworkKind:
        """What is known of its kind of network."""
        return NETWORKS[self.network]

    @property
    def task(self) -> Task:
        """What the network learns to do."""
        return TASKS["reconstruction" if self.kind.reconstructs else "regression" if self.targets else "classification"]

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self.picture[0] * self.picture[1]

    @property
    def neuron_layers(self) -> int:
        """How many layers of neurons a network has that is built from it."""
        return len(self.hidden) + self.kind.neuron_readout

    @property
    def reconstructs(self) -> bool:
        """Whether the network gives its input back, instead of a class."""
        return self.kind.reconstructs

    def encode(self, images: Tensor, seed: int, shard: BatchShard) -> Tensor:
        """The input in time, `(steps, batch, pixels)`; what is drawn depends on seed and share alone."""
        return ENCODINGS[self.encoding].encode(images, self, seed, shard)

    def losses(self, answer: Answer, images: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """The loss of each sample, `(batch,)`, as its task says, see `qlifq.training.networks.tasks`."""
        return self.task.losses(self, answer, images, labels, smoothing)

    def to_dict(self) -> dict[str, object]:
        """As JSON values for a file; see `from_dict`."""
        return {**asdict(self), "hidden": list(self.hidden), "picture": list(self.picture), "parameters": dict(self.parameters)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Design":
        """From what `to_dict` gave, perhaps through a file."""
        given: dict[str, Any] = dict(values)
        listed = {name: tuple(given[name]) for name in ("hidden", "picture")}
        parameters = {name: tuple(value) if isinstance(value, list) else value for name, value in given["parameters"].items()}
        return cls(**{**given, **listed, "parameters": parameters})
