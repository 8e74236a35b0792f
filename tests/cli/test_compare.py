"""The command `qlifq compare`: a report in a folder, what was found on the screen, one sentence for what cannot be."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from qlifq.cli import main
from qlifq.reporting.figures import figure_files
from qlifq.studies import STUDIES
from qlifq.studies.brand_petruccione import report as brand_petruccione_report
from qlifq.studies.brand_petruccione import study as brand_petruccione
from qlifq.studies.shot_noise import report as shot_noise_report
from qlifq.studies.shot_noise import study as shot_noise
from tests.cli.harness import Captured, refuse, succeed

SHOTS = ["--quick", "--shots", "1,30,1000"]


@pytest.fixture(autouse=True)
def _small_and_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = {
        "shot-noise": replace(shot_noise.QUICK, repeats=20, runs=6, steps=20, images=20, passes=1, epochs=1, loop_steps=12),
        "brand-petruccione": brand_petruccione.StudySize(trials=3, steps=20, runs=20, run_steps=20),
    }
    rows = {name: replace(kind, quick=small[name]) for name, kind in STUDIES.items()}
    monkeypatch.setattr(STUDIES, "_rows", rows)


@pytest.mark.parametrize(
    ("study", "backend", "files"),
    [
        ("shot-noise", "aer; aer, noise of the snapshot fake_torino", shot_noise_report.FILES),
        ("brand-petruccione", "analytic", brand_petruccione_report.FILES),
    ],
)
def test_a_comparison_leaves_its_report_and_says_what_it_found(
    capsys: Captured, study: str, backend: str, files: tuple[str, ...]
) -> None:
    out = succeed(capsys, "compare", study, *SHOTS, "--seed", "4", "--out", "run")
    text = Path("run/report.md").read_text(encoding="utf-8")
    assert f"qlifq compare {study} --quick --shots 1,30,1000 --seed 4 --out run" in text
    assert "| seed | 4 |" in text
    assert sorted(path.name for path in Path("run").iterdir()) == sorted([*files, "config.toml", "summary.json"])
    source, *found, where = out.splitlines()
    assert f"Numbers of: {source.removeprefix('numbers of ')}." in text
    assert source.startswith(f"numbers of {backend}, ")
    assert where == "written to run/report.md"
    assert found
    unmarked = text.replace("**", "").replace("`", "")
    assert all(f"- {sentence}" in unmarked for sentence in found)


def test_the_same_command_gives_the_same_tables(capsys: Captured) -> None:
    for folder in ("a", "b"):
        succeed(capsys, "compare", "shot-noise", *SHOTS, "--backend", "analytic", "--out", folder)
    for path in Path("a").glob("*.csv"):
        assert path.read_bytes() == Path("b", path.name).read_bytes()


def test_noise_and_sampling_reach_the_backend(capsys: Captured) -> None:
    options = ["--backend", "aer", "--sampling", "law", "--noise", "readout_p01=0.2", "--out", "run"]
    succeed(capsys, "compare", "shot-noise", *SHOTS, *options)
    text = Path("run/report.md").read_text(encoding="utf-8")
    for words in ("| backend | aer, noise readout_p01=0.2 |", "| sampling | law |"):
        assert words in text
    floor = pd.read_csv("run/evaluation_floor.csv")
    # 0.02 is read as 0.216: 20 000 shots show a bias of 0.196 with a standard error of 0.003.
    assert floor["bias"].iloc[0] == pytest.approx(0.196, abs=0.02)


def test_a_scheduler_spreads_the_calls_and_the_report_stays(capsys: Captured) -> None:
    """Calls of one block, so that the numbers are those without a scheduler."""
    options = ["--backend", "aer", "--sampling", "law", "--noise", "readout_p01=0.2"]
    succeed(capsys, "compare", "shot-noise", *SHOTS, *options, "--scheduler", "synchronous", "--out", "spread")
    succeed(capsys, "compare", "shot-noise", *SHOTS, *options, "--out", "alone")
    assert "--scheduler synchronous" in Path("spread/report.md").read_text(encoding="utf-8")
    network = Path("spread/network.csv").read_bytes()
    assert network == Path("alone/network.csv").read_bytes()


def test_by_default_the_folder_is_named_after_the_time(capsys: Captured) -> None:
    out = succeed(capsys, "compare", "shot-noise", *SHOTS, "--backend", "analytic")
    assert re.search(r"written to runs/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ/report\.md", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shot-noise", "--shots", "1,x"], "--shots must be whole numbers with commas between them, but is '1,x'"),
        (["shot-noise", "--shots", "1,2"], r"at least 3 rising numbers, but is \[1, 2\]"),
        (["shot-noise", "--noise", "t9=1"], "Unknown noise `t9`"),
        (["shot-noise", "--backend", "analytic", "--sampling", "law"], "Backend analytic has no option `sampling`"),
        (["brand-petruccione", "--backend", "nowhere"], "Unknown backend `nowhere`"),
        (["brand-petruccione", "--snapshot", "fake_nowhere"], "but is 'fake_nowhere'"),
        (["shot-noise", "--scheduler", "nowhere"], "`scheduler` must be local, synchronous or an address such as tcp://"),
        (["shot-noise", "--snapshot", "fake_torino"], "--snapshot would be ignored: study shot-noise has none"),
        (["brand-petruccione", "--noise", "fake_torino"], "--noise would be ignored: study brand-petruccione has none"),
        (["everything"], "Unknown study `everything`: it must be one of shot-noise, brand-petruccione"),
        ([], "Missing argument"),
        (["shot-noise", "--input", "nowhere.npy"], r"nowhere\.npy .*"),
        (
            ["brand-petruccione", "--input", "nowhere.npy", "--shots", "1,2,3"],
            "--shots would be ignored: .* has none with --input",
        ),
        (
            ["shot-noise", "--input", "nowhere.npy", "--quick"],
            "--quick would be ignored: study shot-noise has none with --input",
        ),
        (["brand-petruccione", "--run", "nowhere"], "--run would be ignored: study brand-petruccione has none"),
        (["shot-noise", "--run", "nowhere"], "Folder nowhere must be a run of `qlifq train`, but does not exist"),
        (["shot-noise", "--data", "nowhere"], "--data would be ignored: it needs --run"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(capsys: Captured, arguments: list[str], message: str) -> None:
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"Error: .+\n", error)
    assert re.search(message, error)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("study", "options", "files"),
    [
        ("shot-noise", SHOTS[1:], {"spikes.csv", *figure_files("spikes")}),
        ("brand-petruccione", [], {"neurons.csv", *figure_files("neurons")}),
    ],
)
def test_a_file_of_currents_is_the_input(capsys: Captured, study: str, options: list[str], files: set[str]) -> None:
    np.save("mine.npy", np.random.default_rng(0).gamma(2.0, 1.0, (30, 2, 3)))
    out = succeed(capsys, "compare", study, "--input", "mine.npy", "--backend", "analytic", *options, "--out", "run")
    assert {path.name for path in Path("run").iterdir()} == {"report.md", "config.toml", "summary.json", *files}
    assert "| input from | mine.npy |" in Path("run/report.md").read_text(encoding="utf-8")
    assert out.splitlines()[0].startswith("numbers of analytic, ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4)), r"must hold an array of shape \(time, batch, neurons\) .*, but holds one of shape \(3, 4\)"),
        (np.full((2, 2, 2), np.nan), "must hold finite float32 numbers, but 8 of its 8 are not"),
        (np.full((2, 2, 2), -1.0), "`current` must be at least 0, but is -1 somewhere"),
    ],
)
def test_a_file_that_holds_no_such_currents_is_one_sentence(
    capsys: Captured, values: npt.NDArray[np.float64], message: str
) -> None:
    np.save("mine.npy", values)
    assert re.search(message, refuse(capsys, "compare", "brand-petruccione", "--input", "mine.npy"))


def test_by_default_the_second_row_is_a_snapshot(capsys: Captured) -> None:
    """Shots of Aer without noise reach the model; the readout of a device leaves a distance that no shots take away."""
    np.save("mine.npy", np.full((30, 1, 2), 1.1))
    succeed(capsys, "compare", "shot-noise", "--input", "mine.npy", "--shots", "1,10,100000", "--out", "run")
    spikes = pd.read_csv("run/spikes.csv")
    most = spikes[(spikes["shots"] == 100_000) & (spikes["layer"] == "expectation")].set_index("backend")["distance"]
    assert list(most.index) == ["aer", "aer, noise of the snapshot fake_torino"]
    assert most.iloc[0] < 0.01 < 2 * most.iloc[1]


def test_a_trained_network_is_compared_on_its_test_images_and_on_a_file(capsys: Captured) -> None:
    few = ["--samples", "60", "--epochs", "1", "--hidden", "8", "--steps", "4"]
    succeed(capsys, "train", *few, "--out", "trained")
    options = ["--backend", "analytic", "--shots", "1,10,100"]
    succeed(capsys, "compare", "shot-noise", "--run", "trained", *options, "--out", "run")
    answers = pd.read_csv("run/answers.csv")
    assert list(answers["shots"]) == [0, 1, 10, 100]
    assert answers["agreement"].between(0, 1).all()
    assert "test images of trained |" in Path("run/report.md").read_text(encoding="utf-8")
    np.save("mine.npy", np.ones((4, 2, 64)))
    succeed(capsys, "compare", "shot-noise", "--run", "trained", "--input", "mine.npy", *options, "--out", "mine")
    np.save("mine.npy", np.ones((4, 2, 63)))
    error = refuse(capsys, "compare", "shot-noise", "--run", "trained", "--input", "mine.npy", *options)
    assert "must hold currents of 64 pixels, but holds 63" in error


def test_an_earlier_run_is_kept_without_force(capsys: Captured) -> None:
    few = ["compare", "shot-noise", *SHOTS, "--backend", "analytic", "--out", "run"]
    succeed(capsys, *few)
    assert main(few) == 2
    assert "earlier run" in capsys.readouterr().err
    succeed(capsys, *few, "--seed", "9", "--force")
    assert "| seed | 9 |" in Path("run/report.md").read_text(encoding="utf-8")
