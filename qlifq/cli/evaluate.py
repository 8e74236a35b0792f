"""The command `qlifq evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import (
    AsJson,
    Data,
    DryRun,
    Force,
    Noise,
    Out,
    Sampling,
    Scheduler,
    backend_option,
    choices,
    run_option,
)
from qlifq.cli.devices import StatusReporter, device_options, measured_qubits, resumable, with_device_options
from qlifq.cli.output import Output, print_problems
from qlifq.cli.progress import progress_bar

if TYPE_CHECKING:
    from qlifq.calibration import Correction
    from qlifq.training import EvaluationPlan

__all__ = ["EXAMPLES", "evaluate"]


EXAMPLES = (
    "qlifq evaluate runs/digits --backend aer --shots 1 --noise fake_torino --sampling law --dry-run",
    "qlifq evaluate runs/digits --backend analytic --shots 100 --samples 50 --json",
    "qlifq evaluate runs/digits --backend ibm --device fake_torino --samples 20 --calibrate 4096",
)


@with_device_options
def evaluate(
    context: typer.Context,
    trained: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `qlifq train` wrote.")],
    data: Data = None,
    samples: Annotated[int | None, run_option(help="Evaluate on only the first test images, this many.")] = None,
    batch: Annotated[int, run_option(help="Images side by side in one call.")] = 500,
    seed: Annotated[int, run_option(help="The same seed gives the same spikes.")] = 1,
    backend: Annotated[
        str, backend_option(metavar=choices("backend"), help="Where the spike decisions run, see `qlifq backends`.")
    ] = "aer",
    shots: Annotated[
        int | None, backend_option(help="Shots per decision; default exact where the backend can be, else 1.")
    ] = None,
    noise: Noise = None,
    scheduler: Scheduler = None,
    calibration: Annotated[
        list[Path] | None,
        backend_option(help="A record of `qlifq calibrate` for all layers of neurons; repeated, one for each of them."),
    ] = None,
    calibrate: Annotated[
        int | None, backend_option(help="Calibrate every layer first, with this many shots per angle and neuron.")
    ] = None,
    sampling: Sampling = None,
    out: Out = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained network on another backend, on circuits, with shots or on a device, beside the closed form."""
    from qlifq.backends.registry import summary
    from qlifq.calibration import load
    from qlifq.cli.options import backend_options, layer_backends
    from qlifq.reporting.report import report_contents
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.training import load_run, plan_evaluation
    from qlifq.training.correction import one_for_each
    from qlifq.training.cross_backend import FILES

    run = load_run(trained)
    layers = run.design.neuron_layers
    records = [load(path) for path in calibration or []]
    reporter = StatusReporter()
    options = backend_options(noise, sampling, device_options(context, reporter))
    if records or summary(backend).record:
        records = one_for_each(records, layers)
    if records and summary(backend).device:
        # The layers share the qubits of the widest.
        options |= measured_qubits(max(records, key=lambda record: record.sites))
    # A plan writes nothing, so that it may be made beside an earlier run.
    if not dry_run:
        check_folder(out, command=context.obj, files=FILES, force=force)
    # After the records: the twin of a layer is made of its own.
    backends = layer_backends(backend, options, records, layers, scheduler)
    plan = plan_evaluation(
        run,
        backends,
        shots=shots,
        calibration=records,
        calibrate=calibrate,
        data=data,
        samples=samples,
        batch=batch,
        seed=seed,
        options={"sampling": sampling},
    )
    output = Output(as_json)
    _say_plan(output, plan)
    if dry_run:
        output.end()
        return
    setup = {
        "device": options.get("device", "none"),
        "noise": noise or "none",
        "sampling": sampling or "as the backend does",
        "calibration": ", ".join(map(str, calibration or [])) or (f"{calibrate:,} shots per angle" if calibrate else "none"),
    }
    with run_folder(out, command=context.obj, files=FILES, force=force) as folder, resumable(backends[0], context.obj):
        done = plan.execute(setup, progress=lambda name: progress_bar(name, reporter))
        print_problems(folder.write(report_contents(done.report, context.obj)))
    if calibrate is not None:
        _say_corrections(output, done.corrections)
    output.report(done.report)
    output.row("written to", folder.path, written_to=folder.path)
    output.end()


def _say_plan(output: Output, plan: "EvaluationPlan") -> None:
    """What is evaluated, on what, and what it costs."""
    design, cost, images = plan.run.design, plan.cost(), len(plan.tested)
    hidden = ", ".join(map(str, design.hidden))
    output.row("network", f"{design.network}, {design.neuron}, hidden {hidden}, {design.steps} steps", network=design)
    output.row("run on", plan.source, backend=plan.source)
    _say_corrections(output, plan.corrections)
    output.row("plan", f"{images:,} {plan.data.noun} · {cost}", images=images, plan=cost)


def _say_corrections(output: Output, corrections: "Sequence[Correction]") -> None:
    """One line for each layer."""
    facts: list[dict[str, int]] = []
    for correction in corrections:
        left = int(correction.q_scale.isnan().sum())
        corrected = len(correction.q_scale) - left
        facts.append({"corrected": corrected, "beyond_correction": left})
        line = f"{corrected:,} neurons corrected, {left:,} on qubits that no correction helps"
        # The list grows with the lines: the last one holds all layers.
        output.row("calibration", line, corrections=facts)
