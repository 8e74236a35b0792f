"""The backend `ibm`."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast, final

import numpy as np
import numpy.typing as npt

from qlifq._files import PathLike, as_path
from qlifq._validation import choice, flag, optional_integer, real
from qlifq.backends.batching import Batch, in_turn, on_host
from qlifq.backends.description import is_snapshot
from qlifq.backends.ibm.channel import Channel, RetryPolicy
from qlifq.backends.ibm.client import MODES, SAMPLERS, ServiceChannel
from qlifq.backends.ibm.cost import Cost, Device
from qlifq.backends.ibm.exit_guard import ExitGuard
from qlifq.backends.ibm.job_spec import MAX_EXECUTIONS, DecisionJob, DelayGrid, JobSpec, Result, job_sizes, laid_out
from qlifq.backends.ibm.journal import Journal, default_path, opened
from qlifq.backends.ibm.options import device_name, refuse_options
from qlifq.backends.ibm.protocol import JobRunner
from qlifq.backends.ibm.snapshot import SnapshotChannel
from qlifq.backends.ibm.submissions import Entry, Run
from qlifq.backends.ibm.train_job import spikes_of, split
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.snapshots import check_qubits, choose, load_backend
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import SpikeCircuit, SpikeTrainCircuit
from qlifq.errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

__all__ = ["IBMBackend"]

_LONGEST_NAME = 2000


@final
class IBMBackend(Backend):
    """Shots on an IBM device, or on the snapshot of one, through the same code; never on one in place of the other.

    All evaluations of a call are packed onto the best qubits of the device, site s on the s-th, and submitted at once: the
    batch becomes parameter sets of one circuit that is transpiled once. Each submission is written to a journal before it is
    made and its result before it is used, so after a crash the same command takes up its jobs and pays none of them again.

    What makes a call the same is its run, seed, circuit, angles, shots and qubits. Within a run a seed and content that ran
    before give the counts that came before, on a device too. A call without a seed is never taken up again.

    Args:
        device: "ibm_…" for a device of IBM's service, with an account that the client saved; "fake_…" for the snapshot of
            one, run here with the calibrated noise of the qubits that are used.
            A backend object of IBM's client stands for its name.
        run: name under which the journal keeps the jobs; the same name takes up a run that was interrupted. None is a new
            name, and for a snapshot no record at all.
        qubits: the qubits of the sites, in order; None for those that work, best first, as they were when the run began. More
            sites than qubits use them in turn.
        max_device_seconds: the most device seconds of the run, over all its starts. None keeps the bound of an earlier start.
        account: name of the saved account; None for the default.
        instance: service instance; None for the account's.
        mode: "job" submits each by itself; "batch" or "session" opens one, where the account's plan has them.
        sampler: "service" is the client's `SamplerV2`, "client" its successor.
        fractional: whether a rotation may be one pulse `rx` instead of two `sx`, on a device that has fractional gates.
        twirling: measurement twirling over this many random flips, which makes the two readout errors equal; the shots of a
            call must be a multiple of it, so that no more run than the call has. None flips nothing.
        delay_step: seconds; delays are rounded to multiples of it, so that fewer circuits differ. None for the device's clock.
        wait_seconds: how long a call waits for its jobs; they themselves go on.
        poll_seconds: the longest pause between two requests for the state of a job.
        grace_seconds: how long a job may take to be found by its tag, before it counts as never submitted.
        answer_seconds: how long the service may take to answer a request, fifteen times that for a submission.
        journal: path of the journal; None for `QLIFQ_JOURNAL`, or `.qlifq/jobs.sqlite` at home.
        command: the command line that goes on with the run, for the journal.
        watch: called with a few words on what is waited for, whenever that changes.
        **refused: options of IBM's samplers that cannot act on the counts of one qubit; each is refused, with the reason.

    Raises:
        QLIFError: for an unknown device, an account that does not work, a missing package, or an option that is out of range
            or would be ignored.

    Example:
        >>> import torch
        >>> from qlifq.circuits import RYSpike
        >>> backend = IBMBackend("fake_torino")
        >>> backend.run(RYSpike(), torch.full((2, 3, 1), torch.pi / 2), shots=1000, seed=1).probability.round(decimals=1)
        tensor([[0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000]])
    """

    name = "ibm"
    capabilities = Capabilities(
        exact=False,
        shots=True,
        noisy=False,
        differentiable=False,
        remote=True,
        max_shots=MAX_EXECUTIONS,
        device=True,
        trains=True,
    )

    def __init__(
        self,
        device: "str | BackendV2 | None" = None,
        *,
        run: str | None = None,
        qubits: Sequence[int] | None = None,
        max_device_seconds: float | None = None,
        account: str | None = None,
        instance: str | None = None,
        mode: str = "job",
        sampler: str = "service",
        fractional: bool = False,
        twirling: int | None = None,
        delay_step: float | None = None,
        wait_seconds: float = 86_400.0,
        poll_seconds: float = 5.0,
        grace_seconds: float = 20.0,
        answer_seconds: float = 60.0,
        journal: PathLike | None = None,
        command: str | None = None,
        watch: Callable[[str], None] | None = None,
        **refused: object,
    ) -> None:
        refuse_options(refused, type(self))
        if device is None:
            raise ArgumentError(
                "Argument `device` must be a name such as ibm_boston, or fake_torino for a snapshot, but is missing."
            )
        device = device_name(device)
        self.device = device
        self.snapshot = is_snapshot(device)
        self.twirling = optional_integer("twirling", twirling, at_least=1)
        flag("fractional", fractional)
        options = {"fractional": fractional or None, "twirling": self.twirling}
        #: Options that change what a result means.
        self._options = tuple(f"{name}={value}" for name, value in options.items() if value is not None)
        self.facts = {"device": device, **{name: value for name, value in options.items() if value is not None}}
        self.run_name = _run_name(run, device)
        self.max_device_seconds = (
            None if max_device_seconds is None else real("max_device_seconds", max_device_seconds, above=0.0)
        )
        choice("mode", mode, MODES)
        choice("sampler", sampler, SAMPLERS)
        if self.twirling is not None and sampler == "client":
            raise UnsupportedError(
                "Argument `twirling` must be None for sampler='client': sampler='service' twirls measurements."
            )
        step = None if delay_step is None else real("delay_step", delay_step, above=0.0)
        self._retry = RetryPolicy(
            real("wait_seconds", wait_seconds, above=0.0),
            real("poll_seconds", poll_seconds, above=0.0),
            # Where a process ran its own jobs, one that is not there will not appear.
            0.0 if self.snapshot else real("grace_seconds", grace_seconds, at_least=0.0),
        )
        answer = real("answer_seconds", answer_seconds, above=0.0)
        self._command, self._watch = command, watch
        #: Nobody can take up a snapshot's run that has no name, and nothing of it was paid; but a budget is kept there.
        unneeded = self.snapshot and run is None and max_device_seconds is None
        self.journal = None if unneeded else (journal or default_path())
        self._remote: ServiceChannel | None = None
        #: The id of the session or batch that this object opened or went back to.
        self._session: str | None = None
        self._guard = ExitGuard(self.close)
        if self.snapshot:
            ignored = {"account": account, "instance": instance, "mode": None if mode == "job" else mode}
            ignored["sampler"] = None if sampler == "service" else sampler
            for option, value in (ignored | options).items():
                if value is not None:
                    raise UnsupportedError(
                        f"Argument `{option}` would be ignored: {device} is a snapshot, which runs here, but it is {value!r}."
                    )
            found = Device.read(load_backend(device, "device"))
        else:
            self._remote = ServiceChannel(
                device,
                account=account,
                instance=instance,
                mode=mode,
                sampler=sampler,
                fractional=fractional,
                twirling=self.twirling,
                answer_seconds=answer,
            )
            found = self._remote.facts
        facts = found.qubits
        self._operations = frozenset(found.target.operation_names)
        kept = None
        if self.journal is not None and as_path("journal", self.journal).exists():
            kept = next(iter(self._journal().runs(self.run_name)), None)
        again = kept is not None and (qubits is None or tuple(check_qubits(qubits)) == kept.qubits)
        #: The physical qubits of the sites, in order. A run keeps its own: what it paid counts whatever became of them.
        self.qubits = kept.qubits if kept is not None and again else tuple(choose(facts, qubits))
        self._faulty = frozenset(self.qubits) - set(facts)
        self._cost = Cost.of(found, {qubit: facts[qubit] for qubit in self.qubits if qubit in facts} or facts)
        self._delays = DelayGrid(self._cost.tick, step)
        self._channel: Channel = self._remote or SnapshotChannel(device)
        if self.snapshot:
            self.capabilities = replace(self.capabilities, remote=False)

    def _execute(self, call: Call) -> Outcome:
        """See `Backend._execute`.

        Where any evaluation runs, the metadata report the ids of the jobs, how many of them the journal had already, and
        for delays the greatest change by rounding, in seconds.
        """
        report: dict[str, object] = {}

        def evaluate(batch: Batch) -> npt.NDArray[np.int64]:
            jobs, rows, change = self._jobs(call, batch)
            finished, reused = self._run_jobs(jobs)
            report.update(jobs=tuple(entry.job for entry, _ in finished), jobs_reused=reused)
            if change is not None:
                report["delay_change_seconds"] = change
            every = np.zeros(call.angles.shape[:2], dtype=np.int64)
            every[rows] = np.concatenate([counts for _, counts in finished]).reshape(len(rows), -1)[:, : call.sites]
            return np.asarray(every.reshape(-1)[batch.places])

        outcome = on_host(call, evaluate)
        return replace(outcome, metadata=report)

    def check_size(self, batch: int, sites: int, shots: int | None) -> None:
        """See `Backend.check_size`: twirling spreads the shots evenly, or the service rounds them up and charges that."""
        super().check_size(batch, sites, shots)
        if self.twirling is not None and shots is not None and shots % self.twirling:
            raise ArgumentError(f"Argument `shots` must be a multiple of twirling={self.twirling}, but is {shots}.")

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        """See `Backend._execute_train`; the metadata report the jobs as for `run`."""
        placed = split(call.train, self.qubits, call.shots, _mark(call.seed), self.device)
        finished, reused = self._run_jobs([each.job for each in placed])
        spikes = spikes_of(placed, [result for _, result in finished], (call.shots, *call.train.base.shape))
        report = {"jobs": tuple(entry.job for entry, _ in finished), "jobs_reused": reused}
        return TrainOutcome.of(spikes, report)

    def check_train(self, train: SpikeTrainCircuit, *, shots: int, seed: int | None) -> None:
        """See `Backend.check_train`: the device must have conditional gates and, where a train needs it, a reset."""
        super().check_train(train, shots=shots, seed=seed)
        if self._options:
            raise UnsupportedError(f"Argument `{self._options[0].partition('=')[0]}` must be left out for a spike train.")
        if lacking := [name for name in ("if_else", "reset")[: 1 + train.reset] if name not in self._operations]:
            raise UnsupportedError(
                f"Argument `device` must offer {' and '.join(lacking)} for a spike train, but {self.device} does not."
            )

    def plan_train(self, train: SpikeTrainCircuit, *, shots: int) -> Plan:
        """See `Backend.plan_train`; how long a job waits for its turn nobody knows."""
        plan = super().plan_train(train, shots=shots)
        if not plan.evaluations:
            return plan
        jobs = [each.job for each in split(train, self.qubits, shots, None, self.device)]
        return replace(
            plan,
            circuits=len({(job.qubits, job.structure) for job in jobs}),
            qubits=max(len(job.qubits) for job in jobs),
            jobs=len(jobs),
            executions=sum(job.executions for job in jobs),
            turns=-(-train.sites // len(self.qubits)),
            device_seconds=sum(self._seconds(job) for job in jobs),
            conditionals=max(job.train.conditionals for job in jobs),
        )

    def _run_jobs(self, jobs: Sequence[JobSpec]) -> tuple[list[tuple[Entry, Result]], int]:
        """The entry and the counts of each job, and how many of them the journal had already."""
        journal = self._journal()
        with journal.holding(self.run_name):
            known = journal.begin(Run(self.run_name, self.device, self.qubits, self.max_device_seconds, None, self._command))
            if known.qubits != self.qubits:
                raise ArgumentError(
                    f"Argument `qubits` must be those that run {known.name} began with, {list(known.qubits[:8])}…, but is "
                    f"{list(self.qubits[:8])}…: another choice is another `run`."
                )

            def ready(lacking: Sequence[JobSpec]) -> None:
                self._refuse_faulty(lacking)
                self._open(journal, known)

            runner = JobRunner(
                journal,
                self._channel,
                known.name,
                known.budget_seconds,
                self._seconds,
                self._retry,
                self._watch or _silent,
                ready,
            )
            return runner.run(jobs)

    def metadata(self, sites: int) -> Mapping[str, object]:
        """See `Backend.metadata`."""
        return {**self.facts, "qubits": in_turn(self.qubits, sites)}

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`; circuits with delays are counted as if all delays of a slot were equal.

        The device seconds of a snapshot are those of its device. How long a job waits for its turn nobody knows.
        """
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        if not batch or not sites:
            return Plan(evaluations=0, circuits=0, qubits=0, jobs=0, executions=0)
        drawn, width = cast(int, shots), min(sites, len(self.qubits))
        turns = -(-sites // width)
        sizes = job_sizes(batch * turns, drawn, width)
        return Plan(
            evaluations=batch * sites,
            circuits=1,
            qubits=width,
            jobs=len(sizes),
            executions=batch * turns * drawn,
            turns=turns,
            device_seconds=sum(self._cost.seconds(size * drawn, 0.0) for size in sizes),
        )

    def finish(self) -> None:
        """Say that the run has led to what it was for: its command, given again, begins another."""
        if self.journal is not None and as_path("journal", self.journal).exists():
            self._journal().finish(self.run_name)

    def close(self) -> None:
        """Close the session or batch, if one is open: a session is charged while it is."""
        if self._remote is not None:
            self._remote.close()
            if self._session is not None:
                self._journal().forget_session(self.run_name, self._session)
                self._session = None
        self._guard.disarm()

    def _refuse_faulty(self, jobs: Sequence[JobSpec]) -> None:
        for job in jobs:
            if faulty := sorted(self._faulty.intersection(job.qubits)):
                raise ArgumentError(
                    f"Argument `run` must be a new name for further jobs on {self.device}: qubit {faulty[0]} of run "
                    f"{self.run_name} does not work any more."
                )

    def _open(self, journal: Journal, known: Run) -> None:
        """Open the session or batch, or go back to the one of the run; nothing in mode "job"."""
        if self._remote is None or self._session is not None:
            return
        if self._remote.mode != "job":
            self._guard.arm()
        self._session = self._remote.open(known.session)
        if self._session is not None and self._session != known.session:
            journal.set_session(known.name, self._session)

    def _jobs(self, call: Call, chosen: Batch) -> tuple[list[DecisionJob], npt.NDArray[np.intp], float | None]:
        """The jobs of a call, the elements of the batch that they hold, and how far delays were changed."""
        batch, sites, slots = call.angles.shape
        every = np.zeros((batch * sites, slots))
        every[chosen.places] = chosen.values
        rows = np.unique(chosen.places // sites)
        values, change = self._delays.rounded(call.circuit, every.reshape(batch, sites, slots)[rows])
        width, shots = min(sites, len(self.qubits)), cast(int, call.shots)
        laid = laid_out(values, width)
        mark = _mark(call.seed)
        circuit = self._delays.constants(call.circuit)
        jobs, first = [], 0
        for part, size in enumerate(job_sizes(len(laid), shots, width)):
            jobs.append(
                DecisionJob(
                    circuit, laid[first : first + size], self.qubits[:width], shots, mark, part, self.device, self._options
                )
            )
            first += size
        return jobs, rows, change

    def _journal(self) -> Journal:
        return opened(self.journal, paid=not self.snapshot)

    def _seconds(self, job: JobSpec) -> float:
        return job.seconds(self._cost)


def _mark(seed: int | None) -> int:
    """The seed, or without one a random number: nothing else distinguishes two calls, and neither is taken up again."""
    return secrets.randbits(63) if seed is None else seed


def _run_name(run: object, device: str) -> str:
    """The name of the run, or a new one."""
    if run is None:
        return f"{device} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {secrets.token_hex(3)}"
    if not isinstance(run, str) or not run.strip() or len(run) > _LONGEST_NAME or not run.isprintable():
        raise ArgumentError(f"Argument `run` must be a name of up to {_LONGEST_NAME} printable characters, but is {run!r}.")
    return run


def _silent(_: str) -> None:
    pass
