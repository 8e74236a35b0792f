"""A progress bar on the terminal, on stderr: stdout holds the summary, which another program may read."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qlifq.cli.devices import StatusReporter

__all__ = ["AFTER_SECONDS", "progress_bar"]

AFTER_SECONDS = 1.0


@contextmanager
def progress_bar(counted: str, reporter: StatusReporter | None = None) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar for a run that takes longer than `AFTER_SECONDS`, on a terminal; without a terminal nothing.

    Args:
        counted: what is counted, such as "steps".
        reporter: passes on what the backend waits for, which is shown beside the bar.

    Yields:
        A function to be called as `progress(done, total)`, or None.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # A service's own text may say what is waited for: it is no markup.
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, transient=True, console=Console(file=sys.stderr))
    task = bar.add_task(counted)
    begun = time.monotonic()

    def show(text: str) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, description=f"{counted} · {text}")

    if reporter is not None:
        reporter.show = show

    def update(done: int, total: int) -> None:
        # A bar that is gone at once would only flicker.
        if not bar.live.is_started and time.monotonic() - begun > AFTER_SECONDS:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield update
    finally:
        bar.stop()
