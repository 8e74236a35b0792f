"""Settings shared by all tests."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

from qlifq.reporting import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Circuits and tensors here are tiny: threads beyond one only wait for each other when tests run side by side.
torch.set_num_threads(1)

# Deadlines measure the machine and not the code; a fixed derandomised search fails the same way everywhere.
settings.register_profile("qlifq", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("qlifq")

# Triton decides when it is first imported whether its own functions are interpreted.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Hundreds of kinds of layers are compiled here: quickly, and not into the user's own cache.
os.environ.setdefault("QLIFQ_CXXFLAGS", "-O1 -fno-tree-vectorize")
os.environ.setdefault("QLIFQ_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"qlifq-test-kernels-{os.getuid()}"))


@pytest.fixture(autouse=True)
def every_written_figure_can_be_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever figure a test writes, those of every command among them, has nothing that a reader would stumble over."""
    found: list[str] = []
    print_figure = figures.print_figure

    def checked(figure: "Figure", kind: str) -> bytes:
        printed = print_figure(figure, kind)
        if kind == "png":
            from tests.figure_checks import figure_flaws

            found.extend(figure_flaws(figure))
        return printed

    monkeypatch.setattr(figures, "print_figure", checked)
    yield
    assert found == []
