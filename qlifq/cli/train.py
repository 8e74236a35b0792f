"""The command `qlifq train`."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from qlifq.cli.arguments import DataDir, Force, Noise, Out, Sampling, tell_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError, UnsupportedError

__all__ = ["train"]


def train(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="digits (bundled), mnist, fashion-mnist or kmnist.")] = "digits",
    data_dir: DataDir = None,
    samples: Annotated[int | None, typer.Option(help="Train on the first so many images alone.")] = None,
    network: Annotated[str, typer.Option(help="mlp, conv, autoencoder, paper or paper-conv.")] = "mlp",
    neuron: Annotated[str | None, typer.Option(help="The neuron in its slot, such as qlif or brand-petruccione.")] = None,
    hidden: Annotated[str | None, typer.Option(help="Sizes of the hidden layers, or channels, such as 512 or 12,64.")] = None,
    steps: Annotated[int | None, typer.Option(help="Time steps that an image is shown for.")] = None,
    encoding: Annotated[str | None, typer.Option(help="current, poisson or latency.")] = None,
    gain: Annotated[float | None, typer.Option(help="Current of a full pixel, or of an input spike.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="A neuron parameter, NAME=VALUE; can be repeated.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often every image is seen.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images per step of the optimiser, over all processes.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam, the highest of a schedule.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine or one-cycle.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Decoupled, as in AdamW.")] = None,
    smoothing: Annotated[float | None, typer.Option(help="How much of each label is shared by all classes.")] = None,
    validation: Annotated[float | None, typer.Option(help="Fraction of the training images held back.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a lower validation loss.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    backend: Annotated[str, typer.Option(help="Where the network's decisions are asked, see `qlifq backends`.")] = "analytic",
    shots: Annotated[int | None, typer.Option(help="Shots per decision; default exact where the backend can be.")] = None,
    noise: Noise = None,
    sampling: Sampling = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(help="For --backend twin, the record of all layers of neurons; repeated, one for each of them."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 0,
    checkpoint_seconds: Annotated[float, typer.Option(help="How long to go on without a checkpoint.")] = 30.0,
    out: Out = None,
    force: Force = False,
) -> None:
    """Train a spiking network beside classical ones of its size; a run that was killed goes on when it is started again.

    Several processes train together under torchrun: torchrun --no-python --nproc-per-node 2 qlifq train ...
    """
    from qlifq.backends import get
    from qlifq.calibration import load
    from qlifq.cli.options import backend_options, parse_parameters
    from qlifq.reporting.report import report_contents
    from qlifq.training import load_dataset, resolve_recipe, run_experiment
    from qlifq.training.correction import one_for_each
    from qlifq.training.events import event_log
    from qlifq.training.experiment import checked_contenders
    from qlifq.training.processes import joined
    from qlifq.training.report import training_report
    from qlifq.training.run_folder import EVENTS, open_run

    options = backend_options(noise, sampling)
    records = [load(path) for path in calibration or []]
    # What the backend answers by, in plain values: a run that was killed goes on with the same alone.
    told = {name: str(value) for name, value in options.items()}
    if calibration:
        if backend != "twin":
            raise UnsupportedError(f"Option --calibration would be ignored: it is for --backend twin, but it is {backend!r}.")
        told["calibration"] = ", ".join(f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for path in calibration)
    data = load_dataset(dataset, data_dir).first(samples)
    given = {"neuron": neuron, "hidden": _sizes(hidden), "steps": steps, "encoding": encoding, "gain": gain}
    design, settings = resolve_recipe(
        network,
        data,
        {name: value for name, value in given.items() if value is not None} | {"parameters": parse_parameters(param or [])},
        {
            name: value
            for name, value in {
                "epochs": epochs,
                "batch": batch,
                "learning_rate": learning_rate,
                "schedule": schedule,
                "weight_decay": weight_decay,
                "smoothing": smoothing,
                "validation": validation,
                "patience": patience,
                "precision": precision,
                "seed": seed,
            }.items()
            if value is not None
        },
    )
    asked = (
        [get(backend, **options, record=record) for record in one_for_each(records, design.neuron_layers)]
        if backend == "twin"
        else [get(backend, **options)] * design.neuron_layers
    )
    with joined(device) as (processes, place), ExitStack() as held:
        # What cannot be trained is refused before there is a folder.
        checked_contenders(design, data, settings, backend=asked, shots=shots, device=place, processes=processes)
        if processes.first:
            run = held.enter_context(open_run(out, command=context.obj, force=force))
            print(
                f"{'data':<12} {data.name}, {len(data.train.images):,} images to learn, {len(data.test.images):,} for the test"
            )
        folder = Path(processes.agreed(str(run.path) if processes.first else ""))
        with event_log(folder / EVENTS) if processes.first else nullcontext() as log:
            experiment = run_experiment(
                design,
                data,
                settings,
                folder,
                backend=asked,
                shots=shots,
                options=told,
                checkpoint_seconds=checkpoint_seconds,
                device=place,
                processes=processes,
                progress=_bars(processes.first),
                after_epoch=log,
            )
        if processes.first:
            setup = {
                "shots": "exact" if shots is None and asked[0].capabilities.exact else shots or 1,
                "noise": noise or "none",
                "sampling": sampling or "as the backend does",
                "calibration": f"{', '.join(map(str, calibration))}, {told['calibration']}" if calibration else "none",
                "device": str(place),
                "processes": processes.count,
            }
            report = training_report(experiment, setup)
            tell_problems(run.write(report_contents(report, context.obj)))
            print(f"{'asked of':<12} {report.source}")
            for sentence in report.findings:
                print(sentence.replace("**", ""))
            print(f"{'written to':<12} {folder}")


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(f"Option --hidden must be whole numbers with commas between them, but is {text!r}.") from None


def _bars(shown: bool) -> Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]:
    """One progress bar per network; none in a process that does not print."""
    return progress_bar if shown else lambda words: nullcontext()
