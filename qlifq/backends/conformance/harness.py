"""What every conformance check receives: the backend, the truth, and ways to run and to compare."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binom, norm
from torch import Tensor

from qlifq.backends.interface import MAX_SHOTS, Backend, Capabilities, Outcome
from qlifq.circuits import CIRCUITS, BrandPetruccione, Gate, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ConformanceError

__all__ = ["CHECKED_CIRCUITS", "RY", "TOLERANCE", "Harness", "counts", "inside", "near", "population"]

#: How far an exact float64 probability may be from the oracle.
TOLERANCE = 1e-10
#: How often a shot check may miss the bias that it must see.
MISS = 1e-6
#: Seconds of delay for each radian that a rotation would get.
SECONDS_PER_RADIAN = 2e-5

RY = RYSpike()
#: The circuits that the checks run: the library, a circuit whose P(1) shows the sign and the place of each angle, and one
#: with a constant, a slot that is used twice and slots out of order.
CHECKED_CIRCUITS: Mapping[str, SpikeCircuit] = {
    **{name: entry.build() for name, entry in CIRCUITS.items()},
    "BrandPetruccione delay": BrandPetruccione("delay"),
    "RY-RZ-RX": SpikeCircuit("Probe", (Gate("RY", Slot(0)), Gate("RZ", Slot(1)), Gate("RX", Slot(2)))),
    "shared slot": SpikeCircuit("SharedSlot", (Gate("RX", Slot(1)), Gate("RZ", 0.7), Gate("RY", Slot(0)), Gate("RX", Slot(1)))),
}


@dataclass(frozen=True, slots=True)
class Harness:
    """The backend under test, the truth, and ways to run and to compare.

    Args:
        backend: what is tested.
        oracle: what knows the truth, with an exact mode.
        fixed_sites: the only number of sites that the backend takes, None for any.
        bias: the error of a P(1) that shots must show.
        seed: of angles and shots.
        device: where the angles are.
        level: how often one statistical check may fail an honest backend.
    """

    backend: Backend
    oracle: Backend
    fixed_sites: int | None
    bias: float
    seed: int
    device: torch.device
    level: float

    @property
    def can(self) -> Capabilities:
        """What the backend declares."""
        return self.backend.capabilities

    @property
    def modes(self) -> tuple[int | None, ...]:
        """An argument `shots` for each mode that the backend declares."""
        few = min(100, self.can.max_shots or 100)
        return (*((None,) if self.can.exact else ()), *((few,) if self.can.shots else ()))

    def sites(self, preferred: int) -> int:
        """`preferred`, or what the backend takes instead."""
        return self.fixed_sites or min(preferred, self.can.max_sites or preferred)

    def angles(self, circuit: SpikeCircuit, elements: int, sites: int, *, all_at: tuple[float, ...] = ()) -> Tensor:
        """Random angles for `elements`, no two equal, then one element for each value of `all_at`, which all its angles have.

        Delays get what a rotation would, scaled to microseconds and without the sign.
        """
        source = torch.Generator().manual_seed(self.seed % 2**32)
        shape = (sites, circuit.num_angles)
        random = 2 * math.pi * (2 * torch.rand((elements, *shape), dtype=torch.float64, generator=source) - 1)
        angles = torch.cat((random, *(torch.full((1, *shape), value, dtype=torch.float64) for value in all_at)))
        for slot in circuit.delay_slots:
            angles[..., slot] = angles[..., slot].abs() * SECONDS_PER_RADIAN
        return angles.to(self.device)

    def run(
        self,
        angles: Tensor,
        shots: int | None,
        *,
        circuit: SpikeCircuit = RY,
        seed: int | None = None,
        where: Tensor | None = None,
    ) -> Outcome:
        """Run the backend."""
        return self.backend.run(circuit, angles, shots=shots, seed=self.seed if seed is None else seed, where=where)

    def truth(self, circuit: SpikeCircuit, angles: Tensor) -> Tensor:
        """P(1) of the oracle, float64."""
        return self.oracle.run(circuit, angles.detach().double(), shots=None, seed=None).probability

    def shots_to_see(self, bias: float, tests: int) -> int:
        """Shots with which a P(1) that is wrong by `bias` fails one of `tests` two-sided tests, but for one time in a million.

        By the normal approximation at P(1) = ½, where a binomial is widest: ((z_fail + z_miss) / 2 bias)².
        """
        reach = float(norm.isf(self.level / tests / 2) + norm.isf(MISS))
        return math.ceil((reach / (2 * bias)) ** 2)

    def agree_exactly(self, circuit: SpikeCircuit, angles: Tensor) -> str:
        """Compare probabilities with the oracle."""
        error = (self.run(angles, None, circuit=circuit).probability - self.truth(circuit, angles)).abs()
        near(error, angles, TOLERANCE)
        return f"{error.numel()} evaluations, greatest error {float(error.max()):.1e}"

    def agree_in_law(self, circuit: SpikeCircuit, angles: Tensor, bias: float) -> str:
        """Compare counts with the oracle, from as many shots as show the bias."""
        truth = self.truth(circuit, angles)
        shots = self.shots_to_see(bias, truth.numel())
        # A backend that takes fewer shots in one call gets every evaluation several times.
        copies = -(-shots // (self.can.max_shots or MAX_SHOTS))
        each = -(-shots // copies)
        ones = counts(self.run(angles.repeat(copies, 1, 1), each, circuit=circuit)).reshape(copies, *truth.shape).sum(0)
        self.plausible(ones, copies * each, truth, angles)
        return f"{truth.numel()} evaluations of {copies * each:,} shots"

    def agree(self, circuit: SpikeCircuit, angles: Tensor, bias: float) -> str:
        """Compare with the oracle: exactly where the backend can."""
        return self.agree_exactly(circuit, angles) if self.can.exact else self.agree_in_law(circuit, angles, bias)

    def plausible(self, ones: npt.NDArray[np.int64], shots: int, truth: Tensor, angles: Tensor) -> None:
        """Refuse counts that a binomial with the true P(1) gives less often than this check may fail."""
        chance = population(truth)
        tails = np.minimum(binom.cdf(ones, shots, chance), binom.sf(ones - 1, shots, chance))
        worst = np.unravel_index(int(np.argmin(tails)), tails.shape)
        if 2 * tails[worst] * tails.size < self.level:
            raise ConformanceError(
                f"P(1) is {ones[worst] / shots:.4f} from {shots:,} shots at angles {_listed(angles[worst])}, "
                f"but should be {chance[worst]:.4f}"
            )


def counts(outcome: Outcome) -> npt.NDArray[np.int64]:
    """The counts of an outcome, which must be int64."""
    if outcome.ones is None or outcome.ones.dtype != torch.int64:
        raise ConformanceError(f"`ones` must be int64, but is {None if outcome.ones is None else outcome.ones.dtype}")
    return np.asarray(outcome.ones.cpu().numpy(), dtype=np.int64)


def population(truth: Tensor) -> npt.NDArray[np.float64]:
    """Probabilities for NumPy; rounding can leave [0, 1] by an ulp."""
    return np.asarray(truth.cpu().numpy().clip(0.0, 1.0), dtype=np.float64)


def inside(probability: Tensor, angles: Tensor) -> None:
    """Refuse a probability outside [0, 1], if only by rounding, or NaN, and name the angles where it is worst."""
    near(torch.maximum(-probability, probability - 1), angles, 0.0, "P(1) must be within [0, 1], but")


def near(error: Tensor, angles: Tensor, tolerance: float, what: str = "P(1)") -> None:
    """Refuse an error above the tolerance, or NaN, and name the angles where it is worst."""
    error = error.detach().double().nan_to_num(nan=math.inf)
    if error.numel() and float(error.max()) > tolerance:
        element, site = np.unravel_index(int(error.argmax()), error.shape)
        raise ConformanceError(
            f"{what} is wrong by {float(error.max()):.2g} at angles {_listed(angles[element, site])}, "
            f"element {element}, site {site}"
        )


def _listed(angles: Tensor) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in angles.tolist()) + ")"
