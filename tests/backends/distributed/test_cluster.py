"""The counts of a call are the same on one, two and four workers and in this process, and what fails is one sentence."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from distributed import Client
from torch import Tensor

from qlifq import QLIF
from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, get
from qlifq.backends.distributed.connection import connect
from qlifq.backends.distributed.worker import run_all
from qlifq.circuits import Condition, RYSpike, SpikeTrainCircuit
from qlifq.errors import ArgumentError, BackendError
from tests.backends.distributed.conftest import thread_cluster

NOISE = DeviceNoise(t1=(80e-6, 30e-6, 200e-6), gate_time=5e-7, readout_p01=(0.02, 0.1, 0.0), readout_p10=(0.05, 0.2, 0.0))
ANGLES = torch.rand(200, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 3
WHERE = torch.rand(200, 3, generator=torch.Generator().manual_seed(4)) < 0.5


def counts(backend: Backend, shots: int = 20, where: Tensor | None = None, angles: Tensor = ANGLES) -> Tensor:
    return cast(Tensor, backend.run(RYSpike(), angles, shots=shots, seed=7, where=where).ones)


@pytest.mark.parametrize("inner", ["aer", "analytic", "lightning", "reference"])
def test_one_two_and_four_workers_give_the_counts_of_this_process(clients: dict[int, Client], inner: str) -> None:
    noise = {} if inner == "lightning" else {"noise": NOISE}
    here = get("distributed", inner=inner, scheduler="synchronous", block=9, **noise)
    expected = counts(here), counts(here, where=WHERE)
    assert not torch.equal(*expected)
    for client in clients.values():
        there = get("distributed", inner=inner, scheduler=client, block=9, **noise)
        assert torch.equal(counts(there), expected[0])
        assert torch.equal(counts(there, where=WHERE), expected[1])


@pytest.mark.parametrize("inner", ["aer", "reference"])
def test_whole_trains_are_the_same_on_any_number_of_workers(clients: dict[int, Client], inner: str) -> None:
    """A train of one block is that of the inner backend alone."""
    conditions = (Condition(1, 0, 0), Condition(2, 0, 1))
    train = SpikeTrainCircuit(torch.full((3, 2, 2), 1.2), conditions, torch.full((2, 2, 2), -0.7))
    alone = get(inner).run_train(train, shots=20, seed=5)
    here = get("distributed", inner=inner, scheduler="synchronous")
    assert torch.equal(here.run_train(train, shots=20, seed=5).spikes, alone.spikes)
    cut = get("distributed", inner=inner, scheduler="synchronous", block=40)
    expected = cut.run_train(train, shots=20, seed=5)
    assert expected.shots == 20
    assert torch.equal(expected.spikes[:3], get(inner).run_train(train, shots=3, seed=5).spikes)
    assert not torch.equal(expected.spikes[3:6], expected.spikes[:3])
    for client in clients.values():
        there = get("distributed", inner=inner, scheduler=client, block=40)
        assert torch.equal(there.run_train(train, shots=20, seed=5).spikes, expected.spikes)


def test_a_layer_spikes_the_same_wherever_its_backend_runs(clients: dict[int, Client]) -> None:
    """A layer and its copies share the connection; gradients are shifted on the workers."""
    current = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(1))

    def spikes(backend: Backend) -> tuple[Tensor, Tensor]:
        layer = copy.deepcopy(QLIF(3, backend=backend, shots=1, seed=2, learnable=("q_scale",)))
        found, _ = layer(current)
        found.sum().backward()
        return found.detach(), cast(Tensor, next(layer.parameters()).grad)

    alone = spikes(get("aer", noise=NOISE))
    for backend in (
        get("distributed", noise=NOISE, scheduler=clients[2]),
        get("distributed", noise=NOISE, scheduler="synchronous"),
    ):
        found = spikes(pickle.loads(pickle.dumps(backend)))
        assert all(torch.equal(*pair) for pair in zip(found, alone, strict=True))


def test_threads_get_the_answers_of_their_own_calls(clients: dict[int, Client]) -> None:
    backend = get("distributed", inner="analytic", scheduler=clients[2], block=50)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda shots: counts(backend, shots), range(1, 9)))
    here = get("distributed", inner="analytic", scheduler="synchronous", block=50)
    assert all(torch.equal(each, counts(here, shots)) for shots, each in enumerate(found, start=1))


class Threads(Backend):
    """Answers with the thread that it runs on."""

    name = "threads"
    capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)

    def _execute(self, call: Call) -> Outcome:
        return Outcome(torch.full(call.angles.shape[:2], threading.get_ident() % 1009 / 1009, dtype=call.angles.dtype))


def test_every_worker_has_its_share(clients: dict[int, Client]) -> None:
    """A backend that one worker has already does not draw all tasks to it."""
    backend = get("distributed", inner=Threads(), scheduler=clients[2], block=60)
    for _ in range(3):
        found = backend.run(RYSpike(), ANGLES, shots=None, seed=None).probability
    shares = np.unique(found.numpy(), return_counts=True)[1]
    assert len(shares) == 2
    assert shares.min() >= 120


class Failing(Backend):
    """Fails on a worker, as a package of somebody else may."""

    name = "failing"
    capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def _execute(self, call: Call) -> Outcome:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ZeroDivisionError("of zero"), BackendError, "The cluster at inproc://.* failed: of zero"),
        (ArgumentError("Argument `x` must be 1."), ArgumentError, "^Argument `x` must be 1.$"),
    ],
)
def test_what_fails_on_a_worker_is_one_sentence(
    clients: dict[int, Client], error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        get("distributed", inner=Failing(error), scheduler=clients[1]).run(RYSpike(), ANGLES, shots=None, seed=None)


def test_a_cluster_without_workers_ends_the_wait(tmp_path: Path) -> None:
    with thread_cluster(0, tmp_path) as client:
        backend = get("distributed", inner="analytic", scheduler=client, timeout_seconds=0.2)
        with pytest.raises(BackendError, match=r"The cluster at inproc://.* must have a worker within 0\.2 s, but"):
            counts(backend)


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with pytest.raises(BackendError, match=r"must be the address of a Dask scheduler that answers, but tcp://127\.0\.0\.1:9 d"):
        get("distributed", scheduler="tcp://127.0.0.1:9", timeout_seconds=0.2)


def test_a_worker_of_another_version_is_refused() -> None:
    with pytest.raises(BackendError, match=r"Every worker must have qlifq 0\.0\.0, the version of the caller, but one has"):
        run_all(get("analytic"), b"", "0.0.0")


def test_closing_ends_what_was_opened_and_the_next_call_opens_it_again(clients: dict[int, Client]) -> None:
    """A client of the caller's stays open; a connection by address is closed."""
    lent = get("distributed", inner="analytic", scheduler=clients[1])
    with lent:
        expected = counts(lent)
    assert clients[1].status == "running"
    own = get("distributed", inner="analytic", scheduler=lent.scheduler)  # type: ignore[attr-defined]
    assert torch.equal(counts(own), expected)
    connection = connect(own.scheduler, None, 5)  # type: ignore[attr-defined]
    own.close()
    assert connection.alive() == (connection.client is clients[1])
    assert torch.equal(counts(own), expected)
    own.close()
