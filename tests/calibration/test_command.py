"""`qlifq calibrate`, its picture, and `simulate` with a calibration."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from qlifq.backends import DeviceNoise, get
from qlifq.calibration import fit, from_counts, load
from qlifq.cli import main
from qlifq.errors import ArgumentError, FileError, FileFormatError, UnsupportedError
from qlifq.studies.calibration_check import check_correction, check_record_path
from qlifq.studies.calibration_figures import calibration_figure, response_figure

Captured = pytest.CaptureFixture[str]
DEVICE = ["--backend", "aer", "--noise", "fake_torino", "--sampling", "law"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def succeed(capsys: Captured, *arguments: str) -> str:
    code = main(arguments)
    output = capsys.readouterr()
    assert (code, output.err) == (0, "")
    return output.out


def refuse(capsys: Captured, *arguments: str) -> str:
    code = main(arguments)
    output = capsys.readouterr()
    assert code == 2
    assert output.err.startswith("Error: ")
    assert "Traceback" not in output.err
    return output.err


def test_calibrate_prints_the_table_and_writes_record_and_picture(capsys: Captured) -> None:
    out = succeed(capsys, "calibrate", *DEVICE, "--neurons", "4", "--shots", "2000", "--out", "cal.json")
    lines = out.splitlines()
    assert lines[0].startswith(
        "calibration of aer, noise of the snapshot fake_torino · 4 sites · mapping sigmoid · 2,000 shots per angle in 2 rounds"
    )
    assert lines[1].split()[:5] == ["site", "q_scale", "q_bias", "readout_p01", "readout_p10"]
    assert [line.split()[0] for line in lines[2:6]] == ["0", "1", "2", "3"]
    assert "before" in out
    assert "0 of 4 neurons cannot reach the target at gap 0" in out
    assert lines[-1] == "written to cal.json, cal.sites.csv, cal.png and cal.pdf"
    assert Path("cal.png").read_bytes().startswith(b"\x89PNG")
    assert load("cal.json").sites == 4


def test_a_record_that_a_cluster_measured_holds_without_one(capsys: Captured) -> None:
    """One process stands for the cluster: the record names what gave the counts, and not where."""
    spread = ["--neurons", "64", "--shots", "500", "--check-shots", "100", "--scheduler", "synchronous", "--out"]
    succeed(capsys, "calibrate", *DEVICE, *spread, "cal.json")
    succeed(capsys, "simulate", *DEVICE, "--samples", "1", "--steps", "3", "--calibration", "cal.json", "--out", "run")
    on_device = ["--backend", "ibm", "--device", "fake_manila"]
    assert "runs where it is called, but is ibm" in refuse(capsys, "calibrate", *on_device, *spread, "other.json")


def test_simulate_uses_a_calibration_on_the_device_and_on_the_twin(capsys: Captured) -> None:
    succeed(capsys, "calibrate", *DEVICE, "--neurons", "64", "--shots", "500", "--check-shots", "100", "--out", "cal.json")
    small = ["--samples", "2", "--steps", "10", "--calibration", "cal.json"]
    succeed(capsys, "simulate", *DEVICE, *small, "--out", "device")
    succeed(capsys, "simulate", "--backend", "twin", *small, "--out", "twin")
    for folder in ("device", "twin"):
        assert json.loads(Path(folder, "summary.json").read_text())["calibration"] == "cal.json"
    message = refuse(capsys, "simulate", *small, "--out", "analytic")
    assert "The calibration is of backend aer, but this is analytic." in message
    message = refuse(capsys, "simulate", "--backend", "twin", "--samples", "2", "--out", "none")
    assert "Argument `record` must be a calibration or the path of its file for backend twin, but is None." in message


def test_a_dry_run_tells_the_shots_and_spends_none(capsys: Captured) -> None:
    goal = ["--standard-error", "0.02", "--parameter", "q_bias", "--max-shots", "9000"]
    out = succeed(capsys, "calibrate", *DEVICE, "--neurons", "8", *goal, "--out", "cal.json", "--dry-run")
    assert "shots per angle for q_bias ± 0.02, with readout errors of 2 %" in out
    assert "each of 2 rounds: evaluations 96" in out
    assert "check: evaluations 208" in out
    assert not Path("cal.json").exists()


def test_it_goes_on_until_the_standard_error_is_reached(capsys: Captured) -> None:
    goal = ["--shots", "500", "--standard-error", "0.02", "--parameter", "q_bias", "--max-shots", "9000"]
    succeed(capsys, "calibrate", *DEVICE, "--neurons", "3", *goal, "--out", "cal.json")
    calibration = load("cal.json")
    assert float(calibration.analysis.neuron.standard_error[:, 1].max()) <= 0.02
    assert 500 < int(calibration.measurement.counts.total_shots.max()) < 9000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--neurons", "2", "--out", "cal.txt"], "Argument `out` must be a .json file, but is 'cal.txt'."),
        (["--neurons", "2", "--out", "no/cal.json"], "no is not a folder."),
        (["--neurons", "0", "--out", "cal.json"], "Argument `neurons` must be at least 1, but is 0."),
        (["--neurons", "2", "--shots", "1", "--out", "cal.json"], "Argument `shots` must be at least 2, but is 1."),
        (["--neurons", "2", "--p0", "0.3", "--out", "cal.json", "--shots", "50"], "`p0` and `slope`"),
        (["--neurons", "2", "--mapping", "cubic", "--out", "cal.json"], "`mapping` must be one of sigmoid, linear, tanh"),
        (["--neurons", "2", "--backend", "nobody", "--out", "cal.json"], "Unknown backend `nobody`"),
        (["--neurons", "2", "--standard-error", "0.1", "--out", "cal.json"], "go together, but parameter is None"),
    ],
)
def test_what_cannot_be_done_gets_one_sentence(capsys: Captured, arguments: list[str], message: str) -> None:
    assert message in refuse(capsys, "calibrate", "--noise", "readout_p01=0.02", *arguments)
    assert not Path("cal.json").exists()


def test_another_file_is_never_overwritten_and_an_earlier_record_only_by_force(capsys: Captured) -> None:
    arguments = ["calibrate", "--noise", "readout_p01=0.02", "--neurons", "2", "--shots", "50", "--out", "cal.json"]
    Path("cal.json").write_text('{"mine": 1}')
    assert "must be a calibration record" in refuse(capsys, *arguments, "--force")
    assert Path("cal.json").read_text() == '{"mine": 1}'
    Path("cal.json").unlink()
    succeed(capsys, *arguments)
    assert "it holds an earlier calibration, which only --force overwrites" in refuse(capsys, *arguments)
    succeed(capsys, *arguments, "--force")


def test_paths_are_checked_from_python_too(tmp_path: Path) -> None:
    assert check_record_path(tmp_path / "cal.json") == tmp_path / "cal.json"
    with pytest.raises(ArgumentError, match=r"`out` must be a \.json file"):
        check_record_path(tmp_path / "cal")
    with pytest.raises(FileError, match="is not a folder"):
        check_record_path(tmp_path / "no" / "cal.json")
    (tmp_path / "cal.json").write_text("{}")
    with pytest.raises(FileFormatError, match="its format is None"):
        check_record_path(tmp_path / "cal.json", force=True)


def test_the_check_sees_an_unreachable_neuron_and_leaves_it_out() -> None:
    device = get("analytic", noise=DeviceNoise(readout_p01=(0.02, 0.55), readout_p10=(0.02, 0.02)))
    calibration = fit(device, neurons=2, shots=20_000, seed=1)
    result = check_correction(device, calibration, shots=20_000, seed=2)
    assert result.unreachable == 1
    assert result.rms_after < 1.6 * result.shot_noise
    assert "1 of 2 neurons cannot reach the target at gap 0, and 1 are not in the RMS" in str(result)
    assert calibration_figure(result).axes


def _points(axes: Axes) -> torch.Tensor:
    """What the first error bars stand on, `(points, 2)`."""
    bars = axes.containers[0]
    assert isinstance(bars, ErrorbarContainer)
    return torch.from_numpy(np.asarray(bars.lines[0].get_xydata(), dtype=np.float64))


def test_a_target_below_every_floor_is_said_and_a_range_still_corrects() -> None:
    device = get("analytic", noise=DeviceNoise(readout_p01=0.1))
    calibration = fit(device, neurons=2, mapping="tanh", shots=5000, seed=1)
    result = check_correction(device, calibration, seed=2)
    assert str(result).startswith("no correction: 2 of 2 neurons cannot reach the target at gap 0 · floors up to 0.1")
    assert calibration_figure(result).axes
    ranged = check_correction(device, calibration, span=(-0.5, 1.5), seed=2)
    assert ranged.unreachable == 2
    assert ranged.rms_after < ranged.rms_before
    assert "RMS" in str(ranged)


@pytest.mark.parametrize("neurons", [1, 200])
def test_the_picture_shows_what_was_measured(neurons: int) -> None:
    device = get("analytic", noise=DeviceNoise(readout_p01=0.04, readout_p10=0.08))
    calibration = fit(device, neurons=neurons, shots=2000, seed=1)
    result = check_correction(device, calibration, shots=1000, seed=2)
    figure = calibration_figure(result)
    above, gap, readout, before, after, distance = figure.axes
    assert above.get_xlabel() == "angle θ (radians)"
    worst = int((result.before / 1000 - result.target).square().mean(0).argmax())
    points = _points(above)
    share = calibration.measurement.data.estimate[:, worst]
    torch.testing.assert_close(points[:, 1], share.double(), rtol=0, atol=1e-6)
    assert len(gap.containers) == 2
    assert len(_points(readout)) == neurons
    assert before.get_title(loc="left") == f"(d) Before: RMS {result.rms_before:.4f}"
    assert after.get_ylim() == before.get_ylim()
    assert np.size(distance.lines[0].get_xdata()) == neurons
    # Too many rows to read become three.
    assert len(calibration.table()) == (2 if neurons == 1 else 4)


COUNTS = """site,angle,shots,ones
0,0.0,1000,21
0,1.0,1000,240
0,2.0,500,334
0,3.1,500,473
1,0.0,2000,90
1,1.5,1000,470
1,3.0,800,707
"""


def test_calibrate_takes_the_counts_of_a_laboratory(capsys: Captured) -> None:
    Path("lab.csv").write_text(COUNTS)
    when = "2026-02-03T04:05:06Z"
    whose = ["--measured-by", "Lab A, chip 7", "--measured-at", when, "--mapping", "linear"]
    out = succeed(capsys, "calibrate", "--counts", "lab.csv", *whose, "--out", "cal.json")
    record = load("cal.json")
    assert out.startswith(str(record))
    assert "data measured by Lab A, chip 7 · 2 sites · mapping linear · 500 to 2,000 shots per angle" in out
    assert when in out
    assert "correction of 2 neurons" in out
    assert str(from_counts("lab.csv", measured_by="Lab A, chip 7", time_utc=when, mapping="linear")) == str(record)
    figure = response_figure(record, record.correct())
    measured, gap, readout = figure.axes
    assert len(_points(measured)) in {3, 4}
    assert len(gap.lines) == 3
    assert len(_points(readout)) == 2
    assert Path("cal.png").read_bytes().startswith(b"\x89PNG")
    assert "data measured by the file lab.csv" in succeed(capsys, "calibrate", "--counts", "lab.csv", "--out", "other.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--counts", "lab.csv", "--shots", "9"], "Option --shots would be ignored: with --counts nothing is measured"),
        (["--counts", "lab.csv", "--backend", "aer"], "Option --backend would be ignored: with --counts nothing is measured"),
        (["--counts", "lab.csv", "--dry-run"], "Option --dry-run would be ignored: with --counts nothing is measured"),
        (["--neurons", "2", "--measured-by", "us"], "Option --measured-by would be ignored: it needs --counts"),
        (["--neurons", "2", "--measured-at", "now"], "Option --measured-at would be ignored: it needs --counts"),
        ([], "Option --neurons must say how many neurons are measured, or --counts which file holds counts"),
        (["--counts", "none.csv"], "File none.csv cannot be read: no such file or directory"),
        (["--counts", "bad.csv"], "File bad.csv, line 3: `ones` must be at most its 1,000 shots, but is 1,240"),
        (
            ["--counts", "lab.csv", "--measured-at", "now"],
            "`time_utc` must be a time such as 2026-01-31T12:00:00Z, but is 'now'",
        ),
    ],
)
def test_what_counts_do_not_go_with_is_refused_and_leaves_nothing(capsys: Captured, options: list[str], message: str) -> None:
    Path("lab.csv").write_text(COUNTS)
    Path("bad.csv").write_text(COUNTS.replace(",240", ",1240"))
    assert message in refuse(capsys, "calibrate", *options, "--out", "cal.json")
    assert sorted(path.name for path in Path().iterdir()) == ["bad.csv", "lab.csv"]


def test_check_correction_refuses_another_backend_and_no_shots() -> None:
    device = get("analytic")
    calibration = fit(device, neurons=1, shots=100, seed=1)
    with pytest.raises(UnsupportedError, match="The calibration is of backend analytic, but this is reference"):
        check_correction(get("reference"), calibration)
    with pytest.raises(ArgumentError, match="`shots` must be at least 1, but is 0"):
        check_correction(device, calibration, shots=0)
