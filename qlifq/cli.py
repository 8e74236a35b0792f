"""The command line.

The library is imported inside the commands, so that `qlifq --help` answers at once.
"""

import io
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from qlifq import cli_compare
from qlifq._progress import progress_bar
from qlifq.errors import ArgumentError, QLIFError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Spiking neurons whose spike decision is asked of a qubit."
)

app.add_typer(cli_compare.app, name="compare")

#: What a bright pixel means in the two encodings: a current a little above threshold, an input spike of some of it.
DEFAULT_GAIN = {"current": 1.5, "poisson": 8.0}

# typer brings its own click, whose exceptions are public only as the bases of this one.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Returns:
        0; 2 after one sentence on stderr about what was wrong; 130 after an interrupt.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console without θ or ⟩ shows a question mark instead of failing.
            stream.reconfigure(errors="replace")
    try:
        code = app(given or ["--help"], prog_name="qlifq", standalone_mode=False, obj=shlex.join(["qlifq", *given]))
        sys.stdout.flush()
        # Commands return nothing; an interrupt arrives here as 130.
        return int(code or 0)
    except _UsageError as error:
        return _refuse(error.format_message())
    except QLIFError as error:
        return _refuse(str(error))
    except (MemoryError, RuntimeError) as error:
        # torch has no class of its own for this.
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        return _refuse("The run does not fit into memory: ask for fewer samples or steps.")
    except BrokenPipeError:
        # The reader has gone, as `head` does; without this Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refuse(message: str) -> int:
    print("Error:", " ".join(message.split()), file=sys.stderr)
    return 2


def _print_version(wanted: bool) -> None:
    if wanted:
        from qlifq import __version__

        print(f"qlifq {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def simulate(
    context: typer.Context,
    source: Annotated[str, typer.Option("--input", help="digits, or a .npy file of (time, batch, neurons).")] = "digits",
    encoding: Annotated[str | None, typer.Option(help="Of digits: poisson (default) or current.")] = None,
    samples: Annotated[int | None, typer.Option(help="How many digits, side by side in a batch (8).")] = None,
    steps: Annotated[int | None, typer.Option(help="How many time steps each digit is shown (200).")] = None,
    gain: Annotated[float | None, typer.Option(help="Current of a full pixel (1.5) or of an input spike (8).")] = None,
    backend: Annotated[str, typer.Option(help="Where the qubits are, see `qlifq backends`.")] = "analytic",
    shots: Annotated[
        int | None, typer.Option(help="Shots per decision; default exact where the backend can be, else 1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same spikes.")] = 0,
    decision: Annotated[str, typer.Option(help="sample, threshold or expectation.")] = "sample",
    mapping: Annotated[str, typer.Option(help="sigmoid, linear or tanh.")] = "sigmoid",
    membrane: Annotated[str, typer.Option(help="leaky or quadratic.")] = "leaky",
    noise: Annotated[str | None, typer.Option(help="A device snapshot, or pairs such as t1=120e-6,readout_p01=0.01.")] = None,
    sampling: Annotated[str | None, typer.Option(help="How a backend that offers a choice draws its counts.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="A neuron parameter, NAME=VALUE; can be repeated.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A record of `qlifq calibrate`, that corrects the neurons (and is --backend twin).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/ and the UTC time.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier run in that folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would cost and run nothing.")] = False,
) -> None:
    """Drive a layer of neurons with real input; print a summary, write the spikes and a figure."""
    from qlifq._options import backend_options, parse_parameters
    from qlifq.backends import get
    from qlifq.neurons import QLIF
    from qlifq.studies import check_folder, plan_in_words, run_simulation, write_simulation

    folder = check_folder(out or Path("runs") / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ"), force=force)
    options = backend_options(noise, sampling)
    calibrated = None
    if calibration is not None:
        from qlifq.calibration import load

        calibrated = load(calibration)
        if backend == "twin":
            options["record"] = calibrated
    parameters = parse_parameters(param or [])
    current, described, picture = _input(source, encoding, samples, steps, gain, seed)
    layer = QLIF(
        current.shape[2],
        backend=get(backend, **options),
        shots=shots,
        seed=seed,
        decision=decision,
        mapping=mapping,
        membrane=membrane,
        **parameters,
    )
    if calibrated is not None:
        calibrated.apply_to(layer)
    print(f"{'input':<12} {described}")
    if dry_run:
        print(plan_in_words(layer, steps=current.shape[0], batch=current.shape[1]))
        return
    with progress_bar("steps") as progress:
        run = run_simulation(layer, current, progress=progress)
    details = {"input": described, "noise": noise, "sampling": sampling, "calibration": calibration and str(calibration)}
    write_simulation(folder, run, command=context.obj, details=details, picture=picture, force=force)
    print(run)
    print(f"{'written to':<12} {folder}")


@app.command()
def calibrate(
    neurons: Annotated[int, typer.Option(help="How many neurons, each on its own qubit.")],
    out: Annotated[Path, typer.Option(help="Where the record goes, a .json file; its picture goes beside it.")],
    backend: Annotated[str, typer.Option(help="What is measured, see `qlifq backends`.")] = "aer",
    noise: Annotated[str | None, typer.Option(help="A device snapshot, or pairs such as t1=120e-6,readout_p01=0.01.")] = None,
    sampling: Annotated[str | None, typer.Option(help="How a backend that offers a choice draws its counts.")] = None,
    mapping: Annotated[str, typer.Option(help="sigmoid, linear or tanh.")] = "sigmoid",
    q_scale: Annotated[float | None, typer.Option(help="Programmed slope; default that of the mapping.")] = None,
    q_bias: Annotated[float | None, typer.Option(help="Programmed offset; default that of the mapping.")] = None,
    shots: Annotated[int, typer.Option(help="Per angle and neuron, over all rounds.")] = 4096,
    rounds: Annotated[int, typer.Option(help="In how many rounds they are spent.")] = 2,
    standard_error: Annotated[float | None, typer.Option(help="Go on until --parameter is known this well.")] = None,
    parameter: Annotated[str | None, typer.Option(help="q_scale, q_bias, eps or eta.")] = None,
    max_shots: Annotated[int | None, typer.Option(help="The most per angle and neuron for --standard-error.")] = None,
    p0: Annotated[float | None, typer.Option(help="Target P(1) at gap 0; default that of the programmed numbers.")] = None,
    slope: Annotated[float | None, typer.Option(help="Target slope at gap 0.")] = None,
    span: Annotated[tuple[float, float] | None, typer.Option(help="Gaps over which the response is fitted to it.")] = None,
    check_shots: Annotated[int, typer.Option(help="Per gap and neuron, to check the correction.")] = 4096,
    seed: Annotated[int, typer.Option(help="The same seed gives the same counts.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier record.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would cost and run nothing.")] = False,
) -> None:
    """Measure the response of every qubit; print the table, write the record and its figure."""
    from qlifq._options import backend_options
    from qlifq.backends import get
    from qlifq.calibration import fit, save, shots_for
    from qlifq.studies.calibration_report import (
        check_correction,
        check_record_path,
        plan_in_words,
        write_calibration_figure,
    )

    record = check_record_path(out, force=force)
    options = backend_options(noise, sampling)
    device = get(backend, **options)
    programmed = {"mapping": mapping, "q_scale": q_scale, "q_bias": q_bias}
    if standard_error is not None and parameter is not None:
        needed = shots_for(standard_error, parameter=parameter, **programmed)  # type: ignore[arg-type]
        print(f"about {needed:,} shots per angle for {parameter} ± {standard_error:g}, with readout errors of 2 %")
    if dry_run:
        print(plan_in_words(device, neurons, shots=shots, rounds=rounds, check_shots=check_shots))
        return
    calibration = fit(
        device,
        neurons=neurons,
        shots=shots,
        rounds=rounds,
        seed=seed,
        standard_error=standard_error,
        parameter=parameter,
        max_shots=max_shots,
        **programmed,  # type: ignore[arg-type]
    )
    result = check_correction(device, calibration, p0=p0, slope=slope, span=span, shots=check_shots, seed=seed)
    save(calibration, record)
    write_calibration_figure(record.with_suffix(".png"), result)
    print(calibration)
    print(result)
    print(f"written to {record} and {record.with_suffix('.png')}")


@app.command()
def circuits(
    name: Annotated[str | None, typer.Argument(help="One circuit; default all.")] = None,
    openqasm: Annotated[bool, typer.Option("--openqasm", help="Print it as an OpenQASM 3 program.")] = False,
) -> None:
    """Draw the circuits with their formula."""
    from qlifq._validation import unknown
    from qlifq.circuits import CIRCUITS

    if name is not None and name not in CIRCUITS:
        raise unknown("circuit", name, list(CIRCUITS))
    if openqasm:
        if name is None:
            raise ArgumentError(f"Option --openqasm needs the name of one circuit: {', '.join(CIRCUITS)}.")
        print(CIRCUITS[name].build().to_openqasm(), end="")
        return
    shown = list(CIRCUITS) if name is None else [name]
    _print_table([(each, CIRCUITS[each].build().draw(), CIRCUITS[each].formula) for each in shown])


@app.command()
def backends() -> None:
    """List the backends and what each can do."""
    from qlifq.backends import capabilities, names

    rows: list[tuple[str, ...]] = [("backend", "exact", "shots", "noise", "autograd", "remote", "sites")]
    missing = []
    for name in names():
        try:
            can = capabilities(name)
        except QLIFError as error:
            missing.append((name, str(error)))
            continue
        flags = ("yes" if flag else "no" for flag in (can.exact, can.shots, can.noisy, can.differentiable, can.remote))
        rows.append((name, *flags, "any" if can.max_sites is None else f"{can.max_sites:,}"))
    _print_table(rows)
    _print_table(missing)


def _input(
    source: str, encoding: str | None, samples: int | None, steps: int | None, gain: float | None, seed: int
) -> tuple["Tensor", str, tuple[int, int] | None]:
    """The input current, what it is in words, and the shape of the picture where the neurons are its pixels."""
    from qlifq import training
    from qlifq._validation import choice, integer
    from qlifq.studies.simulation import counted

    if source != "digits":
        for option, value in {"encoding": encoding, "samples": samples, "steps": steps, "gain": gain}.items():
            if value is not None:
                raise UnsupportedError(
                    f"Option --{option} would be ignored: it needs --input digits, but the input is {source}."
                )
        return training.load_current(source), source, None
    encoding = choice("encoding", "poisson" if encoding is None else encoding, DEFAULT_GAIN)
    gain = DEFAULT_GAIN[encoding] if gain is None else gain
    steps = 200 if steps is None else steps
    images = training.digits().images
    samples = integer("samples", 8 if samples is None else samples, at_least=1, at_most=len(images))
    if encoding == "poisson":
        encoded, kind = training.poisson(images[:samples], steps, gain=gain, seed=seed), "Poisson spikes of"
    else:
        encoded, kind = training.current(images[:samples], steps, gain=gain), "currents up to"
    return encoded, f"{counted(samples, 'digit')} of 8 × 8 pixels as {kind} {gain:g}", (8, 8)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text in aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
