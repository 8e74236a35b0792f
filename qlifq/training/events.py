"""TensorBoard events of a training, where the extra `tensorboard` is installed."""

import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from qlifq._packages import load
from qlifq.training.loop import Epoch
from qlifq.training.networks import Design

__all__ = ["event_log"]


@contextmanager
def event_log(folder: Path) -> Iterator[Callable[[Design, Epoch], None] | None]:
    """Write every epoch of every network as TensorBoard events, each network in a folder of its own.

    They are a convenience: a disk that takes no more of them does not end a training, whose checkpoints say what is wrong.

    Args:
        folder: where.

    Yields:
        A function to be called with the design and every epoch; None where TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        yield None
        return
    module = load("torch.utils.tensorboard", package="tensorboard", feature="An event log", install="'qlifq[tensorboard]'")
    writers = {}

    def write(design: Design, epoch: Epoch) -> None:
        with suppress(OSError):
            if design.neuron not in writers:
                # What a run wrote after its last checkpoint is written again, and replaces it.
                writers[design.neuron] = module.SummaryWriter(str(folder / design.neuron), purge_step=epoch.number)
            for name, value in asdict(epoch).items():
                if name != "number" and value is not None:
                    writers[design.neuron].add_scalar(name, value, epoch.number)

    def failed(ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, OSError):
            report(ended)

    # The writers have threads of their own, which would print what `write` passes over.
    report, threading.excepthook = threading.excepthook, failed
    try:
        yield write
    finally:
        for writer in writers.values():
            with suppress(OSError):
                writer.close()
        threading.excepthook = report
