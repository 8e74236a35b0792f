"""The command `qlifq train`."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from qlifq.cli.arguments import (
    AsJson,
    Data,
    Force,
    Noise,
    Out,
    Param,
    Sampling,
    backend_option,
    choices,
    neuron_option,
    run_option,
    training_option,
    whole_numbers,
)
from qlifq.cli.output import Output, print_problems
from qlifq.cli.progress import progress_bar
from qlifq.errors import UnsupportedError

__all__ = ["EXAMPLES", "train"]


EXAMPLES = (
    "qlifq train --out runs/digits",
    "qlifq train --samples 200 --hidden 32 --steps 8 --epochs 2 --out runs/short",
    "qlifq train --network conv --neuron qlif --param tau=10 --param learnable=tau",
    "qlifq train --task regression --out runs/mackey-glass",
    "qlifq train --backend twin --calibration torino.json --shots 1 --json",
)


def train(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        run_option(
            metavar=choices("dataset"), help="What to learn; default the kind that --data ends with, else digits (bundled)."
        ),
    ] = None,
    data: Data = None,
    task: Annotated[
        str | None,
        run_option(metavar=choices("task"), help="Default as the data; regression alone learns mackey-glass."),
    ] = None,
    samples: Annotated[int | None, run_option(help="Train on only the first images, this many.")] = None,
    network: Annotated[str, run_option(metavar=choices("network"), help="The kind of network.")] = "mlp",
    hidden: Annotated[
        str | None, run_option(metavar="N,N", help="Sizes of the hidden layers, or channels, such as 512 or 12,64.")
    ] = None,
    steps: Annotated[int | None, run_option(help="Time steps that an image is shown for.")] = None,
    encoding: Annotated[
        str | None, run_option(metavar=choices("encoding"), help="From pixels to input; default that of the network.")
    ] = None,
    gain: Annotated[float | None, run_option(help="Current of a full pixel, or of an input spike.")] = None,
    seed: Annotated[int, run_option(help="The same seed gives the same weights.")] = 0,
    repeats: Annotated[int | None, run_option(help="For a regression: with how many seeds; default 5.")] = None,
    epochs: Annotated[int | None, training_option(help="How often every image is seen.")] = None,
    batch: Annotated[int | None, training_option(help="Images per step of the optimiser, over all processes.")] = None,
    learning_rate: Annotated[float | None, training_option(help="Of Adam, the highest of a schedule.")] = None,
    schedule: Annotated[
        str | None, training_option(metavar=choices("schedule"), help="How the learning rate changes over the epochs.")
    ] = None,
    weight_decay: Annotated[float | None, training_option(help="Decoupled, as in AdamW.")] = None,
    smoothing: Annotated[float | None, training_option(help="How much of each label is shared by all classes.")] = None,
    validation: Annotated[float | None, training_option(help="Fraction of the training images used for validation.")] = None,
    patience: Annotated[
        int | None, training_option(help="Stop after this many epochs without a lower validation loss.")
    ] = None,
    precision: Annotated[
        str | None, training_option(metavar=choices("precision"), help="Of the arithmetic; default float32.")
    ] = None,
    device: Annotated[str, training_option(help="cpu, cuda or cuda:N.")] = "cpu",
    checkpoint_seconds: Annotated[float, training_option(help="The longest time between two checkpoints.")] = 30.0,
    neuron: Annotated[
        str | None, neuron_option(metavar=choices("neuron"), help="What stands in the place of the neurons.")
    ] = None,
    param: Param = None,
    backend: Annotated[
        str,
        backend_option(metavar=choices("backend"), help="Where the network's spike decisions run, see `qlifq backends`."),
    ] = "analytic",
    shots: Annotated[int | None, backend_option(help="Shots per decision; default exact where the backend can be.")] = None,
    noise: Noise = None,
    sampling: Sampling = None,
    calibration: Annotated[
        list[Path] | None,
        backend_option(help="For --backend twin, the record of all layers of neurons; repeated, one for each of them."),
    ] = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
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
    learned = load_dataset(dataset, data, steps=steps, task=task).first(samples)
    # None leaves the sizes to the recipe of the network.
    sizes = None if hidden is None else whole_numbers("--hidden", hidden)
    # What the user does not give, the recipe of the network knows. The settings have options of their own names.
    design, settings = resolve_recipe(
        network,
        learned,
        _given(neuron=neuron, hidden=sizes, steps=steps, encoding=encoding, gain=gain)
        | {"parameters": parse_parameters(param or [])},
        _given(**{field.name: context.params[field.name] for field in fields(TrainingSettings)}),
    )
    # The folder of the run keeps what the recipe decided: a later version may have another one.
    decided = {name: getattr(design, name) for name in ("neuron", "steps", "encoding", "gain")}
    context.params.update(asdict(settings), dataset=learned.kind, hidden=",".join(map(str, design.hidden)), **decided)
    output = Output(as_json)
    images = f"{len(learned.train):,} {learned.noun} to learn, {len(learned.test):,} for the test"
    done = train_run(
        design,
        learned,
        settings,
        out,
        backend=layer_backends(backend, options, records, design.neuron_layers),
        shots=shots,
        repeats=repeats,
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
        begun=lambda folder: output.row("data", f"{learned.name}, {images}"),
        progress=progress_bar,
    )
    # Of several processes one speaks.
    if done.first:
        print_problems(done.problems)
        output.row("run on", done.report.source)
        output.report(done.report)
        output.row("written to", done.folder, written_to=done.folder)
        output.end()


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
