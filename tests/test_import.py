"""`import qlifq` stays light: no vendor, no plotting, no front."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "pennylane",
    "pennylane_lightning",
    "qiskit",
    "qiskit_aer",
    "qiskit_ibm_runtime",
    "sklearn",
    "matplotlib",
    "typer",
    "streamlit",
)


def heavy_after(statement: str, folder: Path | None = None) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after the statement."""
    paths = [] if folder is None else [str(folder)]
    script = f"import sys; sys.path[:0] = {paths!r}\n{statement}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import qlifq",
        "import qlifq.backends.conformance; qlifq.backends.get('reference'); qlifq.circuits.RYSpike().to_openqasm()",
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    assert heavy_after(statement) == set()


def test_a_planted_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("import qlifq\nimport qiskit\n")
    assert heavy_after("import planted", tmp_path) == {"qiskit"}


def test_a_translation_imports_its_vendor_only() -> None:
    assert heavy_after("from qlifq.circuits import RYSpike; RYSpike().to_qiskit()") == {"qiskit"}
