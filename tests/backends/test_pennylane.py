"""Devices of PennyLane behind the interface, held to the oracle, to Aer and to each other."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from scipy.stats import hypergeom

from qlifq import QLIF
from qlifq.backends import Backend, DeviceNoise, get
from qlifq.backends.conformance import check
from qlifq.backends.gradients import parameter_shift
from qlifq.backends.pennylane import PennyLaneBackend
from qlifq.circuits import BrandPetruccione, Gate, RYSpike, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, DtypeError, UnsupportedError

NOISE = DeviceNoise(
    t1=(80e-6, 30e-6, 200e-6),
    t2=(60e-6, 50e-6, 90e-6),
    gate_time=5e-7,
    gate_error=(0.01, 0.0, 0.03),
    readout_p01=0.05,
    readout_p10=0.1,
)
ANGLES = torch.linspace(-1.0, 4.0, 12, dtype=torch.float64).reshape(4, 3, 1)


def model(p: float = 0.1, readout: Any = None) -> Any:
    """Depolarisation after each RY, and twice after one of site 1."""
    noise = qml.noise.partial_wires(qml.DepolarizingChannel, p)
    twice = qml.noise.op_eq(qml.RY) & qml.noise.wires_in([1])
    return qml.NoiseModel({qml.noise.op_eq(qml.RY): noise, twice: noise}, meas_map=readout)


def exact(backend: Backend, angles: torch.Tensor = ANGLES) -> torch.Tensor:
    return backend.run(RYSpike(), angles, shots=None, seed=None).probability


def ones(backend: Backend, shots: int, seed: int) -> torch.Tensor:
    counts = backend.run(RYSpike(), ANGLES, shots=shots, seed=seed).ones
    assert counts is not None
    return counts


@pytest.mark.parametrize(
    "device",
    [
        lambda: "lightning.qubit",
        lambda: "qulacs.simulator",
        lambda: qml.device("default.qubit", wires=["a", "b", "c"]),
    ],
    ids=["name", "plugin", "object"],
)
def test_each_kind_of_device_conforms(device: Callable[[], Any]) -> None:
    backend = get("pennylane", device=device())
    check(backend, bias=0.1).raise_for_failure()
    assert backend.capabilities.seeded == isinstance(device(), str)
    assert not backend.capabilities.remote


def test_one_noise_gives_the_counts_of_aer() -> None:
    """Two binomials with one P(1), 3 sites of 4 elements, by the exact conditional tail: false-fail rate 1e-9."""
    shots = 4000
    ours, theirs = (ones(get(name, noise=NOISE), shots, 5).numpy() for name in ("pennylane", "aer"))
    both = hypergeom(2 * shots, ours + theirs, shots)
    assert np.minimum(both.cdf(ours), both.sf(ours - 1)).min() * 2 * ours.size > 1e-9
    assert (exact(get("pennylane", noise=NOISE)) - exact(get("reference", noise=NOISE))).abs().max() < 1e-12


def test_a_noise_model_acts_on_the_site_of_its_wire() -> None:
    found = exact(get("pennylane", device="default.mixed", noise=model(), wires=3))
    kept = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) * np.log(1 - 4 / 3 * 0.1)
    closed = (1 - kept.exp() * ANGLES[..., 0].cos()) / 2
    assert (found - closed).abs().max() < 1e-12


def test_a_noise_model_that_depends_on_the_angle_is_applied_angle_by_angle() -> None:
    def noise(op: Any, **_: object) -> None:
        qml.BitFlip(0.25 if op.parameters[0] > 1.0 else 0.0, wires=op.wires)

    found = exact(get("pennylane", noise=qml.NoiseModel({qml.noise.op_eq(qml.RY): noise}), wires=2))
    clean = RYSpike().probability(ANGLES)
    assert (found - torch.where(ANGLES[..., 0] > 1.0, 0.25 + 0.5 * clean, clean)).abs().max() < 1e-12


def test_a_readout_error_that_would_be_dropped_is_refused() -> None:
    flip = qml.noise.partial_wires(qml.BitFlip, 0.2)
    every = {qml.noise.meas_eq(qml.probs) | qml.noise.meas_eq(qml.sample): flip}
    found = exact(get("pennylane", noise=model(0.0, every)))
    assert (found - (0.2 + 0.6 * RYSpike().probability(ANGLES))).abs().max() < 1e-12
    with pytest.raises(UnsupportedError, match=r"readout errors that act on qml.probs and qml.sample, .* MeasEq"):
        get("pennylane", noise=model(0.0, {qml.noise.meas_eq(qml.counts): flip}))


def test_an_option_of_the_device_reaches_it() -> None:
    backend = get("pennylane", device="lightning.qubit", c_dtype=np.complex64)
    assert 1e-9 < (exact(backend) - RYSpike().probability(ANGLES)).abs().max() < 1e-6
    assert backend.description == "pennylane, simulator lightning.qubit"


def test_what_kind_of_noise_a_device_object_has_is_not_known() -> None:
    assert (
        get("pennylane", device=qml.device("default.qubit")).description
        == "pennylane, simulator default.qubit, noise not reported"
    )


@pytest.mark.parametrize(
    ("options", "evaluations", "circuits", "qubits", "jobs", "turns"),
    [
        ({}, 12, 3, 4, 1, 1),
        ({"noise": NOISE, "wires": 2}, 12, 8, 2, 1, 2),
        ({"device": "qulacs.simulator", "wires": 1}, 12, 12, 1, 12, 1),
    ],
    ids=["packed", "one wire per site", "one by one"],
)
def test_the_plan_says_what_is_packed_and_what_runs_one_by_one(
    options: dict[str, Any], evaluations: int, circuits: int, qubits: int, jobs: int, turns: int
) -> None:
    planned = get("pennylane", **options).plan(RYSpike(), 4, 3, shots=None)
    assert (planned.evaluations, planned.circuits, planned.qubits) == (evaluations, circuits, qubits)
    assert (planned.jobs, planned.turns) == (jobs, turns)


def test_what_is_planned_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[int] = []
    execute = qml.execute

    def counting(tapes: Any, *args: Any, **options: Any) -> Any:
        submitted.append(len(tapes))
        return execute(tapes, *args, **options)

    backend = get("pennylane")
    monkeypatch.setattr("qlifq.backends.pennylane.qml.execute", counting)
    backend.run(RYSpike(), ANGLES, shots=10, seed=1)
    assert submitted == [1]


def test_many_shots_go_in_parts_and_add_up() -> None:
    shots = 3 * 2**20
    found = get("pennylane", wires=1).run(RYSpike(), torch.full((1, 1, 1), np.pi), shots=shots, seed=1)
    assert found.ones is not None
    assert int(found.ones) == shots


def test_the_derivative_is_that_of_the_noisy_probability() -> None:
    backend, oracle = get("pennylane", noise=NOISE), get("analytic", noise=NOISE)
    found = parameter_shift(backend, RYSpike(), ANGLES, shots=None, seed=None)
    angles = ANGLES.clone().requires_grad_()
    (expected,) = torch.autograd.grad(exact(oracle, angles).sum(), angles)
    assert (found - expected).abs().max() < 1e-12


def test_an_older_device_is_seeded_without_touching_the_generator_of_others() -> None:
    backend = get("pennylane", device="qulacs.simulator")
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(5).tolist()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    counts = [ones(backend, 50, seed) for seed in (1, 1, 2)]
    assert torch.equal(counts[0], counts[1])
    assert not torch.equal(counts[0], counts[2])
    assert np.random.random(5).tolist() == expected  # noqa: NPY002


def test_threads_that_share_numpys_generator_replay_too() -> None:
    backend = get("pennylane", device="qulacs.simulator", wires=2)
    found: dict[int, Any] = {}

    def work(seed: int) -> None:
        found[seed] = ones(backend, 30, seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for seed, counts in found.items():
        assert torch.equal(counts, ones(backend, 30, seed))


def test_a_layer_takes_a_device_object() -> None:
    layer = QLIF(3, backend=qml.device("default.mixed", wires=3), seed=1)
    spikes, _ = layer(torch.full((4, 2, 3), 1.5))
    assert spikes.shape == (4, 2, 3)
    assert layer.backend.name == "pennylane"


class Failing(qml.devices.Device):  # type: ignore[misc]
    """A device that is not known here, and fails."""

    name = "lab.qubit"

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        raise RuntimeError("the fridge is warm")


def test_an_unknown_device_counts_as_remote_and_its_failure_is_one_sentence() -> None:
    backend = get("pennylane", device=Failing(wires=2))
    assert backend.capabilities.remote
    assert not backend.capabilities.exact
    assert backend.description == "pennylane, device lab.qubit"
    with pytest.raises(BackendError, match=r"Device lab.qubit failed: the fridge is warm"):
        backend.run(RYSpike(), ANGLES, shots=10, seed=1)
    with pytest.raises(UnsupportedError, match="`shots` must be an integer for backend pennylane, which has no exact mode"):
        backend.run(RYSpike(), ANGLES, shots=None, seed=1)
    with pytest.raises(UnsupportedError, match=r"must have no delay on device lab.qubit"):
        backend.plan(BrandPetruccione("delay"), 1, 1, shots=10)


def test_a_circuit_without_an_angle_runs_once_per_evaluation() -> None:
    constant = SpikeCircuit("Constant", (Gate("RY", np.pi / 2),))
    found = get("pennylane").run(constant, torch.zeros(400, 1, 0), shots=1, seed=2)
    assert found.ones is not None
    assert 120 < int(found.ones.sum()) < 280  # 8 standard deviations: false-fail rate 1e-14


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "nobody"}, ArgumentError, "Unknown device `nobody`"),
        ({"device": 3}, DtypeError, "`device` must be the name of a PennyLane device or one, but is int"),
        ({"device": "default.qubit", "noise": NOISE}, UnsupportedError, "`noise` must be None for device default.qubit"),
        ({"device": "lightning.qubit", "noise": model()}, UnsupportedError, "which has no mixed states here"),
        ({"noise": "fake_torino"}, DtypeError, "must be a DeviceNoise, a pennylane.NoiseModel or None, but is str"),
        ({"device": "default.qubit", "seed": 3}, UnsupportedError, "`seed` belongs to each call"),
        ({"device": "default.qubit", "shots": 3}, UnsupportedError, "`shots` belongs to each call"),
        ({"device": "default.qubit", "colour": 3}, ArgumentError, "has no option `colour`: its options are wires"),
        ({"device": "default.mixed", "readout_prob": 7}, ArgumentError, "default.mixed cannot be built: "),
        # PennyLane 0.45 accepts this option and cannot run with it.
        ({"device": "default.mixed", "readout_prob": 0.2}, ArgumentError, "default.mixed cannot run a rotation: "),
        ({"device": qml.device("default.qubit"), "c_dtype": 3}, UnsupportedError, "`c_dtype` would be ignored"),
        ({"wires": 0}, ArgumentError, "`wires` must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PennyLaneBackend(**options)
