"""The chaotic series of Mackey and Glass, generated."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from qlifq import _validation as check
from qlifq.errors import UnsupportedError
from qlifq.training.data.interface import Dataset, DatasetKind
from qlifq.training.data.series import forecasts

__all__ = ["MackeyGlass", "mackey_glass"]

#: Integration steps per unit of time.
_FINE = 10
#: Units of time that are left out at the beginning, until the start is forgotten.
_TRANSIENT = 500
_LENGTH = 3000


def mackey_glass(
    length: int, *, beta: float = 0.2, gamma: float = 0.1, tau: int = 17, fine: int = _FINE, transient: int = _TRANSIENT
) -> npt.NDArray[np.float64]:
    """The series of Mackey and Glass, dx/dt = β x(t − τ) / (1 + x(t − τ)ⁿ) − γ x(t) with n = 10, one value per unit of time.

    With the numbers that are given it is chaotic. It starts from x = 1.2 for all t ≤ 0 and is integrated by the method of Runge
    and Kutta of fourth order, with cubic interpolation of what lies τ back. Powers are products, so that every machine has the
    same bits.

    Args:
        length: how many values.
        beta: production β, per unit of time.
        gamma: decay γ, per unit of time.
        tau: delay τ, whole units of time.
        fine: integration steps per unit of time.
        transient: units of time that are left out first.

    Returns:
        `(length,)`.

    Raises:
        QLIFError: for a number out of range.

    Reference:
        Mackey and Glass, Oscillation and chaos in physiological control systems, Science 197, 287 (1977).

    Example:
        >>> mackey_glass(3).round(3).tolist()
        [1.063, 1.011, 0.961]
    """
    check.integer("length", length, at_least=1)
    check.integer("tau", tau, at_least=1)
    check.integer("fine", fine, at_least=1)
    check.integer("transient", transient, at_least=0)
    check.real("beta", beta, above=0)
    check.real("gamma", gamma, above=0)

    def slope(now: float, before: float) -> float:
        fourth = (before * before) * (before * before)
        return beta * before / (1.0 + fourth * fourth * (before * before)) - gamma * now

    step, delay = 1.0 / fine, tau * fine
    # The values at every step and halfway between two of them, from t = −τ on.
    values, halves = [1.2] * (delay + 1), [1.2] * delay
    for _ in range((length - 1 + transient) * fine):
        now, before, between, after = values[-1], values[-1 - delay], halves[-delay], values[-delay]
        first = slope(now, before)
        second = slope(now + step / 2 * first, between)
        third = slope(now + step / 2 * second, between)
        fourth = slope(now + step * third, after)
        values.append(now + step / 6 * (first + 2 * second + 2 * third + fourth))
        # Hermite's cubic halfway: (x₀ + x₁)/2 + h (x₀' − x₁')/8, with the slopes within this step, since that at t = 0 jumps.
        halves.append((now + values[-1]) / 2 + step * (first - slope(values[-1], after)) / 8)
    return np.array(values[delay + transient * fine :: fine])


class MackeyGlass(DatasetKind):
    """Forecasts of the series, from x(t − 18), x(t − 12), x(t − 6) and x(t) to x(t + 6), as is usual."""

    description = "the chaotic series of Mackey and Glass, generated: four values 6 apart, and the one 6 later"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """Needs no file."""
        if path is not None:
            raise UnsupportedError(f"Argument `data` would be ignored: the series is generated, but it is {str(path)!r}.")
        series = mackey_glass(_LENGTH)[:, None]
        return forecasts("mackey-glass", series, window=4, lag=6, horizon=6, source="Mackey and Glass, τ = 17")
