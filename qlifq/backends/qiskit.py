"""Any backend or sampler object of Qiskit, transpiled once and run with its parameter sets in one PUB."""

import hashlib
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, cast, final

import numpy as np
import numpy.typing as npt
from qiskit import transpile
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, StatevectorSampler
from qiskit.providers import BackendV2
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.backends.aerbackend import AerBackend
from qiskit_aer.primitives import SamplerV2 as AerSampler

from qlifq.backends.batching import Batch, Floats, Spread, in_turn, on_host, same_rows, shot_parts, spread
from qlifq.backends.description import is_snapshot
from qlifq.backends.ibm.job_spec import DelayGrid
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.snapshots import QubitFacts, check_qubits, load_backend, read_qubits
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, DtypeError, UnsupportedError

__all__ = ["QiskitBackend"]

Counts = npt.NDArray[np.int64]

#: How many qubits of a simulator stand side by side, since each doubles its state.
_SIMULATED_QUBITS = 4
#: The most shots of all parameter sets together that one run of a simulator keeps in memory.
_RUN_SHOTS = 2**20
_MAX_TRANSPILED = 256


class _Target(NamedTuple):
    """What runs the circuits.

    Args:
        name: what it is called.
        backend: what is transpiled for; None for a sampler that takes any circuit.
        sampler: the sampler of a call with this seed.
        local: whether it runs on this machine.
        seeded: whether the seed fixes the counts.
    """

    name: str
    backend: Any
    sampler: Callable[[int | None], Any]
    local: bool
    seeded: bool


@final
class QiskitBackend(Backend):
    """Shots on any Qiskit `BackendV2` or `BaseSamplerV2` object, a device of another provider or a simulator.

    Sites stand side by side on the qubits with the least reported errors, site s on the s-th, and the batch becomes
    parameter sets of one circuit, which is transpiled once and runs as one PUB; each pair of delays that differs is one more.

    Args:
        target: a backend object, such as `GenericBackendV2(5)`, `FakeTorino()`, `AerSimulator()` or a provider's device; a
            sampler object; the name of a snapshot, such as "fake_torino"; None for Qiskit's `StatevectorSampler`, which has no
            noise. A simulator, and a sampler of one, is seeded by each call where it can be; `capabilities.seeded` says so.
        qubits: the qubits of the sites, in order; None for those that work, best first, of a simulator the best four. More
            sites than qubits use them in turn.

    Raises:
        QLIFError: for another object, a device that has its own backend here, a sampler whose seed is fixed, or qubits that
            do not work.

    Example:
        >>> import torch
        >>> from qlifq.circuits import RYSpike
        >>> angles = torch.tensor([[[0.0], [torch.pi]]])
        >>> QiskitBackend(AerSimulator()).run(RYSpike(), angles, shots=100, seed=1).ones
        tensor([[  0, 100]])
    """

    name = "qiskit"
    capabilities = Capabilities(exact=False, shots=True, noisy=False, differentiable=False)

    def __init__(self, target: BackendV2 | BaseSamplerV2 | str | None = None, *, qubits: Sequence[int] | None = None) -> None:
        self._target = _resolved(load_backend(target, "target") if isinstance(target, str) else target)
        backend = self._target.backend
        noise: str | None = None
        #: The qubits of the sites, in order; None where all are equal.
        self.qubits: tuple[int, ...] | None = None
        if backend is None or backend.target.num_qubits is None:
            if qubits is not None:
                raise UnsupportedError(f"Argument `qubits` would be ignored: {self._target.name} has no qubits to choose.")
            noise = "none" if isinstance(target, StatevectorSampler | BasicSimulator | None) else None
        else:
            found = _reported(backend)
            chosen = check_qubits(qubits) if qubits is not None else tuple(found)
            if unknown := [qubit for qubit in chosen if qubit not in found]:
                raise ArgumentError(
                    f"Argument `qubits` must hold qubits that {self._target.name} has and that work, but holds {unknown[0]}."
                )
            self.qubits = chosen[:_SIMULATED_QUBITS] if qubits is None and self._target.local else chosen
            noise = _describe_noise(backend, {qubit: found[qubit] for qubit in self.qubits}) if self._target.local else None
        # A snapshot is described by its name, as that of `ibm` is.
        snapshot = self._target.local and is_snapshot(self._target.name)
        kind = "simulator" if self._target.local and not snapshot else "device"
        self.facts = {kind: self._target.name, **({} if noise is None or snapshot else {"noise": noise})}
        self.capabilities = replace(
            self.capabilities,
            remote=not self._target.local,
            seeded=self._target.seeded,
            max_shots=_most_shots(backend),
        )
        tick = getattr(backend, "dt", None)
        grid = 1 if tick is None else max(backend.target.pulse_alignment, backend.target.acquire_alignment, 1)
        self._delays = DelayGrid(None if tick is None else tick * grid, None)
        #: By the gates, the number of qubits and the delays.
        self._transpiled: dict[tuple[object, int, bytes], Any] = {}

    def _execute(self, call: Call) -> Outcome:
        report: dict[str, object] = {}

        def evaluate(batch: Batch) -> Counts:
            laid = spread(batch, self._width, None if self.qubits is None else call.sites)
            values, change = self._delays.rounded(call.circuit, laid.values)
            if change is not None:
                report["delay_change_seconds"] = change
            return self._run_all(call, laid._replace(values=values))

        outcome = on_host(call, evaluate)
        return replace(outcome, metadata=report)

    def metadata(self, sites: int) -> Mapping[str, object]:
        """See `Backend.metadata`."""
        return self.facts if self.qubits is None else {"qubits": in_turn(self.qubits, sites), **self.facts}

    def check_circuit(self, circuit: SpikeCircuit, sites: int) -> None:
        """See `Backend.check_circuit`: the target must have a delay where the circuit has one."""
        super().check_circuit(circuit, sites)
        backend = self._target.backend
        if circuit.has_delay and backend is not None and "delay" not in backend.target.operation_names:
            raise UnsupportedError(
                f"Argument `circuit` must have no delay on {self._target.name}, which has no such instruction, but is "
                f"{circuit.draw()}."
            )

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`; circuits with delays are counted as if all delays of a slot were equal."""
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        evaluations, drawn = batch * sites, cast(int, shots)
        if not evaluations:
            return Plan(evaluations=0, circuits=0, qubits=0, jobs=0, executions=0)
        width = min(self._width, evaluations if self.qubits is None else sites)
        turns = 1 if self.qubits is None else -(-sites // width)
        sets = -(-evaluations // width) if self.qubits is None else batch * turns
        return Plan(
            evaluations=evaluations,
            circuits=1,
            qubits=width,
            jobs=-(-sets // self._sets(drawn)) * len(self._parts(drawn)),
            executions=sets * drawn,
            turns=turns,
        )

    @property
    def _width(self) -> int:
        return _SIMULATED_QUBITS if self.qubits is None else len(self.qubits)

    def _sets(self, shots: int) -> int:
        """How many parameter sets one run takes."""
        return max(1, _RUN_SHOTS // min(shots, _RUN_SHOTS)) if self._target.local else 2**31

    def _parts(self, shots: int) -> list[int]:
        return shot_parts(shots, _RUN_SHOTS) if self._target.local else [shots]

    def _run_all(self, call: Call, laid: Spread) -> Counts:
        """The number of ones of each evaluation."""
        shots = cast(int, call.shots)
        circuits, width, _ = laid.values.shape
        ones = np.zeros((circuits, width), dtype=np.int64)
        groups = same_rows(laid.values[:, :, call.circuit.delay_slots].reshape(circuits, -1))
        size = self._sets(shots)
        runs = [group[start : start + size] for group in groups for start in range(0, len(group), size)]
        parts = self._parts(shots)
        # One seed per run, so hashed that the streams of two calls do not meet.
        seeds = np.random.SeedSequence(call.seed).generate_state(len(runs) * len(parts), np.uint64) >> np.uint64(2)
        drawn = iter(seeds.tolist())
        for rows in runs:
            native = self._native(call.circuit, laid.values[rows[0]])
            for part in parts:
                ones[rows] += self._submit(native, laid.values[rows], part, next(drawn))
        return np.asarray(ones[laid.rows, laid.wires])

    def _submit(self, native: Any, values: Floats, shots: int, seed: int) -> Counts:
        """One run: the number of ones of each set and qubit."""
        sets, width, _ = values.shape
        # The parameters are those of `SpikeCircuit.to_qiskit`, by their place in its vector.
        columns = [parameter.index for parameter in native.parameters]
        bound = values.reshape(sets, -1)[:, columns]
        pubs = [(native, bound)] if columns else [(native,)] * sets
        try:
            with warnings.catch_warnings():
                # What a simulator lacks in noise is part of its description.
                warnings.filterwarnings("ignore", message=".*has no QubitProperties", category=UserWarning)
                results = self._target.sampler(seed).run(pubs, shots=shots).result()
            packed = np.concatenate([np.asarray(result.data.spike.array, dtype=np.uint8) for result in results])
        except Exception as error:
            raise BackendError(f"Target {self._target.name} failed: {error}") from error
        packed = packed.reshape(sets, -1, -(-width // 8))
        if packed.shape[1] < shots:
            raise BackendError(f"Target {self._target.name} failed: {packed.shape[1]} shots came back of {shots}.")
        # Twirling rounds the shots up: what is beyond those of the call is dropped. The last byte holds bit 0, at its end.
        bits = np.unpackbits(packed[:, :shots], axis=-1)[..., ::-1][..., :width]
        return np.asarray(bits.sum(axis=1, dtype=np.int64))

    def _native(self, circuit: SpikeCircuit, values: Floats) -> Any:
        """The circuit with the delays of one set, `(width, num_angles)`, in the gates of its qubits, transpiled once."""
        slots, width = circuit.delay_slots, len(values)
        key = (circuit.gates, width, values[:, slots].tobytes())
        if key not in self._transpiled:
            written = self._delays.constants(circuit).to_qiskit(width)
            waits = {copy * circuit.num_angles + slot: float(values[copy, slot]) for copy in range(width) for slot in slots}
            fixed = {parameter: waits[parameter.index] for parameter in written.parameters if parameter.index in waits}
            written = written.assign_parameters(fixed)
            if self._target.backend is not None:
                layout = None if self.qubits is None else list(self.qubits[:width])
                try:
                    written = transpile(
                        written, self._target.backend, initial_layout=layout, optimization_level=1, seed_transpiler=0
                    )
                except Exception as error:
                    raise UnsupportedError(
                        f"Argument `circuit` must be one that {self._target.name} can run, but {circuit.draw()} is not: {error}"
                    ) from error
            if len(self._transpiled) >= _MAX_TRANSPILED:
                self._transpiled.pop(next(iter(self._transpiled)))
            self._transpiled[key] = written
        return self._transpiled[key]


def _resolved(target: object) -> _Target:
    """What a user may give, as a target."""
    if target is None:
        return _of_sampler(StatevectorSampler())
    if isinstance(target, BackendV2):
        if any(kind.__name__ == "IBMBackend" for kind in type(target).__mro__):
            raise UnsupportedError(
                f"Argument `target` must not be a device of IBM's service: get('ibm', device={target.name!r}) runs it and "
                "keeps a journal of what was paid."
            )
        return _of_backend(target)
    if isinstance(target, BaseSamplerV2):
        return _of_sampler(target)
    raise DtypeError(f"Argument `target` must be a Qiskit BackendV2 or BaseSamplerV2, but is {type(target).__name__}.")


def _of_backend(backend: Any, options: Mapping[str, object] = MappingProxyType({})) -> _Target:
    name, local = backend.name or type(backend).__name__, _is_local(backend)
    if isinstance(backend, AerSimulator) and not options:
        return _Target(name, backend, lambda seed: AerSampler.from_backend(backend, seed=seed), True, True)

    def sampler(seed: int | None) -> Any:
        return BackendSamplerV2(backend=backend, options={**options, "seed_simulator": seed if local else None})

    return _Target(name, backend, sampler, local, local)


def _of_sampler(given: Any) -> _Target:
    """A sampler of Qiskit or Aer is built anew with the seed of each call; any other is used as it is."""
    if isinstance(given, StatevectorSampler):
        return _Target("statevector_sampler", None, _statevectors, True, True)
    if isinstance(given, BackendSamplerV2):
        return _of_backend(given.backend, vars(given.options))
    found = getattr(given, "backend", None) or getattr(given, "_backend", None)
    found = found() if inspect.ismethod(found) else found
    backend = found if isinstance(found, BackendV2) else None
    name = backend.name if backend is not None else type(given).__name__
    if isinstance(given, AerSampler) and backend is not None:
        options = vars(given.options)
        return _Target(name, backend, lambda seed: AerSampler.from_backend(backend, seed=seed, options=options), True, True)
    seed = getattr(getattr(getattr(given, "options", None), "simulator", None), "seed_simulator", getattr(given, "seed", None))
    if isinstance(seed, int):
        raise UnsupportedError(
            f"Argument `target` must be a sampler without a seed, since all calls would share it, but has {seed}."
        )
    return _Target(name, backend, lambda _: given, backend is not None and _is_local(backend), False)


def _statevectors(seed: int | None) -> StatevectorSampler:
    # From a number it would draw the same shots for every parameter set; from a generator it does not.
    return StatevectorSampler(seed=np.random.default_rng(seed))


def _is_local(backend: Any) -> bool:
    """Whether a backend is a simulator that runs here: one of Aer, Qiskit or the snapshots of IBM's client."""
    snapshot = any(kind.__name__ == "FakeBackendV2" for kind in type(backend).__mro__)
    return snapshot or isinstance(backend, AerBackend | BasicSimulator | GenericBackendV2)


def _reported(backend: Any) -> Mapping[int, QubitFacts | None]:
    """The qubits that work, best first; in their own order where a simulator has its noise in a model."""
    try:
        return read_qubits(backend)
    except UnsupportedError:
        return dict.fromkeys(range(backend.num_qubits or 0))


def _describe_noise(backend: Any, used: Mapping[int, QubitFacts | None]) -> str:
    """The noise of a simulator, the same text for the same noise."""
    model = getattr(backend.options, "noise_model", None) if isinstance(backend, AerSimulator) else None
    if model is not None:
        if model.is_ideal():
            return "none"
        # A model of a device holds its errors as arrays.
        source, words = repr(model.to_dict(serializable=True)), "noise model"
    else:
        if not any(facts is not None and (facts.cost or math.isfinite(facts.t1)) for facts in used.values()):
            return "none"
        source, words = (
            repr([(qubit, facts and (*facts[:4], sorted(facts.gates.items()))) for qubit, facts in used.items()]),
            "reported errors",
        )
    return f"{words}, sha256 {hashlib.sha256(source.encode()).hexdigest()[:16]}"


def _most_shots(backend: Any) -> int | None:
    """The most shots of one run, where a backend says so."""
    bounds = getattr(getattr(backend, "options", None), "validator", {}).get("shots")
    return int(bounds[1]) if isinstance(bounds, tuple) and len(bounds) == 2 else None
