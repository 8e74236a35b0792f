"""`qlifq simulate --loop circuit`: the spikes of the layer that it builds, the ways side by side, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import qlifq
from tests.cli.harness import Captured, refuse, succeed

STEPS = 12


@pytest.fixture(autouse=True)
def _in_a_folder_with_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QLIFQ_JOURNAL", str(tmp_path / "journal" / "jobs.sqlite"))
    np.save("input.npy", np.full((STEPS, 2, 3), 1.6, dtype=np.float32))


COMMAND = ("simulate", "--input", "input.npy", "--loop", "circuit")


def test_the_spikes_are_those_of_the_layer(capsys: Captured) -> None:
    out = succeed(capsys, *COMMAND, "--backend", "aer", "--noise", "fake_manila", "--seed", "3", "--out", "run")
    assert "aer, noise of the snapshot fake_manila, 1 shot, whole trains" in out
    layer = qlifq.QLIF(3, backend=qlifq.backends.get("aer", noise="fake_manila"), seed=3, loop="circuit")
    expected, _ = layer(torch.full((STEPS, 2, 3), 1.6))
    with np.load("run/spikes.npz") as written:
        assert np.array_equal(written["spikes"], expected.detach().numpy())


def test_a_dry_run_puts_the_loops_side_by_side(capsys: Captured) -> None:
    out = succeed(capsys, *COMMAND, "--backend", "ibm", "--device", "fake_manila", "--dry-run")
    rows = {line[:13].strip(): line[13:] for line in out.splitlines()}
    assert list(rows) == ["input", "backend", "circuit loop", "host loop", "replay"]
    found = {name: re.search(r"jobs (\d+) · executions (\d+) .* steps in turn (\d+)", row) for name, row in rows.items()}
    counted = {name: tuple(map(int, match.groups())) for name, match in found.items() if match}
    assert counted == {"circuit loop": (1, 2, 0), "host loop": (STEPS, 2 * STEPS, STEPS), "replay": (1, 2 * STEPS, 0)}
    assert re.search(r"conditionals \d+ · .* · angles within 0\.?\d*", rows["circuit loop"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--backend", "lightning"), "Backend lightning runs no spike trains"),
        (("--mode", "replay"), "Option --loop would be ignored: a replay has no closed loop."),
        (("--param", "allow_dynamic_spike_probability=true"), "allow_dynamic_spike_probability"),
        (("--loop", "device"), "Argument `loop` must be"),
    ],
)
def test_what_cannot_run_in_a_circuit_is_refused(capsys: Captured, options: tuple[str, ...], says: str) -> None:
    assert says in refuse(capsys, *COMMAND, *options)


def test_the_trains_of_a_job_are_exported_from_the_journal(capsys: Captured) -> None:
    """Rows with the same input are shots of one program; the bits of a shot stand in the order of (site, step)."""
    succeed(capsys, *COMMAND, "--backend", "ibm", "--device", "fake_manila", "--run", "mine", "--out", "run")
    succeed(capsys, "jobs", "export", "mine", "--out", "mine.npz")
    with np.load("mine.npz") as exported, np.load("run/spikes.npz") as written:
        bits = np.unpackbits(exported["spikes_0"], axis=-1, count=3 * STEPS).reshape(1, 2, 3, STEPS)
        assert np.array_equal(bits[0].transpose(2, 0, 1), written["spikes"])
        assert "ones_0" not in exported
