"""ReadoutMitigated estimates are unbiased, as uncertain as they say, never clipped, and no spikes."""

import math
import re
from collections.abc import Callable

import pytest
import torch
from scipy.stats import binom, binomtest
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.conformance import check
from qlifq.backends.mitigation import ReadoutMitigated
from qlifq.calibration import fit
from qlifq.circuits import RYSpike, SpikeTrainCircuit
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons import BrandPetruccione
from qlifq.studies.brand_petruccione.study import run_brand_petruccione
from qlifq.studies.shot_noise.study import run_shot_noise

EPS, ETA = (0.03, 0.15), (0.08, 0.12)
NOISY = get("analytic", noise=DeviceNoise(readout_p01=EPS, readout_p10=ETA))
ANGLES = torch.tensor([0.0, 0.4, 1.5, 3.0, math.pi], dtype=torch.float64)[:, None, None].expand(-1, 2, 1)


def test_exact_estimates_are_those_of_a_perfect_readout() -> None:
    found = ReadoutMitigated(NOISY, EPS, ETA).run(RYSpike(), ANGLES, shots=None, seed=None).probability
    torch.testing.assert_close(found, (ANGLES[..., 0] / 2).sin().square(), rtol=0, atol=1e-14)


def test_estimates_are_unbiased_with_the_error_that_is_stated() -> None:
    """2,000 estimates of 500 shots at every angle, |0⟩ and |1⟩ among them."""
    backend, repeats, shots = ReadoutMitigated(NOISY, EPS, ETA), 2000, 500
    truth = (ANGLES[..., 0] / 2).sin().square()
    outcome = backend.run(RYSpike(), ANGLES.repeat(repeats, 1, 1), shots=shots, seed=8)
    estimate = outcome.probability.reshape(repeats, len(ANGLES), 2)
    # Undone, the mean of all estimates is a binomial proportion of a million shots: the exact test of each, false-fail 1e-9 in
    # all; sees a bias of 0.005.
    readout_p01, readout_p10 = torch.tensor(EPS, dtype=torch.float64), torch.tensor(ETA, dtype=torch.float64)
    read = readout_p01 + (1 - readout_p01 - readout_p10) * truth
    pooled = ((readout_p01 + (1 - readout_p01 - readout_p10) * estimate) * shots).sum(0).round().to(torch.int64)
    for count, chance in zip(pooled.flatten().tolist(), read.flatten().tolist(), strict=True):
        assert binomtest(count, repeats * shots, chance).pvalue > 1e-10
    # The spread of 2,000 estimates is known to 1.6 %: six of those.
    stated = backend.standard_error(outcome).reshape(estimate.shape).mean(0)
    torch.testing.assert_close(estimate.std(0), stated, rtol=0.1, atol=0)
    # Beyond both ends, where clipping would bias the mean.
    assert float(estimate.min()) < 0.0
    assert float(estimate.max()) > 1.0


def test_the_error_inflation_is_reported() -> None:
    outcome = ReadoutMitigated(NOISY, EPS, ETA).run(RYSpike(), ANGLES, shots=100, seed=1)
    assert outcome.metadata["error_inflation"] == pytest.approx((1 / 0.89, 1 / 0.73))
    assert outcome.ones is None
    assert outcome.shots == 100
    exact = ReadoutMitigated(NOISY, EPS, ETA).run(RYSpike(), ANGLES, shots=None, seed=None)
    assert float(ReadoutMitigated(NOISY, EPS, ETA).standard_error(exact).max()) == 0.0


def test_what_is_not_wanted_stays_0_and_the_gradient_is_there() -> None:
    angles = ANGLES.clone().requires_grad_()
    where = torch.tensor([[True, False]]).expand(5, 2)
    found = ReadoutMitigated(NOISY, EPS, ETA).run(RYSpike(), angles, shots=None, seed=None, where=where).probability
    assert found[:, 1].tolist() == [0.0] * 5
    (gradient,) = torch.autograd.grad(found.sum(), angles)
    torch.testing.assert_close(gradient[:, 0], angles.detach()[:, 0].sin() / 2, rtol=0, atol=1e-14)
    assert ReadoutMitigated(NOISY, EPS, ETA).plan(RYSpike(), 2, 2, shots=5) == NOISY.plan(RYSpike(), 2, 2, shots=5)


def test_a_calibration_mitigates_its_backend() -> None:
    calibration = fit(NOISY, neurons=2, shots=400_000, seed=2)
    found = calibration.mitigate(NOISY).run(RYSpike(), ANGLES, shots=None, seed=None).probability
    # Six standard errors of the corners that were measured, widened.
    allowed = 6 * float(calibration.analysis.neuron.standard_error[:, 2:].max()) / 0.73
    assert float((found - (ANGLES[..., 0] / 2).sin().square()).abs().max()) < allowed


def test_single_spikes_are_refused() -> None:
    backend = ReadoutMitigated(NOISY, EPS, ETA)
    with pytest.raises(UnsupportedError, match="`shots` must be above 1 where the readout is mitigated: one shot is a spike"):
        backend.run(RYSpike(), ANGLES, shots=1, seed=1)
    layer = qlifq.QLIF(2, backend=backend, shots=1, decision="expectation")
    with pytest.raises(UnsupportedError, match="one shot is a spike"):
        layer(torch.ones(1, 1, 2))


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda backend: qlifq.QLIF(2, backend=backend, shots=7), "decision='sample'"),
        (lambda backend: qlifq.QLIF(2, backend=backend), "decision='sample'"),
        (lambda backend: BrandPetruccione(2, backend=backend, shots=7), "BrandPetruccione, whose next step starts from"),
        (lambda backend: fit(backend, neurons=2, shots=500), "a calibration"),
        (lambda backend: run_shot_noise((ANGLES, ANGLES), backend), "a study"),
        (lambda backend: run_brand_petruccione(backend=backend), "a study"),
    ],
    ids=["sample", "sample exact", "BrandPetruccione", "fit", "shot noise", "study"],
)
def test_what_would_clip_the_estimates_is_refused_before_it_runs(use: Callable[[ReadoutMitigated], object], what: str) -> None:
    backend = ReadoutMitigated(NOISY, EPS, ETA)
    assert NOISY.capabilities.bounded
    assert not backend.capabilities.bounded
    message = f"within [0, 1] for {what}"
    with pytest.raises(UnsupportedError, match=re.escape(message) + r".* backend mitigated-analytic .* decision='expectation'"):
        use(backend)


def test_spike_trains_are_refused() -> None:
    mitigated = ReadoutMitigated(get("analytic"), 0.1, 0.2)
    train = SpikeTrainCircuit(torch.zeros(3, 1, 1), (), torch.zeros(0, 1, 1))
    with pytest.raises(UnsupportedError, match="Backend mitigated-analytic runs no spike trains"):
        mitigated.run_train(train, shots=1, seed=0)


def test_the_conformance_suite_sends_one_to_the_backend_inside() -> None:
    with pytest.raises(UnsupportedError, match="but backend mitigated-analytic declares that it does not: check the backend"):
        check(ReadoutMitigated(NOISY, EPS, ETA))


def test_expectations_and_thresholds_take_the_estimates_as_they_are() -> None:
    """A graded spike below 0 is no mistake: its mean is that of P(1)."""
    layer = qlifq.QLIF(2, backend=ReadoutMitigated(NOISY, EPS, ETA), shots=20, decision="expectation", seed=2)
    emitted, _ = layer(torch.full((40, 25, 2), -3.0))
    assert float(emitted.min()) < 0.0
    qlifq.QLIF(2, backend=ReadoutMitigated(NOISY, EPS, ETA), shots=20, decision="threshold")(torch.ones(1, 1, 2))


def coverage(shots: int, bounds: Callable[[ReadoutMitigated, Outcome], tuple[Tensor, Tensor]]) -> Tensor:
    """How often the bounds hold P(1), by the exact binomial of the shots read as 1, `(points, sites)`.

    The points lie close at both ends, which are among them.
    """
    backend = ReadoutMitigated(NOISY, EPS, ETA)
    middle = torch.linspace(0.0, 1.0, 1601, dtype=torch.float64)
    edge = torch.logspace(-6, -2, 60, dtype=torch.float64)
    truth = torch.cat((middle, edge, 1 - edge))
    readout_p01, readout_p10 = torch.tensor(EPS, dtype=torch.float64), torch.tensor(ETA, dtype=torch.float64)
    ones = torch.arange(shots + 1, dtype=torch.float64)[:, None].expand(-1, 2)
    estimate = (ones / shots - readout_p01) / (1 - readout_p01 - readout_p10)
    low, high = bounds(backend, Outcome(estimate, None, shots))
    slack = 1e-12
    covered = (low - slack <= truth[:, None, None]) & (truth[:, None, None] <= high + slack)
    read = readout_p01 + (1 - readout_p01 - readout_p10) * truth[:, None]
    chance = torch.from_numpy(binom.pmf(ones.numpy(), shots, read[:, None, :].numpy()))
    return (chance * covered).sum(1)


@pytest.mark.parametrize(
    ("shots", "least"), [(2, 0.83), (5, 0.83), (12, 0.89), (13, 0.89), (50, 0.92), (173, 0.92), (600, 0.92)]
)
def test_the_standard_error_is_honest_at_the_ends(shots: int, least: float) -> None:
    """By enumeration, nothing is drawn; √(p̂ (1 − p̂) / shots) holds 0.33 where nothing was read as 1 in 10 shots."""

    def bounds(backend: ReadoutMitigated, outcome: Outcome) -> tuple[Tensor, Tensor]:
        reach = 1.96 * backend.standard_error(outcome)
        return outcome.probability - reach, outcome.probability + reach

    covered = coverage(shots, bounds)
    assert float(covered.min()) >= least
    assert float(covered[[0, 1600]].min()) >= least
    assert 0.94 < float(covered.mean()) < 0.99


@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999])
@pytest.mark.parametrize("shots", [2, 3, 10, 50, 173])
def test_the_interval_holds_with_its_confidence_whatever_the_truth(shots: int, confidence: float) -> None:
    covered = coverage(shots, lambda backend, outcome: backend.interval(outcome, confidence))
    assert float(covered.min()) >= confidence


def test_an_interval_of_an_exact_estimate_is_the_estimate() -> None:
    backend = ReadoutMitigated(NOISY, EPS, ETA)
    exact = backend.run(RYSpike(), ANGLES.float(), shots=None, seed=None)
    low, high = backend.interval(exact)
    assert torch.equal(low, exact.probability)
    assert torch.equal(high, exact.probability)
    low, high = backend.interval(backend.run(RYSpike(), ANGLES.float(), shots=40, seed=1))
    assert low.dtype == high.dtype == torch.float32
    with pytest.raises(ArgumentError, match="`confidence` must be above 0 and below 1, but is 1"):
        backend.interval(exact, 1.0)


REFUSED: list[tuple[Callable[[], object], type[QLIFError], str]] = [
    (lambda: ReadoutMitigated("aer", 0.1, 0.1), DtypeError, "`backend` must be a Backend, but is str"),  # type: ignore[arg-type]
    (
        lambda: ReadoutMitigated(ReadoutMitigated(NOISY, EPS, ETA), EPS, ETA),
        UnsupportedError,
        "`backend` must not be mitigated already",
    ),
    (
        lambda: ReadoutMitigated(NOISY, 0.1, ETA),
        ShapeError,
        "`readout_p01` and `readout_p10` must have as many values, but have 1 and 2",
    ),
    (
        lambda: ReadoutMitigated(NOISY, (0.1, 0.5), (0.1, 0.5)),
        ArgumentError,
        "must add up to less than 1, but are 0.5 and 0.5 at site 1",
    ),
    (lambda: ReadoutMitigated(NOISY, math.nan, 0.1), ArgumentError, "`readout_p01` must be finite, but is nan"),
    (lambda: ReadoutMitigated(NOISY, 0.1, 1.0), ArgumentError, "`readout_p10` must be above -1 and below 1, but is 1"),
    (lambda: ReadoutMitigated(NOISY, "many", 0.1), DtypeError, "`readout_p01` must be a number, but is 'many'"),  # type: ignore[arg-type]
    (lambda: ReadoutMitigated(NOISY, [], []), ShapeError, "`readout_p01` must hold one number per site, but is empty"),
    (
        lambda: ReadoutMitigated(get("analytic"), EPS, ETA).run(RYSpike(), torch.zeros(1, 3, 1), shots=None, seed=None),
        ShapeError,
        "`angles` must have 2 sites for backend mitigated-analytic, but has 3",
    ),
]


@pytest.mark.parametrize(("act", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(act: Callable[[], object], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        act()
