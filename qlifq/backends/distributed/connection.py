"""Connections to Dask schedulers: one for each scheduler and process, closed when the interpreter exits."""

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import cloudpickle
from dask.system import CPU_COUNT
from distributed import Client, Security, wait

from qlifq._text import one_line
from qlifq._version import __version__
from qlifq.backends.distributed.local import LocalCluster, start
from qlifq.backends.distributed.worker import Work, call, run_all, unpacked
from qlifq.backends.interface import Backend
from qlifq.errors import BackendError, QLIFError

__all__ = ["LOCAL", "Connection", "connect", "disconnect", "lend"]

Answer = TypeVar("Answer")

#: The scheduler that is a cluster on this machine.
LOCAL = "local"

#: Tasks of a call for each thread of the cluster: with two, a thread that is late does not hold up all others.
_TASKS_PER_THREAD = 2
#: The most blocks of a task: a call has to fit a message.
_MOST_BLOCKS = 64

#: By process and scheduler: a child process that was forked has threads of its own, and no connection yet.
_CONNECTIONS: dict[tuple[int, str], "Connection"] = {}
_LOCK = threading.RLock()


class Connection:
    """A client of a Dask scheduler, and what it has sent there.

    Args:
        client: connected and synchronous.
        cluster: the cluster on this machine that serves it alone, None for another.
        own: whether the client was made here, and is closed here.
    """

    def __init__(self, client: Client, cluster: LocalCluster | None = None, *, own: bool) -> None:
        self.client, self._cluster, self._own = client, cluster, own
        self._process = os.getpid()
        #: Backends that wait at the scheduler for the tasks that use them.
        self._sent: WeakKeyDictionary[Backend, Any] = WeakKeyDictionary()

    def run(self, inner: Backend, work: Sequence[Work[Answer]], timeout_seconds: float) -> list[Answer]:
        """The answers of all pieces of work, each once and in order; what a worker that died was at is run again by another.

        Raises:
            BackendError: if there is no worker in time, or workers or the scheduler fail for good.
        """
        slots = self._slots(timeout_seconds)
        tasks = max(min(len(work), _TASKS_PER_THREAD * len(slots)), -(-len(work) // _MOST_BLOCKS))
        bounds = [len(work) * number // tasks for number in range(tasks + 1)]
        try:
            if inner not in self._sent:
                # A task and no scattered value: what was lost with its worker is made again.
                self._sent[inner] = self.client.submit(unpacked, cloudpickle.dumps(inner), pure=False)
            futures = [
                self.client.submit(
                    run_all,
                    self._sent[inner],
                    cloudpickle.dumps(work[first:last]),
                    __version__,
                    # Dask would give all tasks to the worker that has the backend already. Another takes over where it dies.
                    workers=[slots[number * len(slots) // tasks]],
                    allow_other_workers=True,
                    pure=False,
                )
                for number, (first, last) in enumerate(pairwise(bounds))
            ]
            waiting = futures
            while waiting:
                with suppress(TimeoutError), self.client.as_current():
                    wait(waiting, timeout=timeout_seconds)
                waiting = [future for future in waiting if not future.done()]
                if waiting:
                    self._slots(timeout_seconds)
            return [each for answers in self.client.gather(futures) for each in answers]
        except QLIFError:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def call_all(self, functions: Sequence[Callable[[], Answer]], timeout_seconds: float) -> Iterator[tuple[int, Answer]]:
        """Call functions on the workers, one at a time on each thread; what a worker that died was at is called again.

        Yields:
            The number of each function with what it returned, as they end.

        Raises:
            BackendError: as `run` does.
        """
        self._slots(timeout_seconds)
        waiting: dict[Any, int] = {}
        try:
            for number, function in enumerate(functions):
                waiting[self.client.submit(call, cloudpickle.dumps(function), __version__, pure=False)] = number
            while waiting:
                with suppress(TimeoutError), self.client.as_current():
                    wait(list(waiting), timeout=timeout_seconds, return_when="FIRST_COMPLETED")
                done = [future for future in waiting if future.done()]
                if not done:
                    self._slots(timeout_seconds)
                for future in done:
                    yield waiting.pop(future), future.result()
        except QLIFError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        finally:
            self.client.cancel(list(waiting))

    def alive(self) -> bool:
        """Whether its scheduler can still be reached."""
        return bool(self.client.status == "running")

    def close(self) -> None:
        """Close what was opened here; what was lent is left alone."""
        if self._process == os.getpid() and self._own:
            with suppress(Exception):
                self.client.close(timeout=5)
            if self._cluster is not None:
                self._cluster.end()

    def _slots(self, timeout_seconds: float) -> list[str]:
        """The addresses of the workers, each as often as it has threads.

        Raises:
            BackendError: if there is no worker in time, or the scheduler has gone.
        """
        try:
            if not (found := self.client.nthreads()):
                self.client.wait_for_workers(1, timeout=timeout_seconds)
                found = self.client.nthreads()
        except TimeoutError as error:
            raise BackendError(
                f"The cluster at {self._address()} must have a worker within {timeout_seconds:g} s, but has none."
            ) from error
        except Exception as error:
            raise self._failed(error) from error
        return [worker for worker, threads in found.items() for _ in range(threads)]

    def _address(self) -> str:
        return str(self.client.scheduler.address) if self.client.scheduler is not None else "an unknown address"

    def _failed(self, error: Exception) -> BackendError:
        return BackendError(f"The cluster at {self._address()} failed: {one_line(str(error) or type(error).__name__)}")


def connect(scheduler: str, workers: int | None, timeout_seconds: float) -> Connection:
    """The connection to a scheduler, opened where there is none.

    Args:
        scheduler: an address, or `LOCAL`.
        workers: of a local cluster.
        timeout_seconds: for the connection, and for a local cluster to start.

    Raises:
        BackendError: if there is no scheduler, or a cluster cannot start.
    """
    key = _key(scheduler, workers)
    with _LOCK:
        found = _CONNECTIONS.get(key)
        if found is None or not found.alive():
            if found is not None:
                found.close()
            found = _CONNECTIONS[key] = _open(scheduler, workers, timeout_seconds)
        return found


def lend(client: Client) -> str:
    """Take a client of the caller's for its scheduler, whose address is returned; it is never closed here."""
    address = str(client.scheduler.address)
    with _LOCK:
        _CONNECTIONS[os.getpid(), address] = Connection(client, own=False)
    return address


def disconnect(scheduler: str, workers: int | None) -> None:
    """Close a connection, if there is one, and end a local cluster; the next call opens it again."""
    with _LOCK:
        found = _CONNECTIONS.pop(_key(scheduler, workers), None)
    if found is not None:
        found.close()


def _key(scheduler: str, workers: int | None) -> tuple[int, str]:
    return os.getpid(), scheduler if workers is None else f"{scheduler} {workers}"


def _open(scheduler: str, workers: int | None, timeout_seconds: float) -> Connection:
    cluster, security = None, None
    address = scheduler
    if scheduler == LOCAL:
        cluster = start(workers or CPU_COUNT, timeout_seconds)
        address, keys = cluster.address, cluster.keys
        security = Security(
            require_encryption=True, tls_ca_file=keys["ca_file"], tls_client_cert=keys["cert"], tls_client_key=keys["key"]
        )
    try:
        client = Client(address, security=security, timeout=timeout_seconds, set_as_default=False)
    except Exception as error:
        if cluster is not None:
            cluster.end()
        raise BackendError(
            f"Argument `scheduler` must be the address of a Dask scheduler that answers, but {address} does not: "
            f"{one_line(str(error) or type(error).__name__)}"
        ) from error
    return Connection(client, cluster, own=True)


@atexit.register
def _close_all() -> None:
    for connection in _CONNECTIONS.values():
        connection.close()
