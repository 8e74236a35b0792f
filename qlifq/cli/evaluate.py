"""The command `qlifq evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import DataDir, DryRun, Force, Noise, Out, tell_problems
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
from qlifq.errors import UnsupportedError

if TYPE_CHECKING:
    from qlifq.backends import Backend
    from qlifq.calibration import Calibration, Correction
    from qlifq.training import Design, LabelledImages, Network
    from qlifq.training.cross_backend import BackendEvaluation

__all__ = ["evaluate"]


def evaluate(
    context: typer.Context,
    trained: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `qlifq train` wrote.")],
    backend: Annotated[str, typer.Option(help="Where the decisions are asked, see `qlifq backends`.")] = "aer",
    shots: Annotated[
        int | None, typer.Option(help="Shots per decision; default exact where the backend can be, else 1.")
    ] = None,
    noise: Noise = None,
    sampling: Annotated[
        str | None, typer.Option(help="For aer: law (default), counts from the law of the noise; or shots, each shot is run.")
    ] = None,
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
        int | None, typer.Option(help="Calibrate every layer first, with so many shots per angle and neuron.")
    ] = None,
    data_dir: DataDir = None,
    samples: Annotated[int | None, typer.Option(help="Ask about the first so many test images alone.")] = None,
    batch: Annotated[int, typer.Option(help="Images side by side in one call.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same spikes.")] = 1,
    out: Out = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Ask a trained network elsewhere, on circuits, with shots or on a device, beside the closed form."""
    from qlifq.backends import Plan
    from qlifq.calibration import load
    from qlifq.cli.options import backend_options
    from qlifq.neurons import SeedStream
    from qlifq.reporting.report import report_contents
    from qlifq.reporting.run_folder import check_folder, run_folder
    from qlifq.training import NEURONS, load_dataset
    from qlifq.training.correction import calibrate_layers, calibration_plan, correct_layers, one_for_each
    from qlifq.training.cross_backend import (
        FILES,
        cross_backend_report,
        describe_evaluation,
        evaluation_images,
        load_network,
        whole_plan,
    )
    from qlifq.training.run_folder import read_run

    content, design = read_run(trained)
    # A bad seed is refused here, before the first layer is measured.
    SeedStream(seed)
    if calibration and calibrate is not None:
        raise UnsupportedError(f"Option --calibrate would be ignored: --calibration is given, but it is {calibrate}.")
    if backend == "aer" and sampling is None and not NEURONS[design.neuron].rotated:
        # Ten thousand images ask a hundred million decisions: every shot by itself would take an hour. A circuit of two
        # angles has no law.
        sampling = "law"
    records = [load(path) for path in calibration or []]
    reporter = StatusReporter()
    options = backend_options(noise, sampling, device_options(context, reporter))
    if records or backend == "twin":
        records = one_for_each(records, design.neuron_layers)
    if not dry_run:
        check_folder(out, command=context.obj, files=FILES, force=force)
    there = _backends(backend, options, records, design.neuron_layers)
    data = load_dataset(content["identity"]["data"], data_dir).first(content["identity"]["images"])
    tested = evaluation_images(content, data, samples)

    network = load_network(content, design, there, shots)
    where = describe_evaluation(network, sampling=sampling)
    print(
        f"{'network':<12} {design.network}, {design.neuron}, hidden {', '.join(map(str, design.hidden))}, {design.steps} steps"
    )
    print(f"{'asked of':<12} {where}")
    contenders = [("analytic, exact", load_network(content, design, "analytic", None)), (where, network)]
    if records or calibrate is not None:
        corrected = load_network(content, design, there, shots)
        contenders.append((f"{where}, calibrated", corrected))
    if records:
        _tell(correct_layers(corrected, records))
    # The closed form costs nothing.
    plans = [whole_plan(each, design, len(tested.images), batch) for _, each in contenders[1:]]
    if calibrate is not None:
        plans.append(calibration_plan(corrected, shots=calibrate))
    print(f"{'plan':<12} {len(tested.images):,} images · {Plan.total(plans)}")
    if dry_run:
        return
    with run_folder(out, command=context.obj, files=FILES, force=force) as folder, resumable(there[0], context.obj):
        if calibrate is not None:
            _tell(correct_layers(corrected, calibrate_layers(corrected, shots=calibrate, seed=seed)))
        answers = [_answered(name, each, design, tested, batch, seed, reporter) for name, each in contenders]
        report = cross_backend_report(
            design,
            data,
            tested,
            answers,
            {
                "run": str(trained),
                "backend": backend,
                "shots": "exact" if shots is None and there[0].capabilities.exact else shots or 1,
                "device": device or "none",
                "noise": noise or "none",
                "sampling": sampling or "as the backend does",
                "calibration": ", ".join(map(str, calibration or []))
                or (f"{calibrate:,} shots per angle" if calibrate else "none"),
                "test images": len(tested.images),
                "batch": batch,
                "seed": seed,
            },
        )
        tell_problems(folder.write(report_contents(report, context.obj)))
    for sentence in report.findings:
        print(sentence.replace("**", ""))
    print(f"{'written to':<12} {folder.path}")


def _backends(name: str, options: dict[str, object], records: "list[Calibration]", layers: int) -> "list[Backend]":
    """One for each layer: the twin of its own record, and of any other backend the same for all."""
    from qlifq.backends import get

    if name == "twin":
        return [get(name, **options, record=record) for record in records]
    # The layers share the qubits of the widest.
    qubits = measured_qubits(max(records, key=lambda record: record.sites)) if name == "ibm" and records else {}
    return [get(name, **options, **qubits)] * layers


def _tell(corrections: "list[Correction]") -> None:
    """One line for each layer."""
    for correction in corrections:
        left = int(correction.q_scale.isnan().sum())
        corrected = len(correction.q_scale) - left
        print(f"{'calibration':<12} {corrected:,} neurons corrected, {left:,} on qubits that none can help")


def _answered(
    name: str, network: "Network", design: "Design", tested: "LabelledImages", batch: int, seed: int, reporter: StatusReporter
) -> "BackendEvaluation":
    """What a network says in one place."""
    from qlifq.training import evaluate
    from qlifq.training.cross_backend import BackendEvaluation, whole_plan

    with progress_bar(name, reporter) as progress:
        answer = evaluate(network, design, tested, batch=batch, seed=seed, progress=progress)
    return BackendEvaluation(name, answer, whole_plan(network, design, len(tested.images), batch).evaluations)
