"""Any backend, over the workers of a Dask cluster."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, final

import cloudpickle
from distributed import Client

from qlifq._text import one_line
from qlifq._validation import optional_integer, real
from qlifq.backends.distributed.blocks import block_size, cut, cut_train, put_together, put_together_train
from qlifq.backends.distributed.connection import LOCAL, connect, disconnect, lend
from qlifq.backends.distributed.worker import Work
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.registry import get, summary
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import SpikeCircuit, SpikeTrainCircuit
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError

if TYPE_CHECKING:
    from qlifq.backends.distributed.connection import Connection

__all__ = ["SYNCHRONOUS", "DistributedBackend"]

Answer = TypeVar("Answer")

#: The scheduler that is this process, as Dask calls it.
SYNCHRONOUS = "synchronous"
_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss|inproc)://\S+")


@final
class DistributedBackend(Backend):
    """Another backend whose calls are cut into blocks of evaluations, and run by the workers of a Dask cluster.

    A block is a function of the call alone, and so is its seed: the counts are the same for any number of workers, after a
    worker has died, and with `scheduler="synchronous"`, where the blocks run in this process. A call of one block has the
    counts of the inner backend alone. Name, limits, noise, plan and facts are those of the inner backend, so
    that a calibration of one holds for the other; only its graph does not leave a worker: gradients are parameter-shifted.

    Args:
        inner: a registered name, or a backend, which is sent to the workers once. One that submits to a device is refused,
            since its queue is no shorter for several workers and its journal lies on one machine.
        scheduler: the address of a Dask scheduler, such as "tcp://10.0.0.1:8786"; a connected `distributed.Client`, for a
            cluster with keys of its own; "synchronous" for this process; None or "local" for a cluster on this machine, which
            starts with the first call, serves all backends of this process and ends with it. Every worker needs this version
            of qlifq, and what the inner backend needs.
        workers: processes of the local cluster, at least 1; None for one on each core that this process may use.
        block: evaluations of a block, at least 1; another number gives other counts. None for a number that follows from the
            shots: 3,971 with one shot and 20 from 6,210 on. A backend that takes more than a millisecond for an evaluation is
            better spread with fewer. Whole trains are cut by shots, of which each has all its evaluations.
        timeout_seconds: how long to wait for the scheduler, for a worker where there is none, and for a local cluster to
            start; a call itself may take longer.
        **options: of the inner backend, where that is given by name.

    Raises:
        QLIFError: if the inner backend cannot be built or sent, no scheduler answers, or an option would be ignored.

    Example:
        >>> import torch
        >>> from qlifq.circuits import RYSpike
        >>> angles = torch.tensor([[[0.0], [torch.pi]]])
        >>> DistributedBackend("aer", scheduler="synchronous").run(RYSpike(), angles, shots=100, seed=1).ones
        tensor([[  0, 100]])
    """

    name = "distributed"
    #: Those of the inner backend by default.
    capabilities = Capabilities(
        exact=False, shots=True, noisy=True, differentiable=False, snapshots=True, sampling=("shots", "law"), trains=True
    )

    def __init__(
        self,
        inner: str | Backend = "aer",
        *,
        scheduler: str | Client | None = None,
        workers: int | None = None,
        block: int | None = None,
        timeout_seconds: float = 60.0,
        **options: object,
    ) -> None:
        self.inner = _inner(inner, options)
        self.workers = optional_integer("workers", workers, at_least=1)
        self.block = optional_integer("block", block, at_least=1)
        self.timeout_seconds = real("timeout_seconds", timeout_seconds, above=0.0)
        self.scheduler = _scheduler(scheduler)
        if workers is not None and self.scheduler != LOCAL:
            raise UnsupportedError("Argument `workers` would be ignored: a cluster that runs has the workers that it has.")
        self.capabilities = replace(self.inner.capabilities, differentiable=False, ideal=False)
        self.sites = self.inner.sites
        #: A record or a report names what gave the counts: it holds for the inner backend however many workers it has.
        self.name, self.facts = self.inner.name, self.inner.facts
        #: What the inner backend was built with, if it has any.
        self.noise = getattr(self.inner, "noise", None)
        if self.scheduler not in {LOCAL, SYNCHRONOUS}:
            self._connection()

    def _execute(self, call: Call) -> Outcome:
        return put_together(call, self._run_all(cut(call, self.block or block_size(call.shots))))

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        return put_together_train(self._run_all(cut_train(call, self.block)))

    def _run_all(self, blocks: Sequence[Work[Answer]]) -> list[Answer]:
        """The answers of all blocks, in order."""
        if not blocks or self.scheduler == SYNCHRONOUS:
            return [block.run(self.inner) for block in blocks]
        return self._connection().run(self.inner, blocks, self.timeout_seconds)

    def metadata(self, sites: int) -> Mapping[str, object]:
        """See `Backend.metadata`: that of the inner backend."""
        return self.inner.metadata(sites)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`: what the inner backend alone would take for the call, on one worker."""
        return self.inner.plan(circuit, batch, sites, shots=shots)

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        """See `Backend.check_size`."""
        self.inner.check_size(batch, sites, shots)

    def check_circuit(self, circuit: SpikeCircuit, sites: int) -> None:
        """See `Backend.check_circuit`."""
        self.inner.check_circuit(circuit, sites)

    def plan_train(self, train: SpikeTrainCircuit, *, shots: int) -> Plan:
        """See `Backend.plan_train`: as `plan`."""
        return self.inner.plan_train(train, shots=shots)

    def check_train(self, train: SpikeTrainCircuit, *, shots: int, seed: int | None) -> None:
        """See `Backend.check_train`."""
        self.inner.check_train(train, shots=shots, seed=seed)

    def close(self) -> None:
        """End the local cluster, or the connection that was opened for an address; the next call begins it again."""
        self.inner.close()
        disconnect(self.scheduler, self.workers)

    def _connection(self) -> "Connection":
        return connect(self.scheduler, self.workers, self.timeout_seconds)


def _inner(inner: object, options: Mapping[str, object]) -> Backend:
    """The inner backend, which must be one that runs where it is sent."""
    if isinstance(inner, Backend):
        if options:
            raise UnsupportedError(f"Option `{next(iter(options))}` would be ignored: argument `inner` is a backend already.")
        built = inner
    elif not isinstance(inner, str):
        raise DtypeError(f"Argument `inner` must be the name of a backend or a Backend, but is {type(inner).__name__}.")
    elif inner == DistributedBackend.name or summary(inner).remote:
        raise _not_sendable(inner)
    else:
        built = get(inner, **options)
    if isinstance(built, DistributedBackend) or built.capabilities.remote or built.capabilities.device:
        raise _not_sendable(built.name)
    try:
        cloudpickle.dumps(built)
    except Exception as error:
        raise ArgumentError(
            f"Argument `inner` must be a backend that can be sent to a worker, but {built.name} cannot be pickled: "
            f"{one_line(str(error))}"
        ) from error
    return built


def _not_sendable(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"Argument `inner` must be a backend that runs where it is called, but is {name}, which sends its calls on."
    )


def _scheduler(scheduler: object) -> str:
    """The scheduler as a word or an address; a client is kept for its address."""
    if scheduler is None:
        return LOCAL
    if isinstance(scheduler, Client):
        if scheduler.asynchronous or scheduler.status != "running":
            state = "asynchronous" if scheduler.asynchronous else scheduler.status
            raise ArgumentError(f"Argument `scheduler` must be a connected, synchronous Client, but is {state}.")
        return lend(scheduler)
    if not isinstance(scheduler, str):
        raise DtypeError(f"Argument `scheduler` must be an address, a Client or None, but is {type(scheduler).__name__}.")
    if scheduler not in {LOCAL, SYNCHRONOUS} and not _ADDRESS.fullmatch(scheduler):
        raise ArgumentError(
            f"Argument `scheduler` must be {LOCAL}, {SYNCHRONOUS} or an address such as tcp://10.0.0.1:8786, but is "
            f"{scheduler!r}."
        )
    return scheduler
