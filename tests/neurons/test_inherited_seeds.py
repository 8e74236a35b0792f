"""Who goes on with a stream of seeds: threads, processes, copies and files."""

import copy
import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import set_spawning_popen

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from qlifq import QLIF, BrandPetruccione
from qlifq.neurons import SeedStream
from qlifq.random import BatchShard

# From 3.12 on Python warns of a fork beside threads, which torch and some tests here have.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
forks = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")


def spikes_of(layer: QLIF) -> Tensor:
    spikes: Tensor = layer(torch.full((20, 1, 5), 25.0))[0]
    return spikes


def in_a_fork(function: Callable[[], list[int]]) -> list[int]:
    """What a forked process answers."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if not pid:
        try:
            sender.send(function())
        finally:
            os._exit(0)
    sender.close()
    try:
        assert receiver.poll(30), "the forked process does not answer"
        answer: list[int] = receiver.recv()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return answer


def children(stream: SeedStream, count: int = 3) -> list[int]:
    return [stream.root, *(stream.next_seed() for _ in range(count))]


class Spikes(Dataset[Tensor]):
    """Items that a layer makes."""

    def __init__(self, layer: QLIF) -> None:
        self.layer = layer

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return spikes_of(self.layer)


def epochs(seed: int | None) -> list[bytes]:
    """The items of two epochs from two workers."""
    layer = QLIF(5, seed=seed)
    loader = DataLoader(Spikes(layer), batch_size=None, num_workers=2, multiprocessing_context="fork")
    before = layer.seeds.position
    found = [item.numpy().tobytes() for _ in range(2) for item in loader]
    assert layer.seeds.position == before
    # The layer itself goes on as if there had been no workers.
    fresh = QLIF(5, seed=layer.seeds.root)
    assert torch.equal(spikes_of(layer), spikes_of(fresh))
    return found


@forks
@pytest.mark.parametrize("seed", [None, 31])
def test_workers_share_no_noise_in_any_epoch_and_draw_the_same_in_the_next_run(seed: int | None) -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(4)
        runs.append(epochs(seed))
    assert len(set(runs[0])) == 8
    assert runs[0] == runs[1]


@forks
def test_forks_of_forks_have_streams_of_their_own() -> None:
    stream = SeedStream(71)

    def generations() -> list[int]:
        return [*children(stream), *in_a_fork(lambda: children(stream)), *in_a_fork(lambda: children(stream))]

    again = SeedStream(71)
    found = [seed for _ in range(3) for seed in in_a_fork(generations)]
    assert len(set(found)) == len(found) == 3 * 3 * 4
    assert children(stream) == children(again)
    assert not set(found) & set(children(again, 100))


@forks
def test_a_layer_made_in_a_fork_has_a_root_of_its_own_until_torch_is_seeded() -> None:
    def roots() -> list[int]:
        return [QLIF(1).seeds.root, BrandPetruccione(1).seeds.root]

    def seeded() -> list[int]:
        torch.manual_seed(53)
        return roots()

    torch.manual_seed(52)
    found = [root for _ in range(3) for root in in_a_fork(roots)]
    assert len({*found, *roots()}) == 3 * 2 + 2
    # A fork of one that seeded torch has not done so itself.
    nested = [in_a_fork(lambda: [*seeded(), *in_a_fork(roots), *roots()]) for _ in range(2)]
    assert in_a_fork(seeded) == nested[0][:2] == nested[1][:2] == seeded()
    following = roots()
    assert nested[0][4:] == nested[1][4:] == following
    assert len({*nested[0][2:4], *nested[1][2:4], *following}) == 6


@forks
def test_with_a_share_processes_draw_for_one_batch() -> None:
    stream = SeedStream(8, BatchShard(2, 6))
    assert in_a_fork(lambda: children(stream)) == children(stream)


@contextmanager
def spawning() -> Iterator[None]:
    """As while `multiprocessing` pickles the arguments of a process that it spawns."""
    set_spawning_popen(object())  # type: ignore[arg-type]
    try:
        yield
    finally:
        set_spawning_popen(None)


@pytest.mark.parametrize("seed", [None, 31])
def test_a_spawned_process_has_a_stream_of_its_own(seed: int | None) -> None:
    torch.manual_seed(7)
    runs = []
    for _ in range(2):
        torch.manual_seed(7)
        layer = QLIF(5, seed=seed)
        spikes_of(layer)
        with spawning():
            spawned = [pickle.loads(pickle.dumps(Spikes(layer))).layer for _ in range(3)]
        runs.append([spikes_of(twin).numpy().tobytes() for twin in (*spawned, layer)])
    assert len(set(runs[0])) == 4
    assert runs[0] == runs[1]
    shared = SeedStream(8, BatchShard(2, 6))
    with spawning():
        assert children(pickle.loads(pickle.dumps(shared))) == children(shared)


def test_forks_spawned_processes_and_copies_are_counted_together() -> None:
    stream = SeedStream()
    with spawning():
        roots = [pickle.loads(pickle.dumps(stream)).root]
    roots += [copy.deepcopy(stream).root, copy.deepcopy(copy.deepcopy(stream)).root]
    if sys.platform != "win32":
        roots += in_a_fork(lambda: [stream.root])
    assert len({*roots, stream.root}) == len(roots) + 1


def test_copies_of_a_layer_without_a_seed_share_no_noise() -> None:
    """Five identically built layers are made of one by copies, as `nn.TransformerEncoder` does."""
    torch.manual_seed(3)
    layer, alone = QLIF(5), QLIF(5)
    alone.seeds = SeedStream(layer.seeds.root)
    expected = torch.get_rng_state()
    copies = nn.ModuleList(copy.deepcopy(layer) for _ in range(4))
    copies.extend(copy.deepcopy(copies))
    assert torch.equal(torch.get_rng_state(), expected)
    spikes = [spikes_of(twin) for twin in (*copies, layer)]
    assert len({value.numpy().tobytes() for value in spikes}) == 9
    assert torch.equal(spikes[-1], spikes_of(alone))


@pytest.mark.parametrize("seed", [None, 12])
def test_a_file_keeps_the_place_in_the_noise(seed: int | None) -> None:
    layer = QLIF(5, seed=seed, noise_std=0.2)
    spikes_of(layer)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(spikes_of(again), spikes_of(layer))
    # It remembers whether its root was given.
    assert torch.equal(spikes_of(copy.deepcopy(again)), spikes_of(layer)) == (seed is not None)


def test_a_stream_from_a_file_of_an_earlier_version_goes_on() -> None:
    stream = SeedStream.__new__(SeedStream)
    stream.__setstate__({"root": 9, "_high": 1234, "share": BatchShard(1, 4), "position": 3})
    expected = SeedStream(9, BatchShard(1, 4))
    expected.position = 3
    assert children(stream) == children(expected)
    assert stream.shard == expected.shard


def test_a_state_dict_leaves_the_stream_and_root_and_position_continue_it() -> None:
    layer, other = QLIF(5, seed=1, learnable_tau=True), QLIF(5, seed=2, learnable_tau=True)
    spikes_of(layer)
    other.load_state_dict(layer.state_dict())
    assert (other.seeds.root, other.seeds.position) == (2, 0)
    other.seeds = SeedStream(layer.seeds.root)
    other.seeds.position = layer.seeds.position
    assert torch.equal(spikes_of(other), spikes_of(layer))


def test_threads_take_every_child_once() -> None:
    stream = SeedStream(6)
    taken: list[list[int]] = [[] for _ in range(4)]

    def work(mine: list[int]) -> None:
        for _ in range(4000):
            mine.append(stream.next_seed())
            mine.extend(stream.next_seeds(2))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(pause)
    assert stream.position == 4 * 4000 * 3
    assert len({seed for mine in taken for seed in mine}) == 4 * 4000 * 3


@forks
def test_a_fork_while_threads_take_finds_no_stream_locked() -> None:
    stream = SeedStream(6)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            stream.next_seed()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        found = [seed for _ in range(20) for seed in in_a_fork(lambda: children(stream))]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(set(found)) == 20 * 4
