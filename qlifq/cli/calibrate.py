"""The command `qlifq calibrate`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from qlifq.cli.arguments import DryRun, Noise, Sampling, Scheduler, print_problems
from qlifq.cli.devices import StatusReporter, device_options, resumable, with_device_options
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError

__all__ = ["calibrate"]

#: What goes with --counts; every other option is about a measurement.
_OF_COUNTS = ("counts", "measured_by", "measured_at", "out", "mapping", "q_scale", "q_bias", "p0", "slope", "span", "force")


@with_device_options
def calibrate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Where the record goes, a .json file; its picture goes beside it.")],
    neurons: Annotated[int | None, typer.Option(help="How many neurons, each on its own qubit.")] = None,
    counts: Annotated[
        Path | None, typer.Option(help="CSV of measured counts: site, angle or gap, shots, ones; in place of a backend.")
    ] = None,
    measured_by: Annotated[str | None, typer.Option(help="Whose --counts these are; default their file.")] = None,
    measured_at: Annotated[str | None, typer.Option(help="When, such as 2026-01-31T12:00:00Z; default now.")] = None,
    backend: Annotated[str, typer.Option(help="What is measured, see `qlifq backends`.")] = "aer",
    noise: Noise = None,
    sampling: Sampling = None,
    scheduler: Scheduler = None,
    mapping: Annotated[str, typer.Option(help="sigmoid, linear or tanh.")] = "sigmoid",
    q_scale: Annotated[float | None, typer.Option(help="Programmed slope; default that of the mapping.")] = None,
    q_bias: Annotated[float | None, typer.Option(help="Programmed offset; default that of the mapping.")] = None,
    shots: Annotated[int, typer.Option(help="Per angle and neuron, over all rounds.")] = 4096,
    rounds: Annotated[int, typer.Option(help="In how many rounds they are spent.")] = 2,
    standard_error: Annotated[float | None, typer.Option(help="Go on until --parameter is known this well.")] = None,
    parameter: Annotated[str | None, typer.Option(help="q_scale, q_bias, readout_p01 or readout_p10.")] = None,
    max_shots: Annotated[int | None, typer.Option(help="The most per angle and neuron for --standard-error.")] = None,
    p0: Annotated[float | None, typer.Option(help="Target P(1) at gap 0; default that of the programmed numbers.")] = None,
    slope: Annotated[float | None, typer.Option(help="Target slope at gap 0.")] = None,
    span: Annotated[tuple[float, float] | None, typer.Option(help="Gaps over which the response is fitted to it.")] = None,
    check_shots: Annotated[int, typer.Option(help="Per gap and neuron, to check the correction.")] = 4096,
    seed: Annotated[int, typer.Option(help="The same seed gives the same counts.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier record.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Measure the response of every qubit, or take --counts; print the table, write the record and its figure."""
    if counts is not None:
        _refuse_what_measures(context)
        _from_counts(context, counts, out, measured_by, measured_at, mapping, q_scale, q_bias, p0, slope, span, force)
        return
    for option, value in (("--measured-by", measured_by), ("--measured-at", measured_at)):
        if value is not None:
            raise ArgumentError(f"Option {option} would be ignored: it needs --counts.")
    if neurons is None:
        raise ArgumentError("Option --neurons must say how many neurons are measured, or --counts which file holds counts.")
    from qlifq.calibration import fit, shots_for
    from qlifq.cli.options import backend_options, build_backend
    from qlifq.studies.calibration_check import (
        calibration_contents,
        check_correction,
        describe_plan,
        record_run,
    )
    from qlifq.studies.calibration_figures import calibration_figure

    place = record_run(out, command=context.obj, force=force)
    reporter = StatusReporter()
    on_device = device_options(context, reporter)
    resolved = build_backend(backend, backend_options(noise, sampling, on_device), scheduler)
    programmed = {"mapping": mapping, "q_scale": q_scale, "q_bias": q_bias}
    if standard_error is not None and parameter is not None:
        needed = shots_for(standard_error, parameter=parameter, **programmed)  # type: ignore[arg-type]
        print(f"about {needed:,} shots per angle for {parameter} ± {standard_error:g}, with readout errors of 2 %")
    if dry_run:
        print(describe_plan(resolved, neurons, shots=shots, rounds=rounds, check_shots=check_shots))
        return
    with resumable(resolved, context.obj), progress_bar("rounds", reporter):
        calibration = fit(
            resolved,
            neurons=neurons,
            shots=shots,
            rounds=rounds,
            seed=seed,
            standard_error=standard_error,
            parameter=parameter,
            max_shots=max_shots,
            **programmed,  # type: ignore[arg-type]
        )
        result = check_correction(resolved, calibration, p0=p0, slope=slope, span=span, shots=check_shots, seed=seed)
        print_problems(place.write(calibration_contents(out, calibration, partial(calibration_figure, result))))
    print(calibration)
    print(result)
    print(f"written to {out} and {out.with_suffix('.png')}")


def _refuse_what_measures(context: typer.Context) -> None:
    """Refuse options that the user gave and that --counts would ignore."""
    for name in context.params:
        if name not in _OF_COUNTS and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE":
            raise ArgumentError(f"Option --{name.replace('_', '-')} would be ignored: with --counts nothing is measured.")


def _from_counts(
    context: typer.Context,
    counts: Path,
    out: Path,
    measured_by: str | None,
    measured_at: str | None,
    mapping: str,
    q_scale: float | None,
    q_bias: float | None,
    p0: float | None,
    slope: float | None,
    span: tuple[float, float] | None,
    force: bool,
) -> None:
    """The calibration from a file of counts, with its record and its picture."""
    from qlifq.calibration import from_counts
    from qlifq.studies.calibration_check import calibration_contents, record_run
    from qlifq.studies.calibration_figures import response_figure

    place = record_run(out, command=context.obj, force=force)
    calibration = from_counts(
        counts,
        measured_by=f"the file {counts.name}" if measured_by is None else measured_by,
        time_utc=measured_at,
        mapping=mapping,
        q_scale=q_scale,
        q_bias=q_bias,
    )
    correction = calibration.correct(p0=p0, slope=slope, span=span)
    print_problems(place.write(calibration_contents(out, calibration, partial(response_figure, calibration, correction))))
    print(calibration)
    print(correction)
    print(f"written to {out} and {out.with_suffix('.png')}")
