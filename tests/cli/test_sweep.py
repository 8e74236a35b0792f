"""`qlifq sweep`: a run for each combination of values of a file, and what a file cannot say in one sentence."""

import json
from pathlib import Path

import pandas as pd
import pytest

from qlifq.studies import list_runs
from tests.cli.harness import Captured, error_of, refuse, succeed

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

GRIDS = """
command = "simulate"
samples = 1
steps = 6
param = ["V_th=1.2"]

[[sweep]]
backend = ["analytic"]
param.tau = [5]

[[sweep]]
backend = ["reference"]
shots = [3]
"""


def write(text: str) -> None:
    Path("sweep.toml").write_text(text, encoding="utf-8")


def test_a_sweep_leaves_a_run_for_each_point_and_repeats_from_its_own_file(capsys: Captured) -> None:
    write(GRIDS)
    shown = succeed(capsys, "sweep", "sweep.toml", "--dry-run")
    assert [line.split(maxsplit=1)[1] for line in shown.splitlines()[2:]] == [
        "backend=analytic, param.tau=5",
        "backend=reference, shots=3",
    ]
    assert not Path("runs").exists()
    printed = succeed(capsys, "sweep", "sweep.toml", "--workers", "2", "--out", "s")
    assert printed.splitlines()[0].split() == ["backend", "param.tau", "shots", "firing", "rate"]
    assert printed.endswith("written to   s\n")
    table = pd.read_csv("s/points.csv")
    runs = {run.folder.name: run for run in list_runs("s")}
    assert set(runs) == set(table["folder"])
    first, second = (runs[name] for name in table["folder"])
    assert [run.settings["tau"] for run in (first, second)] == [5.0, 20.0]
    assert {run.settings["V_th"] for run in runs.values()} == {1.2}
    assert second.settings["shots"] == 3
    assert first.command.startswith(
        "qlifq simulate --samples 1 --steps 6 --param V_th=1.2 --param tau=5 --backend analytic --out"
    )
    # The file in its folder is of the same points.
    again = [succeed(capsys, "sweep", file, "--dry-run", "--json") for file in ("s/config.toml", "sweep.toml")]
    assert again[0] == again[1]
    assert json.loads(Path("s/summary.json").read_bytes())["setup"]["backend"] == "analytic, reference"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sweep]\nseed = [1]", "File sweep.toml must say `command`, one of train, evaluate, simulate, compare, but has None."),
        ('command = "calibrate"', "must say `command`, one of train, evaluate, simulate, compare, but has 'calibrate'"),
        ('command = "train"', "File sweep.toml must have a table [sweep] with lists of values, but has none."),
        ('command = "train"\nsweep = []', "must have a table [sweep]"),
        ('command = "train"\n[sweep]\nseed = 3', "Axis `seed` must be a list of at least one value, but is 3."),
        ('command = "train"\n[sweep]\nsed = [3]', "Did you mean `seed`?"),
        ('command = "train"\n[sweep]\nseed = [1, 2.5]', "Invalid value for '--seed'"),
        ('command = "train"\nout = "x"\n[sweep]\nseed = [1]', "Option out in sweep.toml would be ignored"),
        ('command = "train"\nepochs = 3\n[sweep]\nepochs.x = [1]', "Invalid value for '--epochs'"),
        ('command = "evaluate"\n[sweep]\nseed = [1]', "Missing argument 'RUN'"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(capsys: Captured, text: str, said: str) -> None:
    write(text)
    assert said in refuse(capsys, "sweep", "sweep.toml")


def test_a_point_that_the_library_refuses_is_named(capsys: Captured) -> None:
    write('command = "simulate"\nsamples = 1\nsteps = 2\n[sweep]\nshots = [0]')
    said = error_of(capsys, "sweep", "sweep.toml", "--workers", "1", "--out", "s")
    assert (
        "1 of 1 points failed, the others are finished and stay. shots=0: Argument `shots` must be at least 1, but is 0."
        in said
    )
