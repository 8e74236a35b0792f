"""Shot noise on a single evaluation: its error against the shots, and what no number of shots takes away."""

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from qlifq.calibration import fit
from qlifq.circuits import RYSpike
from qlifq.reporting.intervals import CONFIDENCE, DRAWS, Floats, binomial, percentile, resampled_means, slopes
from qlifq.studies.shot_noise.run import Run

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["evaluations", "floors"]

PROBABILITIES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
#: The calibration spends, per angle, this many times the most shots of the study.
CALIBRATION_ROUNDS = 10
#: Half width of a normal interval in standard errors.
NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


def evaluations(run: Run, repeats: int) -> tuple["DataFrame", "DataFrame", "DataFrame"]:
    """Estimates of one P(1) after another from a number of shots.

    Args:
        run: the run.
        repeats: of every estimate.

    Returns:
        The tables `evaluation`, `pooled` and `scaling` of a `ShotNoiseStudy`.
    """
    from pandas import DataFrame

    ideal = np.array(PROBABILITIES)
    spread = np.sqrt(ideal * (1 - ideal))
    rows, pooled_rows = [], []
    log_error = np.zeros((len(run.shots), len(ideal) + 1, DRAWS + 1))
    for index, count in enumerate(run.shots):
        ones = _ones(run, ideal, count, repeats)
        squared = (ones / count - ideal) ** 2
        # The last column pools all P(1), each in the unit of its own expected error.
        pooled = (squared / spread**2).mean(axis=1, keepdims=True)
        squares = np.concatenate([squared, pooled], axis=1)
        draws = resampled_means(squares, run.rng)
        with np.errstate(divide="ignore"):
            log_error[index] = np.log(np.concatenate([squares.mean(axis=0)[None], draws])).T / 2
        # Each squared error is in units of p (1 − p), so √(mean · shots) is 1 where shot noise is all there is.
        with_unit = np.sqrt(draws[:, -1] * count)
        pooled_rows.append({"shots": count, **percentile(float(np.sqrt(pooled.mean() * count)), with_unit).columns("ratio")})
        low, high = binomial(ones.sum(axis=0), count * len(ones))
        for place, p in enumerate(ideal):
            rmse = percentile(float(np.sqrt(squares[:, place].mean())), np.sqrt(draws[:, place]))
            rows.append(
                {
                    "p": p,
                    "shots": count,
                    "repeats": len(ones),
                    "expected": spread[place] / np.sqrt(count),
                    **rmse.columns("rmse"),
                    "bias": ones[:, place].mean() / count - p,
                    "bias_low": low[place] - p,
                    "bias_high": high[place] - p,
                }
            )
        run.tick()
    # rmse = √(p (1 − p) / shots): the slope of ln rmse against ln shots is −1/2 as long as there is no bias.
    fitted = slopes(np.log(run.shots), log_error.transpose(1, 2, 0))
    names = [*(f"{p:g}" for p in ideal), "all"]
    scaling = DataFrame(
        [{"p": name, **percentile(float(each[0]), each[1:]).columns("slope")} for name, each in zip(names, fitted, strict=True)]
    )
    return DataFrame(rows), DataFrame(pooled_rows), scaling


def floors(run: Run, most: "DataFrame", repeats: int) -> "DataFrame":
    """The bias that no number of shots takes away, beside the bias that a calibration predicts."""
    from pandas import DataFrame

    floor = DataFrame({name: most[name].to_numpy() for name in ("p", "shots", "bias", "bias_low", "bias_high")})
    calibration = fit(
        run.backend,
        neurons=1,
        shots=CALIBRATION_ROUNDS * run.shots[-1],
        rounds=CALIBRATION_ROUNDS,
        seed=run.seeds.next_seed(),
    )
    run.tick()
    fitted = calibration.analysis.response
    p, bias = floor["p"].to_numpy(), floor["bias"].to_numpy()
    # The inverse of p = sin²(θ/2), from which the calibrated response a + b cos θ + c sin θ predicts what is measured.
    theta = 2 * np.arcsin(np.sqrt(p))
    design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    predicted = design @ fitted.value[0].numpy() - p
    # The variance of a + b cos θ + c sin θ is xᵀ Σ x with x = (1, cos θ, sin θ).
    variance = np.einsum("ij,jk,ik->i", design, fitted.covariance[0].numpy(), design)
    measured = np.clip(p + bias, 0.0, 1.0)
    own = measured * (1 - measured) / (run.shots[-1] * repeats)
    # Calibration and measurement are independent: the variance of their difference is the sum of both.
    for name, value, spread in (("predicted", predicted, variance), ("difference", bias - predicted, variance + own)):
        reach = NORMAL * np.sqrt(spread)
        floor[name], floor[f"{name}_low"], floor[f"{name}_high"] = value, value - reach, value + reach
    # Where p (1 − p)/shots, the variance of shots, is the square of the bias.
    seen = (floor["bias_low"] > 0) | (floor["bias_high"] < 0)
    floor["shots_at_floor"] = np.where(seen, p * (1 - p) / np.where(seen, bias, 1.0) ** 2, np.nan)
    return floor


def _ones(run: Run, ideal: Floats, count: int, repeats: int) -> Floats:
    """Counts of every repeat, `(repeats, probabilities)`, all run on one site."""
    angles = torch.tensor(2 * np.arcsin(np.sqrt(ideal))).repeat(repeats)
    outcome = run.backend.run(RYSpike(), angles.reshape(-1, 1, 1), shots=count, seed=run.seeds.next_seed())
    return cast(Tensor, outcome.ones).numpy().reshape(repeats, len(ideal)).astype(np.float64)
