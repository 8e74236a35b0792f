"""Several processes that train one network, as `torchrun` starts them; one process is the same with a count of 1."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qlifq.errors import ArgumentError
from qlifq.random import BatchShard

__all__ = ["SINGLE_PROCESS", "Processes", "joined", "started_together"]


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is.

    Args:
        rank: from 0.
        count: how many there are.
    """

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def share(self, total: int) -> tuple[BatchShard, slice]:
        """The rows of a batch that this process holds: neighbours, as many as the others' or one more or less."""
        # ⌊total · k / count⌋ as bounds: the shards cover the batch without gaps, in sizes that differ by at most 1.
        start, stop = (total * number // self.count for number in (self.rank, self.rank + 1))
        return BatchShard(start, total), slice(start, stop)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, on each of them."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def agreed(self, text: str) -> str:
        """What the first process says, on each of them."""
        said = [text]
        if self.count > 1:
            torch.distributed.broadcast_object_list(said)
        return said[0]

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients that are averaged over the processes."""
        if self.count == 1:
            return network
        devices = None if device.type == "cpu" else [device]
        # The buffers are constants of the neurons, the same everywhere.
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


SINGLE_PROCESS = Processes(0, 1)


def started_together() -> int:
    """How many processes `torchrun` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that `torchrun` started, over gloo on CPU and nccl on GPU; alone without it.

    Args:
        device: "cpu", "cuda" or "cuda:N"; of several processes each takes the GPU of its local rank.

    Yields:
        Which of them this is, and its device.

    Raises:
        ArgumentError: if there is no such device.
    """
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"Argument `device` must be cpu, cuda or cuda:N, but is {device!r}.") from error
    if chosen.type not in {"cpu", "cuda"}:
        raise ArgumentError(f"Argument `device` must be cpu, cuda or cuda:N, but is {device!r}.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError(f"Argument `device` must be cpu here, since torch finds no GPU, but is {device!r}.")
    count = started_together()
    if count == 1:
        yield SINGLE_PROCESS, chosen
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(torch.distributed.get_rank(), count), chosen
    finally:
        # A network in parallel is part of a cycle and holds the group, whose threads can abort a process that ends before them.
        gc.collect()
        torch.distributed.destroy_process_group()
