"""The command `qlifq evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import DataDir, DryRun, Force, Noise, Out, Scheduler, print_findings, print_problems
from qlifq.cli.devices import StatusReporter, device_options, measured_qubits, resumable, with_device_options
from qlifq.cli.progress import progress_bar

if TYPE_CHECKING:
    from qlifq.calibration import Correction
    from qlifq.training import Design, EvaluationPlan

__all__ = ["evaluate"]


@with_device_options
def evaluate(
    context: typer.Context,
    trained: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `qlifq train` wrote.")],
    backend: Annotated[str, typer.Option(help="Where the spike decisions run, see `qlifq backends`.")] = "aer",
    shots: Annotated[
        int | None, typer.Option(help="Shots per decision; default exact where the backend can be, else 1.")
    ] = None,
    noise: Noise = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            help="For aer: law (default), counts drawn from the distribution of the outcomes; or shots, every shot is run."
        ),
    ] = None,
    scheduler: Scheduler = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(help="A record of `qlifq calibrate` for all layers of neurons; repeated, one for each of them."),
    ] = None,
    calibrate: Annotated[
        int | None, typer.Option(help="Calibrate every layer first, with this many shots per angle and neuron.")
    ] = None,
    data_dir: DataDir = None,
    samples: Annotated[int | None, typer.Option(help="Evaluate on only the first test images, this many.")] = None,
    batch: Annotated[int, typer.Option(help="Images side by side in one call.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same spikes.")] = 1,
    out: Out = None,
    force: Force = False,
    dry_run: DryRun = False,
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
    if sampling is None:
        sampling = _default_sampling(backend, run.design)
    records = [load(path) for path in calibration or []]
    reporter = StatusReporter()
    options = backend_options(noise, sampling, device_options(context, reporter))
    if records or summary(backend).record:
        records = one_for_each(records, layers)
    if records and summary(backend).device:
        # The layers share the qubits of the widest.
        options |= measured_qubits(max(records, key=lambda record: record.sites))
    if not dry_run:
        check_folder(out, command=context.obj, files=FILES, force=force)
    backends = layer_backends(backend, options, records, layers, scheduler)
    plan = plan_evaluation(
        run,
        backends,
        shots=shots,
        calibration=records,
        calibrate=calibrate,
        data_dir=data_dir,
        samples=samples,
        batch=batch,
        seed=seed,
        options={"sampling": sampling},
    )
    _print_plan(plan)
    if dry_run:
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
        _print_corrections(done.corrections)
    print_findings(done.report)
    print(f"{'written to':<12} {folder.path}")


def _default_sampling(backend: str, design: "Design") -> str | None:
    """How counts are drawn where the user does not say: from the distribution of the outcomes, where the backend can.

    Ten thousand images take a hundred million decisions: running every shot would take an hour. A circuit of two angles has no
    closed form to draw counts from.
    """
    from qlifq.backends.registry import summary
    from qlifq.training import NEURONS

    return "law" if "law" in summary(backend).sampling and not NEURONS[design.neuron].rotated else None


def _print_plan(plan: "EvaluationPlan") -> None:
    """What is evaluated, on what, and what it costs."""
    design = plan.run.design
    hidden = ", ".join(map(str, design.hidden))
    print(f"{'network':<12} {design.network}, {design.neuron}, hidden {hidden}, {design.steps} steps")
    print(f"{'run on':<12} {plan.source}")
    _print_corrections(plan.corrections)
    print(f"{'plan':<12} {len(plan.tested.images):,} images · {plan.cost()}")


def _print_corrections(corrections: "Sequence[Correction]") -> None:
    """One line for each layer."""
    for correction in corrections:
        left = int(correction.q_scale.isnan().sum())
        corrected = len(correction.q_scale) - left
        print(f"{'calibration':<12} {corrected:,} neurons corrected, {left:,} on qubits that no correction helps")
