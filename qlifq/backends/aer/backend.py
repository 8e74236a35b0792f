"""Shots on Qiskit Aer, laid out for speed, with any one-qubit noise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt
import torch
from qiskit.exceptions import QiskitError
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qlifq._validation import choice, integer
from qlifq.backends.aer.circuits import Lane, program, settled
from qlifq.backends.aer.layout import JOB_SHOTS, LAYOUTS, Layout, arrange, jobs
from qlifq.backends.aer.model import from_noise_model
from qlifq.backends.aer.noise import IDEAL, QubitModel, calibrated, digest, on_site
from qlifq.backends.aer.options import checked_options
from qlifq.backends.aer.trains import plan_trains, run_trains
from qlifq.backends.batching import Batch, Floats, in_turn, on_host, shot_parts
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.noise import DeviceNoise, describe_noise
from qlifq.backends.sampling import draw, masked
from qlifq.backends.snapshots import check_qubits, choose, load_snapshot, read_qubits
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import Gate, SinusoidalResponse, SpikeCircuit, SpikeTrainCircuit
from qlifq.circuits.sinusoidal import RESPONSE_ANGLES
from qlifq.errors import BackendError, DtypeError, UnsupportedError

__all__ = ["AerBackend"]

Counts = npt.NDArray[np.int64]


@final
class AerBackend(Backend):
    """Circuits with real shots on `AerSimulator`, or counts drawn from the law of the same noise.

    Several evaluations share a circuit, whose noise is written in gate by gate, and all parameter sets go in one run. The
    counts of an evaluation depend on the seed and on its place among those that run, and on no number of threads.

    Args:
        noise: None for none; a `DeviceNoise`, which follows each RX and RY as written; a snapshot by name, such as
            "fake_torino", or a Qiskit backend object, whose own gates run with the errors that it reports; or any Aer
            `NoiseModel`, in whose basis gates the circuit runs. A model's qubit stands for the site of the same number, and
            its errors for all qubits where that has none. Each of its errors is applied as Aer does, those on `measure`,
            `delay` and `reset` (in a spike train) among them, or refused by name; one on gates of two qubits never acts,
            since no circuit here has any. An `AerSimulator` stands for its own noise model.
        sampling: "shots" runs every shot. "law" reads P(1) = a + b cos θ + c sin θ off Aer's density matrix once and
            draws the counts: the same distribution in a thousandth of the time, for circuits with one angle.
            Spike trains run shot by shot with either.
        qubits: for a snapshot, a backend or a noise model, the qubits of the sites, in order; None for those that work, best
            first (a model: in their own order). More sites than qubits use them in turn.
        threads: how many threads Aer may use, at least 1; more do not change the counts.
        **simulator: options of `AerSimulator`, such as `device="GPU"`, `precision="single"`, `method` or `max_memory_mb`.

    Raises:
        QLIFError: for a noise of another type, an unknown snapshot, a missing package, or an option out of range or that
            would be ignored.

    Example:
        >>> from qlifq.circuits import RYSpike
        >>> angles = torch.tensor([[[0.0], [torch.pi]]])
        >>> AerBackend().run(RYSpike(), angles, shots=100, seed=1).ones
        tensor([[  0, 100]])
    """

    name = "aer"
    capabilities = Capabilities(
        exact=False, shots=True, noisy=True, differentiable=False, snapshots=True, sampling=("shots", "law"), trains=True
    )

    def __init__(
        self,
        noise: DeviceNoise | NoiseModel | BackendV2 | str | None = None,
        *,
        sampling: str = "shots",
        qubits: Sequence[int] | None = None,
        threads: int = 1,
        **simulator: object,
    ) -> None:
        self.sampling = choice("sampling", sampling, self.capabilities.sampling)
        self.threads = integer("threads", threads, at_least=1)
        if isinstance(noise, BackendV2):
            noise = getattr(noise.options, "noise_model", None) or noise
        #: What was given; of a Qiskit backend its name, since what it reports is read once.
        self.noise = noise.name if isinstance(noise, BackendV2) else noise
        #: The qubits of the sites, in order; None where site s is simply qubit s.
        self.qubits = None if qubits is None else check_qubits(qubits)
        #: One model per site, used in turn; with `_others` given, that one serves all further sites instead.
        self._models: tuple[QubitModel, ...] = (IDEAL,)
        self._others: QubitModel | None = None
        reported = describe_noise(None)
        if qubits is not None and (noise is None or isinstance(noise, DeviceNoise)):
            raise UnsupportedError("Argument `qubits` would be ignored: only a snapshot or a noise model has qubits to choose.")
        if isinstance(noise, DeviceNoise):
            self.sites = noise.sites
            self._models = tuple(on_site(noise.at(site)) for site in range(noise.sites or 1))
            reported = describe_noise(noise)
        elif isinstance(noise, str | BackendV2):
            found = choose(load_snapshot(noise) if isinstance(noise, str) else read_qubits(noise), qubits)
            self.qubits = tuple(found)
            self._models = tuple(calibrated(facts) for facts in found.values())
            reported = noise if isinstance(noise, str) else f"{noise.name}, {digest(self._models)}"
        elif isinstance(noise, NoiseModel):
            own, others = from_noise_model(noise, self.qubits)
            listed = range(max(own, default=-1) + 1) if self.qubits is None else self.qubits
            self._models = tuple(own.get(qubit, others) for qubit in listed)
            self._others = others if self.qubits is None else None
            reported = f"noise model, {digest((*self._models, others))}"
        elif noise is not None:
            raise DtypeError(
                "Argument `noise` must be a DeviceNoise, an Aer NoiseModel, a Qiskit backend, the name of a snapshot or None, "
                f"but is {type(noise).__name__}."
            )
        self.facts = {"noise": reported}
        self._noisy = any(model != IDEAL for model in (*self._models, self._others or IDEAL))
        self._options = checked_options(simulator, type(self), noisy=self._noisy, sampling=self.sampling)
        #: By the gates and the number of sites.
        self._laws: dict[tuple[tuple[Gate, ...], int], SinusoidalResponse] = {}

    def _execute(self, call: Call) -> Outcome:
        models = self._models_of(call.sites)
        shots = cast(int, call.shots)
        if self.sampling == "law":
            probability = self._law(call.circuit, models).probability(call.angles[..., 0].to(torch.float64))
            outcome = draw(masked(probability, call.where), shots, call.seed)
            return replace(outcome, probability=outcome.probability.to(call.angles))
        return on_host(call, lambda batch: self._shoot(call.circuit, batch, models, shots, call.seed))

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        if self._options.get("method", "automatic") not in {"automatic", "density_matrix"}:
            raise UnsupportedError(
                "Argument `method` must be 'density_matrix' for spike trains, whose channels are conditional."
            )
        return run_trains(call, self._models_of(call.train.sites), self._simulate)

    def metadata(self, sites: int) -> Mapping[str, object]:
        """See `Backend.metadata`."""
        return self.facts if self.qubits is None else {"qubits": in_turn(self.qubits, sites), **self.facts}

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`; circuits with delays are counted as if all delays of a slot were equal."""
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        models = self._models_of(sites)
        turns = 1 if self.qubits is None else max(1, -(-sites // len(self.qubits)))
        if self.sampling == "law" or not batch:
            return Plan(evaluations=batch * sites, circuits=0, qubits=0, jobs=0, executions=0, turns=turns)
        drawn = cast(int, shots)
        layout = self._layout(drawn)
        counts = [batch * count for count in Counter(models).values()]
        circuits = arrange(counts, layout.lanes)
        sets = sum(columns[0].length for columns in circuits)
        lane_sets = sum(len(columns) * columns[0].length for columns in circuits)
        return Plan(
            evaluations=batch * sites,
            circuits=len(circuits),
            qubits=min(layout.qubits, max((len(columns) for columns in circuits), default=0)),
            jobs=sum(1 for _ in jobs(circuits, drawn)) * len(shot_parts(drawn, JOB_SHOTS)),
            executions=sets * drawn,
            turns=turns,
            estimated_seconds=1e-6
            * (
                lane_sets * (layout.microseconds + layout.lane_shot_microseconds * drawn)
                + sets * layout.shot_microseconds * drawn
            ),
        )

    def _layout(self, shots: int) -> Layout:
        return LAYOUTS[shots == 1, self._noisy]

    def check_circuit(self, circuit: SpikeCircuit, sites: int) -> None:
        """See `Backend.check_circuit`: the circuit must have what is sampled, and the noise say what a delay does."""
        super().check_circuit(circuit, sites)
        if self.sampling == "law" and not circuit.is_sinusoidal:
            raise UnsupportedError(
                f"Argument `sampling` must be 'shots' for circuit {circuit.name}: only a circuit with one angle, in one "
                f"rotation, has the law, but this is {circuit.draw()}."
            )
        if circuit.has_delay:
            for site, model in enumerate(self._models_of(sites)):
                if not model.delays_known:
                    raise UnsupportedError(
                        f"Argument `noise` must say what happens in a delay for circuit {circuit.name}, but says nothing for "
                        f"site {site}: add an error on `delay`, or give NoiseModel.from_backend, a DeviceNoise or a snapshot."
                    )

    def plan_train(self, train: SpikeTrainCircuit, *, shots: int) -> Plan:
        """See `Backend.plan_train`."""
        plan = super().plan_train(train, shots=shots)
        turns = 1 if self.qubits is None else max(1, -(-train.sites // len(self.qubits)))
        return replace(plan_trains(plan, train, shots), turns=turns)

    def _models_of(self, sites: int) -> tuple[QubitModel, ...]:
        """The noise of each site."""
        if self._others is None:
            return in_turn(self._models, sites)
        return (*self._models[:sites], *[self._others] * (sites - len(self._models)))

    def _law(self, circuit: SpikeCircuit, models: Sequence[QubitModel]) -> SinusoidalResponse:
        """The law of each site, `(sites,)`, read off Aer's density matrix once."""
        key = (circuit.gates, len(models))
        if key not in self._laws:
            distinct = list(dict.fromkeys(models))
            loads = []
            for model in distinct:
                lane = Lane(circuit.gates, model)
                built = program((lane,), 1, measure=False)
                loads.append((built.circuit, built.binds([lane.native.values(np.array(RESPONSE_ANGLES)[:, None])])))
            results = self._submit(loads, method="density_matrix", shots=1, seed=0) if loads else []
            ones = torch.tensor([np.asarray(result.data.density_matrix)[1, 1].real for result in results], dtype=torch.float64)
            laws = SinusoidalResponse.through(*ones.reshape(-1, len(RESPONSE_ANGLES)).T)
            place = {model: number for number, model in enumerate(distinct)}
            self._laws[key] = SinusoidalResponse(*(part[[place[model] for model in models]] for part in laws))
        return self._laws[key]

    def _shoot(self, circuit: SpikeCircuit, batch: Batch, models: Sequence[QubitModel], shots: int, seed: int | None) -> Counts:
        """The number of ones of each evaluation that runs."""
        ones = np.zeros(len(batch.values), dtype=np.int64)
        layout = self._layout(shots)
        lanes, members = _kinds(circuit, batch, models)
        submissions = list(jobs(arrange([len(rows) for rows in members], layout.lanes), shots))
        parts = shot_parts(shots, JOB_SHOTS)
        # One seed per submission, so hashed that the streams of two calls do not meet: within one, Aer steps the seed.
        seeds = np.random.SeedSequence(seed).generate_state(len(submissions) * len(parts), np.uint64) >> np.uint64(2)
        for number, (pieces, part) in enumerate(product(submissions, parts)):
            loads, places = [], []
            for piece in pieces:
                built = program(tuple(lanes[column.kind] for column in piece.columns), layout.qubits)
                rows = [members[column.kind][column.start :: column.step][piece.first : piece.last] for column in piece.columns]
                values = [
                    lanes[column.kind].native.values(batch.values[row]) for column, row in zip(piece.columns, rows, strict=True)
                ]
                loads.append((built.circuit, built.binds(values)))
                places.append(rows)
            results = iter(
                self._submit(loads, method=self._options.get("method", layout.method), shots=part, seed=int(seeds[number]))
            )
            for rows in places:
                counts = [result.data.counts for result in islice(results, len(rows[0]))]
                for row, column in zip(rows, _ones(counts, len(rows)).T, strict=True):
                    ones[row] += column[: len(row)]
        return ones

    def _submit(self, loads: Sequence[tuple[Any, Mapping[Any, Floats]]], *, method: str, shots: int, seed: int) -> list[Any]:
        """One submission to Aer: what it returns for each circuit and parameter set, in that order."""
        circuits, binds = zip(*loads, strict=True)
        answers = self._simulate(circuits, method=method, shots=shots, seed=seed, parameter_binds=list(binds))
        if len(answers) != (sets := sum(len(next(iter(bind.values()))) for bind in binds)):
            raise BackendError(f"Aer failed: {len(answers)} results came back for {sets} sets of angles.")
        return answers

    def _simulate(self, circuits: Sequence[Any], *, method: str, shots: int, seed: int, **options: object) -> list[Any]:
        """One submission to Aer: what it returns."""
        given = {
            # How many of the qubits index a table of partial sums when shots are drawn: half of them is fastest.
            "statevector_sample_measure_opt": 5,
            **self._options,
            "method": method,
            "max_parallel_threads": self.threads,
            "runtime_parameter_bind_enable": "parameter_binds" in options,
        }
        simulator = AerSimulator(**given)
        try:
            result = simulator.run(list(circuits), shots=shots, seed_simulator=seed, **options).result()
        except (QiskitError, RuntimeError, TypeError, ValueError) as error:
            raise BackendError(f"Aer failed: {getattr(error, 'message', error)}") from error
        if not result.success:
            raise BackendError(f"Aer failed: {result.status}")
        return list(result.results)


def _kinds(circuit: SpikeCircuit, batch: Batch, models: Sequence[QubitModel]) -> tuple[list[Lane], list[npt.NDArray[np.intp]]]:
    """The lanes that differ, in noise or in delays, and the rows of the batch that each runs."""
    distinct = list(dict.fromkeys(models))
    slots = circuit.delay_slots
    if not slots and len(distinct) <= 1:
        return [Lane(circuit.gates, model) for model in distinct], [np.arange(len(batch.sites))] * len(distinct)
    place = {model: number for number, model in enumerate(distinct)}
    number = np.array([place[model] for model in models], dtype=np.intp)[batch.sites]
    relaxing = np.array([model.relaxes for model in distinct], dtype=bool)[number]
    keys = np.column_stack((number, batch.values[:, slots] * relaxing[:, None]))
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    lanes = [Lane(settled(circuit.gates, dict(zip(slots, key[1:], strict=True))), distinct[int(key[0])]) for key in unique]
    order = np.argsort(inverse, kind="stable")
    return lanes, np.split(order, np.cumsum(np.bincount(inverse, minlength=len(lanes)))[:-1])


def _ones(counts: Sequence[Mapping[str, int]], lanes: int) -> Counts:
    """How often each bit was 1, `(sets, lanes)`, from Aer's counts by hexadecimal number."""
    starts = np.cumsum([0, *(len(each) for each in counts[:-1])])
    keys = np.array([int(key, 16) for each in counts for key in each], dtype=np.uint64)
    times = np.array([time for each in counts for time in each.values()], dtype=np.int64)
    bits = ((keys[:, None] >> np.arange(lanes, dtype=np.uint64)) & np.uint64(1)).astype(np.int64)
    return np.asarray(np.add.reduceat(bits * times[:, None], starts))
