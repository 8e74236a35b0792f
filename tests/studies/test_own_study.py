"""A study of one's own is one file, this one: the command runs it, its report is read back, and every page shows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import pandas as pd
import pytest
import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.circuits import RYSpike
from qlifq.cli import main
from qlifq.dashboard.comparisons.view import find_runs, open_run
from qlifq.reporting.report import Report, Section
from qlifq.studies import STUDIES, StudyKind, StudyRun, read_run

Captured = pytest.CaptureFixture[str]


class Bias(NamedTuple):
    """What the study measured."""

    backend: Backend
    table: pd.DataFrame


def run_bias(backend: Backend, *, seed: int, shots: Sequence[int], size: int, progress: object = None) -> Bias:
    """The mean of the estimates of P(1) = 1/2."""
    run = StudyRun(backend, seed=seed, shots=shots)
    angles = torch.full((size, 1, 1), torch.pi / 2, dtype=torch.float64)
    rows = []
    for count in run.shots:
        ones = cast(Tensor, run.backend.run(RYSpike(), angles, shots=count, seed=run.seeds.next_seed()).ones)
        rows.append({"shots": count, "p": float(ones.double().mean() / count)})
    return Bias(run.backend, pd.DataFrame(rows))


def bias_report(study: Bias, setup: Mapping[str, object]) -> Report:
    found = f"With {study.table['shots'].iloc[-1]} shots the mean is {study.table['p'].iloc[-1]:.3f}."
    section = Section("Mean", "What is the mean?", [found], tables={"bias": study.table})
    return Report(
        "Bias", "Is there one?", [found], "Not stated.", {"backend": "any", **setup}, [section], "a study of one's own"
    )


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # It goes again with the test: other tests list what qlifq brings.
    monkeypatch.setattr(STUDIES, "_rows", dict(STUDIES))
    files = ("report.md", "bias.csv")
    STUDIES.register("bias", StudyKind("Whether P(1) is biased.", run_bias, bias_report, files, (10, 20, 40), 4000, 50))


def test_the_command_runs_it_and_its_report_is_read_back(capsys: Captured) -> None:
    """Readout errors lift 1/2 to 0.7: 160,000 shots have a standard error of 0.0012, and 0.01 is eight of them."""
    noisy = ["--backend", "aer", "--noise", "readout_p01=0.4", "--sampling", "law"]
    assert main(["compare", "bias", *noisy, "--seed", "3", "--out", "run"]) == 0
    assert "With 40 shots the mean is 0." in capsys.readouterr().out
    saved = read_run("run")
    assert saved.tables["bias"]["shots"].tolist() == [10, 20, 40]
    assert saved.tables["bias"]["p"].iloc[-1] == pytest.approx(0.7, abs=0.01)
    assert saved.report is not None
    assert "| sampling | law |" in saved.report
    assert find_runs(Path()) == ["run"]
    assert open_run(Path(), "run").tables["bias"]["shots"].tolist() == [10, 20, 40]


def test_its_arguments_are_checked_as_those_of_any_study(capsys: Captured) -> None:
    assert main(["compare", "bias", "--shots", "3,2,1", "--quick"]) == 2
    assert "at least 3 rising numbers, but is [3, 2, 1]" in capsys.readouterr().err
    assert main(["compare", "bias", "--snapshot", "fake_torino"]) == 2
    assert "--snapshot would be ignored: study bias has none" in capsys.readouterr().err
