"""`import qlifq` stays light: no vendor, no plotting, no front."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qlifq.backends.ibm.journal import Journal

HEAVY = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "pennylane",
    "pennylane_lightning",
    "qiskit",
    "qiskit_aer",
    "qiskit_ibm_runtime",
    "sklearn",
    "matplotlib",
    "typer",
    "rich",
    "streamlit",
)
#: What torch brings, and what typer's help text does.
TORCH = {"torch", "numpy"}
HELP = {"typer", "rich"}


def heavy_after(statement: str, folder: Path | None = None) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after the statement."""
    paths = [] if folder is None else [str(folder)]
    script = f"import sys; sys.path[:0] = {paths!r}\n{statement}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("import qlifq; dir(qlifq); qlifq.backends.names(); qlifq.circuits.RYSpike().to_openqasm()", set()),
        ("import qlifq; qlifq.backends.registry.summary('aer'); qlifq.circuits.CIRCUITS['LeakySpike'].build().draw()", set()),
        ("import qlifq.backends.conformance; qlifq.QLIF(3); qlifq.backends.get('reference')", {*TORCH, "scipy"}),
    ],
)
def test_nothing_heavy_is_imported(statement: str, found: set[str]) -> None:
    assert heavy_after(statement) == found


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--version"], {"typer"}),
        (["--help"], HELP),
        (["simulate", "--help"], HELP),
        (["backends"], {"typer"}),
        (["circuits"], {"typer"}),
        (["circuits", "LeakySpike", "--openqasm"], {"typer"}),
        (["jobs", "list", "--journal", "jobs.sqlite"], {"typer", "numpy"}),
        (["simulate", "--input", "current.npy", "--dry-run"], {"typer", *TORCH}),
    ],
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)
def test_a_command_imports_what_it_needs_and_no_more(
    arguments: list[str], found: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path / "jobs.sqlite"):
        pass
    np.save(tmp_path / "current.npy", np.ones((2, 1, 3), dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    # The output of the command is not compared here.
    quietly = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    assert main("
    assert heavy_after(f"from qlifq.cli import main\n{quietly}{arguments!r}) == 0") == found


def test_a_planted_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("import qlifq\nimport qiskit\n")
    assert "qiskit" in heavy_after("import planted", tmp_path)


def test_a_translation_imports_its_vendor_only() -> None:
    vendors = heavy_after("from qlifq.circuits import RYSpike; RYSpike().to_qiskit()") - {"numpy", "scipy"}
    assert vendors == {"qiskit"}
