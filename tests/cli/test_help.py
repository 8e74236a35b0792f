"""What `--help` shows: every option in a group, the names that the library knows, and examples that the command takes."""

import shlex
from collections.abc import Iterable
from typing import Any

import pytest
import typer.main

from qlifq.backends import names
from qlifq.backends.ibm.client import MODES
from qlifq.backends.registry import BUILT_IN, summary
from qlifq.calibration.models import NEURON
from qlifq.cli import app
from qlifq.cli.arguments import CHOICES
from qlifq.neurons import MAPPINGS, MEMBRANES
from qlifq.neurons.parameters import DECISIONS, Settings
from qlifq.neurons.trains.loop import LOOPS
from qlifq.studies import STUDIES
from qlifq.training import DATASETS, NETWORKS, NEURONS
from qlifq.training.data.encoders import ENCODINGS
from qlifq.training.networks.tasks import TASKS
from qlifq.training.settings import PRECISIONS, SCHEDULES
from tests.cli.harness import Captured, refuse, succeed

#: The groups in the order in which a command shows them.
GROUPS = ["What runs", "Training", "Neuron", "Backend", "IBM device", "Output"]
KNOWN: dict[str, Iterable[str]] = {
    "backend": BUILT_IN,
    "dataset": DATASETS,
    "decision": DECISIONS,
    "encoding": ENCODINGS,
    "loop": LOOPS,
    "mapping": MAPPINGS,
    "membrane": MEMBRANES,
    "network": NETWORKS,
    "neuron": NEURONS,
    "parameter": NEURON,
    "precision": PRECISIONS,
    "sampling": summary("aer").sampling,
    "schedule": SCHEDULES,
    "study": STUDIES,
    "submit": MODES,
}


def commands() -> dict[str, Any]:
    """Every command by what a user types for it, such as "jobs list"."""
    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {each}": leaf for each, leaf in inner.items()}
    return found


def options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option" and each.name != "help"]


@pytest.mark.parametrize("name", KNOWN)
def test_the_choices_shown_are_those_of_the_library(name: str) -> None:
    """`--help` must not import the registries: whoever adds a row adds its name in `qlifq/cli/arguments.py`."""
    assert CHOICES[name] == tuple(KNOWN[name])


def test_every_choice_is_held_against_the_library() -> None:
    assert set(CHOICES) - set(KNOWN) == {"input_encoding", "mode", "task"}
    # A network that reconstructs its input has that task by itself.
    assert set(CHOICES["task"]) == set(TASKS) - {"reconstruction"}
    assert set(CHOICES["input_encoding"]) < set(ENCODINGS)
    assert set(CHOICES["backend"]) <= set(names())


@pytest.mark.parametrize("name", commands())
def test_options_stand_in_groups_in_one_order_and_each_says_what_it_is(name: str) -> None:
    command = commands()[name]
    groups = [option.rich_help_panel for option in options(command) if option.name != "config"]
    assert sorted(groups, key=GROUPS.index) == groups
    assert [option.name for option in options(command) if not option.help] == []
    # What has a choice says so in place of a type.
    of_choice = [each for each in options(command) if each.name in CHOICES and each.name not in {"encoding", "mode"}]
    assert [each.name for each in of_choice if each.metavar != f"[{' | '.join(CHOICES[each.name])}]"] == []


def test_a_planted_option_without_a_group_is_seen() -> None:
    root: Any = typer.main.get_command(app)
    assert [each.rich_help_panel for each in options(root)] == [None]


@pytest.mark.parametrize("name", commands())
def test_the_examples_are_taken_by_their_command(name: str) -> None:
    command = commands()[name]
    title, *shown = command.epilog.split("\n\n")
    assert title == "Examples:"
    assert shown
    for example in shown:
        program, *arguments = shlex.split(example)
        words = name.split()
        assert [program, *arguments[: len(words)]] == ["qlifq", *words]
        # Parsed and not run: an unknown option or a missing value is an error here.
        command.make_context(name, arguments[len(words) :])


@pytest.mark.parametrize("command", ["simulate", "train"])
def test_the_parameters_are_listed_whatever_else_the_command_needs(command: str, capsys: Captured) -> None:
    out = succeed(capsys, command, "--param", "list")
    for name in Settings.__dataclass_fields__:
        assert f"  {name}=" in out
    assert "  tau=20 " in out
    assert "(> 0)" in out
    assert [line for line in out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("simulate --param vth=1", "V_th"),
        ("simulate --param V-th=1", "V_th"),
        ("simulate --param adaptation_deacy=0.5", "adaptation_decay"),
        ("simulate --backend Aer", "aer"),
        ("simulate --backend analitic", "analytic"),
        ("simulate --mapping tanhh", "tanh"),
        ("simulate --membrane quadratik", "quadratic"),
        ("simulate --decision treshold", "threshold"),
        ("simulate --mode replya", "replay"),
        ("simulate --noise readout_p1=0.1", "readout_p10"),
        ("simulate --encoding poison", "poisson"),
        ("circuits ryspike", "RYSpike"),
        ("train --dataset digit", "digits"),
        ("train --network convv", "conv"),
        ("train --neuron brand_petruccione", "brand-petruccione"),
        ("train --schedule cosin", "cosine"),
        ("compare shotnoise", "shot-noise"),
        ("calibrate --neurons 2 --out c.json --standard-error 0.1 --parameter qbias", "q_bias"),
        ("calibrate --neurons 2 --out c.json --sampling laws", "law"),
    ],
)
def test_a_name_that_is_nearly_right_is_named(arguments: str, meant: str, capsys: Captured) -> None:
    assert refuse(capsys, *arguments.split()).endswith(f" Did you mean `{meant}`?\n")


def test_a_name_that_is_like_no_other_gets_no_advice(capsys: Captured) -> None:
    for arguments in ("simulate --backend zzz", "simulate --param zzz=1", "train --network zzz"):
        assert "Did you mean" not in refuse(capsys, *arguments.split())
