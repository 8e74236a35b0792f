"""The command `qlifq train`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.cli.arguments import DataDir, Force, Noise, Out, Sampling, tell_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from qlifq.backends import Backend
    from qlifq.calibration import Calibration

__all__ = ["train"]


def train(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Such as digits (bundled), mnist, fashion-mnist or kmnist.")] = "digits",
    data_dir: DataDir = None,
    samples: Annotated[int | None, typer.Option(help="Train on only the first images, this many.")] = None,
    network: Annotated[str, typer.Option(help="Such as mlp, conv, autoencoder, paper or paper-conv.")] = "mlp",
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
    validation: Annotated[float | None, typer.Option(help="Fraction of the training images used for validation.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after this many epochs without a lower validation loss.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    backend: Annotated[str, typer.Option(help="Where the network's spike decisions run, see `qlifq backends`.")] = "analytic",
    shots: Annotated[int | None, typer.Option(help="Shots per decision; default exact where the backend can be.")] = None,
    noise: Noise = None,
    sampling: Sampling = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(help="For --backend twin, the record of all layers of neurons; repeated, one for each of them."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 0,
    checkpoint_seconds: Annotated[float, typer.Option(help="The longest time between two checkpoints.")] = 30.0,
    out: Out = None,
    force: Force = False,
) -> None:
    """Train a spiking network beside classical ones of its size; a run that was killed goes on when it is started again.

    Several processes train together under torchrun: torchrun --no-python --nproc-per-node 2 qlifq train ...
    """
    from qlifq.backends.registry import summary
    from qlifq.calibration import load
    from qlifq.cli.options import backend_options, parse_parameters
    from qlifq.training import load_dataset, resolve_recipe, train_run

    options = backend_options(noise, sampling)
    records = [load(path) for path in calibration or []]
    # The options of the backend as text: only the same ones continue a run that was killed.
    described = {name: str(value) for name, value in options.items()}
    if calibration:
        if not summary(backend).record:
            raise UnsupportedError(f"Option --calibration would be ignored: it is for --backend twin, but it is {backend!r}.")
        described["calibration"] = _digests(calibration)
    data = load_dataset(dataset, data_dir).first(samples)
    design, settings = resolve_recipe(
        network,
        data,
        _given(neuron=neuron, hidden=_sizes(hidden), steps=steps, encoding=encoding, gain=gain)
        | {"parameters": parse_parameters(param or [])},
        _given(
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            schedule=schedule,
            weight_decay=weight_decay,
            smoothing=smoothing,
            validation=validation,
            patience=patience,
            precision=precision,
            seed=seed,
        ),
    )
    images = f"{len(data.train.images):,} images to learn, {len(data.test.images):,} for the test"
    done = train_run(
        design,
        data,
        settings,
        out,
        backend=_backends(backend, options, records, design.neuron_layers),
        shots=shots,
        options=described,
        checkpoint_seconds=checkpoint_seconds,
        device=device,
        command=context.obj,
        setup={
            "noise": noise or "none",
            "sampling": sampling or "as the backend does",
            "calibration": f"{', '.join(map(str, calibration))}, {described['calibration']}" if calibration else "none",
        },
        force=force,
        begun=lambda folder: print(f"{'data':<12} {data.name}, {images}"),
        progress=progress_bar,
    )
    if done.first:
        tell_problems(done.problems)
        print(f"{'run on':<12} {done.report.source}")
        for sentence in done.report.findings:
            print(sentence.replace("**", ""))
        print(f"{'written to':<12} {done.folder}")


def _backends(name: str, options: dict[str, object], records: "list[Calibration]", layers: int) -> "list[Backend]":
    """One for each layer: the twin of its own record, and of any other backend the same for all."""
    from qlifq.backends import get
    from qlifq.backends.registry import summary
    from qlifq.training.correction import one_for_each

    if summary(name).record:
        return [get(name, **options, record=record) for record in one_for_each(records, layers)]
    return [get(name, **options)] * layers


def _digests(paths: Sequence[Path]) -> str:
    """Checksums that identify the files."""
    return ", ".join(f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for path in paths)


def _given(**options: object) -> dict[str, object]:
    """The options that the user gave; the recipe of the network knows the others."""
    return {name: value for name, value in options.items() if value is not None}


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(f"Option --hidden must be whole numbers with commas between them, but is {text!r}.") from None
