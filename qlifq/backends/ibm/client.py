"""The official client of IBM's service, behind the few acts that the protocol needs.

Accounts are the client's own, as it saved them; nothing of them is kept or written. Every request has a deadline of ours,
since the client waits for an answer without end.
"""

import queue
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from qiskit import transpile
from qiskit.exceptions import QiskitError

from qlifq._packages import load
from qlifq.backends.flat import Floats
from qlifq.backends.ibm.channel import Found
from qlifq.backends.ibm.entries import FAILED, Entry
from qlifq.backends.ibm.work import Counts, Work, delay_slots
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, QLIFError, ServiceError

__all__ = ["MODES", "SAMPLERS", "ServiceChannel", "connect"]

T = TypeVar("T")

#: How jobs reach the device: each by itself, or in a batch or a session that the account's plan must allow.
MODES = ("job", "batch", "session")
#: The two samplers of the client: the one that runs on the service's side, and the one on the client's that replaces it.
SAMPLERS = ("service", "client")

#: How much longer a submission may take than another request: it carries the circuits and the angles.
_SUBMITTING = 15
_MAX_TRANSPILED = 64
_LONGEST = 500
#: The longest that the service lets a job run, seconds.
_MOST_SECONDS = 10_800
#: What the two samplers are called at the service.
_PROGRAMS = {"sampler", "executor"}
#: What the service says when an account has as many jobs waiting as it may: code 3458 of its registry.
_FULL = re.compile(r"\b3458\b|pending jobs", re.IGNORECASE)
#: What tells that nothing was done, by its status; of these a later try may succeed after the last alone.
_REFUSALS = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429}
_TOO_MANY = 429
#: The client's error for a job that ran longer than it was allowed to: another would too.
_RAN_TOO_LONG = "RuntimeJobMaxTimeoutError"
#: A word that announces a secret with what follows it, and access tokens, which can be told by themselves.
_SECRET = re.compile(
    r"(?i)\b(authorization|bearer|apikey|api[ _-]?key|token|password|secret)\b[\"'\s:=]+((bearer|apikey)\s+)?[^\s\"',;}]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)


def connect(account: str | None, instance: str | None) -> Any:
    """The service, with an account that the client saved."""
    runtime = load("qiskit_ibm_runtime", package="qiskit_ibm_runtime", feature="Backend ibm", install="'qlifq[ibm]'")
    return runtime.QiskitRuntimeService(name=account, instance=instance)


class ServiceChannel:
    """Jobs on a device of IBM's service.

    Args:
        device: name of the device, such as "ibm_boston".
        account: name under which the client saved the account; None for its default.
        instance: the service instance; None for the account's.
        mode: one of `MODES`.
        sampler: one of `SAMPLERS`.
        answer_seconds: how long the service may take to answer.

    Raises:
        QLIFError: if there is no such account or device, or the service does not answer.

    Attributes:
        backend: the client's device, for its target and properties.
    """

    def __init__(
        self,
        device: str,
        *,
        account: str | None = None,
        instance: str | None = None,
        mode: str = "job",
        sampler: str = "service",
        answer_seconds: float = 60.0,
    ) -> None:
        self.device, self.mode, self.sampler, self.answer_seconds = device, mode, sampler, answer_seconds
        self._secrets: tuple[str, ...] = ()
        self._jobs: dict[str, Any] = {}
        self._transpiled: dict[object, Any] = {}
        self._open: Any = None
        try:
            self._service = self._call("connecting to the service", lambda: connect(account, instance))
            self._secrets = self._own_secrets()
            self.backend = self._call(f"looking for device {device}", lambda: self._service.backend(device))
        except ServiceError as error:
            if error.again:
                raise
            raise ArgumentError(
                f"Device {device} cannot be reached: {error} An account is saved once with "
                "QiskitRuntimeService.save_account(...)."
            ) from None

    def submit(self, work: Work, entry: Entry, max_seconds: float | None) -> str:
        """Submit a job once; the client itself tries again where the service answers with certain errors."""
        pubs = self._pubs(work, entry)
        options: dict[str, Any] = {"environment": {"job_tags": ["qlifq", entry.tag]}}
        if max_seconds is not None:
            options["max_execution_time"] = min(max(1, int(max_seconds)), _MOST_SECONDS)
        sampler = self._sampler(options)
        job = self._call("submitting", lambda: sampler.run(pubs, shots=work.shots), _SUBMITTING)
        return self._known(job)

    def find(self, entry: Entry) -> list[Found]:
        """The jobs with the tag of the entry, oldest first."""
        jobs = self._call("looking for jobs", lambda: self._service.jobs(limit=50, job_tags=[entry.tag], descending=False))
        return [Found(self._known(job), self.state(job.job_id())) for job in jobs]

    def runs(self, job: str, entry: Entry) -> bool:
        """Whether a job runs what the entry says, by its device, its program, and the request and shots that it was given.

        Where the service does not tell what a job was given its tag is what there is.
        """

        def ask() -> bool:
            found = self._job(job)
            if found.primitive_id not in _PROGRAMS or found.backend().name != entry.device:
                return False
            try:
                told = found.inputs
            except QiskitError:
                raise
            except Exception:
                # What another client wrote, this one may not be able to read.
                return True
            requests, shots = _given(told)
            return not told or (requests == {entry.request} and shots <= {entry.shots})

        return self._call("asking what a job runs", ask)

    def state(self, job: str) -> str:
        """The state of a job; one the client does not know passes through."""
        state = str(self._call("asking for a job", lambda: self._job(job).status()))
        # Older services put the reason into the state, as in "Cancelled - Ran too long".
        return FAILED if state == "ERROR" else "CANCELLED" if state.startswith("CANCELLED") else state

    def result(self, job: str, entry: Entry) -> Counts:
        """The ones of every set and qubit, once shape, shots and request are those of the entry."""
        answer = self._call("fetching a result", lambda: self._job(job).result())
        if answer is None:
            raise ServiceError(f"Job {job} is done, but the service gave an empty result; the same command asks again.")
        ones = np.full((entry.sets, len(entry.qubits)), -1, dtype=np.int64)
        for part in answer:
            told: Mapping[str, Any] = part.metadata.get("circuit_metadata") or {}
            if told.get("qlifq_request") != entry.request:
                raise ServiceError(f"Job {job} gave the result of another request, {told.get('qlifq_request')}.", again=False)
            bits = part.data.spike
            sets = told.get("sets", range(entry.sets))
            if (bits.num_shots, bits.num_bits, bits.size) != (entry.shots, len(entry.qubits), len(sets)):
                raise ServiceError(
                    f"Job {job} gave {bits.size} sets of {bits.num_shots} shots on {bits.num_bits} qubits, but was asked for "
                    f"{len(sets)} of {entry.shots} on {len(entry.qubits)}.",
                    again=False,
                )
            ones[list(sets)] = _ones(bits)
        if (ones < 0).any():
            raise ServiceError(f"Job {job} gave no result for {int((ones < 0).any(1).sum())} sets.", again=False)
        return ones

    def usage(self, job: str) -> float | None:
        """The device seconds that were charged, None where they are not settled."""
        told = self._call("asking what a job cost", lambda: self._job(job).metrics()).get("usage") or {}
        seconds = told.get("qpu_charge_time_seconds", told.get("quantum_seconds"))
        return None if seconds is None or told.get("status") == "pending" else float(seconds)

    def reason(self, job: str) -> tuple[str, bool]:
        """Why a job failed; another may succeed unless it ran for too long."""

        def ask() -> tuple[str, str]:
            try:
                self._job(job).result()
            except QiskitError as error:
                # The client tells the kind of failure by the error alone.
                return type(error).__name__, str(error.message)
            return "", "for no reason that the service tells"

        kind, text = self._call("asking why a job failed", ask)
        return f"failed: {self._plain(text)}", kind != _RAN_TOO_LONG

    def cancel(self, job: str) -> bool:
        """Cancel a job; False where it was over already."""
        try:
            self._call("cancelling a job", lambda: self._job(job).cancel())
        except ServiceError:
            if self.state(job) in {"DONE", FAILED, "CANCELLED"}:
                return False
            raise
        return True

    def open(self, session: str | None) -> str | None:
        """Open the session or batch, or go back to the one that is open still; None in mode "job"."""
        if self.mode == "job":
            return None
        runtime = load("qiskit_ibm_runtime", package="qiskit_ibm_runtime", feature="Backend ibm", install="'qlifq[ibm]'")
        kind = runtime.Session if self.mode == "session" else runtime.Batch
        if self._open is None and session is not None:
            try:
                earlier = self._call("looking for a session", lambda: kind.from_id(session, self._service))
                if self._call("asking for a session", earlier.details).get("accepting_jobs"):
                    self._open = earlier
            except ServiceError as error:
                if error.again:
                    raise
        if self._open is None:
            self._open = self._call(f"opening a {self.mode}", lambda: kind(self.backend))
        return str(self._open.session_id)

    def close(self) -> None:
        """Close the session or batch; jobs that are in it still run."""
        if self._open is not None:
            self._call(f"closing the {self.mode}", self._open.close)
            self._open = None

    def _pubs(self, work: Work, entry: Entry) -> list[tuple[Any, Floats]]:
        """One transpiled circuit with all its parameter sets for every group of equal delays."""
        slots = delay_slots(work.circuit)
        turned = [slot for slot in range(work.circuit.num_angles) if slot not in slots]
        groups = work.groups()
        pubs = []
        for sets in groups:
            values = work.values[sets]
            native = self._native(work.circuit, work.qubits, values[0][:, slots], slots)
            native.metadata = {"qlifq_request": entry.request} | ({} if len(groups) == 1 else {"sets": sets.tolist()})
            pubs.append((native, values[:, :, turned].reshape(len(sets), -1)))
        return pubs

    def _native(self, circuit: SpikeCircuit, qubits: tuple[int, ...], delays: Floats, slots: list[int]) -> Any:
        """The circuit in the device's gates on these qubits, transpiled once."""
        key = (circuit.gates, qubits, delays.tobytes())
        if key not in self._transpiled:
            written = circuit.to_qiskit(len(qubits))
            if slots:
                angle = {parameter.index: parameter for parameter in written.parameters}
                written = written.assign_parameters(
                    {
                        angle[copy * circuit.num_angles + slot]: float(delays[copy, place])
                        for copy in range(len(qubits))
                        for place, slot in enumerate(slots)
                    }
                )
            if len(self._transpiled) >= _MAX_TRANSPILED:
                self._transpiled.pop(next(iter(self._transpiled)))
            self._transpiled[key] = transpile(
                written, self.backend, initial_layout=list(qubits), optimization_level=1, seed_transpiler=0
            )
        return self._transpiled[key]

    def _sampler(self, options: dict[str, Any]) -> Any:
        """The sampler that was asked for."""
        runtime = load("qiskit_ibm_runtime", package="qiskit_ibm_runtime", feature="Backend ibm", install="'qlifq[ibm]'")
        make = runtime.SamplerV2
        if self.sampler == "client":
            make = load(
                "qiskit_ibm_runtime.executor_sampler",
                package="qiskit_ibm_runtime",
                feature="Argument `sampler`='client'",
                install="'qlifq[ibm]'",
            ).Sampler
        with warnings.catch_warnings():
            # The client announces that this sampler will be replaced by the other; `sampler` is how the user chooses.
            warnings.simplefilter("ignore", DeprecationWarning)
            return make(mode=self.backend if self._open is None else self._open, options=options)

    def _job(self, job: str) -> Any:
        """The client's object of a job; called within `_call`."""
        if job not in self._jobs:
            self._jobs[job] = self._service.job(job)
        return self._jobs[job]

    def _known(self, job: Any) -> str:
        self._jobs[job.job_id()] = job
        return str(job.job_id())

    def _call(self, what: str, act: Callable[[], T], times: int = 1) -> T:
        """Ask the service, no longer than a deadline."""
        answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put((act(), None))
            except Exception as error:
                answers.put((None, error))

        threading.Thread(target=ask, daemon=True).start()
        limit = times * self.answer_seconds
        try:
            answer, error = answers.get(timeout=limit)
        except queue.Empty:
            raise ServiceError(f"IBM's service did not answer within {limit:g} seconds while {what}.") from None
        if isinstance(error, QLIFError):
            raise error
        if error is not None:
            # Not `from error`: what the client says may repeat what it sent, with its authorization.
            raise self._told(what, error) from None
        return answer  # type: ignore[return-value]

    def _told(self, what: str, error: Exception) -> ServiceError:
        """An error of the client in one sentence, and whether anything may have happened."""
        status: int | None = None
        names = set()
        chain: BaseException | None = error
        while chain is not None:
            names.add(type(chain).__name__)
            code = getattr(chain, "status_code", None)
            status = code if status is None and isinstance(code, int) and code > 0 else status
            chain = chain.__cause__ or chain.__context__
        text = self._plain(str(getattr(error, "message", error)))
        refused = status in _REFUSALS or bool(names & _CLIENT_SIDE)
        again = not refused or status == _TOO_MANY or _FULL.search(text) is not None
        return ServiceError(f"IBM's service failed while {what}: {text}.", refused=refused, again=again)

    def _own_secrets(self) -> tuple[str, ...]:
        """What must not appear in a message: looked up to be left out, and kept nowhere else."""
        told = self._call("asking for the account", self._service.active_account) or {}
        return tuple(str(value) for name, value in told.items() if name in {"token", "apikey"} and value)

    def _plain(self, text: str) -> str:
        """What the client says, in one line, without secrets and of bearable length."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(_SECRET.sub("***", text).split()).strip("'\" ").rstrip(".")[:_LONGEST]


#: Errors of the client before it sends anything.
_CLIENT_SIDE = {
    "IBMInputValueError",
    "IBMNotAuthorizedError",
    "AccountNotFoundError",
    "InvalidAccountError",
    "QiskitBackendNotFoundError",
    "ValidationError",
}


def _given(inputs: Mapping[str, Any]) -> tuple[set[object], set[object]]:
    """The requests that the circuits of a job carry, and its shots, for either sampler; nothing where it is of another form."""
    try:
        if "quantum_program" in inputs:
            program = inputs["quantum_program"]
            circuits, shots = program["passthrough_data"]["post_processor"]["circuits_metadata"], {program["shots"]}
        else:
            circuits = [pub[0].metadata for pub in inputs["pubs"]]
            shots = {pub[2] for pub in inputs["pubs"]}
        return {(told or {}).get("qlifq_request") for told in circuits}, shots
    except (LookupError, TypeError, AttributeError):
        return set(), set()


def _ones(bits: Any) -> Counts:
    """How often each qubit was read as 1 in each set, `(sets, width)`, from packed bits, the last qubit first."""
    unpacked = np.unpackbits(bits.array.reshape(bits.size, bits.num_shots, -1), axis=-1)
    return np.asarray(unpacked[..., ::-1][..., : bits.num_bits].sum(axis=-2, dtype=np.int64))
