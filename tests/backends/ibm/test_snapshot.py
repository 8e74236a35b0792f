"""The backend `ibm` on the snapshot of a device: its noise, the same counts again, and an end at any moment."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.snapshots import load_snapshot
from qlifq.errors import BudgetError, UnsupportedError
from tests.backends.ibm.conftest import RY, Build, angles

Follows = Callable[[Outcome, Tensor], bool]


def test_a_snapshot_gives_the_noise_of_its_qubits_and_the_same_counts_for_a_seed(tmp_path: Path, follows: Follows) -> None:
    backend = get("ibm", device="fake_torino", run="r", journal=tmp_path / "j")
    given = angles(4, 100)
    first = backend.run(RY, given, shots=2000, seed=1)
    noise = DeviceNoise.from_snapshot("fake_torino", list(load_snapshot("fake_torino"))[:100])
    truth = get("analytic", noise=noise).run(RY, given, shots=None, seed=None).probability
    assert follows(first, truth)
    other = get("ibm", device="fake_torino").run(RY, given, shots=2000, seed=1)
    assert torch.equal(first.probability, other.probability)
    assert not torch.equal(first.probability, backend.run(RY, given, shots=2000, seed=2).probability)
    assert not backend.capabilities.remote
    with Journal(tmp_path / "j") as journal:
        assert [entry.sets for entry in journal.entries("r")] == [4, 4]


def test_a_snapshot_s_job_that_died_with_its_process_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"device": "fake_manila", "run": "r", "journal": tmp_path / "j"}
    whole = get("ibm", device="fake_manila").run(RY, angles(2, 2), shots=100, seed=1)
    with monkeypatch.context() as patched:
        patched.setattr("qlifq.backends.ibm.snapshot.SnapshotChannel.result", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            get("ibm", **options).run(RY, angles(2, 2), shots=100, seed=1)
    again = get("ibm", **options).run(RY, angles(2, 2), shots=100, seed=1)
    assert torch.equal(whole.probability, again.probability)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_layer_on_a_snapshot_is_interrupted_anywhere_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def spikes(run: str, stop: int | None = None) -> Tensor:
        calls = [0]

        def watch(text: str) -> None:
            calls[0] += 1
            if calls[0] == stop:
                raise KeyboardInterrupt

        backend = get("ibm", device="fake_manila", run=run, journal=tmp_path / "j", watch=watch)
        layer = qlifq.QLIF(4, backend=backend, seed=3)
        found: Tensor = layer(torch.full((12, 2, 4), 1.4))[0]
        return found

    whole = spikes("whole")
    with pytest.raises(KeyboardInterrupt):
        spikes("cut", 7)
    assert torch.equal(spikes("cut"), whole)
    with Journal(tmp_path / "j") as journal:
        assert len(journal.entries("cut")) == 12


def test_a_layer_with_such_a_backend_can_be_copied(tmp_path: Path) -> None:
    layer = qlifq.QLIF(3, backend=get("ibm", device="fake_manila", run="r", journal=tmp_path / "j"), seed=1)
    layer(torch.ones(2, 1, 3))
    spikes, _ = copy.deepcopy(layer)(torch.ones(2, 1, 3))
    assert spikes.shape == (2, 1, 3)


def test_a_budget_binds_a_snapshot_s_run_over_its_calls(tmp_path: Path) -> None:
    backend = get("ibm", device="fake_manila", max_device_seconds=5.0, journal=tmp_path / "j")
    for seed in range(2):
        backend.run(RY, angles(1, 2), shots=10, seed=seed)
    with pytest.raises(BudgetError, match="is 5 for run fake_manila"):
        backend.run(RY, angles(1, 2), shots=10, seed=2)
    backend.run(RY, angles(1, 2), shots=10, seed=1)


def test_studies_take_a_snapshot_and_refuse_a_device(build: Build) -> None:
    from qlifq.studies.checks import local_backend

    assert local_backend(get("ibm", device="fake_manila")).name == "ibm"
    with pytest.raises(UnsupportedError, match="must be a simulator for a study, but ibm is remote"):
        local_backend(build())
