"""The command `qlifq calibrate`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from qlifq.cli.arguments import (
    AsJson,
    DryRun,
    Noise,
    Sampling,
    Scheduler,
    backend_option,
    choices,
    neuron_option,
    output_option,
    run_option,
    was_given,
)
from qlifq.cli.devices import StatusReporter, device_options, resumable, with_device_options
from qlifq.cli.output import Output, print_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError

__all__ = ["EXAMPLES", "calibrate"]

#: What goes with --counts; every other option is about a measurement.
_OF_COUNTS = (
    "counts",
    "measured_by",
    "measured_at",
    "out",
    "mapping",
    "q_scale",
    "q_bias",
    "p0",
    "slope",
    "span",
    "force",
    "as_json",
)


EXAMPLES = (
    "qlifq calibrate --backend aer --noise fake_torino --neurons 64 --sampling law --out torino.json",
    "qlifq calibrate --neurons 8 --noise readout_p01=0.03 --standard-error 0.01 --parameter q_bias --out bias.json",
    "qlifq calibrate --backend ibm --device fake_torino --neurons 10 --out torino.json --dry-run",
    "qlifq calibrate --counts lab.csv --measured-by 'Lab A, chip 7' --out lab.json",
)


@with_device_options
def calibrate(
    context: typer.Context,
    *,
    neurons: Annotated[int | None, run_option(help="How many neurons, each on its own qubit.")] = None,
    counts: Annotated[
        Path | None, run_option(help="CSV of measured counts: site, angle or gap, shots, ones; in place of a backend.")
    ] = None,
    measured_by: Annotated[str | None, run_option(help="Whose --counts these are; default their file.")] = None,
    measured_at: Annotated[str | None, run_option(help="When, such as 2026-01-31T12:00:00Z; default now.")] = None,
    rounds: Annotated[int, run_option(help="In how many rounds the shots are spent.")] = 2,
    standard_error: Annotated[float | None, run_option(help="Go on until --parameter is known this well.")] = None,
    parameter: Annotated[str | None, run_option(metavar=choices("parameter"), help="What --standard-error is about.")] = None,
    max_shots: Annotated[int | None, run_option(help="The most per angle and neuron for --standard-error.")] = None,
    check_shots: Annotated[int, run_option(help="Per gap and neuron, to check the correction.")] = 4096,
    seed: Annotated[int, run_option(help="The same seed gives the same counts.")] = 0,
    mapping: Annotated[str, neuron_option(metavar=choices("mapping"), help="From the gap to the angle.")] = "sigmoid",
    q_scale: Annotated[float | None, neuron_option(help="Programmed slope; default that of the mapping.")] = None,
    q_bias: Annotated[float | None, neuron_option(help="Programmed offset; default that of the mapping.")] = None,
    p0: Annotated[float | None, neuron_option(help="Target P(1) at gap 0; default that of the programmed numbers.")] = None,
    slope: Annotated[float | None, neuron_option(help="Target slope at gap 0.")] = None,
    span: Annotated[
        tuple[float, float] | None, neuron_option(help="Gaps over which the response is fitted to the target.")
    ] = None,
    backend: Annotated[str, backend_option(metavar=choices("backend"), help="What is measured, see `qlifq backends`.")] = "aer",
    shots: Annotated[int, backend_option(help="Per angle and neuron, over all rounds.")] = 4096,
    noise: Noise = None,
    scheduler: Scheduler = None,
    sampling: Sampling = None,
    out: Annotated[
        Path, output_option(help="Where the record goes, a .json file; its table and its picture go beside it, .csv and .png.")
    ],
    force: Annotated[bool, output_option("--force", help="Overwrite an earlier record.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure the response of every qubit, or take --counts; print the table, write the record and its figure."""
    output = Output(as_json)
    if counts is not None:
        _refuse_what_measures(context)
        _from_counts(output, context, counts, out, measured_by, measured_at, mapping, q_scale, q_bias, p0, slope, span, force)
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
        calibration_plans,
        check_correction,
        describe_plan,
        record_run,
    )
    from qlifq.studies.calibration_figures import calibration_figure

    # Refused before a device is paid for what could not be written.
    place = record_run(out, command=context.obj, force=force)
    reporter = StatusReporter()
    on_device = device_options(context, reporter)
    resolved = build_backend(backend, backend_options(noise, sampling, on_device), scheduler)
    programmed = {"mapping": mapping, "q_scale": q_scale, "q_bias": q_bias}
    # One without the other is refused by `fit`, in a sentence of its own.
    if standard_error is not None and parameter is not None:
        needed = shots_for(standard_error, parameter=parameter, **programmed)  # type: ignore[arg-type]
        output.say(
            f"about {needed:,} shots per angle for {parameter} ± {standard_error:g}, with readout errors of 2 %",
            shots_needed=needed,
        )
    if dry_run:
        size = {"shots": shots, "rounds": rounds, "check_shots": check_shots}
        plans = calibration_plans(resolved, neurons, **size)
        output.say(describe_plan(resolved, neurons, **size), backend=resolved.description, plans=plans)
        output.end()
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
        # Written before the run counts as over: until then the same command gets the paid counts from the journal.
        print_problems(place.write(calibration_contents(out, calibration, partial(calibration_figure, result))))
    output.say(calibration, **calibration.facts())
    output.say(result, check=result.facts())
    _say_files(output, out)


def _say_files(output: Output, out: Path) -> None:
    from qlifq.reporting.wording import listed
    from qlifq.studies.calibration_check import record_files

    files = list(map(str, record_files(out)))
    output.say(f"written to {listed(files)}", written_to=files)
    output.end()


def _refuse_what_measures(context: typer.Context) -> None:
    """Refuse options that the user gave and that --counts would ignore."""
    for name in context.params:
        if name not in _OF_COUNTS and was_given(context, name):
            raise ArgumentError(f"Option --{name.replace('_', '-')} would be ignored: with --counts nothing is measured.")


def _from_counts(
    output: Output,
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
    output.say(calibration, **calibration.facts())
    output.say(correction, correction=correction.facts())
    _say_files(output, out)
