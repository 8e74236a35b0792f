"""The closed form on torch tensors: exact, differentiable, on the device where the angles are."""

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from qlifq._transforms import cached, transformed
from qlifq.backends.batching import shot_parts
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome
from qlifq.backends.noise import DeviceNoise, check_noise, describe_noise
from qlifq.backends.sampling import draw, masked
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import Gate, SinusoidalResponse, SpikeCircuit, bloch
from qlifq.circuits.sinusoidal import RESPONSE_ANGLES
from qlifq.circuits.trains.law import sample
from qlifq.random import generator

__all__ = ["AnalyticBackend"]

#: The most spikes that are drawn at once, a byte each, before they are packed.
_SPIKES_AT_ONCE = 2**26


@final
class AnalyticBackend(Backend):
    """P(1) from the circuit's gate list, elementwise in torch.

    Exact probabilities carry autograd. Counts are drawn from them with a torch generator, and then `probability` is
    ones / shots with the gradient of the exact one.

    Args:
        noise: the qubits' noise, applied exactly; None for none.

    Raises:
        DtypeError: if `noise` is no `DeviceNoise`.

    Example:
        >>> from qlifq.circuits import RYSpike
        >>> backend = AnalyticBackend()
        >>> angles = torch.tensor([[[0.0], [torch.pi / 2], [torch.pi]]])
        >>> backend.run(RYSpike(), angles, shots=None, seed=None).probability
        tensor([[0.0000, 0.5000, 1.0000]])
    """

    name = "analytic"
    capabilities = Capabilities(exact=True, shots=True, noisy=True, differentiable=True, trains=True)

    def __init__(self, noise: DeviceNoise | None = None) -> None:
        check_noise(self.name, noise)
        self.noise = noise
        self.sites = None if noise is None else noise.sites
        self.capabilities = replace(self.capabilities, ideal=noise is None)
        self.facts = {"noise": describe_noise(noise)}
        #: By the gates and the device: made of one number per site, they cost more than the evaluations of a small batch.
        self._laws: dict[tuple[tuple[Gate, ...], torch.device], SinusoidalResponse] = {}

    def _execute(self, call: Call) -> Outcome:
        probability = masked(self.probability(call.circuit, call.angles), call.where)
        return Outcome(probability) if call.shots is None else draw(probability, call.shots, call.seed)

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        train, base = call.train, call.train.base
        source = None if call.seed is None else generator(call.seed, base.device)
        noise = None if self.noise is None else self.noise.of_trains(base.dtype, base.device)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, dtype=base.dtype, device=base.device, generator=source)

        parts = shot_parts(call.shots, max(1, _SPIKES_AT_ONCE // base.numel()))
        return TrainOutcome.joined([TrainOutcome.of(sample(train, shots, uniform, noise)) for shots in parts])

    def probability(self, circuit: SpikeCircuit, angles: Tensor) -> Tensor:
        """Exact P(read as 1), `(batch, sites, num_angles)` to `(batch, sites)`, without checks."""
        if self.noise is None:
            return bloch.probability(circuit.gates, angles)
        if circuit.is_sinusoidal:
            return self.law(circuit, angles.device).probability(angles[..., 0])
        channel = self.noise.channel(angles.dtype, angles.device)
        return self.noise.read(bloch.probability(circuit.gates, angles, channel))

    def response(self, circuit: SpikeCircuit, sites: int) -> SinusoidalResponse | None:
        """See `Backend.response`."""
        if not circuit.is_sinusoidal:
            return None
        self.check_circuit(circuit, sites)
        return self.law(circuit, torch.device("cpu"))

    def law(self, circuit: SpikeCircuit, device: torch.device) -> SinusoidalResponse:
        """The law of a one-angle circuit under this noise, float64, `(sites,)` or `()`; worked out once."""
        if (found := self._laws.get((circuit.gates, device))) is not None:
            return found
        with cached():
            law = self._law(circuit, device)
        # What is made within a transform of torch.func is wrapped for it.
        return law if transformed() else self._laws.setdefault((circuit.gates, device), law)

    def _law(self, circuit: SpikeCircuit, device: torch.device) -> SinusoidalResponse:
        angles = torch.tensor(RESPONSE_ANGLES, dtype=torch.float64, device=device)[:, None]
        if self.noise is None:
            return SinusoidalResponse.through(*bloch.probability(circuit.gates, angles))
        if self.sites is not None:
            angles = angles[:, None].expand(-1, self.sites, -1)
        channel = self.noise.channel(torch.float64, device)
        return SinusoidalResponse.through(*self.noise.read(bloch.probability(circuit.gates, angles, channel)))
