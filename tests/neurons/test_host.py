"""A step reads no value back from the device: what makes it run without waiting on an accelerator."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.step import EVERYTHING
from qlifq import QLIF, _validation, simulate
from qlifq.neurons import RECORDABLE

#: All but the refractory period, which graded spikes do not have.
MECHANISMS = {name: value for name, value in EVERYTHING.items() if name != "refractory_period"}
#: The operations whose result depends on a value that the host must know: a number, a truth value, a data-dependent shape.
READS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero", "aten::equal", "aten::masked_select")


class Reads(TorchDispatchMode):
    """Counts the operations that read a value back."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        if name in READS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def reads(layer: QLIF, modulation: Tensor | None = None) -> list[str]:
    """What three steps of a layer read back, after one that makes the kernel ready."""
    current = 3 * torch.rand(3, 2, 5)
    _, state = layer.step(current[0], None, modulation)
    with Reads() as mode:
        for now in current:
            _, state = layer.step(now, state, modulation)
    return list(mode.seen)


@pytest.fixture
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of an input's values, which `step` leaves out on an accelerator."""
    unchanged: Callable[[str, Tensor], Tensor] = lambda name, value: value  # noqa: E731
    monkeypatch.setattr(_validation, "finite", unchanged)
    monkeypatch.setattr(_validation, "not_finite", lambda value: 0)
    monkeypatch.setattr(_validation, "all_finite", lambda values: None)
    monkeypatch.setattr("qlifq.backends.interface.finite", unchanged)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize("kernel", ["auto", "off"])
@pytest.mark.parametrize(
    "options",
    [
        {"refractory_period": 2},
        {"refractory_period": 2, "decision": "threshold", "shots": 10, "quantum_wire": 2},
        {"decision": "expectation", "mapping": "tanh"},
        {"quantum_mode": False, "stochastic": True, "refractory_period": 1},
        {"membrane": "quadratic", "reset": "soft"},
        {"shots": 1, "reset": "partial"},
    ],
)
def test_a_full_featured_step_reads_nothing_back(options: dict[str, Any], kernel: str) -> None:
    assert reads(QLIF(5, seed=1, kernel=kernel, **MECHANISMS, **options), torch.ones(2, 5)) == []


@pytest.mark.usefixtures("_unchecked")
def test_a_transform_that_reads_a_value_back_is_seen() -> None:
    layer = QLIF(5, seed=1, neuromod_transform=lambda m: m * float(m.max()))
    assert "aten::_local_scalar_dense" in reads(layer, torch.ones(2, 5))


@pytest.mark.parametrize(("kernel", "looks_at_angles"), [("auto", 0), ("off", 4)])
def test_recording_everything_reads_back_once_for_the_input_and_once_for_the_count(kernel: str, looks_at_angles: int) -> None:
    layer = QLIF(5, seed=1, refractory_period=2, kernel=kernel, **MECHANISMS)
    simulate(layer, torch.rand(4, 2, 5), record=RECORDABLE)
    with Reads() as mode:
        simulate(layer, torch.rand(4, 2, 5), record=RECORDABLE)
    # One for the input and one for the count, and what is checked on the CPU alone: one for each constant, one per step for
    # the angles where no kernel does that by itself, one for the potential at the end.
    assert len(mode.seen) == 2 + len(layer.constants) + looks_at_angles + 1
