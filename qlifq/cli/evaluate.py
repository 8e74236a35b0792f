"""The command `qlifq evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import DataDir, DryRun, Force, Noise, Out, Scheduler, tell_problems
from qlifq.cli.devices import (
    Account,
    Device,
    Instance,
    MaxDeviceSeconds,
    Run,
    StatusReporter,
    Submit,
    device_options,
    measured_qubits,
    resumable,
)
from qlifq.cli.progress import progress_bar

if TYPE_CHECKING:
    from qlifq.backends import Backend
    from qlifq.calibration import Calibration, Correction

__all__ = ["evaluate"]


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
    device: Device = None,
    max_device_seconds: MaxDeviceSeconds = None,
    account: Account = None,
    instance: Instance = None,
    submit: Submit = None,
    run: Run = None,
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
    from qlifq.cli.options import backend_options
    from qlifq.reporting.report import report_contents
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.training import NEURONS, load_run, plan_evaluation
    from qlifq.training.correction import one_for_each
    from qlifq.training.cross_backend import FILES

    run_read = load_run(trained)
    design = run_read.design
    if "law" in summary(backend).sampling and sampling is None and not NEURONS[design.neuron].rotated:
        # Ten thousand images take a hundred million decisions: running every shot would take an hour. A circuit of two
        # angles has no closed form to draw counts from.
        sampling = "law"
    records = [load(path) for path in calibration or []]
    reporter = StatusReporter()
    options = backend_options(noise, sampling, device_options(context, reporter))
    if records or summary(backend).record:
        records = one_for_each(records, design.neuron_layers)
    if not dry_run:
        check_folder(out, command=context.obj, files=FILES, force=force)
    backends = _backends(backend, options, records, design.neuron_layers, scheduler)
    plan = plan_evaluation(
        run_read,
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
    hidden = ", ".join(map(str, design.hidden))
    print(f"{'network':<12} {design.network}, {design.neuron}, hidden {hidden}, {design.steps} steps")
    print(f"{'run on':<12} {plan.source}")
    _print_corrections(plan.corrections)
    print(f"{'plan':<12} {len(plan.tested.images):,} images · {plan.cost()}")
    if dry_run:
        return
    setup = {
        "device": device or "none",
        "noise": noise or "none",
        "sampling": sampling or "as the backend does",
        "calibration": ", ".join(map(str, calibration or [])) or (f"{calibrate:,} shots per angle" if calibrate else "none"),
    }
    with run_folder(out, command=context.obj, files=FILES, force=force) as folder, resumable(backends[0], context.obj):
        done = plan.execute(setup, progress=lambda name: progress_bar(name, reporter))
        tell_problems(folder.write(report_contents(done.report, context.obj)))
    if calibrate is not None:
        _print_corrections(done.corrections)
    for sentence in done.report.findings:
        print(sentence.replace("**", ""))
    print(f"{'written to':<12} {folder.path}")


def _backends(
    name: str, options: dict[str, object], records: "list[Calibration]", layers: int, scheduler: str | None
) -> "list[Backend]":
    """One for each layer: the twin of its own record, and of any other backend the same for all."""
    from qlifq.backends.registry import summary
    from qlifq.cli.options import build_backend

    if summary(name).record:
        return [build_backend(name, {**options, "record": record}, scheduler) for record in records]
    # The layers share the qubits of the widest.
    qubits = measured_qubits(max(records, key=lambda record: record.sites)) if summary(name).device and records else {}
    return [build_backend(name, {**options, **qubits}, scheduler)] * layers


def _print_corrections(corrections: "Sequence[Correction]") -> None:
    """One line for each layer."""
    for correction in corrections:
        left = int(correction.q_scale.isnan().sum())
        corrected = len(correction.q_scale) - left
        print(f"{'calibration':<12} {corrected:,} neurons corrected, {left:,} on qubits that no correction helps")
