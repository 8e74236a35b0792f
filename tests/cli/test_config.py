"""A file gives every command its options, the command line overrides it, and the one in a run's folder repeats the run."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from qlifq.cli import app, main
from qlifq.reporting.reading import read_spikes
from qlifq.training import load_run
from tests.cli.harness import Captured, error_of, refuse, succeed

SMALL = """
samples = 60
hidden = [6]
steps = 4
epochs = 2
[param]
tau = 3
decay_input = true
"""


def config(folder: str) -> dict[str, Any]:
    return tomllib.loads(Path(folder, "config.toml").read_text(encoding="utf-8"))


def weights(folder: str) -> dict[str, torch.Tensor]:
    return dict(load_run(folder).weights)


def test_the_file_of_a_run_repeats_it_bit_for_bit(capsys: Captured) -> None:
    Path("small.toml").write_text(SMALL, encoding="utf-8")
    succeed(capsys, "train", "--config", "small.toml", "--seed", "5", "--out", "first")
    known = config("first")
    assert known["command"] == "train"
    assert (known["samples"], known["hidden"], known["seed"], known["param"]) == (60, "6", 5, ["tau=3", "decay_input=true"])
    # What the recipe decided stands there too, and where the run was written does not.
    assert (known["learning-rate"], known["schedule"], known["neuron"]) == (0.01, "one-cycle", "qlif")
    assert not {"out", "force", "config"} & known.keys()
    succeed(capsys, "train", "--config", "first/config.toml", "--out", "second")
    assert config("second") == known
    first, second = weights("first"), weights("second")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads(Path("second/summary.json").read_bytes())["files"].count("config.toml") == 1
    # The command line overrides the file.
    succeed(capsys, "train", "--config", "first/config.toml", "--seed", "6", "--out", "third")
    assert config("third") == known | {"seed": 6}
    assert not all(torch.equal(first[name], value) for name, value in weights("third").items())
    # Arguments stand in a file too.
    Path("evaluate.toml").write_text('trained = "first"\nbackend = "analytic"\nsamples = 9', encoding="utf-8")
    assert "plan         4 images" in succeed(capsys, "evaluate", "--config", "evaluate.toml", "--samples", "4", "--dry-run")


def test_a_simulation_is_repeated_with_its_flags_lists_and_pairs(capsys: Captured) -> None:
    options = ["--samples", "1", "--steps", "9", "--param", "V_th=" + ",".join(["1.5"] * 64), "--noise", "readout_p01=0.1"]
    succeed(capsys, "simulate", *options, "--out", "one")
    table = "samples = 1\nsteps = 9\n[param]\nV_th = [{}]\n[noise]\nreadout_p01 = 0.1\n".format(", ".join(["1.5"] * 64))
    Path("table.toml").write_text(table, encoding="utf-8")
    succeed(capsys, "simulate", "--config", "table.toml", "--out", "other")
    spikes = [read_spikes(Path(folder, "spikes.npz")) for folder in ("one", "other")]
    assert spikes[0].any()
    assert (spikes[0] == spikes[1]).all()
    assert config("other") == config("one")


def test_every_command_takes_a_file_with_every_option_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qlifq.cli.config import option_names, option_values

    def commands(command: Any, *names: str) -> list[tuple[str, ...]]:
        below = getattr(command, "commands", {})
        return [found for name, each in below.items() for found in commands(each, *names, name)] or [names]

    tree = typer.main.get_command(app)
    found = commands(tree)
    assert ("train",) in found
    assert ("jobs", "list") in found
    for names in found:
        command: Any = tree
        context: Any = tree.make_context("qlifq", [], resilient_parsing=True)
        for name in names:
            command = command.commands[name]
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
        assert "--config" in [option for parameter in command.params for option in parameter.opts]
        for name, parameter in option_names(context).items():
            value = True if getattr(parameter, "is_flag", False) else ["x", "y"] if parameter.nargs == 2 else "x"
            for written in {name, name.replace("-", "_")}:
                assert list(option_values(context, {written: value}, "file")) == [parameter.name]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 2", "Did you mean `epochs`?"),
        ("learnin_rate = 2", "Did you mean `learning-rate`?"),
        ("zzz = 2", "Unknown option `zzz` in file.toml: it must be one of dataset, data, "),
        ("epochs = 2.5", "Invalid value for '--epochs'"),
        ("epochs = true", "Invalid value for '--epochs'"),
        ("force = 1", "Option force of file.toml must be true or false, but is 1."),
        (
            "seed = 2026-01-01",
            "Option seed of file.toml must be text, a number, true or false, or a list or table of these, but",
        ),
        ('command = "simulate"', "File file.toml must be for the command `train`, but is for `simulate`."),
        ("[param]\nta = 3", "Unknown parameter `ta`"),
        ("epochs = ", "File file.toml must hold TOML, but does not: "),
        ("epochs = 1\nepochs = 2", "File file.toml must hold TOML, but does not: "),
    ],
)
def test_what_a_file_cannot_say_is_refused(capsys: Captured, text: str, said: str) -> None:
    Path("file.toml").write_text(text, encoding="utf-8")
    assert said in refuse(capsys, "train", "--config", "file.toml")


def test_a_file_that_cannot_be_read_is_refused(capsys: Captured) -> None:
    assert "File none.toml cannot be read: no such file" in refuse(capsys, "train", "--config", "none.toml")
    Path("bytes.toml").write_bytes(b"\xff\xfe")
    assert "File bytes.toml must hold TOML, but does not: " in error_of(capsys, "train", "--config", "bytes.toml")
    assert main(["backends", "--config", "none.toml"]) == 2
