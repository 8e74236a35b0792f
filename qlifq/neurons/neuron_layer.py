"""A layer of neurons as its parameters make it: the settings, and the constants that are kept per neuron."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import cast

from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.errors import MissingConstantError, UnsupportedError
from qlifq.neurons.dynamics import Dynamics, initial_state
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.parameters import Need, Settings, is_per_neuron, spec_of
from qlifq.neurons.per_neuron import PerNeuronValue
from qlifq.neurons.precision import widened
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.shapes import NeuronShape, given_per_neuron, reduced
from qlifq.neurons.state import QLIFState
from qlifq.neurons.temporal import TemporalModule

__all__ = ["NeuronLayer", "settings_of"]


def settings_of(parameters: Mapping[str, object], shape: NeuronShape) -> tuple[Settings, dict[str, tuple[int, ...]]]:
    """The settings of a layer, and the shapes in which what is per neuron was given, see `given_per_neuron`."""
    numbers, given = given_per_neuron(parameters, shape)
    return Settings(**numbers), given  # type: ignore[arg-type]


class NeuronLayer(TemporalModule):
    """The part of a `QLIF` layer that does not run: what its neurons are.

    Args:
        shape: of the neurons.
        settings: their parameters.
        given: the shapes in which what is per neuron was given, see `settings_of`.
    """

    def __init__(self, shape: NeuronShape, settings: Settings, given: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self._shape = shape
        self.num_neurons, self.shape = shape.count, shape.sizes
        self.settings = settings
        self.constants = _constants(settings, shape, given)

    def initial_state(self, batch: int) -> QLIFState:
        """The state at rest for a batch, on the layer's device and in its dtype."""
        batch = check.integer("batch", batch, at_least=0)
        return self._shape.shaped_state(self._flat_initial_state(batch))

    def dynamics(self) -> Dynamics:
        """The constants of the dynamics as they are now, for `integrate` and `settle`."""
        return Dynamics.of(self.settings, {name: kept() for name, kept in self._kept().items()})

    def assign(self, **values: Tensor) -> None:
        """Set constants per neuron in place, such as a calibration's q_scale and q_bias.

        Args:
            **values: `(num_neurons,)` tensors by name: V_th, tau, eta, q_scale, q_bias, and whatever else the layer was given
                per neuron or trains; of a layer with a shape in that shape, or in the one in which it was given.

        Raises:
            ArgumentError: for a name this layer does not have, or a value out of range.
            ShapeError: for a value of another shape.
            DtypeError: for one that is no float tensor.
        """
        for name, value in values.items():
            if name not in self.constants:
                raise check.unknown("constant", name, list(self.constants))
            check.shape_of(name, check.finite(name, check.tensor(name, value)), self._kept()[name].stored.shape)
        # The settings know what the values must be, by themselves and to each other; nothing is set before all are right.
        each = {name: tuple(self._shape.flat_constant(value).tolist()) for name, value in values.items()}
        replace(self.settings, **each)  # type: ignore[arg-type]
        kept = self._kept()
        stored = {name: kept[name].stored_from(value) for name, value in values.items()}
        for name, value in stored.items():
            kept[name].assign(value)

    def shared(self, name: str) -> float:
        """A number that all neurons of the layer share and that is not trained, such as `quantum_leak`.

        Raises:
            UnsupportedError: if every neuron has its own.
        """
        if name in self.constants:
            raise UnsupportedError(
                f"Argument `{name}` must be one number for all neurons here, but this layer keeps one for each."
            )
        return cast(float, getattr(self.settings, name))

    def _changed(self) -> list[str]:
        """The settings that differ from their defaults, as `name=value`."""
        changed = (item.name for item in fields(self.settings) if getattr(self.settings, item.name) != item.default)
        return [f"{name}={self._printed(name)}" for name in changed]

    def _printed(self, name: str) -> str:
        """The value of a parameter; of several in a shape, that shape."""
        value = getattr(self.settings, name)
        if len(self.shape) > 1 and name in self.constants and isinstance(value, tuple):
            return f"values of shape {tuple(self._kept()[name].stored.shape)}"
        return repr(value)

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        # Where a property raises an AttributeError, Python calls this, and what it said would be lost.
        return self._constant(name) if is_per_neuron(name) else super().__getattr__(name)

    @property
    def mapping(self) -> str:
        """The name of the mapping from gap to angle."""
        return self.settings.mapping

    @property
    def V_th(self) -> Tensor:
        """The threshold at rest, `(num_neurons,)`."""
        return self._constant("V_th")

    @property
    def tau(self) -> Tensor:
        """The membrane time constant, `(num_neurons,)`."""
        return self._constant("tau")

    @property
    def eta(self) -> Tensor:
        """The rise of the adaptive threshold at a spike, `(num_neurons,)`."""
        return self._constant("eta")

    @property
    def q_scale(self) -> Tensor:
        """The slope of the mapping, `(num_neurons,)`."""
        return self._constant("q_scale")

    @property
    def q_bias(self) -> Tensor:
        """The offset of the mapping, `(num_neurons,)`."""
        return self._constant("q_bias")

    def _constant(self, name: str) -> Tensor:
        """A number per neuron as it is now, or why the layer has none of this name."""
        if name in self.constants:
            value = cast(Tensor, self.constants[name]())
            return value if value.shape == self.shape else value.expand(self.shape)
        if not self.settings.has_effect(name):
            need = cast(Need, spec_of(Settings.__dataclass_fields__[name]).need)
            raise MissingConstantError(f"This layer has no `{name}`: it needs {need.words}.")
        value = getattr(self.settings, name)
        if value is None:
            raise MissingConstantError(f"This layer has no `{name}`: it is None.")
        return self.V_th.new_full(self.shape, value)

    def _kept(self) -> Mapping[str, PerNeuronValue]:
        return cast(Mapping[str, PerNeuronValue], self.constants)

    def _values(self) -> dict[str, Tensor]:
        """The constants per neuron as they are now, `(num_neurons,)` each."""
        return {name: self._shape.flat_constant(kept()) for name, kept in self._kept().items()}

    def _flat_initial_state(self, batch: int) -> QLIFState:
        """The state at rest with the neurons in a row."""
        kept, rest = self._kept(), MEMBRANES[self.settings.membrane].rest
        # No other constant takes part, and those that are trained cost operations.
        values = {rest: self._shape.flat_constant(kept[rest]())} if rest is not None and rest in kept else {}
        return initial_state(self.settings, batch, self.num_neurons, widened(kept["V_th"].stored), values)


def _constants(settings: Settings, shape: NeuronShape, given: Mapping[str, tuple[int, ...]]) -> nn.ModuleDict:
    """The numbers per neuron that are kept: those of every layer that uses them, those given per neuron, those trained."""
    trained, specs = settings.trained, {item.name: spec_of(item) for item in fields(settings) if is_per_neuron(item.name)}
    always = [name for name, spec in specs.items() if spec.kept and spec.has_effect(settings)]
    own = [name for name in specs if name in trained or isinstance(getattr(settings, name), tuple)]
    kept = {}
    for name in dict.fromkeys((*always, *own)):
        low, high = settings.open_bounds(name)
        value = cast(PerNeuron, settings.number(name))
        sizes = given.get(name, shape.sizes)
        if name in given:
            value = reduced(cast(tuple[float, ...], value), shape, sizes)
        kept[name] = PerNeuronValue(name, value, sizes, learnable=name in trained, low=low, high=high)
    return nn.ModuleDict(kept)
