"""What a progress bar shows of what others say."""

import io
import sys

import pytest

from qlifq.cli.devices import StatusReporter
from qlifq.cli.progress import progress_bar


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("words", ["job d1 queued[/]", "job d1 [bold]queued", "job d1 {task.total}"])
def test_words_of_a_service_are_shown_as_they_stand(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    status_reporter = StatusReporter()
    with progress_bar("steps", status_reporter) as update:
        assert update is not None
        status_reporter(words)
        update(1, 3)
    assert words in shown.getvalue()
