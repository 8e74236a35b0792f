"""Several processes train as one does: the same losses and weights to rounding."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from qlifq.errors import ArgumentError, UnsupportedError
from qlifq.random import BatchShard
from qlifq.training import Dataset, Design, LabelledImages, TrainingSettings, build, evaluate, load_dataset, train
from qlifq.training.processes import SINGLE_PROCESS, Processes, joined

#: In batches of 61 two processes hold 30 and 31 images.
SETTINGS = TrainingSettings(epochs=3, batch=61, learning_rate=1e-2, validation=0.1, seed=5)
DESIGN = Design(
    network="mlp",
    picture=(8, 8),
    classes=10,
    hidden=(24, 12),
    steps=5,
    encoding="poisson",
    rate=0.5,
    gain=4.0,
    parameters={"tau": 1.5, "noise_std": 0.1},
)

SCRIPT = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import torch
from qlifq.training import Design, TrainingSettings, evaluate, load_dataset, train
from qlifq.training.processes import joined
torch.set_num_threads(1)
out = Path(sys.argv[1])
given = json.loads((out / "given.json").read_text())
data = load_dataset("digits").first(300)
design, settings = Design.from_dict(given["design"]), TrainingSettings(**given["settings"])
with joined("cpu") as (processes, device):
    trained = train(design, data, settings, checkpoint=out / "network.pt", processes=processes, device=device)
    tested = evaluate(trained.network, design, data.test, processes=processes)
    if processes.first:
        history = [asdict(epoch) for epoch in trained.history]
        (out / "reported.json").write_text(json.dumps({"history": history, "predicted": tested.predicted.tolist()}))
"""


def test_a_process_without_an_image_of_the_last_batch_adds_nothing_to_the_rates() -> None:
    class Unheard(Processes):
        def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
            return values

    images = LabelledImages(*(values[:11] for values in load_dataset("digits").test))
    network = build(DESIGN, seed=0)
    whole = evaluate(network, DESIGN, images, batch=5).rates
    # Of the eleventh image, a batch of its own, the first of two processes holds nothing.
    shares = [evaluate(network, DESIGN, images, batch=5, processes=Unheard(rank, 2)).rates for rank in range(2)]
    assert [sum(rates) for rates in zip(*shares, strict=True)] == pytest.approx(whole, rel=1e-9)
    assert min(whole) > 0


def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    data = load_dataset("digits").first(300)
    alone = train(DESIGN, data, SETTINGS)
    predicted = evaluate(alone.network, DESIGN, data.test).predicted.tolist()
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "given.json").write_text(json.dumps({"design": DESIGN.to_dict(), "settings": asdict(SETTINGS)}))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(tmp_path / "script.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reported = json.loads((tmp_path / "reported.json").read_bytes())
    for mine, its in zip(alone.history, reported["history"], strict=True):
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            assert its[name] == pytest.approx(getattr(mine, name), rel=1e-5), (mine.number, name)
    weights = torch.load(tmp_path / "network.pt", weights_only=True)["network"]
    for name, value in alone.network.state_dict().items():
        assert torch.allclose(value, weights[name], rtol=1e-4, atol=1e-5), name
    assert predicted == reported["predicted"]


def test_shares_are_neighbours_and_cover_the_batch() -> None:
    for count in (1, 2, 3, 7):
        for total in (0, 1, 5, 64):
            shares = [Processes(rank, count).share(total) for rank in range(count)]
            rows = [row for _, part in shares for row in range(total)[part]]
            assert rows == list(range(total))
            assert all(shard == BatchShard(part.start, total) for shard, part in shares)
            sizes = [part.stop - part.start for _, part in shares]
            assert max(sizes) - min(sizes) <= 1


def test_alone_nothing_is_joined() -> None:
    with joined("cpu") as (processes, device):
        assert (processes, device) == (SINGLE_PROCESS, torch.device("cpu"))
        assert not torch.distributed.is_initialized()
    assert SINGLE_PROCESS.all_reduce_sum(torch.ones(2)).tolist() == [1, 1]
    SINGLE_PROCESS.wait()


@pytest.mark.parametrize("device", ["tpu", "meta", "gpu:0"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(ArgumentError, match="Argument `device` must be cpu, cuda or cuda:N, but is"), joined(device):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ArgumentError, match="must be cpu here, since torch finds no GPU, but is 'cuda'"), joined("cuda"):
        pass


def test_shots_are_refused_for_several_processes(data: Dataset, design: Design, settings: TrainingSettings) -> None:
    with pytest.raises(UnsupportedError, match="`shots` must be None for 2 processes: the shots of backend analytic"):
        train(design, data, settings, shots=1, processes=Processes(0, 2))
