"""Backends and samplers of Qiskit behind the interface, held to the oracle and to Aer."""

from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, StatevectorSampler
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_aer.primitives import SamplerV2 as AerSampler
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from scipy.stats import binom, hypergeom

from qlifq import QLIF
from qlifq.backends import Backend, DeviceNoise, get
from qlifq.backends.conformance import check
from qlifq.backends.reference import ReferenceBackend
from qlifq.circuits import BrandPetruccione, RYSpike
from qlifq.errors import ArgumentError, BackendError, DtypeError, UnsupportedError

ANGLES = torch.linspace(-1.0, 4.0, 12, dtype=torch.float64).reshape(4, 3, 1)


def ones(backend: Backend, shots: int, seed: int | None = 1, angles: torch.Tensor = ANGLES) -> torch.Tensor:
    counts = backend.run(RYSpike(), angles, shots=shots, seed=seed).ones
    assert counts is not None
    return counts


def same_distribution(first: torch.Tensor, second: torch.Tensor, shots: int) -> bool:
    """Whether pairs of binomials can have one P(1), by the exact conditional tails: false-fail rate 1e-9 for all pairs."""
    both = hypergeom(2 * shots, (first + second).numpy(), shots)
    tails = np.minimum(both.cdf(first.numpy()), both.sf(first.numpy() - 1))
    return bool(2 * tails.min() * tails.size > 1e-9)


def poor_model() -> NoiseModel:
    model = NoiseModel(basis_gates=["rz", "sx", "x", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["sx"])
    model.add_quantum_error(depolarizing_error(0.5, 1), ["sx"], [1])
    model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]))
    return model


def test_a_simulator_object_conforms() -> None:
    check(get("qiskit", target=AerSimulator()), bias=0.2).raise_for_failure()


def test_reported_noise_gives_the_counts_of_reference_and_aer() -> None:
    """False-fail rate 1e-9 each."""
    shots = 4000
    # One native gate for an RY, so that what is reported is exactly a `DeviceNoise`.
    poor = GenericBackendV2(3, basis_gates=["rx", "ry", "rz", "cx"], seed=3)
    for name in ("rx", "ry", "measure"):
        for qubit in range(3):
            poor.target.update_instruction_properties(
                name, (qubit,), type(poor.target[name][(qubit,)])(duration=4e-7, error=0.03 * (qubit + 1))
            )
    qubits = (2, 0, 1)
    found = ones(get("qiskit", target=poor, qubits=qubits), shots)
    truth = (
        ReferenceBackend(DeviceNoise.from_backend(poor, qubits))
        .run(RYSpike(), ANGLES, shots=None, seed=None)
        .probability.numpy()
    )
    tails = np.minimum(binom.cdf(found, shots, truth), binom.sf(found - 1, shots, truth))
    assert 2 * tails.min() * tails.size > 1e-9
    assert same_distribution(found, ones(get("aer", noise=poor, qubits=qubits), shots), shots)
    clean = ones(get("qiskit"), shots)
    assert not same_distribution(found, clean, shots)


def test_the_noise_of_native_gates_and_of_each_qubit_acts() -> None:
    """The same model on Aer's own backend: false-fail rate 1e-9."""
    shots, model = 4000, poor_model()
    backend = get("qiskit", target=AerSimulator(noise_model=model), qubits=(0, 1, 2))
    found = ones(backend, shots)
    assert same_distribution(found, ones(get("aer", noise=model, qubits=(0, 1, 2)), shots), shots)
    swapped = ones(get("qiskit", target=AerSimulator(noise_model=model), qubits=(1, 0, 2)), shots)
    assert not same_distribution(found, swapped, shots)
    assert backend.description.startswith("qiskit, simulator aer_simulator, noise noise model, sha256 ")


def test_the_best_qubits_are_chosen_and_named() -> None:
    backend = get("qiskit", target="fake_manila")
    assert backend.description == "qiskit, snapshot fake_manila (no device)"
    assert backend.metadata(6)["qubits"] == (3, 4, 1, 0, 3, 4)
    planned = backend.plan(RYSpike(), 5, 6, shots=10)
    assert (planned.circuits, planned.qubits, planned.jobs, planned.executions, planned.turns) == (1, 4, 1, 100, 2)


class Counting(BaseSamplerV2):  # type: ignore[misc]
    """Somebody's sampler: it counts what it gets, and rounds its shots up as twirling does."""

    def __init__(self, extra: int = 0) -> None:
        self.pubs: list[Any] = []
        self.extra = extra

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        listed = list(pubs)
        self.pubs.append([(circuit.num_qubits, values.shape) for circuit, values in listed])
        return StatevectorSampler(seed=np.random.default_rng(1)).run(listed, shots=(shots or 0) + self.extra)


def test_one_pub_holds_the_batch() -> None:
    sampler = Counting()
    backend = get("qiskit", target=sampler)
    backend.run(RYSpike(), ANGLES, shots=10, seed=None)
    assert sampler.pubs == [[(4, (3, 4))]]
    assert backend.capabilities.remote
    assert not backend.capabilities.seeded
    assert backend.description == "qiskit, device Counting"


def test_a_circuit_is_transpiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def counting(circuit: Any, *args: Any, **options: Any) -> Any:
        calls.append(circuit)
        return transpile(circuit, *args, **options)

    monkeypatch.setattr("qlifq.backends.qiskit.transpile", counting)
    backend = get("qiskit", target=AerSimulator())
    for seed in range(3):
        ones(backend, 10, seed)
    assert len(calls) == 1


def test_shots_beyond_those_of_the_call_are_dropped_and_too_few_are_an_error() -> None:
    angles = torch.full((2, 3, 1), np.pi)
    assert ones(get("qiskit", target=Counting(28)), 100, None, angles).tolist() == [[100] * 3] * 2
    with pytest.raises(BackendError, match=r"Target Counting failed: 90 shots came back of 100"):
        ones(get("qiskit", target=Counting(-10)), 100, None, angles)


def test_a_delay_decays_on_a_qubit_that_reports_its_t1() -> None:
    backend = get("qiskit", target=FakeManilaV2(), qubits=[0])
    t1 = FakeManilaV2().target.qubit_properties[0].t1
    angles = torch.tensor([[[np.pi, 0.0]], [[np.pi, 3 * t1]]], dtype=torch.float64)
    outcome = backend.run(BrandPetruccione("delay"), angles, shots=2000, seed=1)
    assert outcome.ones is not None
    fresh, decayed = (int(count) / 2000 for count in outcome.ones[:, 0])
    # P(1) falls by exp(−3); readout errors of some percent and 2,000 shots leave 0.9 and 0.15 more than 8 deviations away.
    assert fresh > 0.9
    assert decayed < 0.15
    change = outcome.metadata["delay_change_seconds"]
    assert isinstance(change, float)
    assert 0 <= change < 1e-8


@pytest.mark.parametrize(
    "target",
    [
        AerSimulator(),
        GenericBackendV2(2, seed=1),
        GenericBackendV2(2, noise_info=False),
        FakeManilaV2(),
        StatevectorSampler(),
        AerSampler(seed=3),
        BackendSamplerV2(backend=BasicSimulator()),
    ],
    ids=lambda target: type(target).__name__,
)
def test_a_layer_takes_each_kind_of_object(target: Any) -> None:
    layer = QLIF(2, backend=target, shots=1, seed=1)
    found = [QLIF(2, backend=target, shots=1, seed=1)(torch.full((3, 2, 2), 1.5))[0] for _ in range(2)]
    assert torch.equal(*found)
    assert layer.backend.capabilities.seeded
    assert not layer.backend.capabilities.remote


class Seeded(Counting):
    seed = 7


class Broken(BasicSimulator):  # type: ignore[misc]
    def run(self, run_input: Any, **options: Any) -> Any:
        raise KeyError("no such queue")


class IBMBackend(GenericBackendV2):  # type: ignore[misc]
    """What IBM's client calls a device."""


def test_a_failure_of_the_target_is_one_sentence() -> None:
    with pytest.raises(BackendError, match=r"Target basic_simulator failed: 'no such queue'"):
        ones(get("qiskit", target=Broken()), 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": 3}, DtypeError, "`target` must be a Qiskit BackendV2 or BaseSamplerV2, but is int"),
        ({"target": QuantumCircuit(1)}, DtypeError, "but is QuantumCircuit"),
        ({"target": "fake_nowhere"}, ArgumentError, "`target` must be the name of a snapshot"),
        ({"target": Seeded()}, UnsupportedError, "must be a sampler without a seed, since all calls would share it, but has 7"),
        ({"target": IBMBackend(2)}, UnsupportedError, "must not be a device of IBM's service: get"),
        ({"qubits": [0]}, UnsupportedError, "`qubits` would be ignored: statevector_sampler has no qubits"),
        (
            {"target": GenericBackendV2(2, seed=1), "qubits": [0, 7]},
            ArgumentError,
            "generic_backend_2q has and that work, but holds 7",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get("qiskit", **options)
