"""Where the points of a sweep run: processes of this machine, or the workers of a Dask scheduler.

Here it is the pool of the standard library. joblib has no better one for a dozen long calls: its workers begin with imports
that take seconds and that a fork has already. A cluster on this machine would need the packages of an extra. Where the platform
forks, the workers are forks, as those of torch's `DataLoader` are. Each has one thread, so that a point is the same for any
number of workers.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, parent_process
from typing import Protocol, TypeVar

import torch

from qlifq._packages import refuse_missing
from qlifq.errors import BackendError

__all__ = ["Caller", "open_workers"]

Answer = TypeVar("Answer")

#: How long a scheduler may take to answer, and to have a worker.
_PATIENCE_SECONDS = 60.0


class Caller(Protocol):
    """Calls functions, as many at a time as there are workers."""

    def __call__(self, functions: Sequence[Callable[[], Answer]]) -> Iterator[tuple[int, Answer]]:
        """The number of each function with what it returned, as they end.

        Raises:
            BackendError: if workers or the scheduler fail for good.
        """


@contextmanager
def open_workers(scheduler: str | None, workers: int | None, most: int) -> Iterator[Caller]:
    """Workers, which are there until the block ends.

    Args:
        scheduler: of Dask; None for processes of this machine.
        workers: how many processes; None for one on each core that this process may use.
        most: how many processes have something to do.

    Yields:
        A `Caller` of picklable functions.

    Raises:
        QLIFError: if no scheduler answers, or a package is missing.
    """
    if scheduler is not None:
        for package in ("cloudpickle", "distributed"):
            refuse_missing(package, feature="A sweep over a Dask scheduler", install="'qlifq[distributed]'")
        from qlifq.backends.distributed.connection import LOCAL, connect

        reached = connect(scheduler, workers if scheduler == LOCAL else None, _PATIENCE_SECONDS)
        yield partial(reached.call_all, timeout_seconds=_PATIENCE_SECONDS)
        return
    with ProcessPoolExecutor(min(workers or _cores(), most), initializer=_begin) as pool:
        # Started now: a fork holds the locks of its parent, that of the folder of the sweep too.
        pool.submit(os.getpid).result()
        yield partial(_call_all, pool)


def _call_all(pool: ProcessPoolExecutor, functions: Sequence[Callable[[], Answer]]) -> Iterator[tuple[int, Answer]]:
    numbers = {pool.submit(function): number for number, function in enumerate(functions)}
    try:
        for future in as_completed(numbers):
            yield numbers[future], future.result()
    except BrokenProcessPool as error:
        raise BackendError(
            "A worker of the sweep was ended from outside, perhaps for lack of memory: the same command goes on."
        ) from error
    finally:
        for future in numbers:
            future.cancel()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """What a worker does first."""
    torch.set_num_threads(1)
    # What commands print about single points would run into each other; it stands in their reports.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the process that gives out the points has gone, which the pool itself would wait for forever."""
    if (parent := parent_process()) is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
