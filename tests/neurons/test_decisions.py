"""From the probability to spikes: the distribution of the decisions, and the calls of a backend."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2_contingency
from torch import Tensor

from qlifq import QLIF, simulate
from qlifq.backends import Backend, Call, Outcome, Plan
from qlifq.backends.analytic import AnalyticBackend
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError

FALSE_FAIL = 1e-9


class Recorder(Backend):
    """The analytic backend, with a list of its calls and their outcomes."""

    name = "recorder"
    capabilities = AnalyticBackend.capabilities

    def __init__(self) -> None:
        self.inner = AnalyticBackend()
        self.angles: list[Tensor] = []
        self.shots: list[int | None] = []
        self.where: list[Tensor | None] = []
        self.outcomes: list[Outcome] = []

    def _execute(self, call: Call) -> Outcome:
        outcome = self.inner.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)
        self.angles.append(call.angles)
        self.shots.append(call.shots)
        self.where.append(call.where)
        self.outcomes.append(outcome)
        return outcome

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return self.inner.plan(circuit, batch, sites, shots=shots)


def inverse_sigmoid(probability: float) -> float:
    """The current at which the default neuron with τ = dt has this probability."""
    shard = 2 * math.asin(math.sqrt(probability)) / math.pi
    return 1.0 + math.log(shard / (1 - shard)) / 4


@pytest.mark.parametrize(
    "mode",
    [{}, {"shots": 1}, {"shots": 16}, {"shots": 3, "quantum_wire": 2}, {"quantum_mode": False, "stochastic": True}],
)
@pytest.mark.parametrize("probability", [0.02, 0.3, 0.5, 0.9])
def test_a_sampled_spike_has_the_mean_p(probability: float, mode: dict[str, object]) -> None:
    """Exact binomial tails, two-sided: false-fail rate 1e-9 each; 40,000 decisions show a bias of 0.015 at p = ½."""
    layer = QLIF(400, seed=1, tau=1.0, **mode)  # type: ignore[arg-type]
    current = inverse_sigmoid(probability)
    if not layer.settings.quantum_mode:
        current = 1.0 + math.log(probability / (1 - probability)) / 2
    spikes, _ = layer(torch.full((1, 100, 400), current))
    count = int(spikes.sum())
    tail = min(binom.cdf(count, 40_000, probability), binom.sf(count - 1, 40_000, probability))
    assert tail > FALSE_FAIL / 2, count


def test_the_law_of_sampled_spikes_does_not_depend_on_the_shots() -> None:
    """Spike counts of 6,000 neurons over 30 steps with all the memory that spikes leave, by one shot or by many.

    A chi-square test of homogeneity over the spike counts and, apart, over the time of the first spike, Bonferroni over 2:
    false-fail rate 1e-9. A q_bias of 0.1 is seen, as the control below shows: it is worth 0.04 in p at p = ½.
    """

    def histograms(seed: int, **more: object) -> tuple[list[int], list[int]]:
        memory: dict[str, object] = {"refractory_period": 1, "spike_increase": 0.4, "allow_dynamic_spike_probability": True}
        layer = QLIF(6000, seed=seed, tau=3.0, **memory, **more)  # type: ignore[arg-type]
        with torch.no_grad():
            spikes, _ = layer(torch.full((30, 1, 6000), 1.3))
        counts = spikes.sum(dim=(0, 1)).long()
        first = torch.cat((spikes[:, 0], torch.ones(1, 6000))).argmax(dim=0)
        return counts.bincount(minlength=31).tolist(), first.bincount(minlength=31).tolist()

    def p_values(*runs: tuple[list[int], list[int]]) -> list[float]:
        found = []
        for tables in zip(*runs, strict=True):
            table = np.array(tables)
            # Columns with few counts are pooled with the last one kept, where chi-square is exact enough.
            common = table.sum(axis=0) >= 30 * len(runs)
            pooled = np.column_stack((table[:, common], table[:, ~common].sum(axis=1)))
            found.append(float(chi2_contingency(pooled[:, pooled.sum(axis=0) > 0]).pvalue))
        return found

    exact, one, many = histograms(1), histograms(2, shots=1), histograms(3, shots=16)
    wired = histograms(4, shots=2, quantum_wire=2)
    assert min(p_values(exact, one, many, wired)) > FALSE_FAIL / 2
    # The control: the same test sees a neuron that is a little more eager.
    assert min(p_values(exact, histograms(5, q_bias=0.1))) < FALSE_FAIL / 2


@pytest.mark.parametrize("quantum_threshold", [0.0, 0.3, math.pi / 2, 2.5, math.pi])
def test_the_threshold_decision_compares_with_the_sine_of_half_the_angle(quantum_threshold: float) -> None:
    layer = QLIF(2001, tau=1.0, decision="threshold", quantum_threshold=quantum_threshold).double()
    current = 1 + torch.linspace(-5, 5, 2001, dtype=torch.float64).reshape(1, 1, -1)
    recording = simulate(layer, current, "probability")
    probability = recording["probability"]
    # <Z> = 1 − 2 p below cos(quantum_threshold), written the other way round; equal within rounding decides nothing.
    clear = (1 - 2 * probability - math.cos(quantum_threshold)).abs() > 1e-12
    expected = (1 - 2 * probability < math.cos(quantum_threshold)).double()
    assert torch.equal(recording.spikes[clear], expected[clear])
    assert clear.sum() > 500
    bound = math.sin(quantum_threshold / 2) ** 2
    assert torch.equal(recording.spikes, (probability > bound).double())


def test_on_the_threshold_itself_nothing_spikes() -> None:
    """p = 0 does not exceed 0, p = 1 not 1; with one shot p̂ = ½ cannot be, with two it can and does not exceed ½."""
    extremes = torch.tensor([[[-1e6, 1e6]]])
    for quantum_threshold, expected in ((0.0, [0.0, 1.0]), (math.pi, [0.0, 0.0])):
        layer = QLIF(2, tau=1.0, decision="threshold", quantum_threshold=quantum_threshold)
        assert layer(extremes)[0].flatten().tolist() == expected
    recorder = Recorder()
    layer = QLIF(500, tau=1.0, seed=1, backend=recorder, decision="threshold", shots=2, quantum_threshold=math.pi / 2)
    spikes, _ = layer(torch.ones(1, 1, 500))
    ones = recorder.outcomes[0].ones
    assert ones is not None
    assert set(ones.flatten().tolist()) == {0, 1, 2}
    assert torch.equal(spikes[0], (ones == 2).float())


@pytest.mark.parametrize("mode", [{}, {"shots": 1}, {"shots": 7}, {"decision": "threshold"}])
def test_probabilities_of_zero_and_one_are_certain(mode: dict[str, object]) -> None:
    extremes = torch.tensor([-1e6, 1e6]).expand(50, 20, 2)
    spikes, _ = QLIF(2, seed=1, tau=1.0, **mode)(extremes)  # type: ignore[arg-type]
    assert (spikes[..., 0] == 0).all()
    assert (spikes[..., 1] == 1).all()


@pytest.mark.parametrize("shots", [None, 1, 7])
def test_the_expectation_emits_the_estimate_itself(shots: int | None) -> None:
    recorder = Recorder()
    layer = QLIF(20, seed=1, tau=3.0, backend=recorder, shots=shots, decision="expectation")
    recording = simulate(layer, 1 + torch.rand(10, 3, 20, generator=torch.Generator().manual_seed(1)), "probability")
    answers = torch.stack([outcome.probability for outcome in recorder.outcomes])
    assert torch.equal(recording.spikes, answers)
    assert torch.equal(recording["probability"], answers)


def test_shot_noise_flips_threshold_decisions_less_with_more_shots() -> None:
    """At p = 0.55 the share of P(p̂ > ½) is a binomial tail; exact tails, Bonferroni over 4 and two sides: 1e-9."""
    current = torch.full((1, 50, 400), inverse_sigmoid(0.55))
    for shots, wires in ((1, 1), (9, 1), (101, 1), (3, 3)):
        layer = QLIF(400, seed=2, tau=1.0, decision="threshold", shots=shots, quantum_wire=wires)
        pooled = shots * wires
        expected = float(binom.sf(pooled // 2, pooled, 0.55))
        count = int(layer(current)[0].sum())
        tail = min(binom.cdf(count, 20_000, expected), binom.sf(count - 1, 20_000, expected))
        assert tail > FALSE_FAIL / 8, (shots, wires, count)


@pytest.mark.parametrize("decision", ["threshold", "expectation", "sample"])
def test_the_qubits_of_one_neuron_are_neighbours_and_pooled(decision: str) -> None:
    recorder = Recorder()
    layer = QLIF(4, seed=1, tau=3.0, backend=recorder, shots=5, quantum_wire=3, decision=decision)
    recording = simulate(layer, 1 + torch.rand(6, 2, 4, generator=torch.Generator().manual_seed(1)), ("probability", "angle"))
    for time, (angles, outcome) in enumerate(zip(recorder.angles, recorder.outcomes, strict=True)):
        assert angles.shape == (2, 12, 1)
        sites = angles.reshape(2, 4, 3)
        assert torch.equal(sites, recording["angle"][time].unsqueeze(-1).expand(2, 4, 3))
        assert outcome.ones is not None
        pooled = outcome.ones.reshape(2, 4, 3).sum(dim=-1) / 15
        torch.testing.assert_close(recording["probability"][time], pooled.float())
        if decision == "threshold":
            assert torch.equal(recording.spikes[time], (pooled > 0.5).float())
    assert recording.evaluations == 6 * 2 * 4 * 3


def test_refractory_neurons_run_no_circuit() -> None:
    recorder = Recorder()
    layer = QLIF(8, seed=1, tau=2.0, backend=recorder, shots=3, quantum_wire=2, refractory_period=3)
    current = 1.5 + torch.rand(40, 2, 8, generator=torch.Generator().manual_seed(1))
    recording = simulate(layer, current, ("voltage", "refractory", "probability"))
    since = torch.full((2, 8), 99)
    evaluations = 0
    for time, where in enumerate(recorder.where):
        since += 1
        active = since > 3
        assert where is not None
        assert torch.equal(where, active.repeat_interleave(2, dim=1))
        assert (recording.spikes[time][~active] == 0).all()
        assert (recording["probability"][time][~active] == 0).all()
        if time:
            unchanged = recording["voltage"][time] == recording["voltage"][time - 1]
            assert unchanged[~active].all()
        evaluations += int(where.sum())
        since[recording.spikes[time] == 1] = 0
    assert 0 < evaluations < current.numel() * 2
    assert recording.evaluations == evaluations


@pytest.mark.parametrize("period", [0, 1, 4])
def test_the_refractory_period_is_counted_in_steps(period: int) -> None:
    """A neuron that is driven hard spikes at once and then every period + 1 steps."""
    layer = QLIF(1, quantum_mode=False, tau=1.0, refractory_period=period)
    spikes, _ = layer(torch.full((20, 1, 1), 5.0))
    assert spikes.flatten().nonzero().flatten().tolist() == list(range(0, 20, period + 1))


@pytest.mark.parametrize(
    ("given", "passed"),
    [({}, None), ({"shots": 4}, 4), ({"decision": "expectation"}, None), ({"decision": "threshold", "shots": 9}, 9)],
)
def test_shots_reach_the_backend_as_given(given: dict[str, object], passed: int | None) -> None:
    recorder = Recorder()
    QLIF(2, seed=1, backend=recorder, **given)(torch.ones(3, 1, 2))  # type: ignore[arg-type]
    assert recorder.shots == [passed] * 3
    assert recorder.where == [None] * 3


class CountsOnly(Recorder):
    """A backend that has no exact mode."""

    name = "counts-only"
    capabilities = type(AnalyticBackend.capabilities)(exact=False, shots=True, noisy=False, differentiable=False)


def test_one_shot_is_the_default_where_there_is_no_exact_mode() -> None:
    backend = CountsOnly()
    layer = QLIF(200, seed=1, tau=1.0, backend=backend)
    spikes, _ = layer(torch.ones(3, 2, 200))
    assert backend.shots == [1] * 3
    # One shot is one spike: what the backend drew is what the neuron does.
    assert torch.equal(spikes, torch.stack([outcome.probability for outcome in backend.outcomes]))


def test_the_angles_are_those_of_the_documented_mapping() -> None:
    recorder = Recorder()
    layer = QLIF(3, tau=1.0, backend=recorder, q_scale=(1.0, 2.0, 3.0), q_bias=0.2, quantum_leak=0.5)
    layer(torch.tensor([[[0.5, 1.0, 2.0]]]))
    expected = [math.pi / (1 + math.exp(-(scale * gap - 0.3))) for scale, gap in ((1, -0.5), (2, 0.0), (3, 1.0))]
    assert recorder.angles[0].flatten().tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("decision", ["sample", "threshold", "expectation"])
@pytest.mark.parametrize("gradient", ["auto", "analytic"])
@pytest.mark.parametrize(("kernel", "rounding"), [("off", 0.0), ("auto", 1e-6)])
def test_the_closed_form_is_what_the_backend_answers(decision: str, gradient: str, kernel: str, rounding: float) -> None:
    """A layer works out itself what an ideal backend would say, to the last bit, and its derivative to rounding.

    A kernel's elementary functions are its own, so that it says the same to rounding.
    """
    current = 3 * torch.rand(20, 4, 5, generator=torch.Generator().manual_seed(1))
    found = []
    for backend in ("analytic", Recorder()):
        layer = QLIF(
            5,
            seed=1,
            backend=backend,
            decision=decision,
            gradient=gradient,
            kernel=kernel,
            refractory_period=0 if decision == "expectation" else 2,
            learnable_qscale=True,
            learnable_threshold=True,
        )
        recording = simulate(layer, current, ("probability", "angle"))
        (recording.spikes * torch.arange(20.0)[:, None, None]).sum().backward()  # type: ignore[no-untyped-call]
        found.append(([recording.spikes, *recording.traces.values()], [value.grad for value in layer.parameters()]))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(ours, theirs, rtol=rounding, atol=rounding)
    # The products of the chain rule are taken in another order.
    torch.testing.assert_close(our_gradients, their_gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [("off", "3 of its 3 values are NaN or infinite"), ("auto", "of 3 of the 3 neurons they became NaN or infinite")],
)
def test_an_angle_that_is_none_is_refused(kernel: str, words: str) -> None:
    """Step by step in the step in which it comes up, by a kernel at the end of the sequence."""
    layer = QLIF(3, seed=1, mapping="linear", q_scale=3e38, tau=1.0, kernel=kernel)
    with pytest.raises(ArgumentError, match=f"`angles` must be finite, but {words}"):
        simulate(layer, torch.full((5, 1, 3), 100.0))
