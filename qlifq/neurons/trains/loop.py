"""A sequence whose closed loop runs inside the circuit: equal rows share one, and the dynamics follow the trains it gave."""

from functools import cached_property

import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.backends.gradients import parameter_shift, with_derivative
from qlifq.backends.sampling import masked, straight_through
from qlifq.neurons.decision import QuantumDecision
from qlifq.neurons.state import QLIFState
from qlifq.neurons.trains.compiler import Neuron, compile_train

__all__ = ["LOOPS", "DrawnTrains", "drawn_trains"]

#: Where the closed loop of a sequence runs.
LOOPS = ("host", "circuit")


def drawn_trains(
    backend: Backend,
    neuron: Neuron,
    current: Tensor,
    state: QLIFState,
    modulation: Tensor | None,
    *,
    tolerance: float,
    seed: int | None,
) -> Tensor:
    """One spike train for each row of a batch, all from one call of the backend.

    Rows with the same input and state are shots of one program.

    Args:
        backend: where it runs.
        neuron: neurons that `check_trainable` lets pass.
        current: `(time, batch, num_neurons)`.
        state: before the first step, `(batch, num_neurons)` each.
        modulation: as for `compile_train`.
        tolerance: as for `compile_train`.
        seed: of the call.

    Returns:
        `(time, batch, num_neurons)`, 0 and 1, in the dtype and on the device of the current.
    """
    given = [current, *(value.unsqueeze(0) for value in state)]
    if modulation is not None and modulation.shape[1] > 1:
        given.append(modulation.expand(-1, -1, current.shape[2]))
    rows = torch.cat([value.detach().movedim(1, 0).flatten(1) for value in given], dim=1)
    _, program, shares = torch.unique(rows, dim=0, return_inverse=True, return_counts=True)
    order = program.argsort(stable=True)
    starts = shares.cumsum(0) - shares
    # The first row of each kind stands for it, and each further one is its next shot.
    shot = torch.empty_like(order)
    shot[order] = torch.arange(len(order), device=order.device) - starts[program[order]]
    first = order[starts]
    own = modulation if modulation is None or modulation.shape[1] == 1 else modulation[:, first]
    train = compile_train(neuron, current[:, first], type(state)(*(value[first] for value in state)), own, tolerance)
    outcome = backend.run_train(train, shots=int(shares.max()), seed=seed)
    return outcome.pick(shot, program).to(current)


class DrawnTrains:
    """The decisions of a sequence whose spikes were drawn in a circuit, with the gradients of the host loop at these spikes.

    Args:
        decision: how the qubits of the layer are evaluated.
        spikes: `(time, batch, num_neurons)`, 0 and 1.
        gradient_seed: of the shifted evaluations.
    """

    def __init__(self, decision: QuantumDecision, spikes: Tensor, gradient_seed: int) -> None:
        self.spikes = spikes
        self._decision = decision
        self._seed = gradient_seed
        self._angles: list[Tensor] = []
        self._active: list[Tensor] = []

    def decide(self, step: int, angle: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        """The spikes of a step, and the estimate of their probability that one shot is: both carry its derivative.

        Args:
            step: which one; the steps come in order.
            angle: θ, `(batch, num_neurons)`, radians.
            active: bool, the neurons outside their refractory period; None for all.
        """
        drawn, decision = self.spikes[step], self._decision
        self._angles.append(angle.detach())
        self._active.append(torch.ones_like(angle, dtype=torch.bool) if active is None else active)
        if decision.gradient == "none" or not (torch.is_grad_enabled() and angle.requires_grad):
            return drawn, drawn
        if decision.gradient == "analytic":
            spikes = straight_through(drawn, masked(decision.circuit.probability(angle.unsqueeze(-1)), active))
        else:
            spikes = with_derivative(angle.unsqueeze(-1), drawn, lambda _: self._derivatives[step])
        return spikes, spikes

    @cached_property
    def _derivatives(self) -> Tensor:
        """∂P/∂θ of every step, `(time, batch, num_neurons, 1)`: one call of the backend, when the first is needed."""
        decision, angles = self._decision, torch.stack(self._angles)
        # A train is one shot; its derivatives are exact where the backend can give them.
        shots = None if decision.backend.capabilities.exact else decision.shots
        found = parameter_shift(
            decision.backend,
            decision.circuit,
            angles.flatten(0, 1).unsqueeze(-1),
            shots=shots if decision.gradient_shots is None else decision.gradient_shots,
            seed=self._seed,
            where=torch.stack(self._active).flatten(0, 1),
        )
        return found.reshape(*angles.shape, 1)
