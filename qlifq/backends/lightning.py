"""Circuits on PennyLane's `lightning.qubit`, packed and submitted in batches."""

from types import MappingProxyType
from typing import Any, final

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript
from torch import Tensor

from qlifq._validation import integer
from qlifq.backends.flat import Floats, answer, ask
from qlifq.backends.interface import Backend, Capabilities, Outcome, Plan
from qlifq.backends.registry import with_noise
from qlifq.circuits import Gate, Packing, Slot, SpikeCircuit
from qlifq.errors import UnsupportedError

__all__ = ["LightningBackend"]

#: The most circuits in one submission: each leaves 2**wires probabilities, or shots × wires samples, until it is read.
_BATCH_CIRCUITS = 4096
_BATCH_SAMPLES = 2**25

#: Microseconds per evaluation on one core of a 2025 cloud machine, as `python -m benchmarks.backends` prints them.
_EXACT_MICROSECONDS = 5.5
_SHOTS_MICROSECONDS = 7.0
_SAMPLE_MICROSECONDS = 0.008

#: The operations of packed circuits, kept because building one costs as much as running it; a batch takes a list out
#: while it uses it, so that two threads never share one.
_SPARE_CIRCUITS = 8
_SPARE: dict[tuple[tuple[Gate, ...], int], list[list[Any]]] = {}


@final
class LightningBackend(Backend):
    """State vectors of `wires` qubits, one evaluation on each, all circuits of a call handed over in one batch.

    Exact probabilities are the marginals of one `probs` measurement per circuit; counts are summed over one `sample`
    measurement with real shots. There is no noise: a delay is the identity.

    Args:
        noise: None. A state vector has no noise; the argument is there to say so.
        wires: evaluations side by side in one circuit, 1 to 16. The default is where a call is fastest.

    Raises:
        QLIFError: for a noise, or a number of wires out of range.

    Example:
        >>> import torch
        >>> from qlifq.circuits import RYSpike
        >>> angles = torch.tensor([[[0.0], [torch.pi / 2], [torch.pi]]], dtype=torch.float64)
        >>> LightningBackend().run(RYSpike(), angles, shots=None, seed=None).probability
        tensor([[0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """

    name = "lightning"
    capabilities = Capabilities(exact=True, shots=True, noisy=False, differentiable=False)
    facts = MappingProxyType({"noise": "none"})

    def __init__(self, noise: None = None, *, wires: int = 8) -> None:
        if noise is not None:
            raise UnsupportedError(
                f"Argument `noise` must be None for backend lightning, which has none, but is {type(noise).__name__}: "
                f"backends with noise are {', '.join(with_noise())}."
            )
        self.wires = integer("wires", wires, at_least=1, at_most=16)

    def run(
        self,
        circuit: SpikeCircuit,
        angles: Tensor,
        *,
        shots: int | None,
        seed: int | None,
        where: Tensor | None = None,
    ) -> Outcome:
        """See `Backend.run`.

        The counts of an evaluation depend on its place among those that are asked, and on no number of threads.
        """
        self.check(circuit, angles, shots=shots, seed=seed, where=where)
        asked = ask(angles, where)
        return answer(asked, self._run_all(circuit, asked.values, shots, seed), angles, shots, **self.facts)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`."""
        self.check_size(batch, sites, shots)
        evaluations = batch * sites
        circuits = Packing(evaluations, self.wires).circuits
        each = _EXACT_MICROSECONDS if shots is None else _SHOTS_MICROSECONDS + _SAMPLE_MICROSECONDS * shots
        return Plan(
            evaluations=evaluations,
            circuits=circuits,
            qubits=self.wires if evaluations else 0,
            jobs=-(-circuits // self._circuits_a_job(shots)),
            executions=circuits * (shots or 0),
            estimated_seconds=evaluations * len(circuit.gates) * each * 1e-6,
        )

    def _circuits_a_job(self, shots: int | None) -> int:
        return min(_BATCH_CIRCUITS, max(1, _BATCH_SAMPLES // ((shots or 1) * self.wires)))

    def _run_all(self, circuit: SpikeCircuit, values: Floats, shots: int | None, seed: int | None) -> Floats:
        """P(1) or the number of ones of each evaluation."""
        device = qml.device("lightning.qubit", wires=self.wires, seed=seed)
        size = self._circuits_a_job(shots) * self.wires
        answers = [self._run_job(device, circuit, values[start : start + size], shots) for start in range(0, len(values), size)]
        return np.concatenate(answers) if answers else np.zeros(0)

    def _run_job(self, device: Any, circuit: SpikeCircuit, values: Floats, shots: int | None) -> Floats:
        packing = Packing(len(values), self.wires)
        key = (circuit.gates, self.wires)
        bodies = _SPARE.pop(key, [])
        bodies.extend(self._body(circuit) for _ in range(packing.circuits - len(bodies)))
        used = bodies[: packing.circuits]
        _fill(circuit, used, packing.pack(values))
        measurement = qml.probs(wires=range(self.wires)) if shots is None else qml.sample(wires=range(self.wires))
        scripts = [QuantumScript(body, [measurement], shots=shots) for body in used]
        results = device.execute(scripts)
        if len(_SPARE) >= _SPARE_CIRCUITS:
            _SPARE.clear()
        _SPARE[key] = bodies
        if shots is None:
            # A sum of 2**wires rounded probabilities can exceed 1 by an ulp.
            return np.clip(packing.marginals(np.stack(results)), 0.0, 1.0)
        ones = [np.asarray(samples).reshape(shots, self.wires).sum(axis=0) for samples in results]
        return np.asarray(packing.unpack(np.stack(ones)), dtype=np.float64)

    def _body(self, circuit: SpikeCircuit) -> list[Any]:
        return circuit.to_pennylane(np.zeros((self.wires, circuit.num_angles)), range(self.wires))


def _fill(circuit: SpikeCircuit, bodies: list[list[Any]], packed: Floats) -> None:
    """Set the angles of operations that were built before; packed is `(circuits, wires, num_angles)`."""
    rotations = [gate for gate in circuit.gates if gate.name != "Delay"]
    for position, gate in enumerate(rotations):
        if isinstance(gate.angle, Slot):
            for body, row in zip(bodies, packed[:, :, gate.angle.index].tolist(), strict=True):
                for operation, value in zip(body[position :: len(rotations)], row, strict=True):
                    operation.data = (value,)
