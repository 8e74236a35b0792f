"""The command `qlifq evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qlifq.cli.arguments import DataDir, DryRun, Force, Noise, Out, run_folder
from qlifq.cli.devices import (
    Account,
    Device,
    Instance,
    MaxDeviceSeconds,
    Run,
    Submit,
    Teller,
    device_options,
    measured_qubits,
    resumable,
)
from qlifq.cli.progress import progress_bar
from qlifq.errors import ShapeError, UnsupportedError

if TYPE_CHECKING:
    from qlifq.backends import Plan
    from qlifq.calibration import Calibration
    from qlifq.neurons import QLIF
    from qlifq.training import Design, LabelledImages, Network
    from qlifq.training.elsewhere import Answered

__all__ = ["evaluate"]

#: In how many rounds a layer is calibrated.
_ROUNDS = 2


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
    from qlifq._validation import integer
    from qlifq.backends import get
    from qlifq.cli.options import backend_options
    from qlifq.studies import check_folder
    from qlifq.studies.report import write_report
    from qlifq.training import LabelledImages, load_dataset
    from qlifq.training.elsewhere import answered_in_words, check_data, elsewhere_report, rebuilt, whole_plan
    from qlifq.training.run_folder import read_run

    content, design = read_run(trained)
    if calibration and calibrate is not None:
        raise UnsupportedError(f"Option --calibrate would be ignored: --calibration is given, but it is {calibrate}.")
    if backend == "aer" and sampling is None:
        # Ten thousand images ask a hundred million decisions: every shot by itself would take an hour.
        sampling = "law"
    records = _loaded(calibration or [])
    teller = Teller()
    on_device = device_options(context, teller)
    options = backend_options(noise, sampling, on_device)
    if backend == "ibm" and records:
        # The layers share the qubits of the widest.
        options |= measured_qubits(max(records, key=lambda record: record.measurement.programme.neurons))
    if records or backend == "twin":
        records = _one_each(records, design.neuron_layers)
    folder = None if dry_run else check_folder(run_folder(out), force=force)
    # A layer is on the twin of its own record, and every layer on the same of any other backend.
    twins = [get(backend, **options, record=record) for record in records] if backend == "twin" else []
    there = twins or [get(backend, **options)] * design.neuron_layers
    identity = content["identity"]
    data = load_dataset(identity["data"], data_dir).first(identity["images"])
    check_data(content, data)
    asked = len(data.test.images) if samples is None else integer("samples", samples, at_least=1, at_most=len(data.test.images))
    tested = LabelledImages(*(values[:asked] for values in data.test))

    network = rebuilt(content, design, there, shots)
    where = answered_in_words(network, device=device, noise=noise, sampling=sampling)
    plan = _with_correction(whole_plan(network, design, asked, batch), network, given=bool(records), shots=calibrate)
    print(
        f"{'network':<12} {design.network}, {design.neuron}, hidden {', '.join(map(str, design.hidden))}, {design.steps} steps"
    )
    print(f"{'asked of':<12} {where}")
    print(f"{'plan':<12} {asked:,} images · {plan}")
    if dry_run or folder is None:
        return
    with resumable(there[0], context.obj):
        contenders = [("analytic, exact", rebuilt(content, design, "analytic", None)), (where, network)]
        if records or calibrate is not None:
            corrected = rebuilt(content, design, there, shots)
            _correct(corrected, records, calibrate, seed)
            contenders.append((f"{where}, calibrated", corrected))
        answers = [_answered(name, each, design, tested, batch, seed, teller) for name, each in contenders]
        setup = {
            "run": str(trained),
            "backend": backend,
            "shots": "exact" if shots is None and there[0].capabilities.exact else shots or 1,
            "device": device or "none",
            "noise": noise or "none",
            "sampling": sampling or "as the backend does",
            "calibration": ", ".join(map(str, calibration or []))
            or (f"{calibrate:,} shots per angle" if calibrate else "none"),
            "test images": asked,
            "batch": batch,
            "seed": seed,
        }
        report = elsewhere_report(design, data, tested, answers, setup)
        write_report(folder, report, command=context.obj, force=force)
    for sentence in report.found:
        print(sentence.replace("**", ""))
    print(f"{'written to':<12} {folder}")


def _answered(
    name: str, network: "Network", design: "Design", tested: "LabelledImages", batch: int, seed: int, teller: Teller
) -> "Answered":
    """What a network says in one place."""
    from qlifq.training import evaluate
    from qlifq.training.elsewhere import Answered, whole_plan

    with progress_bar(name, teller) as progress:
        answer = evaluate(network, design, tested, batch=batch, seed=seed, progress=progress)
    return Answered(name, answer, whole_plan(network, design, len(tested.images), batch).evaluations)


def _loaded(paths: list[Path]) -> "list[Calibration]":
    from qlifq.calibration import load

    return [load(path) for path in paths]


def _one_each(records: "list[Calibration]", layers: int) -> "list[Calibration]":
    """A record for each layer of neurons, where one alone is that of all."""
    if len(records) not in {1, layers}:
        raise ShapeError(
            f"Option --calibration must be given once, or once for each of {layers} layers of neurons, but is given "
            f"{len(records)} times."
        )
    return records if len(records) == layers else records * layers


def _layers(network: "Network") -> "list[QLIF]":
    """The layers that a calibration can correct, at least one."""
    from qlifq.neurons import QLIF

    layers = [layer for layer in network.neurons() if isinstance(layer, QLIF) and layer.settings.quantum_mode]
    if not layers:
        raise UnsupportedError("Option --calibration would be ignored: the network has no QLIF neurons.")
    return layers


def _with_correction(once: "Plan", network: "Network", *, given: bool, shots: int | None) -> "Plan":
    """What it costs to ask a network, with records that are given once more, and with `shots` to make them before."""
    from qlifq.backends import Plan
    from qlifq.studies.calibration_report import round_plan

    plans = [once, once] if given or shots is not None else [once]
    if shots is not None:
        for layer in _layers(network):
            sites = layer.num_neurons * layer.settings.quantum_wire
            plans.append(round_plan(layer.backend, sites, shots=shots, rounds=_ROUNDS).times(_ROUNDS))
    return Plan.total(plans)


def _correct(network: "Network", records: "list[Calibration]", shots: int | None, seed: int) -> None:
    """Correct every layer, with the records that were given or with new ones."""
    from qlifq.calibration import fit

    for number, layer in enumerate(_layers(network)):
        if records:
            record = records[number]
        else:
            settings = layer.settings
            own: dict[str, Any] = {"theta_max": settings.theta_max} if layer.mapping == "tanh" else {}
            record = fit(
                layer.backend,
                neurons=layer.num_neurons * settings.quantum_wire,
                mapping=layer.mapping,
                q_scale=layer.q_scale.detach().repeat_interleave(settings.quantum_wire),
                q_bias=layer.q_bias.detach().repeat_interleave(settings.quantum_wire),
                leak=settings.quantum_leak,
                shots=shots or 0,
                rounds=_ROUNDS,
                seed=seed + number,
                **own,
            )
        left = int(record.apply_to(layer, unreachable="keep").q_scale.isnan().sum())
        print(f"{'calibration':<12} {layer.num_neurons - left:,} neurons corrected, {left:,} on qubits that none can help")
