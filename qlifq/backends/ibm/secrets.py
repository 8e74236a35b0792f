"""What must never be shown: kept where no `repr` shows it, and taken out of every text that the service or its client say."""

import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from urllib.parse import quote
from weakref import WeakSet

from qlifq._text import printable

__all__ = ["Secrets", "masked", "masked_output", "secrets_of"]

_MASK = "***"
#: A word that announces a secret with what follows it, and access tokens, which can be recognised by themselves.
_ANNOUNCED = re.compile(
    r"(?i)\b(authorization|apikey|api[ _-]key|token|password|secret)\b[\\\"'\s]*[:=][\\\"'\s]*"
    r"((bearer|basic|apikey)\s+)?[^\s\\\"',;}]+"
    r"|\b(bearer|apikey)\s+[^\s\\\"',;}]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)
#: What is shorter than this is no secret, but may be a part of any word.
_SHORTEST = 6
#: The packages that speak to the service, by the names of their loggers and of their folders.
_LOGGERS = ("qiskit_ibm_runtime", "ibm-cloud-sdk-core", "urllib3", "requests")
_FOLDERS = ("qiskit_ibm_runtime", "ibm_cloud_sdk_core", "urllib3", "requests")


class Secrets:
    """Texts that must not be shown; neither its `repr` nor its attributes tell them.

    Args:
        values: the texts; those that are empty or very short are left out.
    """

    __slots__ = ("__weakref__", "_mask")

    def __init__(self, *values: str) -> None:
        forms = {form for value in values if len(value) >= _SHORTEST for form in (value, quote(value, safe=""))}
        pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))) or "(?!)")
        #: A closure, since tools that print local variables print attributes too.
        self._mask: Callable[[str], str] = lambda text: pattern.sub(_MASK, text)
        _KNOWN.add(self)

    def __repr__(self) -> str:
        return f"Secrets({_MASK})"

    def mask(self, text: str) -> str:
        """The text without them."""
        return self._mask(text)


_KNOWN: WeakSet[Secrets] = WeakSet()


def masked(text: str) -> str:
    """The text without any secret that is known or announces itself, and without what a terminal obeys."""
    text = printable(text)
    for secrets in tuple(_KNOWN):
        text = secrets.mask(text)
    return _ANNOUNCED.sub(_MASK, text)


class _Mask(logging.Filter):
    """Masks every record of the client's loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _LOGGERS:
            return True
        try:
            record.msg = masked(record.getMessage())
        except (TypeError, ValueError):
            # A message whose placeholders do not fit must not fail in the client, which logs it.
            record.msg = masked(str(record.msg))
        record.args = None
        if record.exc_info:
            record.exc_text = masked("".join(traceback.format_exception(*record.exc_info)))
            record.exc_info = None
        return True


_FILTER = _Mask()


def _mask_logs() -> None:
    """Mask the client's loggers as far as they are there, and the handlers that its log goes to."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] in _LOGGERS and isinstance(logger, logging.Logger):
            logger.addFilter(_FILTER)
            for handler in logger.handlers:
                handler.addFilter(_FILTER)


class _Warnings:
    """Masks the client's warnings while any request runs: Python has one place for the warnings of all threads."""

    def __init__(self) -> None:
        self.lock, self.active, self.before = Lock(), 0, warnings.showwarning

    def show(self, message: Warning | str, category: type[Warning], filename: str, *rest: Any, **options: Any) -> None:
        if any(folder in filename for folder in _FOLDERS):
            message = category(masked(str(message)))
        self.before(message, category, filename, *rest, **options)

    @contextmanager
    def masked(self) -> Iterator[None]:
        with self.lock:
            self.active += 1
            if warnings.showwarning != self.show:
                self.before, warnings.showwarning = warnings.showwarning, self.show
        try:
            yield
        finally:
            with self.lock:
                self.active -= 1
                if not self.active and warnings.showwarning == self.show:
                    warnings.showwarning = self.before


_WARNINGS = _Warnings()


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask the log and the warnings of the service's client."""
    _mask_logs()
    with _WARNINGS.masked():
        yield


def secrets_of(account: Any) -> Secrets:
    """What of an account must not be shown: its key, and the credentials of its proxies."""
    proxies = account.proxies
    urls = [] if proxies is None else [str(url) for url in (proxies.urls or {}).values()]
    users = [found[1] for url in urls if (found := re.search("//([^/@]+)@", url))]
    passwords = [user.partition(":")[2] for user in users]
    return Secrets(str(account.token), *users, *passwords, str(getattr(proxies, "password_ntlm", None) or ""))
