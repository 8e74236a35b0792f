"""The spike decision: from the gap to spikes, by a backend or by the classic rules."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from qlifq._transforms import constant
from qlifq._validation import finite
from qlifq.backends.gradients import evaluate
from qlifq.backends.interface import Backend
from qlifq.backends.sampling import BatchShard, bernoulli, masked, straight_through
from qlifq.circuits import RYSpike
from qlifq.neurons.parameters import Settings
from qlifq.neurons.step_functions import slope
from qlifq.neurons.surrogates import heaviside_spike
from qlifq.neurons.thresholds import just_above, largest_silent_count

__all__ = ["Decided", "QuantumDecision", "classic"]

_CIRCUIT = RYSpike()


class Decided(NamedTuple):
    """What a decision leaves: spikes, and what led to them where it exists, each `(batch, num_neurons)`."""

    spikes: Tensor
    probability: Tensor | None
    angle: Tensor | None


class QuantumDecision(NamedTuple):
    """How a layer asks its qubits; constant over a sequence.

    Args:
        settings: the neuron's parameters.
        backend: who answers.
        shots: shots per qubit and step; None for exact probabilities.
        gradient: as for `qlifq.backends.evaluate`.
        gradient_shots: as for `qlifq.backends.evaluate`.
    """

    settings: Settings
    backend: Backend
    shots: int | None
    gradient: str
    gradient_shots: int | None

    def decide(self, angle: Tensor, active: Tensor | None, seeds: Sequence[int], shard: BatchShard | None) -> Decided:
        """Ask every active neuron's qubits once.

        Args:
            angle: θ, `(batch, num_neurons)`, radians.
            active: bool, the neurons that are asked; None asks all.
            seeds: of the run, of the gradient and of the draw.
            shard: as for `qlifq.backends.sampling.bernoulli`.
        """
        run_seed, gradient_seed, draw_seed = seeds
        settings = self.settings
        wires = settings.quantum_wire
        ones: Tensor | None = None
        if self.backend.ideal and self.shots is None and self.gradient in {"auto", "analytic"}:
            # The closed form without a call per step, which costs a small layer more than the formula.
            if angle.device.type == "cpu":
                finite("angles", angle)
            probability = masked(_CIRCUIT.probability(angle.unsqueeze(-1)), active)
        else:
            outcome = evaluate(
                self.backend,
                _CIRCUIT,
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
            return Decided(probability, probability, angle)
        estimate = probability.detach()
        if settings.decision == "threshold":
            spikes = self._exceeds(estimate, ones).to(estimate.dtype)
        elif self.shots == 1 and wires == 1:
            # One shot is one Bernoulli(p) draw already.
            spikes = estimate
        else:
            spikes = constant(estimate, partial(bernoulli, seed=draw_seed, shard=shard))
        return Decided(straight_through(spikes, probability), probability, angle)

    def _exceeds(self, estimate: Tensor, ones: Tensor | None) -> Tensor:
        """Where the threshold is exceeded: by the counts where there are any, else by the estimates themselves."""
        threshold = math.sin(self.settings.quantum_threshold / 2) ** 2
        if ones is None or self.shots is None:
            return estimate > just_above(threshold, estimate.dtype)
        return ones > largest_silent_count(threshold, self.shots * self.settings.quantum_wire)


def classic(
    settings: Settings,
    gap: Tensor,
    dynamic: Tensor,
    modulation: Tensor | None,
    active: Tensor | None,
    seed: int,
    shard: BatchShard | None,
) -> Decided:
    """The decision without a qubit: a step with a surrogate gradient, or a draw with p = σ(base_alpha Δ)."""
    if not settings.stochastic:
        spikes = heaviside_spike(gap, settings.surrogate_gradient_function, settings.alpha)
        return Decided(spikes if active is None else spikes * active, None, None)
    probability = (gap * slope(settings.base_alpha, settings, dynamic, modulation)).sigmoid()
    if active is not None:
        probability = probability * active
    spikes = constant(probability, partial(bernoulli, seed=seed, shard=shard))
    return Decided(straight_through(spikes, probability), probability, None)


def _on_wires(value: Tensor, wires: int) -> Tensor:
    """`(batch, neurons)` to `(batch, neurons * wires)`: the qubits of one neuron are neighbours."""
    return value if wires == 1 else value.repeat_interleave(wires, dim=1)
