"""What a mechanism of the neuron is: one row that says all that is known of it."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qlifq._transforms import cached
from qlifq.neurons.rules import Rule
from qlifq.neurons.specs import Need

__all__ = ["Drive", "Mechanism", "Numbers", "TrainObstacle"]


class Drive(NamedTuple):
    """What drives a step beside the current.

    Args:
        modulation: transformed modulation m, broadcastable with the current; None for none.
        noise: ξ, standard normal, `(batch, num_neurons)`; None for none.
    """

    modulation: Tensor | None
    noise: Tensor | None


#: A value of the step, the state (`QLIFState`), the constants (`Dynamics`) and the drive → the value after the mechanism.
Hook = Callable[[Tensor, Any, Any, Drive], Tensor]
#: The state, the spikes s and the constants → the states that change.
Settle = Callable[[Any, Tensor, Any], Mapping[str, Tensor]]


class Numbers:
    """The parameters of a neuron as they are now, by attribute: a tensor where a layer has one per neuron, else a number.

    Args:
        settings: the neuron's parameters.
        tensors: those with one value per neuron, `(num_neurons,)` each.
    """

    def __init__(self, settings: Any, tensors: Mapping[str, Tensor]) -> None:
        # Worked out at every step where a backend decides: an attribute of its own costs least.
        self.__dict__.update(settings.__dict__)
        self.__dict__.update(tensors, _settings=settings)

    def __getattr__(self, name: str) -> Any:
        # What settings that were made before its mechanism was registered have as their default.
        return getattr(self._settings, name)

    def decay(self, tau: Any) -> Any:
        """What is left after a step of dt of what decays with a time constant: e^(−dt/τ)."""
        exponent = -self.dt / tau
        return exponent.exp() if isinstance(exponent, Tensor) else math.exp(exponent)

    def tensor(self, value: Any) -> Tensor:
        """A number as a tensor of the layer's dtype, on its device."""
        return value if isinstance(value, Tensor) else _number(value, self.V_th.dtype, self.V_th.device)


@functools.lru_cache(maxsize=4096)
def _number(number: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor, kept for later calls: on an accelerator each costs a call of the device. Nothing writes to it."""
    with cached():
        return torch.full((), number, dtype=dtype, device=device)


class TrainObstacle(NamedTuple):
    """Why no spike-train circuit holds a neuron with a mechanism, see `QLIF.train_circuit`.

    Args:
        name: the parameter that stands in the way.
        why: the reason, as a clause.
        stands: whether it does; by default wherever the mechanism acts.
    """

    name: str
    why: str
    stands: Callable[[Any], bool] = lambda settings: True


@dataclass(frozen=True, kw_only=True, eq=False)
class Mechanism:
    """All that is known of one mechanism of the neuron.

    A mechanism of one's own is one row: `MECHANISMS.register("mine", Mechanism(...))`. Of a neuron for which `on` holds, every
    step runs these functions, each elementwise and in the order of the rows; a mechanism has those that it needs:

        I_eff = current(input(I))                            what scales the input, then the further currents
        V ← limit(voltage(membrane(V, I_eff)))               what moves V beside the membrane, then what V is kept to
        threshold = threshold(V_th)                          what V is compared with, also by a soft reset
        slope = slope(q_scale), or slope(base_alpha)         of the decision
        states ← settle(states, s)                           after the spikes s and the reset

    Kernels are traced from them, with their derivatives.

    Args:
        group: the heading under which the table of parameters has it.
        formula: what it does, as people write it, a line for each equation.
        on: what must hold for it to act; at the defaults of its parameters it does not.
        parameters: a `parameter_group`.
        states: what it remembers, by name, with the value at rest; each `(batch, num_neurons)` in the state of a layer.
        constants: the numbers that the functions use, by names of their own, from the parameters as they are; worked out once
            for a whole sequence. A function reads them as attributes of the constants, and the states as those of the state.
        rules: what its parameters must be to others.
        check: refuses settings that it does not go with.
        input: the input, see above.
        current: the input after all `input`, as a current of the membrane.
        voltage: the potential; the state holds that before the step.
        limit: the potential, after all `voltage`.
        threshold: the threshold.
        slope: the slope.
        settle: the states that change, by name.
        noisy: whether a function uses the noise of the drive.
        obstacles: why no train circuit holds it; empty where one does: where its effect on the angle is a sum over the spikes,
            or follows the last one with reset="hard". None where nobody has looked: no circuit holds it then.
        summed: those constants without which spikes have no effect on it, where that effect on the angle is a sum over all
            spikes although reset="hard".
        unclipped: refuses a train circuit in which spikes at all steps would carry it to a bound, beyond which nothing adds up:
            the constants, the state and the number of steps.
    """

    group: str
    formula: tuple[str, ...]
    on: Need
    parameters: type | None = None
    states: Mapping[str, float] = field(default_factory=dict)
    constants: Callable[[Numbers], Mapping[str, Any]] = lambda numbers: {}
    rules: tuple[Rule, ...] = ()
    check: Callable[[Any], None] | None = None
    input: Hook | None = None
    current: Hook | None = None
    voltage: Hook | None = None
    limit: Hook | None = None
    threshold: Hook | None = None
    slope: Hook | None = None
    settle: Settle | None = None
    noisy: bool = False
    obstacles: tuple[TrainObstacle, ...] | None = None
    summed: tuple[str, ...] = ()
    unclipped: Callable[[Any, Any, int], None] | None = None
