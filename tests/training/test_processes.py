"""Several processes share a batch as one: `tests.cli.test_train` runs two of them."""

import pytest
import torch

from qlifq.errors import ArgumentError, UnsupportedError
from qlifq.random import BatchShard
from qlifq.training import Dataset, Design, TrainingSettings, build, evaluate, load_dataset, train
from qlifq.training.processes import SINGLE_PROCESS, Processes, joined

#: A small network whose spikes, noise and input are drawn.
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


def test_a_process_without_an_image_of_the_last_batch_adds_nothing_to_the_rates() -> None:
    class Unheard(Processes):
        def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
            return values

    images = load_dataset("digits").test.select(torch.arange(11))
    network = build(DESIGN, seed=0)
    whole = evaluate(network, DESIGN, images, batch=5).rates
    # Of the eleventh image, a batch of its own, the first of two processes holds nothing.
    shares = [evaluate(network, DESIGN, images, batch=5, processes=Unheard(rank, 2)).rates for rank in range(2)]
    assert [sum(rates) for rates in zip(*shares, strict=True)] == pytest.approx(whole, rel=1e-9)
    assert min(whole) > 0


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
