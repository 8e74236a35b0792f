"""The one way to the service: a deadline for every request, and one sentence for whatever goes wrong.

The client waits for an answer without end, repeats requests by itself, hides the causes of some failures, and lets the errors
of its parsers through. Here each request ends within a deadline, with an answer or a `ServiceError` that holds no secret, and
nothing of the client's errors goes further.
"""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from qlifq._text import one_line
from qlifq.backends.ibm.secrets import masked, masked_output
from qlifq.errors import QLIFError, ServiceError

__all__ = ["ServiceRequests"]

T = TypeVar("T")

_LONGEST = 500
#: The statuses that say that nothing was done; of these a later try may succeed after the last alone.
_REFUSALS = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429}
#: What the service says when an account has as many jobs waiting as it may: code 3458 of its registry.
_FULL = re.compile(r"\b3458\b|pending jobs", re.IGNORECASE)
_SLOW, _TOO_MANY, _FAILING = 408, 429, 500
_DEVICE = "QiskitBackendNotFoundError"
#: Errors of the client before it sends anything.
_CLIENT_SIDE = {
    "AccountNotFoundError",
    "IBMInputValueError",
    "IBMNotAuthorizedError",
    "InvalidAccountError",
    _DEVICE,
    "ValidationError",
}
#: Errors of a connection, by the names that the client's packages give them.
_CONNECTION = {
    "_RefusalError",
    "ApiException",
    "RequestsApiError",
    "ConnectionError",
    "RetryError",
    "Timeout",
    "ProtocolError",
    "OSError",
}
#: What is said about the innermost cause of a failed connection, by the error's name; the first that is there counts.
_CAUSES = {
    "gaierror": "its address cannot be found; is this machine online?",
    "SSLError": "the secure connection cannot be made",
    "ProxyError": "the proxy does not let the connection through",
    "ConnectionRefusedError": "the connection was refused",
    "ConnectTimeoutError": "the connection could not be made in time",
    "ReadTimeoutError": "the answer did not come in time",
}
_HOST = re.compile(r"host='([\w.-]+)'")
_PAGE = re.compile(r"(?is)<!doctype html.*|<html.*")


_LATER = "The same command tries again."
_CHECK = "Check the account, its instance and what its plan allows."


class _Thread(threading.local):
    """The deadline of the act in this thread, and what went wrong with its last request that did not go well."""

    end: float | None = None
    failed: BaseException | None = None


class _RefusalError(Exception):
    """An answer with a status that is none of success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status_code = status


_HERE = _Thread()


class ServiceRequests:
    """Sends requests to the service, in a thread of its own, each within a deadline.

    Args:
        answer_seconds: how long the service may take for one act.
    """

    def __init__(self, answer_seconds: float) -> None:
        self.answer_seconds = answer_seconds

    def send(
        self,
        what: str,
        act: Callable[[], T],
        *,
        times: int = 1,
        unreadable: str | None = None,
        to_the_end: bool = False,
    ) -> T:
        """The answer of one act.

        Args:
            what: what is done, as a phrase that follows "while".
            act: what sends the request; every error of it is one of the service.
            times: how many times the usual deadline it has.
            unreadable: the sentence for an answer that cannot be read, with {} for how; None for one like the others, whose
                answer may be better when the service is itself again.
            to_the_end: whether an interrupt waits for the answer, as what was requested is charged from then on.

        Raises:
            ServiceError: if it fails or does not answer in time.
            QLIFError: what `act` raises on purpose.
        """
        limit = times * self.answer_seconds
        answers: queue.SimpleQueue[tuple[T | None, QLIFError | None]] = queue.SimpleQueue()
        end = time.monotonic() + limit

        def work() -> None:
            answers.put(_answer(what, act, end, unreadable))

        thread = threading.Thread(target=work, daemon=True)
        try:
            try:
                thread.start()
            except RuntimeError:
                # No thread can be started when the interpreter ends; the deadlines of the requests hold here too.
                work()
            answer, problem = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            late = f"IBM's service did not answer within {limit:g} seconds while {what}."
            answer, problem = None, ServiceError(late, away=True, hint=_LATER)
        except BaseException:
            if to_the_end and thread.ident is not None:
                with suppress(queue.Empty):
                    answers.get(timeout=max(0.0, end - time.monotonic()))
            raise
        if problem is not None:
            raise problem
        return answer  # type: ignore[return-value]

    def guard(self, service: Any) -> None:
        """Give the requests of the client's service this deadline too, so that none goes on when nobody waits for it."""
        clients = [*getattr(service, "_api_clients", {}).values(), getattr(service, "_active_api_client", None)]
        for session in filter(None, (getattr(client, "_session", None) for client in clients)):
            tokens = getattr(session.auth, "tm", None)
            for prefix, adapter in list(session.adapters.items()):
                if not isinstance(adapter, _Adapter):
                    session.mount(prefix, _Adapter(adapter, tokens, self))
            if tokens is not None:
                tokens.request_time = 0
                tokens.http_config = {**tokens.http_config, "timeout": self.answer_seconds}


class _Adapter:
    """What sends the client's requests, with the deadline of the act that sends them.

    Args:
        adapter: the client's own.
        tokens: what gives the client its access tokens, None without.
        requests: whose deadline a request has; one that submits has as long as its act.
    """

    def __init__(self, adapter: Any, tokens: Any, requests: ServiceRequests) -> None:
        self._adapter, self._tokens, self._requests = adapter, tokens, requests

    def send(self, request: Any, *, timeout: object = None, **options: Any) -> Any:
        """Send a request; whatever deadline the client has for it is replaced."""
        if self._tokens is not None:
            # After one failure the client would let every request of the next minute wait for nothing.
            self._tokens.request_time = 0
        usual = self._requests.answer_seconds
        left = usual if _HERE.end is None else _HERE.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("nobody waits for this answer any more")
        submits = request.method == "POST" and request.url.endswith("/jobs")
        limit = left if submits else min(left, usual)
        try:
            answer = self._adapter.send(request, timeout=limit, **options)
        except Exception as error:
            _HERE.failed = error
            raise
        _HERE.failed = _failed(request.url, answer) or _HERE.failed
        return answer

    def close(self) -> None:
        """Close the client's own."""
        self._adapter.close()


def _failed(url: str, answer: Any) -> Exception | None:
    """What is wrong with an answer where the client does not say: it finds no device then."""
    if answer.status_code >= min(_REFUSALS):
        return _RefusalError(answer.status_code, answer.text)
    path = url.partition("?")[0]
    if path.endswith("/configuration"):
        return ValueError("the configuration of the device is none")
    if path.endswith("/backends"):
        try:
            listed = isinstance(answer.json()["devices"], list)
        except (LookupError, TypeError, ValueError):
            listed = False
        return None if listed else ValueError("the list of devices is none")
    return None


def _answer(what: str, act: Callable[[], T], end: float, unreadable: str | None) -> tuple[T | None, QLIFError | None]:
    """What an act gives, or the error to raise for what it raised: nothing of that itself leaves this function."""
    _HERE.end, _HERE.failed = end, None
    with masked_output():
        try:
            return act(), None
        except QLIFError as error:
            return None, error
        # Parsers that are written in Rust panic with what is no Exception.
        except BaseException as error:
            return None, _described(what, error, unreadable)
        finally:
            _HERE.end = None


def _described(what: str, error: BaseException, unreadable: str | None) -> ServiceError:
    """An error of the client in one sentence, and whether anything may have happened."""
    hidden = _HERE.failed if type(error).__name__ == _DEVICE else None
    chain = list(_chain(hidden or error))
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    status = next(filter(None, map(_status, chain)), None)
    text = _text(chain)
    if status is None and ("JSONDecodeError" in names or not names & (_CONNECTION | {"QiskitError"} | _CLIENT_SIDE)):
        how = f"{type(chain[0]).__name__}: {text}"
        if unreadable is not None:
            return ServiceError(unreadable.format(how))
        return ServiceError(f"IBM's service gave an answer that cannot be read while {what} ({how}).", away=True, hint=_LATER)
    refused = status in _REFUSALS or (status is None and not names & _CONNECTION and bool(names & _CLIENT_SIDE))
    unreached = status is None and not refused and bool(names & _CONNECTION)
    again = not refused or status == _TOO_MANY or _FULL.search(text) is not None
    return ServiceError(
        f"IBM's service failed while {what}: {text}.",
        refused=refused,
        again=again,
        away=unreached or status in {_SLOW, _TOO_MANY} or (status or 0) >= _FAILING,
        hint=_LATER if again else _CHECK,
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, None without one."""
    code = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) and code > 0 else None


def _text(chain: Sequence[BaseException]) -> str:
    """What the errors say, in one line, without secrets and of bearable length."""
    said = [str(getattr(each, "message", None) or each) for each in chain]
    kinds = [{kind.__name__ for kind in type(each).__mro__} for each in chain]
    cause = next((cause for name, cause in _CAUSES.items() if any(name in kind for kind in kinds)), None)
    if cause is not None:
        host = next((f"{found[1]}: " for each in said if (found := _HOST.search(each))), "")
        text = f"{host}{cause} ({said[-1]})"
    else:
        text = said[0] or type(chain[0]).__name__
        # The outermost does not always repeat what it came from.
        text += "" if said[-1] in text else f" ({said[-1]})"
    return one_line(masked(_PAGE.sub("a page of HTML", text)), _LONGEST).rstrip(". ")
