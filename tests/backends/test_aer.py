"""The Aer backend against the closed form with the same noise, by shots and by law, and what Aer does wrong on bad input."""

import copy
import math
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, thermal_relaxation_error
from torch import Tensor

from qlifq.backends import DeviceNoise, Outcome, evaluate, get
from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.aer.layout import JOB_SHOTS, arrange, jobs
from qlifq.backends.aer.model import from_noise_model
from qlifq.backends.aer.noise import on_site
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.batching import shot_parts
from qlifq.circuits import BrandPetruccione, Gate, LeakySpike, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, QLIFError, UnsupportedError

THREE_GATES = SpikeCircuit("ThreeGates", (Gate("RY", Slot(0)), Gate("RZ", Slot(1)), Gate("RX", Slot(2))))
CONSTANT = SpikeCircuit("Constant", (Gate("RY", 0.7),))
WAITING = SpikeCircuit("Waiting", (Gate("RX", Slot(0)), Gate("Delay", 30e-6)))
CIRCUITS = [RYSpike(), LeakySpike(), BrandPetruccione(), THREE_GATES, CONSTANT, WAITING]
UNIFORM = DeviceNoise(t1=80e-6, t2=50e-6, gate_time=4e-6, gate_error=0.02, readout_p01=0.03, readout_p10=0.1)
PER_SITE = DeviceNoise(
    t1=(20e-6, 90e-6, math.inf, 50e-6, 50e-6),
    t2=(30e-6, 30e-6, 40e-6, 100e-6, 50e-6),
    gate_time=(1e-6, 5e-6, 9e-6, 0.0, 2e-6),
    gate_error=(0.0, 0.2, 0.05, 0.5, 0.01),
    readout_p01=(0.0, 0.3, 0.1, 0.0, 0.02),
    readout_p10=(0.2, 0.0, 0.3, 0.0, 0.01),
)
NOISES = {"none": None, "uniform": UNIFORM, "per site": PER_SITE}
Follows = Callable[[Outcome, Tensor], bool]


def some_angles(circuit: SpikeCircuit, batch: int, sites: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, sites, circuit.num_angles, dtype=torch.float64, generator=generator) * 2 * math.pi


def expected(circuit: SpikeCircuit, angles: Tensor, noise: DeviceNoise | None, where: Tensor | None = None) -> Tensor:
    return AnalyticBackend(noise).run(circuit, angles, shots=None, seed=None, where=where).probability


def ones_of(backend: AerBackend, angles: Tensor, shots: int, seed: int | None, where: Tensor | None = None) -> Tensor:
    ones = backend.run(RYSpike(), angles, shots=shots, seed=seed, where=where).ones
    assert ones is not None
    return ones


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.draw())
def test_shots_follow_the_closed_form(circuit: SpikeCircuit, noise: DeviceNoise | None, follows: Follows) -> None:
    angles = some_angles(circuit, 2, 5)
    assert follows(AerBackend(noise).run(circuit, angles, shots=20_000, seed=7), expected(circuit, angles, noise))


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
def test_a_bias_of_a_hundredth_would_be_seen(noise: DeviceNoise | None, follows: Follows) -> None:
    angles = some_angles(RYSpike(), 1, 5)
    truth = expected(RYSpike(), angles, noise)
    outcome = AerBackend(noise).run(RYSpike(), angles, shots=400_000, seed=7)
    assert follows(outcome, truth)
    assert not follows(outcome, torch.where(truth < 0.5, truth + 0.01, truth - 0.01))


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("circuit", [RYSpike(), THREE_GATES], ids=lambda circuit: circuit.name)
def test_one_shot_is_a_bernoulli_draw(circuit: SpikeCircuit, noise: DeviceNoise | None, follows: Follows) -> None:
    """One shot has a layout of its own; 20,000 calls of one angle per site are pooled."""
    angles = some_angles(circuit, 1, 5).expand(20_000, 5, circuit.num_angles)
    ones = AerBackend(noise).run(circuit, angles, shots=1, seed=5).ones
    assert ones is not None
    assert int(ones.max()) == 1
    pooled = Outcome(torch.zeros(1, 5), ones.sum(dim=0, keepdim=True), 20_000)
    assert follows(pooled, expected(circuit, angles[:1], noise))


@pytest.mark.parametrize("shots", [1, 40])
def test_evaluations_of_a_call_are_independent(shots: int) -> None:
    """The variance over equal evaluations is binomial: correlated lanes or repeated streams would change it."""
    count = 12_800
    ones = ones_of(AerBackend(), torch.full((count // 128, 128, 1), math.pi / 2), shots, 3).double()
    for step in (1, 2, 8, 10, 32, 128):
        pairs = ones.flatten()[: count // (2 * step) * 2 * step].reshape(-1, 2, step)
        correlation = float(((pairs[:, 0] - shots / 2) * (pairs[:, 1] - shots / 2)).mean() / (shots / 4))
        # Mean of 6,400 products of standardised counts: normal with deviation 1/80; 6.5 deviations leave 1e-9 over all six.
        assert abs(correlation) < 6.5 / math.sqrt(count / 2)


@pytest.mark.parametrize("shots", [1, 40])
def test_streams_of_two_calls_do_not_meet(shots: int) -> None:
    """Aer steps its seed by 2113 from circuit to circuit; seeds that far apart must not repeat one another's counts."""
    angles = torch.full((64, 10, 1), 1.5)
    first, second = ones_of(AerBackend(), angles, shots, 5), ones_of(AerBackend(), angles, shots, 5 + 2113)
    for shift in (1, 10, 32):
        assert not torch.equal(first.flatten()[shift:], second.flatten()[:-shift])
        assert not torch.equal(second.flatten()[shift:], first.flatten()[:-shift])


@pytest.mark.parametrize("shots", [1, 3, 200])
@pytest.mark.parametrize("noise", [None, UNIFORM], ids=["none", "uniform"])
def test_a_seed_replays_whatever_the_threads_and_another_does_not(shots: int, noise: DeviceNoise | None) -> None:
    angles = some_angles(RYSpike(), 20, 10)
    first = ones_of(AerBackend(noise), angles, shots, 3)
    for threads in (1, 2, 4):
        assert torch.equal(first, ones_of(AerBackend(noise, threads=threads), angles, shots, 3))
    for seed in (4, 3 + 2**32, 2**63 - 1, None):
        assert not torch.equal(first, ones_of(AerBackend(noise), angles, shots, seed))
    assert not torch.equal(ones_of(AerBackend(noise), angles, shots, None), ones_of(AerBackend(noise), angles, shots, None))


@pytest.mark.parametrize("shots", [1, 100])
@pytest.mark.parametrize("sampling", ["shots", "law"])
def test_angle_i_and_noise_i_go_to_site_i(sampling: str, shots: int) -> None:
    """Angles at the poles and a readout that lies on some sites: every answer is certain, so any mix-up shows."""
    angles = torch.tensor([0.0, math.pi, 0.0, math.pi, math.pi, 0.0, 0.0]).repeat(3, 1)[..., None]
    angles[1] = math.pi - angles[1]
    lies = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0)
    backend = AerBackend(DeviceNoise(readout_p01=lies, readout_p10=lies), sampling=sampling)
    expected = (angles[..., 0] > 1) ^ (torch.tensor(lies) > 0)
    assert torch.equal(ones_of(backend, angles, shots, 0), expected * shots)


@pytest.mark.parametrize("shots", [1, 60])
def test_unwanted_evaluations_are_not_run(shots: int) -> None:
    angles = torch.full((6, 5, 1), math.pi, dtype=torch.float64)
    for number in range(5):
        where = torch.rand(6, 5, generator=torch.Generator().manual_seed(number)) < 0.2 * number
        for backend in (
            AerBackend(),
            AerBackend(DeviceNoise(readout_p01=(0.0, 0.0, 0.0, 0.0, 0.1))),
            AerBackend(sampling="law"),
        ):
            assert torch.equal(ones_of(backend, angles, shots, 1, where), where * shots)


def test_delays_relax_for_their_own_time(follows: Follows) -> None:
    angles = some_angles(BrandPetruccione("delay"), 4, 5)
    angles[..., 1] = torch.tensor([0.0, 10e-6, 200e-6, 1e-3, 10e-6]).expand(4, 5).flip(0)
    angles[2, :, 1] = 77e-6
    for noise in (UNIFORM, PER_SITE, None):
        outcome = AerBackend(noise).run(BrandPetruccione("delay"), angles, shots=10_000, seed=2)
        assert follows(outcome, expected(BrandPetruccione("delay"), angles, noise))


def probability_by_law(backend: AerBackend, circuit: SpikeCircuit, theta: Tensor) -> Tensor:
    law = backend._law(circuit, backend._models_of(theta.shape[1]))
    return law.probability(theta)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("circuit", [RYSpike(), LeakySpike(0.8), WAITING], ids=lambda circuit: circuit.draw())
def test_the_law_that_aer_gives_is_the_closed_form(circuit: SpikeCircuit, noise: DeviceNoise | None) -> None:
    angles = some_angles(circuit, 7, 5)
    law = probability_by_law(AerBackend(noise, sampling="law"), circuit, angles[..., 0])
    torch.testing.assert_close(law, expected(circuit, angles, noise), atol=1e-10, rtol=0)


def test_law_and_shots_have_one_distribution() -> None:
    """Two-sample test on the histogram of counts over 8,000 equal evaluations: chi-squared, false-fail rate 1e-9."""
    from scipy.stats import chi2_contingency

    angles = torch.full((1600, 5, 1), 1.2)
    histograms = []
    for sampling in ("shots", "law"):
        counts = ones_of(AerBackend(PER_SITE, sampling=sampling), angles, 6, 9)
        histograms.append([torch.bincount(counts[:, site], minlength=7).numpy() for site in range(5)])
    for shots, law in zip(*histograms, strict=True):
        filled = (shots + law) > 20
        assert chi2_contingency(np.stack((shots, law))[:, filled]).pvalue > 1e-9 / 5


@pytest.mark.parametrize("circuit", [LeakySpike(), BrandPetruccione("delay"), CONSTANT], ids=lambda circuit: circuit.draw())
def test_a_circuit_without_the_law_is_refused(circuit: SpikeCircuit) -> None:
    with pytest.raises(UnsupportedError, match=rf"`sampling` must be 'shots' for circuit {circuit.name}"):
        get("aer", sampling="law").run(circuit, torch.zeros(1, 1, circuit.num_angles), shots=1, seed=None)
    with pytest.raises(UnsupportedError, match=rf"`sampling` must be 'shots' for circuit {circuit.name}"):
        get("aer", sampling="law").plan(circuit, 1, 1, shots=1)


def test_the_parameter_shift_under_noise_is_within_its_standard_error() -> None:
    shots, theta = 4000, 1.0
    leaf = torch.full((20, 5, 1), theta, dtype=torch.float64, requires_grad=True)
    outcome = evaluate(AerBackend(PER_SITE), RYSpike(), leaf, shots=1, seed=1, gradient_shots=shots, gradient_seed=2)
    (gradient,) = torch.autograd.grad(outcome.probability.sum(), leaf)
    other = torch.full((1, 5, 1), theta, dtype=torch.float64, requires_grad=True)
    (truth,) = torch.autograd.grad(expected(RYSpike(), other, PER_SITE).sum(), other)
    # Each has variance at most ¼ · 2 · ¼ / shots; 6.5 deviations of the mean of 20 leave 1e-9 over the five sites.
    assert float((gradient.mean(dim=0) - truth[0]).abs().max()) < 6.5 * math.sqrt(1 / 8 / shots / 20)


def aer_probability(model: NoiseModel, qubit: int, theta: float) -> float:
    """P(read as 1) of a transpiled RY by Aer alone, as anybody would run it, with the model attached."""
    from qiskit import QuantumCircuit, transpile

    written = QuantumCircuit(qubit + 1, 1)
    written.ry(theta, qubit)
    native = transpile(written, basis_gates=model.basis_gates, optimization_level=1, seed_transpiler=0)
    native.save_probabilities([qubit])
    simulator = AerSimulator(noise_model=model, method="density_matrix")
    population = simulator.run(native).result().data()["probabilities"][1]
    p01, p10 = model_readout(model, qubit)
    return float(p01 + (1 - p01 - p10) * population)


def model_readout(model: NoiseModel, qubit: int) -> tuple[float, float]:
    found = (0.0, 0.0)
    for entry in model.to_dict()["errors"]:
        if entry["type"] == "roerror" and entry.get("gate_qubits", [(qubit,)])[0] == (qubit,):
            found = (entry["probabilities"][0][1], entry["probabilities"][1][0])
            if "gate_qubits" in entry:
                break
    return found


def some_model() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.03, 1), ["sx", "x"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    model.add_quantum_error(thermal_relaxation_error(1.0, 0.7, 0.2), "sx", [1])
    model.add_quantum_error(depolarizing_error(0.2, 2), "cx", [1, 2])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.3, 0.7]]), [0])
    model.add_all_qubit_readout_error(ReadoutError([[0.98, 0.02], [0.06, 0.94]]))
    return model


@pytest.mark.parametrize("qubits", [None, [1, 5, 0]])
def test_a_noise_model_acts_as_in_aer(qubits: list[int] | None) -> None:
    """Site s is qubit s, or the one chosen, own errors replace those for all, and errors of two qubits do not matter."""
    model = some_model()
    theta = torch.linspace(0.1, 3.0, 4, dtype=torch.float64)
    law = probability_by_law(AerBackend(model, sampling="law", qubits=qubits), RYSpike(), theta[:, None].expand(4, 4))
    for site in range(4):
        qubit = site if qubits is None else qubits[site % 3]
        truth = [aer_probability(model, qubit, float(angle)) for angle in theta]
        torch.testing.assert_close(law[:, site], torch.tensor(truth, dtype=torch.float64), atol=1e-10, rtol=0)


def test_equal_noise_models_have_the_same_digest_and_others_another() -> None:
    def reported(model: NoiseModel) -> object:
        return AerBackend(model).run(RYSpike(), torch.zeros(0, 1, 1), shots=1, seed=None).metadata["noise"]

    assert re.fullmatch("noise model, sha256 [0-9a-f]{16}", str(reported(some_model())))
    assert reported(some_model()) == reported(some_model())
    first, turned, weaker, on_others = (NoiseModel(basis_gates=["rz", "sx", "x"]) for _ in range(4))
    for model, gates, errors in (
        (first, ("sx", "x"), (0.1, 0.1)),
        # The same but for the order and the last digits.
        (turned, ("x", "sx"), (0.1 + 1e-13, 0.1)),
        (weaker, ("sx", "x"), (0.1, 0.1 - 1e-6)),
    ):
        for gate, error in zip(gates, errors, strict=True):
            model.add_all_qubit_quantum_error(depolarizing_error(error, 1), gate)
    on_others.add_quantum_error(depolarizing_error(0.1, 1), ["sx", "x"], [0])
    assert reported(first) == reported(turned)
    assert len({reported(first), reported(weaker), reported(on_others), reported(some_model())}) == 4


def test_a_noise_model_shoots_as_in_aer(follows: Follows) -> None:
    model = some_model()
    angles = torch.tensor([[[0.4], [1.1], [2.0]]], dtype=torch.float64)
    truth = [[aer_probability(model, site, float(angles[0, site, 0])) for site in range(3)]]
    for shots in (1000, 50_000):
        outcome = AerBackend(model).run(RYSpike(), angles, shots=shots, seed=3)
        assert follows(outcome, torch.tensor(truth, dtype=torch.float64))


@pytest.mark.parametrize("basis", [["rz", "sx", "x"], ["u1", "u2", "u3"], ["rz", "rx"]], ids="-".join)
def test_a_translation_to_native_gates_changes_nothing(basis: list[str], follows: Follows) -> None:
    """A model without errors: constant angles and slots come out right, whatever the gates."""
    ideal = NoiseModel(basis_gates=basis)
    turned = SpikeCircuit("Turned", (Gate("RY", Slot(0)), Gate("RZ", 0.4), Gate("RX", 0.9)))
    for circuit in (RYSpike(), LeakySpike(0.8), turned):
        angles = some_angles(circuit, 7, 2)
        law = probability_by_law(AerBackend(ideal, sampling="law"), circuit, angles[..., 0])
        torch.testing.assert_close(law, expected(circuit, angles, None), atol=1e-10, rtol=0)
    for circuit in (LeakySpike(), BrandPetruccione(), THREE_GATES):
        angles = some_angles(circuit, 3, 3)
        assert follows(AerBackend(ideal).run(circuit, angles, shots=5000, seed=4), expected(circuit, angles, None))


def test_errors_on_the_gates_as_written_are_kept() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["ry", "rx", "rz"])
    theta = torch.tensor([[0.3], [2.0]], dtype=torch.float64)
    law = probability_by_law(AerBackend(model, sampling="law"), RYSpike(), theta)
    torch.testing.assert_close(law, expected(RYSpike(), theta[..., None], DeviceNoise(gate_error=0.1)), atol=1e-10, rtol=0)


def test_device_noise_is_the_composition_of_aers_own_channels() -> None:
    noise = UNIFORM.at(0)
    own = SuperOp(depolarizing_error(2 * noise.gate_error, 1)).compose(
        SuperOp(thermal_relaxation_error(noise.t1, noise.t2, noise.gate_time))
    )
    found = on_site(noise).after("ry")
    assert found is not None
    np.testing.assert_allclose(found, own.data, atol=1e-12)


def test_what_a_model_does_in_a_delay_is_not_guessed() -> None:
    with pytest.raises(UnsupportedError, match=r"`noise` must say what happens in a delay for circuit Waiting, but .* site 0"):
        AerBackend(some_model()).run(WAITING, torch.zeros(1, 1, 1), shots=1, seed=None)


def test_only_the_qubits_in_use_are_read() -> None:
    own, _ = from_noise_model(some_model(), [1])
    assert list(own) == [1]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("options", [{}, {"noise": UNIFORM}, {"sampling": "law"}])
def test_an_empty_call_never_reaches_aer(
    shape: tuple[int, int], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aer 0.18 ends the process on an empty list of parameters."""
    backend = AerBackend(**options)
    if "sampling" not in options:
        monkeypatch.setattr(AerSimulator, "run", lambda *args, **kwargs: pytest.fail("Aer was called"))
    for shots in (1, 5):
        outcome = backend.run(RYSpike(), torch.zeros(*shape, 1), shots=shots, seed=None)
        assert outcome.probability.shape == shape
        assert outcome.probability.dtype == torch.float32
        assert outcome.ones is not None
        assert outcome.ones.dtype == torch.int64
    assert backend.plan(RYSpike(), *shape, shots=5).executions == 0


def test_nothing_wanted_never_reaches_aer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AerSimulator, "run", lambda *args, **kwargs: pytest.fail("Aer was called"))
    where = torch.zeros(2, 3, dtype=torch.bool)
    assert not ones_of(AerBackend(UNIFORM), torch.ones(2, 3, 1), 5, 0, where).any()


@pytest.mark.parametrize("options", [{}, {"noise": UNIFORM}, {"sampling": "law"}])
def test_a_million_shots_work(options: dict[str, Any], follows: Follows) -> None:
    angles = torch.full((1, 1, 1), 0.9, dtype=torch.float64)
    outcome = AerBackend(**options).run(RYSpike(), angles, shots=1_000_000, seed=0)
    assert follows(outcome, expected(RYSpike(), angles, options.get("noise")))


def test_a_failure_in_aer_is_an_error_and_not_an_empty_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aer reports a failed run in its result and raises nothing: here it is given a method that cannot turn by 0.3."""
    from qlifq.backends.aer import backend

    monkeypatch.setattr(backend, "AerSimulator", lambda **options: AerSimulator(**options | {"method": "stabilizer"}))
    with pytest.raises(BackendError, match=r"Aer failed: .*stabilizer"):
        AerBackend().run(RYSpike(), torch.full((1, 1, 1), 0.3), shots=1, seed=None)


def test_a_result_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else NumPy would spread one answer over all evaluations."""
    from qiskit_aer.jobs import AerJob

    finished = AerJob.result

    def shortened(self: AerJob, timeout: float | None = None) -> Any:
        result = finished(self, timeout)
        del result.results[1:]
        return result

    monkeypatch.setattr(AerJob, "result", shortened)
    with pytest.raises(BackendError, match="1 results came back for 4 sets of angles"):
        AerBackend().run(RYSpike(), torch.ones(4, 10, 1), shots=5, seed=None)


@pytest.mark.parametrize(
    ("angles", "shots", "message"),
    [
        (torch.tensor([[[math.nan]]]), 3, "`angles` must be finite, but 1 of its 1"),
        (torch.tensor([[[math.inf]]]), 3, "`angles` must be finite, but 1 of its 1"),
        (torch.zeros(2, 1), 3, r"`angles` must have shape \(batch, sites, 1\), but has shape \(2, 1\)"),
        (torch.zeros(2, 2, 2), 3, r"shape \(\.\.\., 1\) for circuit RYSpike, but has shape \(2, 2, 2\)"),
        (torch.zeros(1, 1, 1), 0, "`shots` must be at least 1, but is 0"),
        (torch.zeros(1, 1, 1), None, "`shots` must be an integer for backend aer, which has no exact mode"),
        (torch.zeros(1, 1, 1, dtype=torch.int64), 1, "`angles` must have dtype float32 or float64, but has int64"),
    ],
)
@pytest.mark.parametrize("sampling", ["shots", "law"])
def test_bad_calls_are_refused(angles: Tensor, shots: int | None, message: str, sampling: str) -> None:
    with pytest.raises(QLIFError, match=message):
        get("aer", sampling=sampling).run(RYSpike(), angles, shots=shots, seed=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0.1}, "`noise` must be a DeviceNoise, an Aer NoiseModel, .* but is float"),
        ({"sampling": "exact"}, "`sampling` must be one of shots, law, but is 'exact'"),
        ({"threads": 0}, "`threads` must be at least 1, but is 0"),
        ({"qubits": [0]}, "`qubits` would be ignored"),
        ({"qubits": [0], "noise": UNIFORM}, "`qubits` would be ignored"),
        ({"qubits": [0, 0], "noise": "fake_manila"}, r"`qubits` must hold each qubit once, but is \[0, 0\]"),
        ({"qubits": [], "noise": "fake_manila"}, "`qubits` must hold at least one qubit"),
        ({"qubits": 3, "noise": "fake_manila"}, "`qubits` must be a list of qubit numbers, but is 3"),
        ({"qubits": [-1], "noise": "fake_manila"}, "`qubits` must be at least 0, but is -1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        get("aer", **options)


def test_noise_for_another_number_of_sites_is_refused() -> None:
    with pytest.raises(QLIFError, match="`angles` must have 5 sites for backend aer, but has 3"):
        AerBackend(PER_SITE).run(RYSpike(), torch.zeros(1, 3, 1), shots=1, seed=None)
    with pytest.raises(QLIFError, match="`angles` must have 5 sites for backend aer, but has 3"):
        AerBackend(PER_SITE).plan(RYSpike(), 1, 3, shots=1)


def test_a_copy_is_as_good() -> None:
    angles = some_angles(RYSpike(), 2, 5)
    backend = AerBackend(PER_SITE)
    assert torch.equal(ones_of(copy.deepcopy(backend), angles, 30, 1), ones_of(backend, angles, 30, 1))


@pytest.mark.parametrize("shots", [1, 500])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
def test_the_plan_is_what_is_run(noise: DeviceNoise | None, shots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {"jobs": 0, "circuits": 0, "qubits": 0, "executions": 0}
    run = AerSimulator.run

    def counting(self: AerSimulator, circuits: list[Any], *, parameter_binds: list[Any], shots: int, **options: Any) -> Any:
        counted["jobs"] += 1
        counted["circuits"] += len(circuits)
        counted["qubits"] = max(circuit.num_qubits for circuit in circuits)
        counted["executions"] += shots * sum(len(next(iter(binds.values()))) for binds in parameter_binds)
        return run(self, circuits, parameter_binds=parameter_binds, shots=shots, **options)

    monkeypatch.setattr(AerSimulator, "run", counting)
    AerBackend(noise).run(RYSpike(), some_angles(RYSpike(), 9, 5), shots=shots, seed=0)
    plan = AerBackend(noise).plan(RYSpike(), 9, 5, shots=shots)
    assert counted == {name: getattr(plan, name) for name in counted}
    assert (plan.evaluations, plan.turns) == (45, 1)


@pytest.mark.parametrize("noise", [None, UNIFORM], ids=["none", "uniform"])
def test_the_plan_is_honest_about_lanes_that_stay_empty(noise: DeviceNoise | None) -> None:
    """The shots of a circuit with one lane take half as long as those of one with all: a draw is that of a whole string."""
    seconds = [AerBackend(noise).plan(RYSpike(), batch, 1, shots=10**7).estimated_seconds for batch in (1, 4)]
    assert None not in seconds
    assert 5 < cast(float, seconds[0]) < cast(float, seconds[1]) < 2 * cast(float, seconds[0])


@pytest.mark.parametrize("counts", [[1], [7], [100], [3, 1, 50], [1] * 9, [5, 0, 2], []])
@pytest.mark.parametrize("lanes", [1, 4, 32])
@pytest.mark.parametrize("shots", [1, 2**20])
def test_every_evaluation_has_one_place(counts: list[int], lanes: int, shots: int) -> None:
    circuits = arrange(counts, lanes)
    assert all(0 < len(columns) <= lanes for columns in circuits)
    places = [
        (column.kind, index)
        for job in jobs(circuits, shots)
        for piece in job
        for column in piece.columns
        for index in range(counts[column.kind])[column.start :: column.step][piece.first : piece.last]
    ]
    assert sorted(places) == [(kind, index) for kind, count in enumerate(counts) for index in range(count)]
    assert sum(shot_parts(shots, JOB_SHOTS)) == shots


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "TPU"}, ArgumentError, r"`device` must be .*CPU.*, but is 'TPU'"),
        ({"precision": "half"}, ArgumentError, "`precision` must be .*, but is 'half'"),
        ({"method": "stabilizer"}, ArgumentError, "`method` must be .*statevector.*, but is 'stabilizer'"),
        ({"method": "statevector", "noise": UNIFORM}, ArgumentError, "`method` must be .*density_matrix, but is 'statevector'"),
        ({"method": "statevector", "sampling": "law"}, UnsupportedError, "`method` would be ignored: sampling='law'"),
        ({"seed_simulator": 3}, ArgumentError, "no option `seed_simulator`: it belongs to each call"),
        ({"noise_model": None}, ArgumentError, "it is the argument `noise`"),
        (
            {"colour": 3},
            ArgumentError,
            "no option `colour`: its options are noise, sampling, qubits, threads, and those of Aer",
        ),
        ({"fusion_threshold": "many"}, ArgumentError, "Aer cannot run with fusion_threshold='many': "),
    ],
)
def test_a_simulator_option_that_aer_cannot_take_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        get("aer", **options)


def test_simulator_options_reach_aer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    def spying(**options: object) -> AerSimulator:
        seen.append(options)
        return AerSimulator(**options)

    backend = get("aer", precision="single", method="matrix_product_state", max_memory_mb=500)
    monkeypatch.setattr("qlifq.backends.aer.backend.AerSimulator", spying)
    angles = torch.tensor([[[0.0], [torch.pi]]])
    assert backend.run(RYSpike(), angles, shots=50, seed=1).ones.tolist() == [[0, 50]]  # type: ignore[union-attr]
    (options,) = seen
    assert options["precision"] == "single"
    assert options["method"] == "matrix_product_state"
    assert options["max_memory_mb"] == 500
