"""The official client of IBM's service, behind the few requests that the protocol needs.

Accounts are the client's own, as it saved them; nothing of them is kept or written. Every request has a deadline of ours,
since the client waits for an answer without end.
"""

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

from qiskit import transpile
from qiskit.exceptions import QiskitError

from qlifq._packages import load
from qlifq._text import one_line
from qlifq.backends.batching import Floats
from qlifq.backends.ibm.channel import Found
from qlifq.backends.ibm.cost import Device
from qlifq.backends.ibm.job_spec import JobSpec, Result, WrittenCircuit
from qlifq.backends.ibm.options import twirled
from qlifq.backends.ibm.requests import ServiceRequests
from qlifq.backends.ibm.results import read_result
from qlifq.backends.ibm.secrets import masked, secrets_of
from qlifq.backends.ibm.submissions import FAILED, Entry
from qlifq.errors import ArgumentError, ServiceError, UnsupportedError

__all__ = ["MODES", "SAMPLERS", "ServiceChannel", "connect"]

#: How jobs reach the device: each by itself, or in a batch or a session that the account's plan must allow.
MODES = ("job", "batch", "session")
#: The two samplers of the client: the one that runs on the service's side, and the one on the client's that replaces it.
#: By what a user calls them, where their classes are: the client's top-level names will be pointed from one to the other.
SAMPLERS = {
    "service": ("qiskit_ibm_runtime.sampler", "SamplerV2"),
    "client": ("qiskit_ibm_runtime.executor_sampler", "Sampler"),
}

#: How much longer a submission may take than another request: it carries the circuits and the angles.
_SUBMITTING = 15
_MAX_TRANSPILED = 64
_LONGEST_STATE = 40
_LONGEST_REASON = 500
#: The longest that the service lets a job run, seconds.
_MOST_SECONDS = 10_800
#: What the two samplers are called at the service.
_PROGRAMS = {"sampler", "executor"}
#: The client's errors for a job that is over without a result, and the one for one that ran longer than it was allowed to:
#: another would too.
_RAN_TOO_LONG = "RuntimeJobMaxTimeoutError"
_NO_RESULT = {"RuntimeJobFailureError", "RuntimeInvalidStateError", _RAN_TOO_LONG}
#: What ids and names of devices are made of: they become a part of a URL.
_NAME = re.compile("[A-Za-z0-9_-]{1,200}")
_SAVED_ONCE = "An account is saved once with QiskitRuntimeService.save_account(...)."


def connect(account: str | None, instance: str | None) -> Any:
    """The service, with an account that the client saved."""
    return _runtime().QiskitRuntimeService(name=account, instance=instance)


class ServiceChannel:
    """Jobs on a device of IBM's service.

    Args:
        device: name of the device, such as "ibm_boston".
        account: name under which the client saved the account; None for its default.
        instance: the service instance; None for the account's.
        mode: one of `MODES`.
        sampler: one of `SAMPLERS`.
        fractional: whether rotations may be single pulses, of a device that has them.
        twirling: over how many random flips of the measurement the shots are spread; None for no flips.
        answer_seconds: how long the service may take to answer.

    Raises:
        QLIFError: if there is no such account or device, or the service does not answer.

    Attributes:
        facts: what the device says about itself.
    """

    def __init__(
        self,
        device: str,
        *,
        account: str | None = None,
        instance: str | None = None,
        mode: str = "job",
        sampler: str = "service",
        fractional: bool = False,
        twirling: int | None = None,
        answer_seconds: float = 60.0,
    ) -> None:
        if not _NAME.fullmatch(device):
            raise ArgumentError(f"Argument `device` must be a name such as ibm_boston, but is {device!r}.")
        self.device, self.mode, self.sampler, self._twirling = device, mode, sampler, twirling
        self._requests = ServiceRequests(answer_seconds)
        self._jobs: dict[str, Any] = {}
        self._transpiled: dict[object, Any] = {}
        self._open: Any = None
        saved = _saved_account(account)
        self._secrets = secrets_of(saved)
        send = self._requests.send
        try:
            # By itself, since what the client requests first hides why it failed.
            send("signing in", lambda: _sign_in(saved))
            self._service = send("connecting to the service", lambda: connect(account, instance))
            self._requests.guard(self._service)
            send("requesting the account's usage", lambda: dict(self._service.usage()))
            self._backend = send(f"looking for device {device}", lambda: self._service.backend(device))
            if fractional:
                found = send(f"looking for device {device}", lambda: self._service.backends(device, use_fractional_gates=True))
                self._backend = found[0]
            self._requests.guard(self._service)
        except ServiceError as error:
            if error.again:
                raise
            refusal = ArgumentError(f"Device {device} cannot be reached: {error.said} {_SAVED_ONCE}")
        else:
            self.facts = send(f"reading the properties of {device}", lambda: Device.read(self._backend))
            if fractional and "rx" not in self.facts.target.operation_names:
                raise UnsupportedError(f"Argument `fractional` must be False for device {device}, which has no fractional RX.")
            return
        raise refusal

    def submit(self, work: JobSpec, entry: Entry, max_seconds: float | None) -> str:
        """Submit a job once; the client itself tries again where the service answers with certain errors."""
        pubs = self._pubs(work, entry)
        options: dict[str, Any] = {"environment": {"job_tags": ["qlifq", entry.tag]}}
        if self._twirling is not None:
            options["twirling"] = twirled(work.shots, self._twirling)
        if max_seconds is not None:
            options["max_execution_time"] = min(max(1, int(max_seconds)), _MOST_SECONDS)
        return self._requests.send(
            "submitting", lambda: self._known(self._sampler(options).run(pubs, shots=work.shots)), times=_SUBMITTING
        )

    def find(self, entry: Entry) -> list[Found]:
        """The jobs with the tag of the entry, oldest first."""
        jobs = self._requests.send(
            "looking for jobs",
            lambda: [self._known(job) for job in self._service.jobs(limit=50, job_tags=[entry.tag], descending=False)],
        )
        return [Found(job, self.state(job)) for job in jobs]

    def runs(self, job: str, entry: Entry) -> bool:
        """Whether a job runs what the entry says, by its device, its program, and the request and shots that it was given.

        Where the service does not say what a job was given its tag is what there is.
        """

        def read() -> bool:
            found = self._job(job)
            if found.primitive_id not in _PROGRAMS or found.backend().name != entry.device:
                return False
            try:
                inputs = found.inputs
            except QiskitError:
                raise
            except Exception:
                # What another client wrote, this one may not be able to read.
                return True
            requests, shots = _given(inputs)
            return not inputs or (requests == {entry.request} and shots <= {entry.shots})

        return self._requests.send("requesting what a job runs", read)

    def state(self, job: str) -> str:
        """The state of a job; one the client does not know passes through."""
        state = self._requests.send(
            "requesting the state of a job", lambda: one_line(str(self._job(job).status()), _LONGEST_STATE)
        )
        # Older services put the reason into the state, as in "Cancelled - Ran too long".
        return FAILED if state == "ERROR" else "CANCELLED" if state.startswith("CANCELLED") else state

    def result(self, job: str, entry: Entry) -> Result:
        """What came of a job, once shape, shots and request are those of the entry."""
        unreadable = (
            f"Job {job} is done, but the service gave a result that cannot be read ({{}}): `qlifq jobs forget {job}` does "
            "without it."
        )
        return self._requests.send(
            "fetching a result", lambda: read_result(self._job(job).result(), job, entry), unreadable=unreadable
        )

    def usage(self, job: str) -> float | None:
        """The device seconds that were charged, None where they are not settled."""
        return self._requests.send("requesting the charge of a job", lambda: _charged(self._job(job).metrics()))

    def reason(self, job: str) -> tuple[str, bool]:
        """Why a job failed; another may succeed unless it ran for too long."""

        def read() -> tuple[str, str]:
            try:
                self._job(job).result()
            except QiskitError as error:
                # The client states the kind of failure by the error alone.
                if type(error).__name__ not in _NO_RESULT:
                    raise
                return type(error).__name__, str(error.message)
            return "", "for no reason that the service gives"

        kind, text = self._requests.send("requesting why a job failed", read)
        text = one_line(masked(text), _LONGEST_REASON).strip("'\" ").rstrip(".")
        return f"failed: {text}", kind != _RAN_TOO_LONG

    def cancel(self, job: str) -> bool:
        """Cancel a job; False where it was over already."""
        try:
            self._requests.send("cancelling a job", lambda: self._job(job).cancel())
        except ServiceError:
            if self.state(job) in {"DONE", FAILED, "CANCELLED"}:
                return False
            raise
        return True

    def open(self, session: str | None) -> str | None:
        """Open the session or batch, or go back to the one that is open still; None in mode "job"."""
        if self.mode == "job":
            return None
        kind = _runtime().Session if self.mode == "session" else _runtime().Batch

        def again() -> None:
            earlier = kind.from_id(_checked("session", session), self._service)
            if earlier.details().get("accepting_jobs"):
                self._open = earlier

        def anew() -> None:
            # Kept where it was opened: one whose answer comes when nobody waits for it any more is closed with the others.
            self._open = kind(self._backend)

        if self._open is None and session is not None:
            try:
                self._requests.send("looking for a session", again)
            except ServiceError as error:
                if error.again:
                    raise
        if self._open is None:
            self._requests.send(f"opening a {self.mode}", anew, to_the_end=True)
        return _checked("session", self._open.session_id)

    def close(self) -> None:
        """Close the session or batch; jobs that are in it still run."""
        if self._open is not None:
            self._requests.send(f"closing the {self.mode}", self._open.close, to_the_end=True)
            self._open = None

    def _pubs(self, work: JobSpec, entry: Entry) -> list[tuple[Any, Floats]]:
        """Every circuit of a job, transpiled, with all its parameter sets."""
        written = work.written()
        pubs = []
        for each in written:
            native = self._native(each, work.qubits)
            native.metadata = {"qlifq_request": entry.request, **work.metadata}
            native.metadata |= {} if len(written) == 1 else {"sets": each.sets.tolist()}
            pubs.append((native, each.values))
        return pubs

    def _native(self, written: WrittenCircuit, qubits: tuple[int, ...]) -> Any:
        """A circuit in the device's gates on these qubits, transpiled once."""
        if written.key not in self._transpiled:
            if len(self._transpiled) >= _MAX_TRANSPILED:
                self._transpiled.pop(next(iter(self._transpiled)))
            # Given the device itself, the transpiler may send requests to the service again.
            self._transpiled[written.key] = transpile(
                written.circuit,
                target=self.facts.target,
                translation_method=self.facts.translation,
                initial_layout=list(qubits),
                optimization_level=1,
                seed_transpiler=0,
            )
        return self._transpiled[written.key]

    def _sampler(self, options: dict[str, Any]) -> Any:
        """The chosen sampler; called within `ServiceRequests.send`."""
        module, name = SAMPLERS[self.sampler]
        feature = f"Argument `sampler`={self.sampler!r}"
        make = getattr(load(module, package="qiskit_ibm_runtime", feature=feature, install="'qlifq[ibm]'"), name)
        with warnings.catch_warnings():
            # The client announces that this sampler will be replaced by the other; `sampler` is how the user chooses.
            warnings.simplefilter("ignore", DeprecationWarning)
            return make(mode=self._backend if self._open is None else self._open, options=options)

    def _job(self, job: str) -> Any:
        """The client's object of a job; called within `ServiceRequests.send`."""
        if job not in self._jobs:
            self._jobs[job] = self._service.job(_checked("job", job))
        return self._jobs[job]

    def _known(self, job: Any) -> str:
        """The id of a job, whose object is kept."""
        name = _checked("job", job.job_id())
        self._jobs[name] = job
        return name


def _runtime() -> Any:
    return load("qiskit_ibm_runtime", package="qiskit_ibm_runtime", feature="Backend ibm", install="'qlifq[ibm]'")


def _saved_account(name: str | None) -> Any:
    """The account that the client saved under that name, or its default."""
    _runtime()
    accounts = load("qiskit_ibm_runtime.accounts", package="qiskit_ibm_runtime", feature="Backend ibm", install="'qlifq[ibm]'")
    try:
        return accounts.AccountManager.get(name=name).validate()
    except Exception as error:
        reason = one_line(masked(str(getattr(error, "message", error))), _LONGEST_REASON).rstrip(".")
    raise ArgumentError(
        f"Argument `account` must name an account that IBM's client saved, but there is none: {reason}. {_SAVED_ONCE}"
    )


def _sign_in(account: Any) -> None:
    """Request an access token, and forget it."""
    account.get_auth_handler().tm.get_token()


def _checked(kind: str, name: object) -> str:
    """An id from the service or a journal, before it becomes a part of a URL."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ServiceError(
            f"The id of a {kind} must consist of letters, digits, - and _, but is {one_line(repr(name), 80)}.", again=False
        )
    return name


def _charged(metrics: Any) -> float | None:
    """The device seconds in a job's metrics, None where they are not settled."""
    usage = metrics.get("usage") or {}
    seconds = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
    if seconds is None or usage.get("status") == "pending":
        return None
    if not 0 <= (charged := float(seconds)) < math.inf:
        raise ValueError(f"{charged} seconds")
    return charged


def _given(inputs: Mapping[str, Any]) -> tuple[set[object], set[object]]:
    """The requests that the circuits of a job carry, and its shots, for either sampler; nothing where it is of another form."""
    try:
        if "quantum_program" in inputs:
            program = inputs["quantum_program"]
            circuits, shots = program["passthrough_data"]["post_processor"]["circuits_metadata"], {program["shots"]}
        else:
            circuits = [pub[0].metadata for pub in inputs["pubs"]]
            shots = {pub[2] for pub in inputs["pubs"]}
        return {(metadata or {}).get("qlifq_request") for metadata in circuits}, shots
    except (LookupError, TypeError, AttributeError):
        return set(), set()
