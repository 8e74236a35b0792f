"""Circuits on PennyLane's `lightning.qubit`, packed and submitted in batches."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, final

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from qlifq._validation import integer
from qlifq.backends.batching import Floats, on_host, rounded_into_range, shot_parts
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.registry import with_noise
from qlifq.circuits import Gate, Packing, Slot, SpikeCircuit
from qlifq.errors import UnsupportedError

__all__ = ["LightningBackend"]

#: The most circuits in one submission, whose operations are kept for the next one.
_JOB_CIRCUITS = 4096
#: The most numbers that one submission leaves until it is read: each circuit 2**wires probabilities or shots × wires samples,
#: 16 bytes each at their peak. Many more would also be slower, by the time that new memory takes.
_JOB_NUMBERS = 2**20

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
    measurement with real shots, in parts where a call has many: memory does not grow with the shots. There is no noise: a
    delay is the identity.

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

    def _execute(self, call: Call) -> Outcome:
        # The counts of an evaluation depend on the seed and on its place among the selected ones, and on no number of
        # threads: one stream is drawn from, circuit after circuit, and part after part where the shots go in several.
        return on_host(call, lambda batch: self._run_all(call.circuit, batch.values, call.shots, call.seed))

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`."""
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        evaluations = batch * sites
        circuits = Packing(evaluations, self.wires).circuits
        per_gate = _EXACT_MICROSECONDS if shots is None else _SHOTS_MICROSECONDS
        # A circuit that is not full samples all of its wires.
        samples = circuits * self.wires * (shots or 0)
        return Plan(
            evaluations=evaluations,
            circuits=circuits,
            qubits=self.wires if evaluations else 0,
            jobs=-(-circuits // self._circuits_per_job(shots)) * len(self._parts(shots)),
            executions=circuits * (shots or 0),
            estimated_seconds=(evaluations * len(circuit.gates) * per_gate + samples * _SAMPLE_MICROSECONDS) * 1e-6,
        )

    def _circuits_per_job(self, shots: int | None) -> int:
        numbers = 2**self.wires if shots is None else shots * self.wires
        return min(_JOB_CIRCUITS, max(1, _JOB_NUMBERS // numbers))

    def _parts(self, shots: int | None) -> Sequence[int | None]:
        return [None] if shots is None else shot_parts(shots, _JOB_NUMBERS // self.wires)

    def _run_all(self, circuit: SpikeCircuit, values: Floats, shots: int | None, seed: int | None) -> Floats:
        """P(1) or the number of ones of each evaluation."""
        device = qml.device("lightning.qubit", wires=self.wires, seed=seed)
        size = self._circuits_per_job(shots) * self.wires
        answers = [self._run_job(device, circuit, values[start : start + size], shots) for start in range(0, len(values), size)]
        return np.concatenate(answers)

    def _run_job(self, device: Any, circuit: SpikeCircuit, values: Floats, shots: int | None) -> Floats:
        packing = Packing(len(values), self.wires)
        key = (circuit.gates, self.wires)
        bodies = _SPARE.pop(key, [])
        bodies.extend(self._body(circuit) for _ in range(packing.circuits - len(bodies)))
        used = bodies[: packing.circuits]
        _fill(circuit, used, packing.pack(values))
        results = [self._submit(device, used, part) for part in self._parts(shots)]
        if len(_SPARE) >= _SPARE_CIRCUITS:
            _SPARE.clear()
        _SPARE[key] = bodies
        if shots is None:
            # A sum of 2**wires rounded probabilities can exceed 1 by an ulp.
            return rounded_into_range(packing.marginals(results[0]))
        return np.asarray(packing.unpack(np.sum(results, axis=0)), dtype=np.float64)

    def _submit(self, device: Any, bodies: list[list[Any]], shots: int | None) -> Floats:
        """One submission: the probabilities of each circuit, `(circuits, 2**wires)`, or its ones, `(circuits, wires)`."""
        measurement = qml.probs(wires=range(self.wires)) if shots is None else qml.sample(wires=range(self.wires))
        results = device.execute([QuantumScript(body, [measurement], shots=shots) for body in bodies])
        if shots is None:
            return np.stack(results)
        return np.stack([np.asarray(samples).reshape(shots, self.wires).sum(axis=0) for samples in results])

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
