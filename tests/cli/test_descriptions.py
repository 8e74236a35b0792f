"""Whatever a command prints, titles or writes names the device or snapshot, the noise and the shots."""

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qlifq.cli import main
from qlifq.reporting import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Captured = pytest.CaptureFixture[str]

IBM = ("--backend", "ibm", "--device", "fake_manila")
AER = ("--backend", "aer", "--noise", "fake_manila", "--sampling", "law")
ON = {IBM: "ibm, snapshot fake_manila (no device)", AER: "aer, noise of the snapshot fake_manila"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QLIFQ_JOURNAL", str(tmp_path / "jobs.sqlite"))
    np.save("current.npy", np.full((3, 2, 4), 1.3))


@pytest.fixture
def headings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The headings of all figures that are drawn meanwhile."""
    found: list[str] = []
    put_heading = figures.put_heading

    def keep(figure: "Figure", text: str) -> None:
        found.append(text)
        put_heading(figure, text)

    for room in ("reporting.report", "studies.calibration_figures", "studies.simulation_figure"):
        monkeypatch.setattr(import_module(f"qlifq.{room}"), "put_heading", keep)
    return found


def succeed(capsys: Captured, *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("where", ON)
def test_a_simulation(capsys: Captured, headings: list[str], where: tuple[str, ...]) -> None:
    command = ("simulate", *where, "--input", "current.npy")
    planned = succeed(capsys, *command, "--dry-run")
    assert f"backend      {ON[where]}, 1 shot\n" in planned
    assert f"backend      {ON[where]}, 1 shot\n" in succeed(capsys, *command, "--out", "run")
    assert headings == [f"4 QLIF neurons, sample 1 of 2: {ON[where]}, 1 shot"]
    assert json.loads(Path("run/summary.json").read_text())["decided_by"] == f"{ON[where]}, 1 shot"


@pytest.mark.parametrize("where", ON)
def test_a_replay(capsys: Captured, headings: list[str], where: tuple[str, ...]) -> None:
    command = ("simulate", *where, "--input", "current.npy", "--mode", "replay", "--shots", "30")
    assert f"backend      {ON[where]}, 30 shots\n" in succeed(capsys, *command, "--dry-run")
    assert f"replay on {ON[where]}, 30 shots · 3 steps" in succeed(capsys, *command, "--out", "run")
    assert headings == [f"{ON[where]}, 30 shots"]
    assert f"Numbers of: {ON[where]}, 30 shots." in Path("run/report.md").read_text(encoding="utf-8")
    assert json.loads(Path("run/summary.json").read_text())["source"] == f"{ON[where]}, 30 shots"


@pytest.mark.parametrize("where", ON)
def test_a_calibration(capsys: Captured, headings: list[str], where: tuple[str, ...]) -> None:
    command = ("calibrate", *where, "--neurons", "3", "--shots", "60", "--check-shots", "50", "--out", "record.json")
    assert succeed(capsys, *command, "--dry-run").startswith(f"backend: {ON[where]}\n")
    out = succeed(capsys, *command)
    assert out.startswith(f"calibration of {ON[where]} · 3 sites · mapping sigmoid · 60 shots per angle")
    assert f" · on {ON[where]}\n" in out
    assert len(headings) == 1
    assert headings[0].startswith(f"Calibration of {ON[where]}, 3 neurons, mapping sigmoid, 60 shots per angle")


def test_a_long_description_is_as_wide_as_its_figure() -> None:
    with figures.styled():
        figure, _ = figures.column_figure(50)
        figures.put_heading(
            figure,
            "analytic, noise t1=0.0001, t2=0.0002, gate_time=5e-08, gate_error=0.001, readout_p01=0.02, "
            "readout_p10=0.02, 7 shots",
        )
    figure.canvas.draw()
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert "\n" in figure.get_suptitle()
    assert box.x1 <= figure.bbox.x1
