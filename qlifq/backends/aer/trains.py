"""Spike trains as dynamic circuits of Aer: measured mid-circuit, reset, and rotated where earlier bits say so.

Each site of each element is a lane of one qubit, whose noise is written in; sites whose bits rotate each other share a lane.
Lanes follow each other on one qubit, since a shot costs Aer about as much as thirty measurements.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Instruction
from qiskit.circuit.classical import expr
from qiskit.quantum_info import SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.library.control_flow_instructions import AerJump, AerMark

from qlifq.backends.aer.circuits import GATES, Lane
from qlifq.backends.aer.layout import JOB_SHOTS
from qlifq.backends.aer.noise import RESET, Matrix, QubitModel
from qlifq.backends.batching import Floats, shot_parts
from qlifq.backends.interface import Plan
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import Gate, Slot, SpikeTrainCircuit
from qlifq.circuits.trains.circuit import REGISTER_BITS
from qlifq.circuits.trains.to_qiskit import holds
from qlifq.errors import UnsupportedError

__all__ = ["TrainLane", "TrainProgram", "arrange_lanes", "conditions_are_kept", "plan_trains", "run_trains", "write_lanes"]

#: The most bits that one submission brings back, since Aer holds them as text.
_SUBMISSION_BITS = 2**27
#: What one step of one shot takes, one conditional in it, and to write one, microseconds on one core, roughly.
_STEP, _CONDITIONAL, _WRITTEN = 2.5, 0.3, 60.0
#: The most bits of one circuit, unless one lane has more: from here on the cost of a shot itself no longer counts.
_CIRCUIT_BITS = 1024
#: How many bits are looked at one by one where a comparison of a register finds a 1 among them.
_BLOCK = 8
_FLIP: Matrix = np.ascontiguousarray(np.eye(4, dtype=np.complex128)[::-1])
_ROTATION = (Gate("RY", Slot(0)),)


class TrainLane(NamedTuple):
    """What shares bits: one site of an element, or all sites of one where their bits rotate each other."""

    element: int
    sites: tuple[int, ...]


class TrainProgram(NamedTuple):
    """A circuit of several lanes on one qubit.

    Args:
        circuit: its first bits are spikes; the others hold what a faulty readout would lose.
        places: of each of the first bits its place in the flattened `(time, batch, sites)`.
    """

    circuit: QuantumCircuit
    places: npt.NDArray[np.intp]


def arrange_lanes(train: SpikeTrainCircuit) -> list[list[TrainLane]]:
    """The lanes of each circuit."""
    groups = [tuple(range(train.sites))] if train.coupled else [(site,) for site in range(train.sites)]
    lanes = [TrainLane(element, sites) for element in range(train.batch) for sites in groups]
    count = max(1, _CIRCUIT_BITS // (train.steps * len(groups[0])))
    return [lanes[first : first + count] for first in range(0, len(lanes), count)]


def write_lanes(train: SpikeTrainCircuit, lanes: Sequence[TrainLane], models: Sequence[QubitModel]) -> TrainProgram:
    """The circuit of some lanes, with the noise of the qubit of each site."""
    writer = _Writer(train, lanes, models)
    places = [writer.lane(lane) for lane in lanes]
    return TrainProgram(writer.circuit, np.concatenate(places))


def run_trains(call: TrainCall, models: Sequence[QubitModel], simulate: Callable[..., list[Any]]) -> TrainOutcome:
    """Run a call, one submission per circuit and part of the shots.

    Args:
        call: the checked call.
        models: the noise of each site.
        simulate: submits circuits to Aer.
    """
    train = call.train
    circuits = arrange_lanes(train)
    parts = shot_parts(call.shots, _shots_at_once(train, circuits))
    # Hashed as for a call of single decisions: within a submission Aer steps the seed.
    seeds = np.random.SeedSequence(call.seed).generate_state(len(circuits) * len(parts), np.uint64) >> np.uint64(2)
    spikes = np.zeros((call.shots, train.base.numel()), dtype=np.bool_)
    for number, lanes in enumerate(circuits):
        program = write_lanes(train, lanes, models)
        for part, shots in enumerate(parts):
            seed = int(seeds[number * len(parts) + part])
            (answer,) = simulate([program.circuit], method="density_matrix", shots=shots, seed=seed, memory=True)
            first = sum(parts[:part])
            spikes[first : first + shots, program.places] = _bits(answer.data.memory, len(program.places))
    return TrainOutcome.of(torch.from_numpy(spikes.reshape(call.shots, *train.base.shape)))


def plan_trains(plan: Plan, train: SpikeTrainCircuit, shots: int) -> Plan:
    """The plan of a call with the circuits of Aer in it."""
    if not plan.evaluations:
        return plan
    circuits = arrange_lanes(train)
    parts = len(shot_parts(shots, _shots_at_once(train, circuits)))
    conditionals = int((train.angles != 0).sum())
    return replace(
        plan,
        circuits=len(circuits),
        qubits=1,
        jobs=len(circuits) * parts,
        executions=len(circuits) * shots,
        estimated_seconds=1e-6 * (shots * (plan.evaluations * _STEP + conditionals * _CONDITIONAL) + conditionals * _WRITTEN),
    )


def _shots_at_once(train: SpikeTrainCircuit, circuits: Sequence[Sequence[TrainLane]]) -> int:
    bits = max(sum(len(lane.sites) for lane in lanes) * train.steps for lanes in circuits)
    return max(1, min(JOB_SHOTS, _SUBMISSION_BITS // bits))


def _bits(memory: Sequence[str], count: int) -> npt.NDArray[np.uint8]:
    """The first bits of every shot, `(shots, count)`, from Aer's hexadecimal numbers."""
    size, kept = -(-count // 8), (1 << count) - 1
    shots = b"".join((int(shot, 16) & kept).to_bytes(size, "little") for shot in memory)
    return np.unpackbits(np.frombuffer(shots, np.uint8).reshape(-1, size), axis=1, count=count, bitorder="little")


class _Writer:
    """Writes lanes one after the other; channels that follow each other are multiplied before they are written."""

    def __init__(self, train: SpikeTrainCircuit, lanes: Sequence[TrainLane], models: Sequence[QubitModel]) -> None:
        self.train, self.models = train, models
        sizes = [min(REGISTER_BITS, train.steps - first) for first in range(0, train.steps, REGISTER_BITS)]
        self.registers = {
            (lane.element, site): [ClassicalRegister(size, f"s{lane.element}_{site}_{part}") for part, size in enumerate(sizes)]
            for lane in lanes
            for site in lane.sites
        }
        #: What each site was before a readout error, where that counts for what comes after.
        self.before = ClassicalRegister(train.sites, "before")
        every = [register for registers in self.registers.values() for register in registers]
        self.circuit = QuantumCircuit(QuantumRegister(1, "q"), *every, self.before)
        self.pending: Matrix | None = None
        #: How many groups of marks there are, whose names must differ.
        self.marks = 0

    def lane(self, lane: TrainLane) -> npt.NDArray[np.intp]:
        """Write one lane, and return the places of its bits."""
        train = self.train
        turns = {site: _rotations(self.models[site]) for site in lane.sites}
        base = {site: turns[site](train.base[:, lane.element, site].double().cpu().numpy()) for site in lane.sites}
        angles = train.angles[:, lane.element].double().cpu().numpy()
        still = (train.base[:, lane.element] == 0).tolist()
        for step, site in itertools.product(range(train.steps), lane.sites):
            self._begin(lane, step, site)
            if not still[step][site]:
                self._then(base[site][step])
            numbers = [number for number in train.by_step[step] if angles[number, site] != 0]
            channels = turns[site](angles[numbers, site])
            acting = [(train.conditions[number], channel) for number, channel in zip(numbers, channels, strict=True)]
            for alone, group in itertools.groupby(acting, lambda each: each[0].newest and each[0].first == each[0].last):
                if alone and conditions_are_kept():
                    self._since_last(lane, step, site, {condition.first: channel for condition, channel in group})
                    continue
                for condition, channel in group:
                    source = site if condition.source is None else condition.source
                    self._where(holds(condition, self.registers[lane.element, source]), channel)
            self._read(lane, step, site)
        steps = np.arange(train.steps)
        return np.concatenate([(steps * train.batch + lane.element) * train.sites + site for site in lane.sites])

    def _since_last(self, lane: TrainLane, step: int, site: int, channels: Mapping[int, Matrix]) -> None:
        """The channel of the step of the last spike: from the newest bit to older ones, by jumps over bits that are all 0."""
        self._write()
        self.marks += 1
        end = f"end {self.marks}"
        registers, newest, oldest = self.registers[lane.element, site], step - 1, min(channels)
        while newest >= oldest:
            number, place = divmod(newest, REGISTER_BITS)
            first = number * REGISTER_BITS + place // _BLOCK * _BLOCK
            # What is newer is 0, so the register is below the power of two of the oldest bit of the block if that is empty.
            place = first % REGISTER_BITS
            empty = expr.less(registers[number], 1 << place) if place else expr.equal(registers[number], 0)
            self._jump(f"before {first} {self.marks}", empty)
            for past in range(newest, first - 1, -1):
                bit = expr.lift(self._bit(lane, past, site))
                if past in channels:
                    self.circuit.append(_channel(channels[past], bit), [0])
                self._jump(end, bit)
            self.circuit.append(AerMark(f"before {first} {self.marks}", 1), [0])
            newest = first - 1
        self.circuit.append(AerMark(end, 1), [0])

    def _jump(self, mark: str, condition: expr.Expr) -> None:
        self.circuit.append(AerJump(mark, 1).set_conditional(condition), [0])

    def _begin(self, lane: TrainLane, step: int, site: int) -> None:
        """The qubit as this site has it before its rotations."""
        if step == 0:
            self._then(RESET)
            return
        model = self.models[site]
        if self._remembers(model) and (model.confuses or len(lane.sites) > 1):
            self._then(RESET)
            self._where((self.before[site] if model.confuses else self._bit(lane, step - 1, site), 1), _FLIP)
        if self.train.reset:
            self._then(model.resetting())

    def _read(self, lane: TrainLane, step: int, site: int) -> None:
        """The measurement of a step: a readout error changes the bit, and not the qubit."""
        model = self.models[site]
        if not (self._remembers(model) and model.confuses):
            self._then(model.reading())
        else:
            self._then(model.after("measure"))
            self._measure(self.before[site])
            self._then(model.confusion())
        self._measure(self._bit(lane, step, site))

    def _remembers(self, model: QubitModel) -> bool:
        """Whether what follows a measurement depends on the state that was measured."""
        return not self.train.reset or not model.forgets

    def _bit(self, lane: TrainLane, step: int, site: int) -> Clbit:
        return self.registers[lane.element, site][step // REGISTER_BITS][step % REGISTER_BITS]

    def _then(self, channel: Matrix | None) -> None:
        if channel is not None:
            self.pending = channel if self.pending is None else channel @ self.pending

    def _where(self, condition: Any, channel: Matrix) -> None:
        self._write()
        _append_conditional(self.circuit, condition, channel)

    def _measure(self, bit: Clbit) -> None:
        self._write()
        self.circuit.measure(0, bit)

    def _write(self) -> None:
        if self.pending is not None:
            self.circuit.append(_channel(self.pending), [0])
            self.pending = None


def _append_conditional(circuit: QuantumCircuit, condition: Any, channel: Matrix) -> None:
    """A channel that acts where a condition holds.

    Aer turns an `if_test` into two jumps and two marks, the first of which carries the condition. A channel that carries it by
    itself compiles twenty times as fast and runs in a third of the time.
    """
    if conditions_are_kept():
        circuit.append(_channel(channel, condition if isinstance(condition, expr.Expr) else expr.lift(condition[0])), [0])
    else:
        with circuit.if_test(condition):
            circuit.append(_channel(channel), [0])


def _channel(matrix: Matrix, condition: expr.Expr | None = None) -> Instruction:
    operation = Instruction("superop", 1, 0, [np.ascontiguousarray(matrix)])
    operation.condition_expr = condition
    return operation


@cache
def conditions_are_kept() -> bool:
    """Whether this version of Aer executes a channel only where the condition that it carries holds."""
    circuit = QuantumCircuit(1, 3)
    for bit in range(3):
        circuit.append(_channel(_FLIP, expr.lift(circuit.clbits[bit - 1]) if bit else None), [0])
        circuit.measure(0, bit)
    # Flipped by no condition, flipped back since bit 0 is 1, and left alone since bit 1 is 0.
    counts = AerSimulator(method="density_matrix", max_parallel_threads=1).run(circuit, shots=1).result().data().get("counts")
    return bool(counts == {"0x1": 1})


@lru_cache(maxsize=512)
def _rotations(model: QubitModel) -> Callable[[Floats], npt.NDArray[np.complex128]]:
    """The channels of RY with its noise, `(angles,)` to `(angles, 4, 4)`: each is A + B cos θ + C sin θ.

    Raises:
        UnsupportedError: if the native gates have θ in several of their angles, so that it is not.
    """
    native = Lane(_ROTATION, model).native

    def at(angle: float) -> Matrix:
        (values,) = native.values(np.array([[angle]]))
        channel = np.eye(4, dtype=np.complex128)
        for name, numbers in native.steps:
            gate = GATES[name].base_class(*(values[each] if isinstance(each, int) else each for each in numbers))
            channel = SuperOp(gate).data @ channel
            error = model.after(name)
            channel = channel if error is None else error @ channel
        return channel

    constant, cosine = (at(0.0) + at(np.pi)) / 2, (at(0.0) - at(np.pi)) / 2
    sine = at(np.pi / 2) - constant

    def channels(angles: Floats) -> npt.NDArray[np.complex128]:
        each = np.asarray(angles)[:, None, None]
        return np.asarray(constant + cosine * np.cos(each) + sine * np.sin(each))

    if not np.allclose(channels(np.array([1.0]))[0], at(1.0), rtol=0, atol=1e-9):
        raise UnsupportedError(
            f"Argument `noise` must have native gates that take the angle of an RY once, but has {', '.join(model.basis)}."
        )
    return channels
