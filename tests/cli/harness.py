"""Commands as the tests run them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from qlifq.cli import main
from qlifq.reporting.run_folder import RunFolder

Captured = pytest.CaptureFixture[str]


def succeed(capsys: Captured, *arguments: str) -> str:
    """What a command prints that ends well and warns of nothing."""
    code = main(arguments)
    output = capsys.readouterr()
    assert (code, output.err) == (0, "")
    return output.out


def error_of(capsys: Captured, *arguments: str) -> str:
    """The one sentence on stderr of a command that ends with exit code 2."""
    code = main(arguments)
    error = capsys.readouterr().err
    assert code == 2
    assert re.fullmatch(r"Error: .+\n", error), error
    return error


def refuse(capsys: Captured, *arguments: str) -> str:
    """As `error_of`, of a command that leaves this folder as it is."""
    before = sorted(Path.cwd().rglob("*"))
    error = error_of(capsys, *arguments)
    assert sorted(Path.cwd().rglob("*")) == before
    return error


def leave_out_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs write everything but their figures, which take twenty times as long as a small training."""
    write = RunFolder.write
    monkeypatch.setattr(RunFolder, "write", lambda folder, contents: write(folder, replace(contents, pictures={})))
