"""The spike decision that a backend makes: from the angle to spikes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from qlifq._transforms import constant
from qlifq.backends.gradients import evaluate
from qlifq.backends.interface import Backend
from qlifq.backends.sampling import straight_through
from qlifq.circuits import SpikeCircuit, excitation_at
from qlifq.neurons.parameters import Settings
from qlifq.neurons.thresholds import just_above, largest_silent_count

__all__ = ["QuantumDecision"]


class QuantumDecision(NamedTuple):
    """How the qubits of a layer are evaluated; constant over a sequence.

    Args:
        settings: the neuron's parameters.
        backend: where.
        circuit: what a decision runs.
        shots: shots per qubit and step; None for exact probabilities.
        gradient: as for `qlifq.backends.evaluate`.
        gradient_shots: as for `qlifq.backends.evaluate`.
    """

    settings: Settings
    backend: Backend
    circuit: SpikeCircuit
    shots: int | None
    gradient: str
    gradient_shots: int | None

    def decide(
        self, angle: Tensor, active: Tensor | None, seeds: Sequence[int], uniform: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Evaluate the qubits of every active neuron once.

        Args:
            angle: θ, `(batch, num_neurons)`, radians.
            active: bool, the neurons that decide; None for all.
            seeds: of the run and of the gradient.
            uniform: draws numbers within [0, 1) in the shape of a tensor.

        Returns:
            The spikes and the estimate of their probability, each `(batch, num_neurons)`.
        """
        run_seed, gradient_seed = seeds
        settings = self.settings
        wires = settings.quantum_wire
        outcome = evaluate(
            self.backend,
            self.circuit,
            _on_wires(angle, wires).unsqueeze(-1),
            shots=self.shots,
            seed=run_seed,
            where=None if active is None else _on_wires(active, wires),
            gradient=self.gradient,
            gradient_shots=self.gradient_shots,
            gradient_seed=gradient_seed,
        )
        probability, ones = outcome.probability, outcome.ones
        if wires > 1:
            probability = probability.reshape(*angle.shape, wires).mean(dim=-1)
            ones = None if ones is None else ones.reshape(*angle.shape, wires).sum(dim=-1)
        if settings.decision == "expectation":
            return probability, probability
        estimate = probability.detach()
        if settings.decision == "threshold":
            spikes = self._exceeds(estimate, ones).to(estimate.dtype)
        elif self.shots == 1 and wires == 1:
            # One shot is one Bernoulli(p) draw already.
            spikes = estimate
        else:
            spikes = constant(estimate, lambda at: (uniform(at) < at).to(at.dtype))
        return straight_through(spikes, probability), probability

    def _exceeds(self, estimate: Tensor, ones: Tensor | None) -> Tensor:
        """Where the threshold is exceeded: by the counts where there are any, else by the estimates themselves."""
        threshold = excitation_at(self.settings.quantum_threshold)
        if ones is None or self.shots is None:
            return estimate > just_above(threshold, estimate.dtype)
        return ones > largest_silent_count(threshold, self.shots * self.settings.quantum_wire)


def _on_wires(value: Tensor, wires: int) -> Tensor:
    """`(batch, neurons)` to `(batch, neurons * wires)`: the qubits of one neuron are neighbours."""
    return value if wires == 1 else value.repeat_interleave(wires, dim=1)
