"""A stream of seeds from one root, so that no two steps share noise and a replay agrees bit for bit."""

import copy
import os
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import torch

from qlifq._validation import integer
from qlifq.errors import UnsupportedError
from qlifq.random.draws import MAX_SEED, BatchShard
from qlifq.random.recomputation import Recomputation, surrounding_regions

__all__ = ["SeedStream"]

_LOW = 0xFFFFFFFF
#: Children of a root with these bits turned are the roots of those that inherit its stream, and no seeds of calls.
_HEIRS = 0x3C6EF372FE94F82B
#: Held while a stream moves on, and while this process forks.
_LOCK = threading.RLock()


class Steps(NamedTuple):
    """Steps of a neuron in a stream: what is drawn in them is a function of these numbers and of the place of an element.

    Args:
        key: the root of the stream.
        position: the number of the first step.
        first_row: the first row that is drawn for, in the whole batch.
    """

    key: int
    position: int
    first_row: int

    def seeds(self, step: int) -> list[int]:
        """The four seeds of a step, counted from the first, for draws that take a generator or a backend of their own."""
        return _children(self.key, 4 * (self.position + step), 4)


class SeedStream:
    """Child seeds 0, 1, 2, … of a root.

    The high half of a child is mixed from the root, the low half is a bijection of its number: within 2³² children none comes
    twice, not even for generators that keep 32 bits alone, and the streams of different roots differ.

    What `torch.utils.checkpoint` runs again is given the seeds of its first run, in the same order, and the stream stays where
    it is, whatever torch does with its own generators (`preserve_rng_state`). What the function lets other threads do is not
    replayed, and any other second run is a new call: for the same noise set `position` back.

    Those who share a stream, or inherit one, share no noise:

    - Threads take different children; which takes which depends on who comes first.
    - A child process that inherits the stream, by a fork or as an argument of a process that is spawned, such as the workers of
      a `torch.utils.data.DataLoader`, has a stream of its own. Its root follows from the parent's and from how many have
      inherited it before, so that the same program draws the same noise again. The parent's stream stays as it is.
    - `copy.deepcopy` of a stream whose root was not given has a root of its own likewise.

    Those who name a root mean it. The same seeds come from two streams with one root, from a copy of a stream whose root was
    given, and from one that is pickled otherwise, into a file or for a task of a pool of processes; and in every process from
    one with a `shard`.

    Args:
        root: from 0 to 2⁶³ − 1; None draws one from torch's global generator, so that `torch.manual_seed` governs it. A forked
            process in which torch is given no other seed draws others than its siblings all the same.
        shard: the rows of a batch that are drawn for, where several processes hold one together; None for all.

    Raises:
        ArgumentError: if the root is out of range.
        DtypeError: if it is not an integer.

    Example:
        >>> first, again = SeedStream(7), SeedStream(7)
        >>> first.next_seed() == again.next_seed(), first.next_seed() == again.position
        (True, False)
    """

    def __init__(self, root: int | None = None, shard: BatchShard | None = None) -> None:
        self._given = root is not None
        self.root = integer("seed", _PROCESS.drawn_root() if root is None else root, at_least=0, at_most=MAX_SEED)
        self.shard = shard
        #: How many children were taken; set it to continue a stream that was interrupted.
        self.position = 0
        self._register()

    def next_seed(self) -> int:
        """The next child seed, from 0 to 2⁶³ − 1."""
        return self.next_seeds(1)[0]

    def next_steps(self, count: int) -> "Steps":
        """The places of the next steps of a neuron, as many as `count`; each takes four children, whatever it draws.

        Raises:
            UnsupportedError: in a recomputation, if this stream did not give as many in the first run.
        """
        root, first = self._advance(4 * count)
        return Steps(root, first // 4, 0 if self.shard is None else self.shard.first)

    def next_seeds(self, count: int) -> list[int]:
        """The next child seeds, as many as `count`.

        Raises:
            UnsupportedError: in a recomputation, if this stream did not give as many in the first run.
        """
        return _children(*self._advance(count), count)

    def _advance(self, count: int) -> tuple[int, int]:
        """The root and the number of the next child, of which as many as `count` are taken."""
        regions, recomputation = surrounding_regions()
        with _LOCK:
            if recomputation is None:
                taken = _Taken(self.root, self.position, count)
                self.position += count
            else:
                taken = self._replayed(recomputation, count)
            for region in regions:
                self._regions.setdefault(region, _Region()).taken.append(taken)
        return taken.root, taken.first

    def __repr__(self) -> str:
        return f"SeedStream(root={self.root}, position={self.position})"

    def __deepcopy__(self, memo: dict[int, object]) -> "SeedStream":
        twin = copy.copy(self)
        if not self._given:
            with _LOCK:
                twin.root, twin.position = self._bequeath(), 0
        return twin

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = {"root": self.root, "position": self.position, "share": self.shard, "_given": self._given}
        if self.shard is None and get_spawning_popen() is not None:
            # What is pickled is an argument of a process that is spawned now.
            with _LOCK:
                state |= {"root": self._bequeath(), "position": 0}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.root, self.position, self.shard = state["root"], state["position"], state["share"]
        # A stream from before copies were distinguished repeats itself, as it did.
        self._given = state.get("_given", True)
        self._register()

    def _register(self) -> None:
        """Begin what belongs to this object in this process, and is neither copied nor pickled."""
        self._regions: WeakKeyDictionary[object, _Region] = WeakKeyDictionary()
        self._heirs = 0
        with _LOCK:
            _STREAMS.add(self)

    def _replayed(self, recomputation: Recomputation, count: int) -> "_Taken":
        """What the first run was given at this place."""
        region = self._regions.get(recomputation.region, _Region())
        place = region.replayed.get(recomputation.number, 0)
        if place >= len(region.taken) or region.taken[place].number != count:
            raise UnsupportedError(
                "Argument `function` of torch.utils.checkpoint must use the same seeds when it is run again, but of "
                f"{self} it used {sum(taken.number for taken in region.taken)} at first and requests "
                f"{sum(taken.number for taken in region.taken[:place]) + count}: give a layer other `seeds` after "
                "the backward pass, and run the function in one thread."
            )
        region.replayed[recomputation.number] = place + 1
        return region.taken[place]

    def _bequeath(self) -> int:
        """The root of the next process or copy that inherits this stream."""
        self._heirs += 1
        return _children(self.root ^ _HEIRS, self._heirs, 1)[0]

    def _inherit(self) -> None:
        """Become the stream of a child process."""
        if self.shard is None:
            self.root, self.position, self._heirs = self._bequeath(), 0, 0


class _Process:
    """Which of the processes this is that forks made of one."""

    def __init__(self) -> None:
        #: Its root is 0 in a process that was not forked.
        self.seeds = SeedStream(0)
        self._forked_at: int | None = None
        self._forking_at: int | None = None

    def drawn_root(self) -> int:
        """A root from torch's global generator, which siblings have in common until torch is given another seed."""
        root = int(torch.randint(MAX_SEED, (), device="cpu"))
        return root ^ self.seeds.root if torch.initial_seed() == self._forked_at else root

    def before_fork(self) -> None:
        _LOCK.acquire()
        self._forking_at = torch.initial_seed()

    def after_fork_in_parent(self) -> None:
        for stream in _STREAMS:
            stream._bequeath()
        _LOCK.release()

    def after_fork_in_child(self) -> None:
        self._forked_at = self._forking_at
        for stream in _STREAMS:
            stream._inherit()
        _LOCK.release()


class _Taken(NamedTuple):
    """Children that were taken at once: of a root, from which number on, and how many."""

    root: int
    first: int
    number: int


@dataclass
class _Region:
    """What a stream gave in the first run of a checkpointed region, and how much of it each recomputation had again."""

    taken: list[_Taken] = field(default_factory=list)
    replayed: dict[object, int] = field(default_factory=dict)


def _children(root: int, first: int, count: int) -> list[int]:
    """Children `first`, `first + 1`, … of a root."""
    high = _mix(_mix(root & _LOW) ^ (root >> 32) ^ 0x5BD1E995)
    return [((high & 0x7FFFFFFF) << 32) | _mix((number + root + high) & _LOW) for number in range(first, first + count)]


def _mix(word: int) -> int:
    """A bijection of 32 bits that scatters neighbours (the finaliser of MurmurHash3)."""
    word ^= word >> 16
    word = (word * 0x85EBCA6B) & _LOW
    word ^= word >> 13
    word = (word * 0xC2B2AE35) & _LOW
    return word ^ (word >> 16)


_STREAMS: WeakSet[SeedStream] = WeakSet()
_PROCESS = _Process()
if sys.platform != "win32":
    os.register_at_fork(
        before=_PROCESS.before_fork,
        after_in_parent=_PROCESS.after_fork_in_parent,
        after_in_child=_PROCESS.after_fork_in_child,
    )
