"""Options that several commands share, the groups in which `--help` shows them, and how they are read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from types import MappingProxyType
from typing import Annotated, Any

import typer

from qlifq.errors import ArgumentError

__all__ = [
    "CHOICES",
    "AsJson",
    "Data",
    "DryRun",
    "Force",
    "Noise",
    "Out",
    "Param",
    "Sampling",
    "Scheduler",
    "backend_option",
    "choices",
    "device_option",
    "examples",
    "neuron_option",
    "output_option",
    "run_option",
    "training_option",
    "was_given",
    "whole_numbers",
]


def _group(title: str) -> Callable[..., Any]:
    """`typer.Option` for the options of one group; `--help` shows the groups in the order in which a command begins them."""
    return partial(typer.Option, rich_help_panel=title)


run_option = _group("What runs")
training_option = _group("Training")
neuron_option = _group("Neuron")
backend_option = _group("Backend")
device_option = _group("IBM device")
output_option = _group("Output")

#: The names that an option offers. `--help` shows them without the registries, whose import of torch takes seconds; a test
#: holds them against the registries, and the library itself refuses a name, since Python code may have registered others.
CHOICES = MappingProxyType(
    {
        "backend": ("analytic", "lightning", "pennylane", "qiskit", "aer", "ibm", "distributed", "twin", "reference"),
        "dataset": (
            "digits",
            "mnist",
            "fashion-mnist",
            "kmnist",
            "arrays",
            "shd",
            "nmnist",
            "dvs128",
            "series",
            "mackey-glass",
        ),
        "decision": ("sample", "threshold", "expectation"),
        "encoding": ("current", "poisson", "latency", "delta", "phase"),
        "input_encoding": ("poisson", "current"),
        "loop": ("host", "circuit"),
        "mapping": ("sigmoid", "linear", "tanh"),
        "membrane": ("leaky", "quadratic"),
        "mode": ("closed-loop", "replay"),
        "network": ("mlp", "conv", "autoencoder", "paper", "paper-conv"),
        "neuron": (
            "qlif",
            "qlif-linear",
            "qlif-tanh",
            "quadratic",
            "classical",
            "classical-stochastic",
            "brand-petruccione",
            "brand-petruccione-published",
            "brand-petruccione-published-leak",
            "brand-petruccione-published-gradient",
        ),
        "parameter": ("q_scale", "q_bias", "readout_p01", "readout_p10"),
        "precision": ("float32", "bfloat16", "float16"),
        "sampling": ("shots", "law"),
        "schedule": ("constant", "cosine", "one-cycle"),
        "study": ("shot-noise", "brand-petruccione"),
        "submit": ("job", "batch", "session"),
        "task": ("classification", "regression"),
    }
)


def choices(name: str) -> str:
    """What `--help` shows in place of a value; with spaces, so that a narrow terminal breaks between the names."""
    return f"[{' | '.join(CHOICES[name])}]"


def examples(*commands: str) -> str:
    """The end of a command's help. An empty line keeps each command on a line of its own."""
    return "\n\n".join(("Examples:", *commands))


def _list_parameters(context: typer.Context, items: list[str] | None) -> list[str] | None:
    """Print the table of parameters for `--param list`, and end."""
    if items is None or "list" not in items or context.resilient_parsing:
        return items
    from qlifq.neurons.parameter_table import table

    # Where there is no terminal this is 80 columns, too.
    width, group = get_terminal_size().columns, ""
    for row in table():
        if row.group != group:
            group = row.group
            print(f"{group}:")
        line = f"  {f'{row.name}={row.default}':<36} {row.doc} ({row.range})"
        print(fill(line, max(width, 80), subsequent_indent=" " * 39))
    raise typer.Exit


Noise = Annotated[str | None, backend_option(help="A device snapshot (for aer), or pairs such as t1=120e-6,readout_p01=0.01.")]
Data = Annotated[
    Path | None, run_option(help="The file or folder of the data set, such as FILE.npz, FILE.h5 or a folder of IDX files.")
]
Sampling = Annotated[
    str | None,
    backend_option(
        metavar=choices("sampling"),
        help="For aer: run every shot (default), or draw the counts from the distribution of the outcomes, which takes a "
        "thousandth of the time and has the same statistics.",
    ),
]
Scheduler = Annotated[
    str | None,
    backend_option(
        help="Spread the calls of the backend: a Dask scheduler such as tcp://10.0.0.1:8786, or local for all cores."
    ),
]
Param = Annotated[
    list[str] | None,
    neuron_option(
        metavar="NAME=VALUE",
        callback=_list_parameters,
        # Before the other options: the table needs none of those that a command requires.
        is_eager=True,
        help="A neuron parameter; can be repeated. `--param list` prints all names with their defaults and ranges.",
    ),
]
Out = Annotated[Path | None, output_option(help="Folder of the run; default runs/ and the UTC time.")]
Force = Annotated[bool, output_option("--force", help="Overwrite an earlier run in that folder.")]
DryRun = Annotated[bool, output_option("--dry-run", help="Print what it would cost and run nothing.")]
AsJson = Annotated[bool, output_option("--json", help="Print the summary as one JSON object, and nothing else on stdout.")]


def was_given(context: typer.Context, name: str) -> bool:
    """Whether the user gave an option; a default, which a later version may change, is not given."""
    return getattr(context.get_parameter_source(name), "name", "DEFAULT") != "DEFAULT"


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of an option such as "1,10,100"."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(f"Option {option} must be whole numbers with commas between them, but is {text!r}.") from None
