"""The command `qlifq train`."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from qlifq.cli.arguments import DataDir, Force, Noise, Out, Sampling, print_findings, print_problems, whole_numbers
from qlifq.cli.progress import progress_bar
from qlifq.errors import UnsupportedError

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
    from qlifq.calibration import load
    from qlifq.cli.options import backend_options, layer_backends, parse_parameters
    from qlifq.training import TrainingSettings, load_dataset, resolve_recipe, train_run

    options = backend_options(noise, sampling)
    records = [load(path) for path in calibration or []]
    # The options of the backend as text: only the same ones continue a run that was killed.
    described = {name: str(value) for name, value in options.items()} | _checksums(backend, calibration or [])
    data = load_dataset(dataset, data_dir).first(samples)
    sizes = None if hidden is None else whole_numbers("--hidden", hidden)
    # What the user does not give, the recipe of the network knows. The settings have options of their own names.
    design, settings = resolve_recipe(
        network,
        data,
        _given(neuron=neuron, hidden=sizes, steps=steps, encoding=encoding, gain=gain)
        | {"parameters": parse_parameters(param or [])},
        _given(**{field.name: context.params[field.name] for field in fields(TrainingSettings)}),
    )
    # The folder of the run keeps what the recipe decided: a later version may have another one.
    decided = {name: getattr(design, name) for name in ("neuron", "steps", "encoding", "gain")}
    context.params.update(asdict(settings), hidden=",".join(map(str, design.hidden)), **decided)
    images = f"{len(data.train.images):,} images to learn, {len(data.test.images):,} for the test"
    done = train_run(
        design,
        data,
        settings,
        out,
        backend=layer_backends(backend, options, records, design.neuron_layers),
        shots=shots,
        options=described,
        checkpoint_seconds=checkpoint_seconds,
        device=device,
        command=context.obj,
        setup={
            "noise": noise or "none",
            "sampling": sampling or "as the backend does",
            "calibration": ", ".join([*map(str, calibration or []), described.get("calibration", "none")]),
        },
        force=force,
        begun=lambda folder: print(f"{'data':<12} {data.name}, {images}"),
        progress=progress_bar,
    )
    if done.first:
        print_problems(done.problems)
        print(f"{'run on':<12} {done.report.source}")
        print_findings(done.report)
        print(f"{'written to':<12} {done.folder}")


def _checksums(backend: str, paths: Sequence[Path]) -> dict[str, str]:
    """The records of a twin by the checksums of their files; nothing without records."""
    from qlifq.backends.registry import summary

    if paths and not summary(backend).record:
        raise UnsupportedError(f"Option --calibration would be ignored: it is for --backend twin, but it is {backend!r}.")
    checksums = [f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for path in paths]
    return {"calibration": ", ".join(checksums)} if checksums else {}


def _given(**options: object) -> dict[str, object]:
    """The options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}
