"""What a layer is run on, and what its steps give."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq._transforms import transformed
from qlifq.neurons.state import QLIFState

__all__ = ["Given", "Sequence", "Step", "gathered"]


class Given(NamedTuple):
    """What a sequence is run on, after it was checked; the neurons stand in a row.

    Args:
        current: input I, `(time, batch, num_neurons)`.
        state: before the first step, `(batch, num_neurons)` each.
        modulation: transformed, `(time, 1 or batch, 1 or num_neurons)`; None for none.
    """

    current: Tensor
    state: QLIFState
    modulation: Tensor | None

    def transformed(self, parameters: Iterable[Tensor]) -> bool:
        """Whether derivatives go forward through it or these parameters, see `qlifq._transforms.transformed`."""
        return transformed(self.current, self.modulation, *self.state, *parameters)


class Step(NamedTuple):
    """What one step produced.

    Args:
        state: the state after the step.
        spikes: s, `(batch, num_neurons)`.
        gap: Δ at the decision, same shape.
        potential: V at the decision, before any reset, same shape.
        threshold: what V was compared with, same shape.
        angle: θ, radians, same shape; None for the classic neuron.
        probability: P(1), or its estimate, same shape; None for the classic deterministic neuron.
        active: 1 for the neurons that decided, 0 for those in their refractory period; None where all decided.
    """

    state: QLIFState
    spikes: Tensor
    gap: Tensor
    potential: Tensor
    threshold: Tensor
    angle: Tensor | None
    probability: Tensor | None
    active: Tensor | None


# The second name is the one under which earlier versions saved it.
torch.serialization.add_safe_globals([Step, (Step, "qlifq.neurons.qlif.Step")])


class Sequence(NamedTuple):
    """What a sequence produced.

    Args:
        outputs: what was kept of every step by name, `(time, batch, num_neurons)` each; the spikes among them.
        state: the state after the last step.
    """

    outputs: Mapping[str, Tensor]
    state: QLIFState


def gathered(steps: Iterable[Step], outputs: tuple[str, ...], current: Tensor, state: QLIFState) -> Sequence:
    """The spikes and the named outputs of all steps.

    Args:
        steps: in order.
        outputs: names of states, as they are after the step, and fields of `Step`.
        current: what they were run on; without steps the outputs are as empty as it is.
        state: before the first step.
    """
    kept: dict[str, list[Tensor]] = {name: [] for name in ("spikes", *outputs)}
    for step in steps:
        state = step.state
        for name, values in kept.items():
            values.append(getattr(state if name in state._fields else step, name))
    return Sequence({name: torch.stack(each) if each else torch.zeros_like(current) for name, each in kept.items()}, state)
