"""The oracle: density matrices in NumPy, independent of all other code.

It shares no formula with the closed form of `qlifq.circuits`: states are 2 × 2 density matrices, gates are unitary matrices
and noise is Kraus operators, so an agreement of the two is evidence for both.

Reference: Nielsen and Chuang, Quantum Computation and Quantum Information, sections 8.2 and 8.3.
"""

from typing import final

import numpy as np
import numpy.typing as npt
import torch

from qlifq.backends.batching import Batch, on_host, rounded_into_range
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome
from qlifq.backends.noise import DeviceNoise, SiteNoise, check_noise, describe_noise
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import Condition, Gate, Slot, SpikeCircuit, SpikeTrainCircuit

__all__ = ["ReferenceBackend"]

Matrix = npt.NDArray[np.complex128]

_IDENTITY = np.eye(2, dtype=np.complex128)
_PAULI: dict[str, Matrix] = {
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}


@final
class ReferenceBackend(Backend):
    """Slow and simple: one density matrix per evaluation, in float64.

    Args:
        noise: the qubits' noise; None for none.

    Raises:
        DtypeError: if `noise` is no `DeviceNoise`.
    """

    name = "reference"
    capabilities = Capabilities(exact=True, shots=True, noisy=True, differentiable=False, trains=True)

    def __init__(self, noise: DeviceNoise | None = None) -> None:
        check_noise(self.name, noise)
        self.noise = noise
        self.sites = None if noise is None else noise.sites
        self.facts = {"noise": describe_noise(noise)}

    def _execute(self, call: Call) -> Outcome:
        def evaluated(batch: Batch) -> npt.NDArray[np.generic]:
            exact = [
                _population(call.circuit, values, None if self.noise is None else self.noise.at(int(site)))
                for values, site in zip(batch.values, batch.sites, strict=True)
            ]
            probability = rounded_into_range(np.array(exact))
            return probability if call.shots is None else np.random.default_rng(call.seed).binomial(call.shots, probability)

        return on_host(call, evaluated)

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        source = np.random.default_rng(call.seed)
        sites = range(call.train.sites)
        noises = [SiteNoise(np.inf, np.inf, 0, 0, 0, 0) if self.noise is None else self.noise.at(site) for site in sites]
        drawn = [_trains(call.train, element, call.shots, noises, source) for element in range(call.train.batch)]
        return TrainOutcome.of(torch.from_numpy(np.stack(drawn, axis=2)))


def _population(circuit: SpikeCircuit, values: npt.NDArray[np.float64], noise: SiteNoise | None) -> float:
    """P(read as 1) of one evaluation."""
    state = np.array([[1, 0], [0, 0]], dtype=np.complex128)
    for gate in circuit.gates:
        value = float(values[gate.angle.index]) if isinstance(gate.angle, Slot) else gate.angle
        if gate.name != "Delay":
            unitary = _rotation(gate, value)
            state = unitary @ state @ unitary.conj().T
        if noise is None or gate.name == "RZ":
            continue
        if gate.name != "Delay":
            state = _apply(_depolarising(2 * noise.gate_error), state)
        state = _apply(_relaxing(value if gate.name == "Delay" else noise.gate_time, noise.t1, noise.t2), state)
    one = float(state[1, 1].real)
    return one if noise is None else (1 - one) * noise.readout_p01 + one * (1 - noise.readout_p10)


def _trains(
    train: SpikeTrainCircuit, element: int, shots: int, noises: list[SiteNoise], source: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """The bits of every shot, `(shots, time, sites)`: one density matrix per shot and site, as a row of four numbers."""
    bits = np.zeros((shots, train.steps, train.sites), dtype=np.bool_)
    states = np.zeros((train.sites, shots, 4), dtype=np.complex128)
    states[:, :, 0] = 1
    for operation in train.instructions(element):
        site, noise = operation.site, noises[operation.site]
        state, one = states[site], states[site, :, 3].real.copy()
        if operation.name == "RY":
            runs = _runs(operation.condition, bits[:, :, operation.source])
            turned = _superoperator([_rotation(Gate("RY", operation.angle), operation.angle)])
            relaxed = _superoperator(_relaxing(noise.gate_time, noise.t1, noise.t2))
            whole = relaxed @ _superoperator(_depolarising(2 * noise.gate_error)) @ turned
            state[runs] = state[runs] @ whole.T
        elif operation.name == "Measure":
            excited = source.random(shots) < one
            state[:] = np.where(excited[:, None], [0, 0, 0, 1], [1, 0, 0, 0])
            flipped = source.random(shots) < np.where(excited, noise.readout_p10, noise.readout_p01)
            bits[:, operation.step, site] = excited ^ flipped
        else:
            state[:] = np.outer(1 - noise.reset_error * one, [1, 0, 0, 0]) + np.outer(noise.reset_error * one, [0, 0, 0, 1])
    return bits


def _runs(condition: Condition | None, bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """In which shots a rotation runs; the bits are those of one site, `(shots, time)`."""
    if condition is None:
        return np.ones(len(bits), dtype=np.bool_)
    inside = np.asarray(bits[:, condition.first : condition.last + 1].any(axis=1))
    return inside & ~bits[:, condition.last + 1 : condition.step].any(axis=1) if condition.newest else inside


def _superoperator(kraus: list[Matrix]) -> Matrix:
    """A channel on density matrices that are written as rows of four."""
    return np.asarray(sum(np.kron(operator, operator.conj()) for operator in kraus))


def _rotation(gate: Gate, angle: float) -> Matrix:
    pauli = _PAULI[gate.name[1]]
    return np.asarray(np.cos(angle / 2) * _IDENTITY - 1j * np.sin(angle / 2) * pauli)


def _apply(kraus: list[Matrix], state: Matrix) -> Matrix:
    return np.asarray(sum(operator @ state @ operator.conj().T for operator in kraus))


def _depolarising(strength: float) -> list[Matrix]:
    weights = [np.sqrt(1 - 0.75 * strength), *[np.sqrt(strength) / 2] * 3]
    return [weight * operator for weight, operator in zip(weights, [_IDENTITY, *_PAULI.values()], strict=True)]


def _relaxing(time: float, t1: float, t2: float) -> list[Matrix]:
    """Amplitude damping for T1, then the phase flips that T2 implies beyond it."""
    decayed = 1 - np.exp(-time / t1)
    flipped = (1 - np.exp(-time / t2 + time / (2 * t1))) / 2
    damping = [
        np.array([[1, 0], [0, np.sqrt(1 - decayed)]], dtype=np.complex128),
        np.array([[0, np.sqrt(decayed)], [0, 0]], dtype=np.complex128),
    ]
    flips = [np.sqrt(1 - flipped) * _IDENTITY, np.sqrt(max(flipped, 0.0)) * _PAULI["Z"]]
    return [flip @ damp for flip in flips for damp in damping]
