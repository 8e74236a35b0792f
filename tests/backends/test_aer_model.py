"""Every construct of an Aer noise model against Aer itself: applied, of no effect in Aer either, or refused by its name."""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import qiskit_aer.noise
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Delay, Parameter
from qiskit.circuit.library import SXGate
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    LocalNoisePass,
    NoiseModel,
    PauliError,
    PauliLindbladError,
    QuantumError,
    ReadoutError,
    RelaxationNoisePass,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    kraus_error,
    mixed_unitary_error,
    pauli_error,
    phase_amplitude_damping_error,
    reset_error,
    thermal_relaxation_error,
)
from torch import Tensor

from qlifq.backends import Outcome, get
from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.aer.model import _KNOWN
from qlifq.circuits import Gate, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, QLIFError, UnsupportedError

Follows = Callable[[Outcome, Tensor], bool]
Build = Callable[[], NoiseModel]

WAIT = 35e-6
WAITING = SpikeCircuit("Waiting", (Gate("RY", Slot(0)), Gate("Delay", WAIT)))
FLIP = pauli_error([("X", 0.17), ("I", 0.83)])
TILT = np.array([[math.cos(0.2), -math.sin(0.2)], [math.sin(0.2), math.cos(0.2)]], dtype=complex)
UNEVEN = [[0.94, 0.06], [0.13, 0.87]]
THETA = 1.1
SHOTS = 100_000


def everywhere(error: Any, *instructions: str, basis: list[str] | None = None) -> Build:
    """A model with one error for all qubits."""

    def build() -> NoiseModel:
        model = NoiseModel(basis_gates=basis)
        model.add_all_qubit_quantum_error(error, list(instructions))
        return model

    return build


def local_over_shared(instruction: str) -> Build:
    """A model whose qubit 1 has an error of its own."""

    def build() -> NoiseModel:
        model = everywhere(FLIP, instruction)()
        model.add_quantum_error(amplitude_damping_error(0.4), instruction, [1])
        return model

    return build


def readout_and_measure() -> NoiseModel:
    """Quantum and readout errors on a measurement, each with one for all qubits and one of its own qubit."""
    model = local_over_shared("measure")()
    model.add_all_qubit_readout_error(UNEVEN)
    model.add_readout_error([[0.8, 0.2], [0.3, 0.7]], [0])
    return model


def added_twice() -> NoiseModel:
    """Aer composes the second with the first."""
    model = everywhere(FLIP, "measure")()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.3), "measure", warnings=False)
    return model


def of_a_backend(**options: Any) -> Build:
    return lambda: NoiseModel.from_backend(GenericBackendV2(2, seed=4), **options)


def relaxing(**options: Any) -> NoiseModel:
    model = NoiseModel()
    arguments: dict[str, Any] = {"t1s": [60e-6, 20e-6], "t2s": [70e-6, 15e-6], "dt": 1e-9, "op_types": Delay} | options
    model._custom_noise_passes.append(RelaxationNoisePass(**arguments))
    return model


def relaxing_and_delay() -> NoiseModel:
    model = relaxing(excited_state_populations=[0.3, 0.0])
    model.add_all_qubit_quantum_error(FLIP, "delay")
    return model


APPLIED: dict[str, Build] = {
    "measure": everywhere(pauli_error([("X", 0.12), ("I", 0.88)]), "measure"),
    "measure, own": local_over_shared("measure"),
    "measure and readout": readout_and_measure,
    "measure twice": added_twice,
    "gate, own": local_over_shared("sx"),
    "PauliLindbladError": everywhere(PauliLindbladError(["X", "Z", "Y"], [0.08, 0.05, 0.02]), "sx", "measure"),
    "PauliError": everywhere(PauliError(["I", "X", "Z"], [0.8, 0.15, 0.05]), "sx", "measure"),
    "Kraus": everywhere(kraus_error([np.diag([1, math.sqrt(0.7)]), np.array([[0, math.sqrt(0.3)], [0, 0]])]), "sx", "measure"),
    "damping of both": everywhere(phase_amplitude_damping_error(0.2, 0.1), "sx", "measure"),
    "superoperator": everywhere(QuantumError(SuperOp(amplitude_damping_error(0.25))), "sx", "measure"),
    "mixed unitary": everywhere(mixed_unitary_error([(TILT, 0.6), (np.eye(2), 0.4)]), "sx", "measure"),
    "coherent": everywhere(coherent_unitary_error(TILT), "sx", "measure"),
    "reset with a probability": everywhere(reset_error(0.1, 0.2), "sx", "measure"),
    "thermal relaxation": everywhere(thermal_relaxation_error(50.0, 70.0, 9.0, 0.1), "sx", "measure"),
    "virtual gate": everywhere(FLIP, "rz"),
    "gate as written": everywhere(FLIP, "ry"),
    "gate that is not used": everywhere(FLIP, "x", "id"),
    "basis u3": everywhere(FLIP, "u3", basis=["u3", "cx"]),
    "basis r": everywhere(FLIP, "r", basis=["r", "cz"]),
    "basis h, rz": everywhere(FLIP, "h", "rz", basis=["h", "rz"]),
    "basis rx, rz": everywhere(FLIP, "rx", basis=["rx", "rz"]),
    "delay": everywhere(FLIP, "delay"),
    "relaxation in delays": lambda: relaxing(excited_state_populations=[0.25, 0.1]),
    "relaxation and delay": relaxing_and_delay,
    "of a backend": of_a_backend(),
    "of a warm backend": of_a_backend(temperature=60),
    "reset never runs": everywhere(FLIP, "reset"),
    "two qubits never run": everywhere(depolarizing_error(0.3, 2), "cx", "my_entangler"),
}


def counts_of_aer(model: NoiseModel, waits: bool) -> tuple[Tensor, int]:
    """Ones of qubits 0 and 1 as Aer runs the translated circuit with the model attached.

    The angle is open while the circuit is translated: Qiskit finds other gates for a constant, which turn a coherent error
    another way.
    """
    angle = Parameter("angle")
    written = QuantumCircuit(2, 2)
    for qubit in range(2):
        written.ry(angle, qubit)
        if waits:
            written.delay(WAIT, qubit, unit="s")
    written.barrier()
    written.measure([0, 1], [0, 1])
    native = transpile(written, basis_gates=model.basis_gates, optimization_level=1, seed_transpiler=0)
    native = native.assign_parameters({angle: THETA})
    simulator = AerSimulator(noise_model=model, method="density_matrix", max_parallel_threads=1)
    counts = simulator.run(native, shots=SHOTS, seed_simulator=11).result().get_counts()
    return torch.tensor([[sum(n for bits, n in counts.items() if bits[1 - qubit] == "1") for qubit in range(2)]]), SHOTS


def law_at_theta(model: NoiseModel, circuit: SpikeCircuit) -> Tensor:
    backend = AerBackend(model, sampling="law")
    return backend._law(circuit, backend._models_of(2)).probability(torch.full((1, 2), THETA, dtype=torch.float64))


@pytest.mark.parametrize("build", APPLIED.values(), ids=APPLIED.keys())
def test_each_construct_acts_as_in_aer(build: Build, follows: Follows) -> None:
    """The law against counts of Aer itself and of both samplings, exact binomial tails; a bias of 0.02 would be seen."""
    model = build()
    waits = "delay" in model.noise_instructions or bool(model._custom_noise_passes)
    circuit = WAITING if waits else RYSpike()
    law = law_at_theta(model, circuit)
    ones, shots = counts_of_aer(model, waits)
    assert follows(Outcome(law, ones, shots), law)
    angles = torch.full((1, 2, 1), THETA, dtype=torch.float64)
    for sampling in ("shots", "law"):
        assert follows(AerBackend(model, sampling=sampling).run(circuit, angles, shots=SHOTS, seed=3), law)
    # One shot has a layout of its own.
    single = AerBackend(model).run(circuit, angles.expand(4000, 2, 1), shots=1, seed=3).ones
    assert single is not None
    assert follows(Outcome(law, single.sum(0, keepdim=True), 4000), law)


def test_an_error_that_is_left_out_would_be_seen(follows: Follows) -> None:
    ones, shots = counts_of_aer(readout_and_measure(), waits=False)
    lost = readout_and_measure()
    lost._default_quantum_errors.clear()
    lost._local_quantum_errors.clear()
    law = law_at_theta(lost, RYSpike())
    assert not follows(Outcome(law, ones, shots), law)


def with_readout(*arguments: Any) -> Build:
    def build() -> NoiseModel:
        model = NoiseModel()
        model.add_readout_error(*arguments)
        return model

    return build


def with_local(error: Any, instruction: Any, qubits: list[int]) -> Build:
    def build() -> NoiseModel:
        model = NoiseModel()
        model.add_quantum_error(error, instruction, qubits)
        return model

    return build


def with_attribute(name: str, value: object) -> Build:
    def build() -> NoiseModel:
        model = NoiseModel()
        setattr(model, name, value)
        return model

    return build


def with_pass(*passes: Any) -> Build:
    return with_attribute("_custom_noise_passes", list(passes))


class UnknownError(QuantumError):  # type: ignore[misc]
    """An error that Qiskit cannot turn into a channel."""

    def to_quantumchannel(self) -> SuperOp:
        raise KeyError("novel")


JOINT = np.kron(UNEVEN, UNEVEN)
PASS = RelaxationNoisePass([1e-5], [1e-5], dt=1e-9, op_types=Delay)
REFUSED: dict[str, tuple[Build, type[QLIFError], str]] = {
    "label": (
        with_local(FLIP, SXGate(label="tired_sx"), [1]),
        UnsupportedError,
        "has a QuantumError on `tired_sx` of qubits 1: no gate has that name or label",
    ),
    "label for all": (everywhere(FLIP, "pulse"), UnsupportedError, "has a QuantumError on `pulse` of all qubits: no gate"),
    "joint readout": (
        with_readout(ReadoutError(JOINT), [0, 2]),
        UnsupportedError,
        "errors of one qubit on `readout`, but has a ReadoutError on `readout` of qubits 0, 2: Aer applies none",
    ),
    "joint measure": (
        with_local(depolarizing_error(0.1, 2), "measure", [0, 1]),
        UnsupportedError,
        "errors of one qubit on `measure`, but has a QuantumError on `measure` of qubits 0, 1",
    ),
    "joint measure for all": (
        everywhere(PauliLindbladError(["XX"], [0.1]), "measure"),
        UnsupportedError,
        "errors of one qubit on `measure`, but has a PauliLindbladError on `measure` of all qubits",
    ),
    "joint delay": (
        everywhere(depolarizing_error(0.1, 2), "delay"),
        UnsupportedError,
        "errors of one qubit on `delay`, but has a QuantumError on `delay` of all qubits",
    ),
    "negative rate": (
        everywhere(PauliLindbladError(["X", "Z"], [0.2, -0.1]), "sx"),
        ArgumentError,
        "has a PauliLindbladError on `sx` of all qubits, which is not completely positive",
    ),
    "negative probability": (
        everywhere(PauliError(["I", "Y"], [1.2, -0.2]), "measure"),
        ArgumentError,
        "has a PauliError on `measure` of all qubits, which is not completely positive",
    ),
    "novel error": (
        everywhere(UnknownError([(QuantumCircuit(1), 0.5), (pauli_error([("X", 1)]).circuits[0], 0.5)]), "x"),
        UnsupportedError,
        "that Qiskit can turn into a SuperOp, but has an UnknownError on `x` of all qubits: 'novel'",
    ),
    "other pass": (
        with_pass(LocalNoisePass(lambda operation, qubits: None, op_types=SXGate)),
        UnsupportedError,
        "no noise pass but one RelaxationNoisePass with op_types=Delay, but has LocalNoisePass",
    ),
    "pass on gates": (
        with_pass(RelaxationNoisePass([1e-5], [1e-5], dt=1e-9, op_types=[SXGate, Delay])),
        UnsupportedError,
        "with op_types=Delay, but has RelaxationNoisePass: what a gate does",
    ),
    "two passes": (with_pass(PASS, PASS), UnsupportedError, "but has RelaxationNoisePass, RelaxationNoisePass"),
    "impossible T2": (
        with_pass(RelaxationNoisePass([1e-5], [3e-5], dt=1e-9, op_types=Delay)),
        ArgumentError,
        "has 1e-05 s, 3e-05 s and 0 at qubit 0",
    ),
    "new attribute": (with_attribute("_crosstalk", {(0, 1): FLIP}), UnsupportedError, "holds an unknown `_crosstalk`"),
}


@pytest.mark.parametrize(("build", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_applied_is_refused_by_name(build: Build, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        get("aer", noise=build())


def test_what_acts_on_other_qubits_is_not_looked_at() -> None:
    get("aer", noise=REFUSED["label"][0](), qubits=[0, 3])
    with pytest.raises(UnsupportedError, match="`readout` of qubits 0, 2"):
        get("aer", noise=REFUSED["joint readout"][0](), qubits=[2])


def test_an_attribute_that_holds_nothing_is_no_noise() -> None:
    get("aer", noise=with_attribute("_crosstalk", {})())


def test_the_tables_hold_all_that_aer_has() -> None:
    """A construct that a later Aer adds fails here first."""
    assert set(vars(NoiseModel())) == _KNOWN
    kinds = {name for name, item in vars(qiskit_aer.noise).items() if inspect.isclass(item)}
    assert kinds == {
        "LocalNoisePass",
        "NoiseModel",
        "PauliError",
        "PauliLindbladError",
        "QuantumError",
        "ReadoutError",
        "RelaxationNoisePass",
    }


def test_a_delay_of_a_qubit_that_the_model_does_not_tell_is_refused() -> None:
    backend = AerBackend(relaxing())
    backend.run(WAITING, torch.zeros(1, 2, 1), shots=1, seed=None)
    with pytest.raises(UnsupportedError, match="in a delay for circuit Waiting, but says nothing for site 2: add an error on"):
        backend.run(WAITING, torch.zeros(1, 3, 1), shots=1, seed=None)
    backend.run(RYSpike(), torch.zeros(1, 3, 1), shots=1, seed=None)


def test_errors_at_a_measurement_are_distinguished() -> None:
    reported = {
        AerBackend(build()).run(RYSpike(), torch.zeros(0, 1, 1), shots=1, seed=None).metadata["noise"]
        for build in (APPLIED["measure"], APPLIED["measure twice"], APPLIED["measure and readout"], with_readout(UNEVEN, [0]))
    }
    assert len(reported) == 4
