"""The command `qlifq simulate`."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import DryRun, Force, Noise, Out, Sampling, print_problems
from qlifq.cli.devices import StatusReporter, device_options, measured_qubits, resumable, with_device_options
from qlifq.cli.progress import progress_bar
from qlifq.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

    from qlifq.backends import Backend
    from qlifq.calibration import Calibration
    from qlifq.neurons import QLIF
    from qlifq.reporting.run_folder import RunFolder

__all__ = ["simulate"]

DEFAULT_REPLAY_SHOTS = 1024
#: What a bright pixel means in the two encodings: a current a little above threshold, an input spike of some of it.
DEFAULT_GAIN = {"current": 1.5, "poisson": 8.0}


@with_device_options
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
    noise: Noise = None,
    sampling: Sampling = None,
    mode: Annotated[
        str, typer.Option(help="closed-loop, a submission per step, or replay, the exact trajectory's angles all at once.")
    ] = "closed-loop",
    loop: Annotated[
        str, typer.Option(help="host, one step after the other, or circuit, the closed loop inside one circuit.")
    ] = "host",
    param: Annotated[list[str] | None, typer.Option(help="A neuron parameter, NAME=VALUE; can be repeated.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A record of `qlifq calibrate`, that corrects the neurons (and is --backend twin).")
    ] = None,
    out: Out = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Drive a layer of neurons with real input; print a summary, write the spikes and a figure."""
    from qlifq._validation import choice
    from qlifq.backends import get
    from qlifq.backends.registry import summary
    from qlifq.cli.options import backend_options, parse_parameters
    from qlifq.neurons import QLIF
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.studies import describe_loops, describe_plan, replay, run_simulation
    from qlifq.studies import run_folder as simulation_folder

    choice("mode", mode, ("closed-loop", "replay"))
    if mode == "replay" and loop != "host":
        raise UnsupportedError("Option --loop would be ignored: a replay has no closed loop.")
    files = replay.FILES if mode == "replay" else simulation_folder.FILES
    check_folder(out, command=context.obj, files=files, force=force)
    place = run_folder(out, command=context.obj, files=files, force=force)
    reporter = StatusReporter()
    on_device = device_options(context, reporter)
    options = backend_options(noise, sampling, on_device)
    calibrated = None
    if calibration is not None:
        from qlifq.calibration import load

        calibrated = load(calibration)
        if summary(backend).record:
            options["record"] = calibrated
        if summary(backend).device:
            options |= measured_qubits(calibrated)
    parameters = parse_parameters(param or [])
    current, described, picture = _input(source, encoding, samples, steps, gain, seed)
    resolved = get(backend, **options)
    layer = QLIF(
        current.shape[2],
        backend="analytic" if mode == "replay" else resolved,
        shots=None if mode == "replay" else shots,
        seed=seed,
        decision=decision,
        mapping=mapping,
        membrane=membrane,
        loop=loop,
        **parameters,
    )
    print(f"{'input':<12} {described}")
    details: dict[str, object] = {
        "input": described,
        "noise": noise,
        "sampling": sampling,
        "calibration": calibration and str(calibration),
    }
    if mode == "replay":
        _replay(layer, current, resolved, shots, seed, calibrated, place, context.obj, details, reporter, dry_run)
        return
    if calibrated is not None:
        calibrated.apply_to(layer)
    if dry_run:
        print(
            describe_plan(layer, steps=current.shape[0], batch=current.shape[1])
            if loop == "host"
            else describe_loops(layer, current)
        )
        return
    with place as folder, resumable(resolved, context.obj), progress_bar("steps", reporter) as progress:
        done = run_simulation(layer, current, progress=progress)
        contents = simulation_folder.simulation_contents(
            done, details=details | {"device": options.get("device")}, picture=picture
        )
        print_problems(folder.write(contents))
    print(done)
    print(f"{'written to':<12} {folder.path}")


def _replay(
    layer: "QLIF",
    current: "Tensor",
    resolved: "Backend",
    shots: int | None,
    seed: int,
    calibrated: "Calibration | None",
    place: "AbstractContextManager[RunFolder]",
    command: str,
    details: dict[str, object],
    reporter: StatusReporter,
    dry_run: bool,
) -> None:
    """The exact trajectory, and all of its decisions run at once."""
    from qlifq.circuits import RYSpike
    from qlifq.reporting.report import report_contents
    from qlifq.studies.replay import replay_report, run_replay

    steps, batch, neurons = current.shape
    drawn = DEFAULT_REPLAY_SHOTS if shots is None else shots
    if dry_run:
        print(f"{'backend':<12} {resolved.describe(drawn)}")
        print(f"{'all at once':<12} {resolved.plan(RYSpike(), steps * batch, neurons, shots=drawn)}")
        return
    with place as folder, resumable(resolved, command), progress_bar("replay", reporter):
        replay = run_replay(layer, current, resolved, shots=drawn, seed=seed, calibration=calibrated)
        setup = {name: value for name, value in details.items() if value is not None}
        print_problems(folder.write(report_contents(replay_report(replay, setup), command)))
    print(replay)
    print(f"{'written to':<12} {folder.path / 'report.md'}")


def _input(
    source: str, encoding: str | None, samples: int | None, steps: int | None, gain: float | None, seed: int
) -> tuple["Tensor", str, tuple[int, int] | None]:
    """The input current, its description, and the shape of the picture where the neurons are its pixels."""
    from qlifq import training
    from qlifq._validation import choice, integer
    from qlifq.reporting.wording import counted

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
