"""A spike train as one circuit: mid-circuit measurement, reset and conditional rotations, as data."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from qlifq._validation import finite, flag, integer, shape_of, tensor
from qlifq.errors import ArgumentError, DtypeError, ShapeError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qlifq.circuits.trains.law import TrainNoise
    from qlifq.circuits.trains.moments import TrainMoments

__all__ = ["REGISTER_BITS", "Comparison", "Condition", "Instruction", "SpikeTrainCircuit"]

#: The most bits of one operand of a condition on a device, and so of one classical register.
REGISTER_BITS = 32


class Comparison(NamedTuple):
    """`register >= 2**bit`, on the register of a site that holds the steps from 32 `register` on; bit i is its i-th step."""

    register: int
    bit: int


@dataclass(frozen=True, slots=True)
class Condition:
    """That a bit of a window of steps is 1: when a conditional rotation acts.

    Args:
        step: the step whose rotation it governs.
        first: the first step of the window.
        last: the last one: `first`, for one bit alone, or `step` − 1, for "a spike since". The bits of such a window are the
            newest of their registers, so that registers need only be compared with powers of two. With `newest` any step
            between.
        source: the site whose bit it is, for one bit alone, which may be of `step` itself where that site is measured earlier
            within the step; None for the site that is rotated.
        newest: whether the last bit that is 1 before `step` must be in the window: no bit after it is. Of conditions on
            windows that do not overlap at most one holds, so that one rotation runs, with one gate error.

    Raises:
        ArgumentError: if the window is no such one.
        DtypeError: if a step is not an integer, or `newest` is not True or False.

    Example:
        >>> Condition(step=40, first=30, last=39).comparisons
        (Comparison(register=0, bit=30), Comparison(register=1, bit=0))
    """

    step: int
    first: int
    last: int
    source: int | None = None
    newest: bool = False

    def __post_init__(self) -> None:
        step = integer("step", self.step, at_least=0)
        first = integer("first", self.first, at_least=0, at_most=step if self.source is not None else step - 1)
        if self.source is not None:
            integer("source", self.source, at_least=0)
        if flag("newest", self.newest):
            if self.source is not None:
                raise ArgumentError(f"Argument `source` must be None for a condition on the last spike, but is {self.source}.")
            integer("last", self.last, at_least=first, at_most=step - 1)
            return
        ends = {first} if self.source is not None else {first, step - 1}
        if integer("last", self.last) not in ends:
            raise ArgumentError(f"Argument `last` must be {' or '.join(map(str, sorted(ends)))}, but is {self.last}.")

    @property
    def single(self) -> bool:
        """Whether it is on one bit."""
        return self.first == self.last and not self.newest

    @property
    def later(self) -> bool:
        """Whether bits after the window must be 0."""
        return self.newest and self.last < self.step - 1

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The comparisons of registers of which one must hold: a 1 from `first` to `step` − 1."""
        return self._since(self.first)

    @property
    def none_of(self) -> tuple[Comparison, ...]:
        """The comparisons of registers of which none may hold: a 1 after `last`, where `later`."""
        return self._since(self.last + 1) if self.later else ()

    def _since(self, first: int) -> tuple[Comparison, ...]:
        registers = range(first // REGISTER_BITS, (self.step - 1) // REGISTER_BITS + 1)
        return tuple(Comparison(number, max(0, first - number * REGISTER_BITS)) for number in registers)


class Instruction(NamedTuple):
    """One operation on one qubit, in the order in which they run.

    Args:
        name: "RY", "Measure" or "Reset".
        site: the qubit.
        step: the step; what is measured is the bit of this site and step.
        angle: of an RY, radians; never 0.
        condition: when an RY acts; None for always.
    """

    name: str
    site: int
    step: int
    angle: float = 0.0
    condition: Condition | None = None

    @property
    def source(self) -> int:
        """The site whose bits its condition is on."""
        return self.site if self.condition is None or self.condition.source is None else self.condition.source


@dataclass(frozen=True, eq=False)
class SpikeTrainCircuit:
    """A program whose every shot is one whole spike train of each site, for each element of a batch.

    One qubit per site. At every step, site by site in their order: RY by the base angle; each conditional RY whose condition
    holds for the bits read so far; a measurement, whose bit is the spike; and a reset to |0⟩. RY angles add, so without noise

        P(spike at t | bits before) = sin²(θ/2),   θ = base[t] + Σ_k angles[k] [condition k holds]

    An angle of exactly 0 is no gate. No number of the program depends on what is measured.

    Args:
        base: `(time, batch, sites)`, radians, float32 or float64, finite.
        conditions: when the conditional rotations act, those of one step in the order in which they run.
        angles: `(len(conditions), batch, sites)`, radians, same dtype and device.
        reset: whether the qubit is reset after each measurement; without, it goes on from the state that was measured.
        error: the largest error of an angle, radians, that was accepted for the sake of fewer conditional rotations; P(1)
            differs by at most half of it.

    Raises:
        QLIFError: if the shapes or dtypes do not fit, or a condition depends on a bit that is not read yet.

    Example:
        >>> import torch
        >>> train = SpikeTrainCircuit(torch.full((2, 1, 1), 1.5), (Condition(1, 0, 0),), torch.full((1, 1, 1), -1.0))
        >>> train.steps, train.batch, train.sites, train.conditionals
        (2, 1, 1, 1)
    """

    base: Tensor
    conditions: tuple[Condition, ...]
    angles: Tensor
    reset: bool = True
    error: float = 0.0

    def __post_init__(self) -> None:
        flag("reset", self.reset)
        steps, batch, sites = shape_of("base", tensor("base", self.base), ("time", "batch", "sites")).shape
        object.__setattr__(self, "conditions", tuple(self.conditions))
        tensor("angles", self.angles, dtypes=(self.base.dtype,))
        shape_of("angles", self.angles, (len(self.conditions), batch, sites))
        if self.angles.device != self.base.device:
            raise DtypeError(f"Argument `angles` must be on {self.base.device} like the base, but is on {self.angles.device}.")
        for name in ("base", "angles"):
            object.__setattr__(self, name, finite(name, getattr(self, name).detach()))
        for number, condition in enumerate(self.conditions):
            if not isinstance(condition, Condition):
                raise DtypeError(f"Argument `conditions` must hold Conditions, but holds {condition!r}.")
            if condition.step >= steps:
                raise ShapeError(f"Argument `conditions` must be of steps below {steps}, but one is of step {condition.step}.")
            if condition.source is not None:
                self._check_source(number, condition, condition.source)

    def _check_source(self, number: int, condition: Condition, source: int) -> None:
        """A bit of another site must exist, and be read before it is used."""
        integer("source", source, at_least=0, at_most=self.sites - 1)
        if condition.last == condition.step and bool((self.angles[number, :, : source + 1] != 0).any()):
            raise ArgumentError(
                f"Argument `angles` must be 0 up to site {source} for the bit of site {source} at the same step "
                f"{condition.step}, since the sites are measured in their order."
            )

    @property
    def steps(self) -> int:
        """How many steps a train has."""
        return self.base.shape[0]

    @property
    def batch(self) -> int:
        """How many circuits there are."""
        return self.base.shape[1]

    @property
    def sites(self) -> int:
        """How many qubits a circuit has."""
        return self.base.shape[2]

    @property
    def conditionals(self) -> int:
        """How many conditional rotations the circuit with the most of them has."""
        return int((self.angles != 0).sum(dim=(0, 2)).max()) if self.batch else 0

    @property
    def coupled(self) -> bool:
        """Whether the bits of one site turn another."""
        return any(condition.source is not None for condition in self.conditions)

    @property
    def renewal(self) -> bool:
        """Whether only the time since the last spike counts: no condition needs any other bit."""
        return all(each.newest or (each.source is None and each.last == each.step - 1) for each in self.conditions)

    @cached_property
    def by_step(self) -> tuple[tuple[int, ...], ...]:
        """For every step the numbers of its conditions, in their order."""
        found: list[list[int]] = [[] for _ in range(self.steps)]
        for number, condition in enumerate(self.conditions):
            found[condition.step].append(number)
        return tuple(map(tuple, found))

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The sites in groups, one after the other, such that no site needs a bit of its own group at the same step."""
        rank = [0] * self.sites
        turned = [
            (condition.source, (self.angles[number] != 0).any(0))
            for number, condition in enumerate(self.conditions)
            if condition.source is not None and condition.last == condition.step
        ]
        for site in range(self.sites):
            rank[site] = max((rank[source] + 1 for source, targets in turned if targets[site]), default=0)
        return tuple(
            tuple(site for site in range(self.sites) if rank[site] == number) for number in range(max(rank, default=0) + 1)
        )

    def instructions(self, element: int = 0) -> Iterator[Instruction]:
        """The program of one element of the batch, operation by operation: what every translation is made of.

        Args:
            element: which one, from 0.
        """
        element = integer("element", element, at_least=0, at_most=self.batch - 1)
        base, angles = self.base[:, element].tolist(), self.angles[:, element].tolist()
        for step, site in itertools.product(range(self.steps), range(self.sites)):
            if base[step][site]:
                yield Instruction("RY", site, step, base[step][site])
            for number in self.by_step[step]:
                if angle := angles[number][site]:
                    yield Instruction("RY", site, step, angle, self.conditions[number])
            yield Instruction("Measure", site, step)
            if self.reset:
                yield Instruction("Reset", site, step)

    def probability(self, spikes: Tensor, noise: "TrainNoise | None" = None) -> Tensor:
        """The exact probability of given trains, see `qlifq.circuits.trains.law.likelihood`."""
        from qlifq.circuits.trains.law import likelihood

        return likelihood(self, spikes, noise)

    def distribution(self, noise: "TrainNoise | None" = None) -> Tensor:
        """The exact probability of every train of a site, see `qlifq.circuits.trains.law.distribution`."""
        from qlifq.circuits.trains.law import distribution

        return distribution(self, noise)

    def moments(self, max_lag: int = 0, noise: "TrainNoise | None" = None) -> "TrainMoments":
        """The exact rate and autocovariance, see `qlifq.circuits.trains.moments.moments`."""
        from qlifq.circuits.trains.moments import moments

        return moments(self, max_lag, noise)

    def select(self, elements: Tensor) -> "SpikeTrainCircuit":
        """The program of some elements of the batch; `elements` are their numbers."""
        return replace(self, base=self.base[:, elements], angles=self.angles[:, elements])

    def to_qiskit(self, element: int = 0) -> "QuantumCircuit":
        """The dynamic circuit of one element of the batch: qubit i is site i, its bits stand in registers of 32 steps.

        Register `spike<site>_<number>` holds the steps from 32 `number` on.

        Raises:
            MissingPackageError: if Qiskit is missing.
        """
        from qlifq.circuits.trains.to_qiskit import build

        return build(self, element)

    def to_openqasm(self, element: int = 0) -> str:
        """The OpenQASM 3 program of one element of the batch."""
        from qlifq.circuits.trains.to_text import openqasm

        return openqasm(self, element)

    def draw(self, element: int = 0, site: int = 0) -> str:
        """One line of text per step of one site: the base angle, the conditional ones, the measurement."""
        from qlifq.circuits.trains.to_text import drawing

        return drawing(self, element, site)

    def __str__(self) -> str:
        sizes = f"steps {self.steps:,} · batch {self.batch:,} · sites {self.sites:,}"
        return f"{sizes} · conditionals {self.conditionals:,} per circuit · angles within {self.error:.2g} rad"
