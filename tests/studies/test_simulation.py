"""A run reports what happened, draws it and leaves a folder that is whole or not there."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import qlifq
from qlifq.errors import ArgumentError, FileError
from qlifq.reporting.figures import panels_of, print_figure
from qlifq.reporting.wording import counted, duration
from qlifq.studies import SimulationRun, check_folder, describe_plan, run_simulation, simulation_figure, write_simulation
from tests.figure_checks import figure_flaws, ticks_of


def run_of(neurons: int = 9, steps: int = 60, batch: int = 2, **options: object) -> SimulationRun:
    layer = qlifq.QLIF(neurons, seed=0, **options)  # type: ignore[arg-type]
    current = torch.rand((steps, batch, neurons), generator=torch.Generator().manual_seed(0)) * 4
    return run_simulation(layer, current)


def test_a_run_is_what_the_layer_does() -> None:
    run = run_of()
    spikes, _ = qlifq.QLIF(9, seed=0)(run.current)
    assert torch.equal(run.recording.spikes, spikes)
    assert run.firing_rate == pytest.approx(float(spikes.mean()))
    assert run.recording.evaluations == 60 * 2 * 9
    assert not run.recording["probability"].requires_grad
    # A spike comes of the gap that was recorded with it.
    gap = run.recording["potential"] - run.recording["threshold"]
    expected = (torch.pi / 2 * (4 * gap).sigmoid()).sin().square()
    assert torch.allclose(run.recording["probability"], expected, atol=1e-6)


def test_progress_is_reported_after_every_step() -> None:
    calls: list[tuple[int, int]] = []
    run_simulation(qlifq.QLIF(1, seed=0), torch.ones(3, 1, 1), progress=lambda done, steps: calls.append((done, steps)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_the_summary_has_one_aligned_row_a_fact() -> None:
    lines = str(run_of(shots=1000)).splitlines()
    assert lines[0] == "backend      analytic, 1,000 shots"
    assert lines[1] == "neurons      9 (leaky membrane, sample decision, sigmoid mapping)"
    assert lines[2] == "steps        60 × 2 samples"
    assert lines[4] == "evaluations  1,080"
    assert all(line[12] == " " and line[13] != " " for line in lines)
    classic = str(run_of(quantum_mode=False, batch=1))
    assert "backend      none, the decision is classic\n" in classic
    assert "60 × 1 sample\n" in classic
    assert "evaluations  0\n" in classic
    assert "per evaluation" not in classic


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (1.0, "1 s"), (0.0277, "27.7 ms"), (2e-6, "2 µs"), (2.71e-7, "271 ns"), (0.0, "0 ns")]
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_thing_is_singular() -> None:
    assert [counted(number, "shot") for number in (0, 1, 2, 1024)] == ["0 shots", "1 shot", "2 shots", "1,024 shots"]


def test_a_plan_counts_what_then_runs() -> None:
    layer = qlifq.QLIF(3, seed=0)
    text = describe_plan(layer, steps=50, batch=4)
    assert text.startswith("backend      analytic, exact\none step     evaluations 12 · ")
    whole = re.search(r"all 50 +evaluations (\d+)", text)
    assert whole is not None
    assert int(whole[1]) == run_simulation(layer, torch.ones(50, 4, 3)).recording.evaluations
    assert "no circuit runs" in describe_plan(qlifq.QLIF(3, quantum_mode=False), steps=5, batch=1)


def test_the_figure_draws_what_was_recorded() -> None:
    run = run_of()
    figure = simulation_figure(run, sample=1, neuron=2)
    inputs, _, raster, _, potential, _, probability = panels_of(figure)
    traces = {name: run.recording[name][:, 1].numpy() for name in run.recording.names}
    assert np.array_equal(np.asarray(inputs.images[0].get_array()), run.current[:, 1].numpy().T)
    assert sorted(ticks_of(raster)) == sorted(map(tuple, np.argwhere(traces["spikes"]).tolist()))
    drawn = {str(line.get_label()): line for line in potential.lines}
    assert np.array_equal(np.asarray(drawn["V"].get_ydata()), traces["potential"][:, 2])
    assert np.array_equal(np.asarray(drawn["threshold"].get_ydata()), traces["threshold"][:, 2])
    fired = np.flatnonzero(traces["spikes"][:, 2])
    assert fired.size
    assert np.array_equal(np.asarray(drawn["spike"].get_xdata()), fired)
    assert np.array_equal(np.asarray(probability.lines[0].get_ydata()), traces["probability"][:, 2])
    # By default the neuron that spiked most is shown.
    busiest = int(traces["spikes"].sum(axis=0).argmax())
    assert simulation_figure(run, sample=1).axes[4].get_title(loc="left").endswith(f"neuron {busiest}")


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({}, "Spike probability, neuron"),
        ({"decision": "expectation"}, "Spike probability, neuron"),
        ({"quantum_mode": False}, None),
        ({"quantum_mode": False, "stochastic": True}, "Spike probability, neuron"),
        ({"neurons": 1, "steps": 1, "batch": 1}, "Spike probability, neuron"),
        ({"neurons": 120, "steps": 300, "membrane": "quadratic"}, "Spike probability, neuron"),
        # In closed form one draw is as good as the draw of a shot, and P(1) itself is recorded.
        ({"shots": 1}, "Spike probability, neuron"),
        ({"shots": 20, "decision": "threshold"}, "Estimate from 20 shots, neuron"),
        ({"backend": "reference", "shots": 1, "steps": 20}, "Outcome of one shot, neuron"),
        ({"backend": "reference", "shots": 2, "quantum_wire": 3, "steps": 9}, "Estimate from 6 shots, neuron"),
    ],
)
def test_every_kind_of_run_has_a_figure_that_can_be_read(options: dict[str, object], title: str | None) -> None:
    figure = simulation_figure(run_of(**options))  # type: ignore[arg-type]
    assert figure_flaws(figure) == []
    below = [axes.get_title(loc="left") for axes in panels_of(figure) if axes.get_ylabel() == "P(1)"]
    assert len(below) == (0 if title is None else 2)
    assert title is None or title in below[-1]


def test_outcomes_of_one_shot_stand_beside_the_closed_form() -> None:
    run = run_of(backend="reference", shots=1, steps=20)
    panels = panels_of(simulation_figure(run, neuron=3))
    expected = (run.recording["angle"][:, 0] / 2).sin().square()
    for axes, values, outcomes in (
        (panels[-1], expected[:, 3], run.recording["probability"][:, 0, 3]),
        (panels[-2], expected.flatten(), run.recording["probability"][:, 0].flatten()),
    ):
        assert "Outcome of one shot" in axes.get_title(loc="left")
        lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}
        assert np.allclose(lines["closed form"], values, atol=1e-6)
        assert np.array_equal(lines["measured"], outcomes)
        assert set(lines["measured"].tolist()) == {0.0, 1.0}


def test_the_file_has_the_size_that_a_journal_prints() -> None:
    header = print_figure(simulation_figure(run_of()), "png")[:24]
    # 183 × 150 mm at 200 dots per inch.
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (1440, 1181)


def test_a_figure_of_what_is_not_there_is_refused() -> None:
    run = run_of()
    with pytest.raises(ArgumentError, match="Argument `sample` must be at least 0 and at most 1, but is 2"):
        simulation_figure(run, sample=2)
    with pytest.raises(ArgumentError, match="Argument `neuron` must be at least 0 and at most 8, but is 9"):
        simulation_figure(run, neuron=9)
    with pytest.raises(ArgumentError, match=r"Argument `picture` must have 9 pixels, one per neuron, but is \(2, 4\)"):
        simulation_figure(run, picture=(2, 4))


def test_a_run_folder_holds_the_run(tmp_path: Path) -> None:
    run = run_of(shots=2, neuromod_transform=torch.tanh)
    folder = write_simulation(tmp_path / "a" / "b", run, command="qlifq …", details={"input": "random"})
    summary = json.loads((folder / "summary.json").read_bytes())
    assert (summary["command"], summary["input"], summary["shots"], summary["neurons"]) == ("qlifq …", "random", 2, 9)
    assert "tanh" in summary["settings"]["neuromod_transform"]
    with np.load(folder / "spikes.npz") as arrays:
        assert all(np.array_equal(arrays[name], run.recording[name].numpy()) for name in run.recording.names)
        assert arrays["spikes"].dtype == np.bool_


def test_a_crash_while_writing_is_ended_by_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = run_of()
    for broken, left in (("simulation_figure", ["spikes.npz", "summary.json"]), ("write_bytes", ["summary.json"])):
        folder = tmp_path / broken
        for force in (False, True):
            with monkeypatch.context() as patch:
                patch.setattr(f"qlifq.studies.run_folder.{broken}", crash)
                with pytest.raises(KeyboardInterrupt):
                    write_simulation(folder, run, command="qlifq simulate", details={}, force=force)
            assert sorted(os.listdir(folder)) == left
            assert json.loads((folder / "summary.json").read_bytes())["finished"] is False
            write_simulation(folder, run, command="qlifq simulate", details={})
            assert sorted(os.listdir(folder)) == ["figure.pdf", "figure.png", "spikes.npz", "summary.json"]
            assert json.loads((folder / "summary.json").read_bytes())["finished"] is True


def test_a_figure_that_fails_costs_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr("qlifq.studies.run_folder.simulation_figure", fail)
    with pytest.warns(UserWarning, match=re.escape(f"{tmp_path / 'run' / 'figure.png'} is missing: nothing to divide by.")):
        write_simulation(tmp_path / "run", run_of(), command="", details={})
    summary = json.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert (summary["finished"], summary["files"]) == (True, ["spikes.npz"])


def test_only_a_run_may_be_overwritten_and_only_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_folder(tmp_path / "none") == tmp_path / "none"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert check_folder(empty) == empty
    (empty / "notes.txt").touch()
    for force in (False, True):
        with pytest.raises(
            FileError, match=re.escape(f"Folder {empty} cannot be written: it holds files that are not of a run")
        ):
            check_folder(empty, force=force)
    (empty / "summary.json").write_text('{"format": "qlifq run"}')
    with pytest.raises(FileError, match=re.escape(f"Folder {empty} cannot be written: it holds an earlier run")):
        check_folder(empty)
    assert check_folder(empty, force=True) == empty
    with pytest.raises(FileError, match=r"notes\.txt cannot be written: it is a file"):
        check_folder(empty / "notes.txt")
    with pytest.raises(FileError, match=r"run cannot be made: .*notes\.txt is not a folder that can be written to"):
        check_folder(empty / "notes.txt" / "run")
    # The superuser may write anywhere, so the system's answer is put in its place.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FileError, match=re.escape(f"{tmp_path} is not a folder that can be written to")):
        check_folder(tmp_path / "run")
