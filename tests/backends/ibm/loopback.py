"""A service on the loopback device that speaks the REST interface of IBM's, so that the real client can be tested.

It keeps jobs as the service does, runs their circuits on a simulator, seeded by what was submitted, so that equal
submissions give equal counts, and misbehaves where a test plants a fault. `paid` counts the jobs that ran.
"""

import base64
import datetime
import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import numpy as np
from qiskit.primitives import BackendSamplerV2, BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.json import RuntimeDecoder, RuntimeEncoder

from qlifq.backends.snapshots import load_backend

__all__ = ["ACCESS", "DEVICE", "TOKEN", "Away", "Body", "Job", "Loopback", "account", "connected"]

DEVICE = "ibm_loopback"
TOKEN = "tok-3f9c1b77aa52e0c4"
#: The signature of every access token that the service gives out.
ACCESS = "c2lnbmF0dXJlLW9mLWxvb3BiYWNr"
#: A path that the client leaves as it is, so that an account can lead to the loopback device.
PREFIX = "/experimental"
INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/0:1::"
#: The states of a job, one per request; the last remains.
GOOD = ("Queued", "Queued", "Running", "Completed")


@dataclass
class Job:
    """A job as the service keeps it; `answered` is the id that its submission is answered with, where that is another."""

    id: str
    payload: dict[str, Any]
    states: list[dict[str, Any]]
    result: str
    created: str
    hidden: int = 0
    ran: bool = False
    deleted: bool = False
    foreign: bool = False
    answered: str = ""

    def next_state(self) -> dict[str, Any]:
        """Its state now; it moves on by being looked at."""
        now = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        self.ran = self.ran or now["status"] in {"Running", "Completed", "Failed"}
        return now

    def described(self, state: dict[str, Any]) -> dict[str, object]:
        return {
            "id": self.id,
            "backend": DEVICE,
            "tags": self.payload.get("tags", []),
            "state": state,
            "status": state["status"],
            "created": self.created,
            "program": {"id": self.payload["program_id"]},
            "session_id": self.payload.get("session_id"),
            "private": False,
        }


@dataclass(frozen=True)
class Body:
    """What a service in disorder answers.

    Args:
        text: the answer, as it stands.
        status: its status.
        replaced: where there is one, this text in the proper answer is replaced by `text`, and the rest stays.
    """

    text: str
    status: int = 200
    replaced: str = ""


@dataclass(frozen=True)
class Away:
    """A service that closes every connection at once, from this request on.

    Args:
        seconds: for how long.
    """

    seconds: float


@dataclass
class Loopback:
    """The service; `with Loopback() as service` starts it.

    Args:
        snapshot: class name of the device's snapshot, for configuration and properties.
        states: what the next jobs are seen in.
        faults: what goes wrong, by step ("token", "backends", "configuration", "properties", "status", "usage", "submit",
            "find", "state", "inputs", "result", "cancel", "metrics", "sessions"), one for each request: a status; a status, a
            code of the service's registry and its words; "drop" (closes the connection), "commit+502", "commit+drop", "hang",
            "empty", "commit+call", "truncated", `Body`, `Away`, a function that is called before the answer, or
            None for nothing.
        on_commit: called where a fault says "commit+call".
        hide: how many searches by tag do not see a new job yet.
        any_case: whether it knows a job by its id in whatever case.
    """

    snapshot: str = "fake_manila"
    states: tuple[str | dict[str, object], ...] = GOOD
    faults: dict[str, list[object]] = field(default_factory=dict)
    on_commit: Callable[[], None] = lambda: None
    hide: int = 0
    plan_has_sessions: bool = True
    any_case: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    sessions: dict[str, dict[str, object]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    #: Until when (`time.monotonic`) every connection is closed at once, as by a service that is away.
    away_until: float = 0.0
    #: How many connections were closed because the service was away.
    turned_away: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.released = threading.Event()
        device = load_backend(self.snapshot)
        content = {}
        for name in ("conf", "props"):
            with open(os.path.join(device.dirname, getattr(device, f"{name}_filename")), encoding="utf-8") as file:
                content[name] = json.load(file)
            content[name]["backend_name"] = DEVICE
        self.configuration, self.properties = content["conf"], content["props"]
        self.configuration["simulator"] = False
        self.qubits = self.configuration["n_qubits"]

    @property
    def paid(self) -> int:
        """How many jobs ran, without those of others."""
        return sum(job.ran and not job.foreign for job in self.jobs.values())

    @property
    def alive(self) -> int:
        """How many jobs wait and would run if nobody cancelled them."""
        own = [job for job in self.jobs.values() if not job.foreign and not job.deleted]
        return sum(not job.ran and job.states[-1]["status"] != "Cancelled" for job in own)

    def __enter__(self) -> "Loopback":
        service = self

        class Handler(_Handler):
            owner = service

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return self

    def __exit__(self, *exception: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def commit(self, payload: dict[str, Any]) -> Job:
        """Take a job in."""
        with self.lock:
            states: list[dict[str, Any]] = [state if isinstance(state, dict) else {"status": state} for state in self.states]
            now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
            job = Job(f"d{uuid.uuid4().hex[:19]}", payload, states, run_payload(payload, self.qubits), now, self.hide)
            self.jobs[job.id] = job
            return job

    def fault(self, step: str) -> object:
        """What goes wrong with this request."""
        with self.lock:
            planned = self.faults.get(step)
            return planned.pop(0) if planned else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Loopback

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PATCH(self) -> None:
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        self._answer(lambda path, query, body: self._send(None, 204))

    def _answer(self, act: Callable[[list[str], dict[str, list[str]], str], None]) -> None:
        url = urlsplit(self.path)
        path = url.path.removeprefix(PREFIX)
        if self.owner.any_case:
            known = {job.casefold(): job for job in self.owner.jobs}
            path = "/".join(known.get(part.casefold(), part) for part in path.split("/"))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.owner.log.append(f"{self.command} {path}")
        if time.monotonic() < self.owner.away_until:
            self.owner.turned_away += 1
            self._drop()
            return
        try:
            act(path.strip("/").split("/"), parse_qs(url.query), body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, content: object, status: int = 200, *, raw: bool = False) -> None:
        data = b"" if content is None else (str(content) if raw else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _fails(self, step: str, proper: str = "") -> bool:
        """Whether this request goes wrong, and then it has; `proper` is what would be right."""
        fault = self.owner.fault(step)
        if fault is None:
            return False
        if isinstance(fault, tuple):
            status, code, message = fault
            self._send({"errors": [{"code": code, "message": message, "solution": "", "more_info": ""}]}, status)
        elif isinstance(fault, int):
            # A clumsy service that repeats what it was sent, which must not reach a message.
            sent = f"planted; sent was Authorization: {self.headers.get('Authorization')} for {TOKEN}"
            self._send({"error": {"message": sent, "code": fault}}, fault)
        elif fault == "drop":
            self._drop()
        elif fault == "empty":
            self._send(None)
        elif callable(fault):
            fault()
            return False
        elif isinstance(fault, Away):
            self.owner.away_until = time.monotonic() + fault.seconds
            self._drop()
        elif fault == "truncated":
            self._send('{"id": "cut in the mid', raw=True)
        elif isinstance(fault, Body):
            text = proper.replace(fault.replaced, fault.text) if fault.replaced else fault.text
            self._send(text, fault.status, raw=True)
        elif fault == "hang":
            self.owner.released.wait()
            self.close_connection = True
        else:
            raise AssertionError(fault)
        return True

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _get(self, path: list[str], query: dict[str, list[str]], _: str) -> None:
        owner = self.owner
        match path:
            case ["backends"]:
                if self._fails("backends"):
                    return
                status = {"name": "online"}
                self._send({"devices": [{"name": DEVICE, "qubits": owner.qubits, "status": status, "queue_length": 0}]})
            case ["backends", _, "configuration"]:
                if not self._fails("configuration"):
                    self._send(owner.configuration)
            case ["backends", _, "properties"]:
                if not self._fails("properties"):
                    self._send(owner.properties)
            case ["backends", _, "status"]:
                if not self._fails("status"):
                    self._send({"state": True, "status": "active", "length_queue": 0, "backend_version": "1.0.0"})
            case ["instances", "usage"]:
                if not self._fails("usage"):
                    self._send({"usage_consumed_seconds": 1, "usage_limit_seconds": 600, "usage_limit_reached": False})
            case ["jobs"]:
                if not self._fails("find"):
                    self._send(self._listed(query.get("tags", [])))
            case ["jobs", job, *_] if job in owner.jobs and owner.jobs[job].deleted:
                self._send({"error": {"message": f"job {job} not found", "code": 1291}}, 404)
            case ["jobs", job] if job in owner.jobs and "exclude_params" not in query:
                if not self._fails("inputs"):
                    content = owner.jobs[job].described(owner.jobs[job].states[0]) | {
                        "params": owner.jobs[job].payload["params"]
                    }
                    self._send(json.dumps(content, cls=RuntimeEncoder), raw=True)
            case ["jobs", job] if job in owner.jobs:
                if not self._fails("state"):
                    self._send(owner.jobs[job].described(owner.jobs[job].next_state()))
            case ["jobs", job, "results"]:
                if not self._fails("result", owner.jobs[job].result):
                    self._send(owner.jobs[job].result, raw=True)
            case ["jobs", job, "metrics"]:
                if not self._fails("metrics"):
                    self._send({"usage": {"qpu_charge_time_seconds": 2.5 if owner.jobs[job].ran else 0, "status": "complete"}})
            case ["sessions", session] if session in owner.sessions:
                self._send(owner.sessions[session])
            case _:
                self._send({"error": {"message": f"no {self.path}", "code": 1291}}, 404)

    def _listed(self, tags: list[str]) -> dict[str, object]:
        found = []
        for job in self.owner.jobs.values():
            if not job.deleted and set(tags) <= set(job.payload.get("tags", [])):
                if job.hidden:
                    job.hidden -= 1
                else:
                    found.append(job.described(job.states[0]))
        return {"jobs": found, "count": len(found)}

    def _post(self, path: list[str], _: dict[str, list[str]], body: str) -> None:
        owner = self.owner
        match path:
            case ["identity", "token"]:
                if self._fails("token"):
                    return
                now = int(time.time())
                token = {"access_token": _web_token(now), "refresh_token": "x", "token_type": "Bearer"}
                self._send({**token, "expires_in": 3600, "expiration": now + 3600})
            case ["jobs"]:
                self._submit(json.loads(body, cls=RuntimeDecoder))
            case ["jobs", job, "cancel"]:
                if self._fails("cancel"):
                    return
                found = owner.jobs[job]
                if found.states[0]["status"] in {"Completed", "Failed", "Cancelled"}:
                    self._send({"error": {"message": "it is over", "code": 1292}}, 409)
                    return
                found.states = [{"status": "Cancelled"}]
                self._send(None, 204)
            case ["sessions"]:
                if self._fails("sessions"):
                    return
                if not owner.plan_has_sessions:
                    self._send({"error": {"message": "the plan of this instance has no sessions", "code": 1352}}, 400)
                    return
                session = f"s{uuid.uuid4().hex[:8]}"
                owner.sessions[session] = {
                    "id": session,
                    "accepting_jobs": True,
                    "state": "open",
                    "backend_name": DEVICE,
                    "mode": json.loads(body)["mode"],
                }
                self._send(owner.sessions[session])
            case _:
                self._send({"error": {"message": f"no {self.path}", "code": 1291}}, 404)

    def _patch(self, path: list[str], _: dict[str, list[str]], body: str) -> None:
        self.owner.sessions[path[1]] |= json.loads(body)
        self._send(None, 204)

    def _submit(self, payload: dict[str, Any]) -> None:
        owner = self.owner
        with owner.lock:
            planned = owner.faults.get("submit") or [None]
            committing = isinstance(planned[0], str) and planned[0].startswith("commit+")
            after = owner.fault("submit") if committing else None
        if not committing and self._fails("submit"):
            return
        job = owner.commit(payload)
        if after == "commit+call":
            owner.on_commit()
        if after in {"commit+drop", "commit+call"}:
            self._drop()
        elif after == "commit+502":
            self._send({"error": {"message": "bad gateway", "code": 502}}, 502)
        elif after == "commit+empty":
            self._send(None)
        elif after == "commit+hang":
            owner.released.wait()
            self.close_connection = True
        else:
            self._send({"id": job.answered or job.id, "backend": DEVICE})


def _web_token(now: int) -> str:
    """An access token that expires in an hour."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iat": now, "exp": now + 3600})
    packed = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*packed, ACCESS))


def run_payload(payload: dict[str, Any], qubits: int) -> str:
    """The result of a job as the service encodes it."""
    if payload["program_id"] == "executor":
        return _run_program(payload["params"])
    results = []
    for circuit, values, shots in (tuple(pub) for pub in payload["params"]["pubs"]):
        registers = _sampled(circuit, np.asarray(values, dtype=float), shots)
        shape = next(iter(registers.values())).shape[:-2]
        arrays = {name: BitArray(np.packbits(_padded(bits), axis=-1), bits.shape[-1]) for name, bits in registers.items()}
        results.append(SamplerPubResult(DataBin(**arrays, shape=shape), {"circuit_metadata": circuit.metadata}))
    return json.dumps(PrimitiveResult(results, {"version": 2}), cls=RuntimeEncoder)


def _run_program(params: dict[str, Any]) -> str:
    """The result of a program of the client-side sampler."""
    schemas = import_module("ibm_quantum_schemas.common")
    models = import_module("ibm_quantum_schemas.executor.version_2_0.models")
    program = models.ParamsModel.model_validate(params).quantum_program
    circuits = program.circuits.to_python()
    data = []
    for circuit, item in zip(circuits, program.items, strict=True):
        registers = _sampled(circuit, item.circuit_arguments.to_numpy(), program.shots)
        tensors = {name: schemas.CompressedTensorModel.from_numpy(bits.astype(bool)) for name, bits in registers.items()}
        data.append({"results": {name: tensor.model_dump(mode="json") for name, tensor in tensors.items()}, "metadata": {}})
    passthrough = program.model_dump(mode="json")["passthrough_data"]
    content = {"data": data, "metadata": {"chunk_timing": []}, "passthrough_data": passthrough}
    return str(
        models.QuantumProgramResultModel.model_validate(content | {"semantic_role": program.semantic_role}).model_dump_json()
    )


def _sampled(circuit: Any, values: np.ndarray[Any, Any], shots: int) -> dict[str, np.ndarray[Any, Any]]:
    """The bits `(sets, shots, size)` of each register, bit 0 first, drawn with a seed that is made of what was submitted."""
    steps = [(step.operation.name, [circuit.find_bit(bit).index for bit in step.qubits]) for step in circuit.data]
    words = hashlib.sha256(repr((steps, shots)).encode() + np.ascontiguousarray(values.round(4)).tobytes()).digest()
    seed = int.from_bytes(words[:4], "little") >> 1
    simulator = AerSimulator(method="matrix_product_state", max_parallel_threads=1)
    simulator.set_options(seed_simulator=seed)
    result = (
        BackendSamplerV2(backend=simulator, options={"seed_simulator": seed}).run([(circuit, values)], shots=shots).result()
    )
    return {name: np.unpackbits(bits.array, axis=-1)[..., ::-1][..., : bits.num_bits] for name, bits in result[0].data.items()}


def _padded(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bits, bit 0 first, to whole bytes, bit 0 last."""
    missing = -bits.shape[-1] % 8
    return np.concatenate((np.zeros((*bits.shape[:-1], missing), dtype=bits.dtype), bits[..., ::-1]), axis=-1)


def account(url: str) -> dict[str, str]:
    """Variables of the environment that make the loopback service the client's default account."""
    return {
        "QISKIT_IBM_TOKEN": TOKEN,
        "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
        "QISKIT_IBM_INSTANCE": INSTANCE,
        "QISKIT_IBM_URL": url + PREFIX,
        "IAM_URL": url,
        "QISKIT_FUNCTIONS_EXPERIMENTAL": "1",
    }


@contextmanager
def connected(url: str) -> Iterator[None]:
    """Let the default account lead to the loopback service; the client's retries do not wait long."""
    pause = mock.patch("urllib3.util.retry.Retry.get_backoff_time", return_value=0.001)
    with mock.patch.dict(os.environ, account(url)), pause:
        yield
