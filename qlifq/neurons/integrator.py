"""Leaky integrators: the membrane of a neuron without spikes, as a filter and as a readout."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq._transforms import uncompiled
from qlifq.errors import DtypeError, UnsupportedError
from qlifq.neurons.dynamics import Dynamics, initial_state, integrate
from qlifq.neurons.inputs import FLOATING, checked_current
from qlifq.neurons.keywords import Numbers
from qlifq.neurons.parameters import Settings
from qlifq.neurons.per_neuron import PerNeuronValue
from qlifq.neurons.precision import returned
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.shapes import given_per_neuron, reduced, shape_of_layer
from qlifq.neurons.temporal import TemporalModule

__all__ = ["OVER_TIME", "LeakyIntegrator", "LeakyIntegratorState", "Readout"]

#: What a readout makes of a sequence of membrane potentials, `(time, batch, ...)` to `(batch, ...)`.
OVER_TIME: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "mean": lambda voltages: voltages.mean(dim=0),
        "last": lambda voltages: voltages[-1],
        "max": lambda voltages: voltages.amax(dim=0),
    }
)
_NUMBERS = ("tau", "V_rest", "R")


class LeakyIntegratorState(NamedTuple):
    """What a leaky integrator carries from one step to the next.

    Args:
        voltage: V, `(batch, num_neurons)` or `(batch, *shape)`.
    """

    voltage: Tensor


torch.serialization.add_safe_globals([LeakyIntegratorState])


@final
class LeakyIntegrator(TemporalModule):
    """A leaky membrane that never spikes, a low-pass filter: V ← V + (dt/τ) (V_rest − V + R I).

    With `decay_input=False` it takes the input as it is, V ← V + (dt/τ) (V_rest − V) + R I: an exponential synapse.

    Args:
        num_neurons: how many, at least 1, or their shape, as for `QLIF`.
        tau: time constant τ, at least dt.
        dt: time step, in the unit of τ.
        V_rest: potential without input.
        R: resistance of the input.
        decay_input: whether dt/τ scales the input.
        learnable: which of "tau", "V_rest" and "R" are trained, each within its range.

    Raises:
        QLIFError: for a number that cannot be used, as for `QLIF`.

    Example:
        >>> filtered, state = LeakyIntegrator(1, tau=2.0)(torch.ones(3, 1, 1))
        >>> filtered.flatten().tolist(), state.voltage.shape
        ([0.5, 0.75, 0.875], torch.Size([1, 1]))
    """

    def __init__(
        self,
        num_neurons: int | tuple[int, ...],
        *,
        tau: Numbers = 20.0,
        dt: float = 1.0,
        V_rest: Numbers = 0.0,
        R: Numbers = 1.0,
        decay_input: bool = True,
        learnable: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._shape = shape_of_layer(num_neurons)
        self.num_neurons, self.shape = self._shape.count, self._shape.sizes
        for name in learnable:
            if name not in _NUMBERS:
                raise check.unknown("learnable parameter", name, list(_NUMBERS))
        numbers, given = given_per_neuron({"tau": tau, "V_rest": V_rest, "R": R}, self._shape)
        # No decision is made: of a neuron's settings those of the membrane matter.
        self.settings = Settings(dt=dt, decay_input=decay_input, learnable=tuple(learnable), **numbers)  # type: ignore[arg-type]
        kept = {}
        for name in _NUMBERS:
            value, shape = cast(PerNeuron, getattr(self.settings, name)), given.get(name, self.shape)
            if name in given:
                value = reduced(cast(tuple[float, ...], value), self._shape, shape)
            low, high = self.settings.open_bounds(name)
            kept[name] = PerNeuronValue(name, value, shape, learnable=name in learnable, low=low, high=high)
        self.constants = nn.ModuleDict(kept)

    @uncompiled
    def forward(self, sequence: Tensor, state: LeakyIntegratorState | None = None) -> tuple[Tensor, LeakyIntegratorState]:
        """Run a sequence.

        Args:
            sequence: the input I, `(time, batch, num_neurons)` or `(time, batch, *shape)`.
            state: the state to start from; None starts at V_rest.

        Returns:
            V after every step, of the same shape, and the state after the last; half precision as for `QLIF`.

        Raises:
            ShapeError: for an input or a state of another shape.
            DtypeError: for one that is no tensor, or has another dtype or device than the integrator.
            ArgumentError: for one that is not finite.
        """
        constants = {name: self._shape.flat_constant(cast(Tensor, value())) for name, value in self.constants.items()}
        like = constants["tau"]
        current = self._shape.flat(checked_current(sequence, ("time", "batch", *self.shape), like, check_values=True))
        dynamics = Dynamics.of(self.settings, {"V_th": torch.ones_like(like), **constants})
        whole = initial_state(self.settings, current.shape[1], self.num_neurons, like, constants)
        if state is not None:
            whole = whole._replace(voltage=self._shape.flat(self._checked_state(state, current)))
        voltages = []
        for now in current:
            whole, _ = integrate(whole, now, dynamics)
            voltages.append(whole.voltage)
        output = torch.stack(voltages) if voltages else torch.zeros_like(current)
        return returned(self._shape.shaped(output), sequence), LeakyIntegratorState(self._shape.shaped(whole.voltage))

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.num_neurons if len(self.shape) == 1 else self.shape}, decay_input={self.settings.decay_input}"

    def _checked_state(self, state: object, current: Tensor) -> Tensor:
        if not isinstance(state, LeakyIntegratorState):
            raise DtypeError(f"Argument `state` must be a LeakyIntegratorState or None, but is {type(state).__name__}.")
        voltage = check.tensor("state.voltage", state.voltage, dtypes=(current.dtype,))
        return check.shape_of("state.voltage", voltage, (current.shape[1], *self.shape))


@final
class Readout(TemporalModule):
    """A leaky integrator without spikes that gives one answer per sequence: the mean, last or greatest potential.

    With `tau=None` there is no membrane: the answer is the mean, last or greatest input, such as the rate of spikes.

    Args:
        num_neurons: how many outputs, at least 1, or their shape.
        over_time: "mean", "last" or "max".
        tau: as for `LeakyIntegrator`, and so are the others; None for no membrane, which needs the others at their defaults.
        dt: time step, in the unit of τ.
        V_rest: potential without input.
        R: resistance of the input.
        decay_input: whether dt/τ scales the input.
        learnable: which of "tau", "V_rest" and "R" are trained.

    Raises:
        QLIFError: for a number or a name that cannot be used.

    Example:
        >>> answer, state = Readout(1, over_time="last", tau=2.0)(torch.ones(3, 1, 1))
        >>> answer.tolist()
        [[0.875]]
        >>> Readout(1, tau=None)(torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(4, 1, 1))[0].tolist()
        [[0.5]]
    """

    def __init__(
        self,
        num_neurons: int | tuple[int, ...],
        *,
        over_time: str = "mean",
        tau: Numbers | None = 20.0,
        dt: float = 1.0,
        V_rest: Numbers = 0.0,
        R: Numbers = 1.0,
        decay_input: bool = True,
        learnable: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.over_time = check.choice("over_time", over_time, OVER_TIME)
        self.shape = shape_of_layer(num_neurons).sizes
        self.integrator: LeakyIntegrator | None = None
        if tau is not None:
            self.integrator = LeakyIntegrator(
                num_neurons, tau=tau, dt=dt, V_rest=V_rest, R=R, decay_input=decay_input, learnable=learnable
            )
            return
        given = {"dt": dt, "V_rest": V_rest, "R": R, "decay_input": decay_input, "learnable": tuple(learnable)}
        for name, default in {"dt": 1.0, "V_rest": 0.0, "R": 1.0, "decay_input": True, "learnable": ()}.items():
            value = given[name]
            if not isinstance(value, int | float | tuple) or value != default:
                raise UnsupportedError(f"Argument `{name}` would be ignored: it needs tau, but tau is None.")

    @property
    def keeps_time(self) -> bool:
        """It does not: there is one answer per sequence."""
        return False

    def forward(self, sequence: Tensor, state: LeakyIntegratorState | None = None) -> tuple[Tensor, LeakyIntegratorState]:
        """Run a sequence of at least one step.

        Args:
            sequence: the input I, `(time, batch, num_neurons)` or `(time, batch, *shape)`.
            state: the state to start from; None starts at V_rest.

        Returns:
            The answer over these steps, `(batch, num_neurons)` or `(batch, *shape)`, and the state after the last.

        Raises:
            QLIFError: as for `LeakyIntegrator`, and for a sequence without steps.
        """
        if self.integrator is not None:
            voltages, after = self.integrator(sequence, state)
        else:
            given = check.tensor("sequence", sequence, dtypes=FLOATING)
            voltages = check.shape_of("sequence", given, ("time", "batch", *self.shape))
        if not len(voltages):
            raise UnsupportedError("Argument `sequence` must have at least one step for a readout, but has none.")
        return OVER_TIME[self.over_time](voltages), LeakyIntegratorState(voltages[-1]) if self.integrator is None else after

    def extra_repr(self) -> str:
        """What is made of the sequence."""
        return f"over_time={self.over_time!r}"
