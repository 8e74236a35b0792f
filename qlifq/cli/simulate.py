"""The command `qlifq simulate`."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import (
    CHOICES,
    AsJson,
    DryRun,
    Force,
    Noise,
    Out,
    Param,
    Sampling,
    backend_option,
    choices,
    neuron_option,
    run_option,
)
from qlifq.cli.devices import StatusReporter, device_options, measured_qubits, resumable, with_device_options
from qlifq.cli.output import Output, print_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

    from qlifq.backends import Backend
    from qlifq.calibration import Calibration
    from qlifq.neurons import QLIF
    from qlifq.reporting.run_folder import RunFolder

__all__ = ["EXAMPLES", "simulate"]

DEFAULT_REPLAY_SHOTS = 1024
#: What a bright pixel means in the two encodings: a current a little above threshold, an input spike of some of it.
DEFAULT_GAIN = {"current": 1.5, "poisson": 8.0}


EXAMPLES = (
    "qlifq simulate --samples 2 --steps 50 --out runs/first",
    "qlifq simulate --decision threshold --shots 100 --param tau=10 --param use_ahp=true",
    "qlifq simulate --backend aer --noise fake_torino --steps 20 --dry-run",
    "qlifq simulate --backend ibm --device fake_manila --samples 1 --steps 5 --json",
)


@with_device_options
def simulate(
    context: typer.Context,
    source: Annotated[
        str, run_option("--input", metavar="digits or FILE.npy", help="Images, or currents of shape (time, batch, neurons).")
    ] = "digits",
    encoding: Annotated[
        str | None, run_option(metavar=choices("input_encoding"), help="Of digits: spikes (default) or currents.")
    ] = None,
    samples: Annotated[int | None, run_option(help="How many digits, side by side in a batch (8).")] = None,
    steps: Annotated[int | None, run_option(help="How many time steps each digit is shown (200).")] = None,
    gain: Annotated[float | None, run_option(help="Current of a full pixel (1.5) or of an input spike (8).")] = None,
    mode: Annotated[
        str,
        run_option(
            metavar=choices("mode"), help="A submission per step (closed-loop), or the exact trajectory's angles all at once."
        ),
    ] = "closed-loop",
    loop: Annotated[
        str,
        run_option(metavar=choices("loop"), help="One step after the other (host), or the closed loop inside one circuit."),
    ] = "host",
    seed: Annotated[int, run_option(help="The same seed gives the same spikes.")] = 0,
    decision: Annotated[str, neuron_option(metavar=choices("decision"), help="What is made of the probability.")] = "sample",
    mapping: Annotated[str, neuron_option(metavar=choices("mapping"), help="From the gap to the angle.")] = "sigmoid",
    membrane: Annotated[str, neuron_option(metavar=choices("membrane"), help="The equation of the membrane.")] = "leaky",
    param: Param = None,
    backend: Annotated[
        str, backend_option(metavar=choices("backend"), help="Where the qubits are, see `qlifq backends`.")
    ] = "analytic",
    shots: Annotated[
        int | None, backend_option(help="Shots per decision; default exact where the backend can be, else 1.")
    ] = None,
    noise: Noise = None,
    calibration: Annotated[
        Path | None, backend_option(help="A record of `qlifq calibrate`, that corrects the neurons (and is --backend twin).")
    ] = None,
    sampling: Sampling = None,
    out: Out = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Drive a layer of neurons with real input; print a summary, write the spikes and a figure."""
    from qlifq._validation import choice
    from qlifq.backends import get
    from qlifq.backends.registry import summary
    from qlifq.cli.options import backend_options, parse_parameters
    from qlifq.neurons import QLIF
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.studies import replay, run_simulation
    from qlifq.studies import run_folder as simulation_folder

    output = Output(as_json)
    choice("mode", mode, CHOICES["mode"])
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
        # The twin is made of the record; a device is told which of its qubits were measured.
        if summary(backend).record:
            options["record"] = calibrated
        if summary(backend).device:
            options |= measured_qubits(calibrated)
    parameters = parse_parameters(param or [])
    current, described, picture = _input(source, encoding, samples, steps, gain, seed)
    resolved = get(backend, **options)
    layer = QLIF(
        current.shape[2],
        # A replay measures the decisions of a trajectory that is exact.
        backend="analytic" if mode == "replay" else resolved,
        shots=None if mode == "replay" else shots,
        seed=seed,
        decision=decision,
        mapping=mapping,
        membrane=membrane,
        loop=loop,
        **parameters,
    )
    output.row("input", described, input=described)
    details: dict[str, object] = {
        "input": described,
        "noise": noise,
        "sampling": sampling,
        "calibration": calibration and str(calibration),
    }
    if mode == "replay":
        _replay(output, layer, current, resolved, shots, seed, calibrated, place, context.obj, details, reporter, dry_run)
        return
    # Not for a replay, whose angles stay: there the estimates are corrected.
    if calibrated is not None:
        calibrated.apply_to(layer)
    if dry_run:
        _say_plan(output, layer, current)
        return
    with place as folder, resumable(resolved, context.obj), progress_bar("steps", reporter) as progress:
        done = run_simulation(layer, current, progress=progress)
        contents = simulation_folder.simulation_contents(
            done, details=details | {"device": options.get("device")}, picture=picture
        )
        print_problems(folder.write(contents))
    output.say(done, **contents.facts)
    output.row("written to", folder.path, written_to=folder.path)
    output.end()


def _say_plan(output: Output, layer: "QLIF", current: "Tensor") -> None:
    """What the run would cost, by its one loop or by all that there are."""
    from qlifq.neurons.description import describe_decisions
    from qlifq.studies import describe_loops, describe_plan
    from qlifq.studies.simulation import loop_plans, simulation_plans

    steps, batch, _ = current.shape
    if layer.loop == "host":
        output.say(describe_plan(layer, steps=steps, batch=batch), plans=simulation_plans(layer, steps=steps, batch=batch))
    else:
        output.say(describe_loops(layer, current), plans=loop_plans(layer, current))
    output.end(backend=describe_decisions(layer))


def _replay(
    output: Output,
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
        plan = resolved.plan(RYSpike(), steps * batch, neurons, shots=drawn)
        output.row("backend", resolved.describe(drawn), backend=resolved.describe(drawn))
        output.row("all at once", plan, plans={"all at once": plan})
        output.end()
        return
    with place as folder, resumable(resolved, command), progress_bar("replay", reporter):
        replay = run_replay(layer, current, resolved, shots=drawn, seed=seed, calibration=calibrated)
        setup = {name: value for name, value in details.items() if value is not None}
        print_problems(folder.write(report_contents(replay_report(replay, setup), command)))
    output.say(replay, **setup, **replay.facts())
    output.row("written to", folder.path / "report.md", written_to=folder.path)
    output.end()


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
