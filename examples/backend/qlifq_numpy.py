"""State vectors of one qubit in NumPy, as a backend of qlifq."""

from types import MappingProxyType
from typing import final

import numpy as np

from qlifq.backends import Backend, Call, Capabilities, Outcome
from qlifq.backends.batching import Batch, Floats, on_host, rounded_into_range
from qlifq.circuits import Slot

PAULI = {"RX": [[0, 1], [1, 0]], "RY": [[0, -1j], [1j, 0]], "RZ": [[1, 0], [0, -1]]}


@final
class NumPyBackend(Backend):
    """One state vector per evaluation, all of a call at once; a delay is the identity."""

    name = "numpy"
    capabilities = Capabilities(exact=True, shots=True, noisy=False, differentiable=False)
    facts = MappingProxyType({"noise": "none"})

    def _execute(self, call: Call) -> Outcome:
        def evaluate(batch: Batch) -> Floats:
            state = np.tile(np.array([1.0, 0.0], dtype=complex), (len(batch.values), 1))
            for gate in call.circuit.gates:
                if gate.name != "Delay":
                    angle = batch.values[:, gate.angle.index] if isinstance(gate.angle, Slot) else gate.angle
                    half = np.broadcast_to(angle, len(state))[:, None] / 2
                    state = np.cos(half) * state - 1j * np.sin(half) * (state @ np.array(PAULI[gate.name]).T)
            probability = rounded_into_range(np.abs(state[:, 1]) ** 2)
            if call.shots is None:
                return probability
            return np.random.default_rng(call.seed).binomial(call.shots, probability).astype(np.float64)

        return on_host(call, evaluate)
