"""What is charged while it is open is closed before the process ends, however a signal or the program ends it."""

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from qlifq.errors import QLIFError

__all__ = ["ExitGuard"]

#: Signals that end a process at once where nobody handles them: a polite kill, and a terminal that is closed.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
#: What a shell adds to the number of a signal for the status of a process that it ended.
_BY_SIGNAL = 128


class ExitGuard:
    """Lets SIGTERM and SIGHUP unwind the program as Ctrl-C does, and closes at its end what is open still.

    Only what would end the process at once is changed: a handler of the program's own, or a signal that it ignores, is left
    alone, and what such a handler raises unwinds the program too. Handlers are set in the main thread alone, as Python allows
    it nowhere else.

    Args:
        close: closes what is open; a `QLIFError` of it is not reported at the end of a process.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._process = 0
        self._signals: list[int] = []

    def arm(self) -> None:
        """From now on."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        atexit.register(self._at_exit)
        if threading.current_thread() is threading.main_thread():
            self._signals = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
            for number in self._signals:
                signal.signal(number, _leave)

    def disarm(self) -> None:
        """No longer: the signals end the process at once again."""
        if self._process != os.getpid():
            return
        self._process = 0
        atexit.unregister(self._at_exit)
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                # Another's handler that was set since stays.
                if signal.getsignal(number) is _leave:
                    signal.signal(number, signal.SIG_DFL)
            self._signals = []

    def _at_exit(self) -> None:
        # A process that was forked has a copy of this, but nothing open.
        if self._process == os.getpid():
            with contextlib.suppress(QLIFError):
                self._close()


def _leave(number: int, _: FrameType | None) -> None:
    """Unwind the program, with the status that a shell would give it."""
    raise SystemExit(_BY_SIGNAL + number)
