"""The closed form on torch tensors: exact, differentiable, on the device where the angles are."""

from typing import final

import torch
from torch import Tensor

from qlifq.backends.interface import Backend, Capabilities, Outcome, Plan
from qlifq.backends.noise import DeviceNoise
from qlifq.circuits import Law, RYSpike, SpikeCircuit, bloch
from qlifq.circuits.law import LAW_ANGLES
from qlifq.errors import DtypeError

__all__ = ["AnalyticBackend", "draw", "generator"]

_RY = RYSpike()


@final
class AnalyticBackend(Backend):
    """P(1) from the circuit's gate list, elementwise in torch.

    Exact probabilities carry autograd. Counts are drawn from them with a torch generator, and then `probability` is
    ones / shots with the gradient of the exact one.

    Args:
        noise: the qubits' noise, applied exactly; None for none.

    Raises:
        QLIFError: if `noise` is no `DeviceNoise`.

    Example:
        >>> backend = AnalyticBackend()
        >>> angles = torch.tensor([[[0.0], [torch.pi / 2], [torch.pi]]])
        >>> backend.run(RYSpike(), angles, shots=None, seed=None).probability
        tensor([[0.0000, 0.5000, 1.0000]])
    """

    name = "analytic"
    capabilities = Capabilities(exact=True, shots=True, noisy=True, differentiable=True)

    def __init__(self, noise: DeviceNoise | None = None) -> None:
        if noise is not None and not isinstance(noise, DeviceNoise):
            raise DtypeError(f"Argument `noise` must be a DeviceNoise or None, but is {type(noise).__name__}.")
        self.noise = noise

    def run(
        self,
        circuit: SpikeCircuit,
        angles: Tensor,
        *,
        shots: int | None,
        seed: int | None,
        where: Tensor | None = None,
    ) -> Outcome:
        """See `Backend.run`."""
        self.check(circuit, angles, shots=shots, seed=seed, where=where)
        if self.noise is not None:
            self.noise.check_sites(angles.shape[1])
        probability = self.probability(circuit, angles)
        if where is not None:
            probability = probability * where
        return Outcome(probability) if shots is None else draw(probability, shots, seed)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`: no circuit is built and nothing is executed."""
        self.check_size(batch, sites, shots)
        return Plan(evaluations=batch * sites, circuits=0, qubits=0, jobs=0, executions=0)

    def probability(self, circuit: SpikeCircuit, angles: Tensor) -> Tensor:
        """Exact P(read as 1), `(batch, sites, num_angles)` to `(batch, sites)`, without checks."""
        if self.noise is None:
            if circuit.gates == _RY.gates:
                return (angles[..., 0] * 0.5).sin().square()
            return bloch.probability(circuit.gates, angles)
        if circuit.has_law:
            return self.law(circuit, angles.device).probability(angles[..., 0])
        channel = self.noise.channel(angles.dtype, angles.device)
        return self.noise.read(bloch.probability(circuit.gates, angles, channel))

    def law(self, circuit: SpikeCircuit, device: torch.device) -> Law:
        """The law of a one-angle circuit under this noise, float64, `(sites,)` or `()`."""
        angles = torch.tensor(LAW_ANGLES, dtype=torch.float64, device=device)[:, None, None]
        if self.noise is None:
            return Law.through(*bloch.probability(circuit.gates, angles)[:, 0])
        channel = self.noise.channel(torch.float64, device)
        return Law.through(*self.noise.read(bloch.probability(circuit.gates, angles, channel)))


def draw(probability: Tensor, shots: int, seed: int | None) -> Outcome:
    """Counts drawn from exact probabilities.

    Args:
        probability: `(batch, sites)`, within [0, 1].
        shots: at least 1.
        seed: for a torch generator on the device of `probability`; None draws from torch's global one.

    Returns:
        An `Outcome` whose probability is ones / shots, with the straight-through gradient of `probability`.
    """
    exact = probability.detach()
    source = None if seed is None else generator(seed, exact.device)
    if shots == 1:
        uniform = torch.rand(exact.shape, dtype=exact.dtype, device=exact.device, generator=source)
        ones = (uniform < exact).to(torch.int64)
    else:
        # float32 cannot hold counts above 2²⁴.
        count = torch.full_like(exact, shots, dtype=torch.float64)
        ones = torch.binomial(count, exact.to(torch.float64), generator=source).to(torch.int64)
    estimate = (ones.to(torch.float64) / shots).to(exact.dtype)
    if probability.requires_grad:
        estimate = estimate + (probability - exact)
    return Outcome(estimate, ones, shots)


def generator(seed: int, device: torch.device) -> torch.Generator:
    """A torch generator that uses all 63 bits of the seed.

    On CPU torch keeps the low 32 bits alone, so that s and s + 2³² would share their noise: the high bits are folded in.
    """
    folded = seed if device.type != "cpu" else (seed ^ ((seed >> 32) * 0x9E3779B1)) & 0xFFFFFFFF
    return torch.Generator(device=device).manual_seed(folded)
