"""Faults in a printer are seen by the comparison with the step loop."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from qlifq.neurons.kernels import print_cpp, targets
from tests.neurons.kernels.test_routes import CASES, EVERYTHING, QUANTUM, error, inputs

#: A clamp acts in it: the threshold reaches its bounds, and a refractory period its end.
OPTIONS = {**QUANTUM, **EVERYTHING, "max_threshold": 1.1, "min_threshold": 0.9, "eta": 0.3}

Expression = Callable[[str, Sequence[str]], str]
print_expression: Expression = print_cpp._expression


@pytest.fixture(autouse=True)
def _printed_anew() -> Iterator[None]:
    targets._CPUTarget._library.cache_clear()
    yield
    targets._CPUTarget._library.cache_clear()


def test_an_honest_printer_agrees() -> None:
    assert error(OPTIONS, *inputs(OPTIONS)) < 1e-10


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda kind, x: x[0] if kind == "max" else print_expression(kind, x), id="a dropped lower bound"),
        pytest.param(lambda kind, x: x[0] if kind == "min" else print_expression(kind, x), id="a dropped upper bound"),
        pytest.param(lambda kind, x: print_expression(kind, x[::-1] if kind == "sub" else x), id="a swapped subtraction"),
        pytest.param(lambda kind, x: print_expression(kind, x[::-1] if kind == "div" else x), id="a swapped division"),
        pytest.param(lambda kind, x: print_expression("cos" if kind == "sin" else kind, x), id="another function"),
        pytest.param(lambda kind, x: print_expression("gt" if kind == "lt" else kind, x), id="a reversed comparison"),
    ],
)
def test_a_fault_in_the_printer_is_seen(fault: Expression, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_cpp, "_expression", fault)
    assert not error(OPTIONS, *inputs(OPTIONS)) < 1e-3


def test_draws_of_the_wrong_step_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = print_cpp._Printer._draws

    def late(self: print_cpp._Printer, *, random: bool, noisy: bool, begins: str) -> list[str]:
        return [line.replace("at & 3", "(at + 1) & 3") for line in draws(self, random=random, noisy=noisy, begins=begins)]

    monkeypatch.setattr(print_cpp._Printer, "_draws", late)
    assert error(OPTIONS, *inputs(OPTIONS)) > 1e-3


def test_a_lane_that_is_left_out_of_the_gradient_of_a_constant_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    summed = print_cpp._Printer._summed
    monkeypatch.setattr(print_cpp._Printer, "_summed", lambda self, name: summed(self, name).replace(", n)", ", n - 1)"))
    assert error(CASES["constants"], *inputs({})) > 1e-3
