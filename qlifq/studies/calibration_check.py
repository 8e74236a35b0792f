"""A calibration put to the test: the response of a backend before and after its correction, and the files that it leaves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._files import PathLike, as_path, named_errors, write_bytes
from qlifq.backends import Backend, Plan
from qlifq.calibration import Calibration, Correction, save
from qlifq.calibration.measurement import round_plan
from qlifq.calibration.record import read_record
from qlifq.calibration.site_table import sites_as_csv, sites_of
from qlifq.circuits import RYSpike
from qlifq.errors import ArgumentError, FileError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS
from qlifq.reporting.figures import figure_files, figure_writers
from qlifq.reporting.run_folder import Contents, RunFolder, is_unfinished, listed_files, read_marker, same_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CalibrationCheck",
    "calibration_contents",
    "calibration_plans",
    "check_correction",
    "check_record_path",
    "describe_plan",
    "record_files",
    "record_run",
]


_GAPS = 13
#: What is left out at either end of the reach of the neurons: there no correction can follow the target.
_EDGE = 0.1
_STEPS = 1000


@dataclass(frozen=True, eq=False)
class CalibrationCheck:
    """The response of every neuron before and after correction, measured anew.

    Args:
        calibration: what the correction was made from.
        correction: the correction.
        gaps: Δ, `(gaps,)`.
        target: the target P(1), `(gaps, neurons)`.
        before: ones of the shots with the target's own numbers, same shape, int64.
        after: the same with the corrected ones. A neuron that cannot reach the target keeps the target's own.
        shots: per gap and neuron.
    """

    calibration: Calibration
    correction: Correction
    gaps: Tensor
    target: Tensor
    before: Tensor
    after: Tensor
    shots: int

    @property
    def rms_before(self) -> float:
        """Root mean square of estimate − target before, over gaps and the neurons that were corrected; NaN without any."""
        return self._rms(self.before / self.shots - self.target)

    @property
    def rms_after(self) -> float:
        """Root mean square of estimate − target after, over the same neurons."""
        return self._rms(self.after / self.shots - self.target)

    @property
    def shot_noise(self) -> float:
        """The root mean square that the shots of this check alone would give, over the same neurons."""
        return self._rms((self.target * (1 - self.target) / self.shots).sqrt())

    @property
    def unreachable(self) -> int:
        """Neurons that cannot reach the target at gap 0."""
        return int((~self.correction.reachable).sum())

    def facts(self) -> dict[str, object]:
        """What `str` prints, as numbers; NaN where no neuron could be corrected."""
        return {
            "gaps": self.gaps.tolist(),
            "shots": self.shots,
            "rms_before": self.rms_before,
            "rms_after": self.rms_after,
            "shot_noise": self.shot_noise,
            "highest_floor": float(self.correction.floor.max()),
            "lowest_ceiling": float(self.correction.ceiling.min()),
            "unreachable": self.unreachable,
        }

    def _rms(self, values: Tensor) -> float:
        return float(values[:, ~self.correction.q_scale.isnan()].square().mean().sqrt())

    def __str__(self) -> str:
        floor, ceiling = float(self.correction.floor.max()), float(self.correction.ceiling.min())
        lost = f"{self.unreachable} of {self.target.shape[1]} neurons cannot reach the target at gap 0"
        left_out, on = int(self.correction.q_scale.isnan().sum()), f"on {self.calibration.source}"
        if left_out == self.target.shape[1]:
            return f"no correction: {lost} · floors up to {floor:.3f} · ceilings from {ceiling:.3f} · {on}"
        lost += f", and {left_out} are not in the RMS" if left_out else ""
        return (
            f"response against target over gaps {float(self.gaps[0]):.3g} to {float(self.gaps[-1]):.3g}, {self.shots:,} shots "
            f"each: RMS {self.rms_before:.4f} before, {self.rms_after:.4f} after, of which shot noise {self.shot_noise:.4f}\n"
            f"highest floor {floor:.3f} · lowest ceiling {ceiling:.3f} · {lost} · {on}"
        )


def check_correction(
    backend: Backend,
    calibration: Calibration,
    *,
    p0: float | None = None,
    slope: float | None = None,
    span: tuple[float, float] | None = None,
    shots: int = 4096,
    seed: int | None = None,
) -> CalibrationCheck:
    """Correct every neuron and measure its response again, before and after.

    Args:
        backend: what was calibrated.
        calibration: the calibration.
        p0: target P(1) at gap 0, see `Calibration.correct`.
        slope: target slope there.
        span: range of gaps in which the response is fitted to the target. Without it baseline and slope at gap 0 are met,
            and the check covers the gaps whose targets are in the middle 80 % of what every neuron reaches.
        shots: per gap and neuron of the check.
        seed: of the check; None takes one from the system.

    Returns:
        A `CalibrationCheck`.

    Raises:
        QLIFError: if an argument cannot be used, or the backend is another than was calibrated.
    """
    design = calibration.measurement.design
    calibration.check_backend(backend)
    check.integer("shots", shots, at_least=1)
    correction = calibration.correct(p0=p0, slope=slope, span=span)
    target = correction.target
    if span is None:
        span = _common_span(correction)
    gaps = torch.linspace(*span, _GAPS, dtype=torch.float64)
    q_scale = torch.where(correction.q_scale.isnan(), target.q_scale, correction.q_scale)
    offset = torch.where(correction.q_bias.isnan(), target.offset, correction.q_bias - design.quantum_leak)
    sets = ((target.q_scale, target.offset), (q_scale, offset))
    angles = torch.cat([MAPPINGS[design.mapping].angle(gaps[:, None], *pair, design.theta_max) for pair in sets])
    ones = backend.run(calibration.circuit, angles.unsqueeze(-1), shots=shots, seed=seed).ones
    if ones is None:
        raise UnsupportedError(f"Argument `backend` must give counts, but {backend.name} gave none.")
    before, after = ones.cpu().split(_GAPS)  # type: ignore[no-untyped-call]
    return CalibrationCheck(calibration, correction, gaps, target.probability(gaps[:, None]), before, after, shots)


def record_run(path: PathLike, *, command: str = "", force: bool = False) -> RunFolder:
    """The run that writes a calibration record, its table and its picture; refused at once where it must not be.

    Args:
        path: a file that ends in .json and is not there yet, or was left by the same command before it ended, or with `force`
            holds an earlier calibration. The table and the picture, a PNG and a PDF, go beside it.
        command: the command line.
        force: whether an earlier calibration is overwritten.

    Returns:
        A `RunFolder`, for `calibration_contents`.

    Raises:
        QLIFError: if there is something else.
    """
    record = as_path("out", path)
    if record.suffix != ".json":
        raise ArgumentError(f"Argument `out` must be a .json file, but is {str(record)!r}.")
    marker = record.with_name(f"{record.name}.unfinished")
    files = tuple(place.name for place in record_files(record))
    earlier: Sequence[str] = ()
    with named_errors(record, "File"):
        if not record.absolute().parent.is_dir():
            raise FileError(f"File {record} cannot be written: {record.absolute().parent} is not a folder.")
        if marker.exists():
            known = read_marker(marker)
            if not is_unfinished(known):
                raise FileError(f"File {record} cannot be written: {marker} is not of an unfinished calibration.")
            if not force and not same_command(known, command):
                raise FileError(
                    f"File {record} cannot be written: an unfinished run of {known.get('command')!r} wrote there, which only "
                    "--force overwrites."
                )
            earlier = listed_files(known) or ()
        elif record.exists():
            read_record(record)
            if not force:
                raise FileError(
                    f"File {record} cannot be written: it holds an earlier calibration, which only --force overwrites."
                )
            earlier = files
        run = RunFolder(marker, command, earlier=earlier, alone=False)
        run.check(files)
    return run


def check_record_path(path: PathLike, *, force: bool = False) -> Path:
    """Refuse a path that a calibration must not be written to; arguments and errors as for `record_run`.

    Returns:
        The path.
    """
    record_run(path, force=force)
    return as_path("out", path)


def record_files(record: Path) -> tuple[Path, ...]:
    """What a calibration leaves: the record, the table of all sites, and the picture as each of its files.

    The table is no plain `.csv`: there a user may keep the counts that the record is made from.
    """
    return record, record.with_suffix(".sites.csv"), *(record.with_name(name) for name in figure_files(record.stem))


def calibration_contents(path: PathLike, calibration: Calibration, draw: "Callable[[], Figure]") -> Contents:
    """What a calibration leaves: the record at that path, and beside it all sites as a table and the picture of `draw`."""
    record, table, *_ = record_files(as_path("out", path))
    rows = sites_as_csv(sites_of(calibration.analysis))
    return Contents(
        results={record.name: partial(save, calibration), table.name: lambda place: write_bytes(place, rows.encode())},
        pictures=figure_writers(record.stem, draw),
    )


def calibration_plans(backend: Backend, neurons: int, *, shots: int, rounds: int, check_shots: int) -> dict[str, Plan]:
    """The plans of a calibration and its check, by what `describe_plan` calls them; spends nothing."""
    return {
        f"each of {rounds} rounds": round_plan(backend, neurons, shots=shots, rounds=rounds),
        "check": backend.plan(RYSpike(), 2 * _GAPS, neurons, shots=check_shots),
    }


def describe_plan(backend: Backend, neurons: int, *, shots: int, rounds: int, check_shots: int) -> str:
    """What would be measured, and what a calibration and its check would cost, one line each; spends nothing."""
    plans = calibration_plans(backend, neurons, shots=shots, rounds=rounds, check_shots=check_shots)
    return "\n".join([f"backend: {backend.description}", *(f"{name}: {plan}" for name, plan in plans.items())])


def _common_span(correction: Correction) -> tuple[float, float]:
    """The widest range around gap 0, up to 1, in which the target stays within the middle of every neuron's reach."""
    able = correction.reachable
    if not bool(able.any()):
        return -1.0, 1.0
    floor, ceiling = correction.floor[able].max(), correction.ceiling[able].min()
    edge = _EDGE * (ceiling - floor)
    steps = torch.arange(1, _STEPS + 1, dtype=torch.float64) / _STEPS
    within = torch.ones(_STEPS, dtype=torch.bool)
    for side in (-steps, steps):
        targets = correction.target.probability(side[:, None])[:, able]
        within &= ((targets > floor + edge) & (targets < ceiling - edge)).all(1)
    half = max(1, int(within.to(torch.int64).cumprod(0).sum())) / _STEPS
    return -half, half
