"""The checks of user input, and the sentence of each refusal."""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch

from qlifq import _validation as check
from qlifq import errors
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (partial(check.integer, "n", True), DtypeError, "Argument `n` must be an integer, but is True."),
        (partial(check.integer, "n", 1.0), DtypeError, "Argument `n` must be an integer, but is 1.0."),
        (partial(check.integer, "n", "3"), DtypeError, "Argument `n` must be an integer, but is '3'."),
        (partial(check.integer, "n", None), DtypeError, "Argument `n` must be an integer, but is None."),
        (partial(check.integer, "n", 0, at_least=1), ArgumentError, "Argument `n` must be at least 1, but is 0."),
        (partial(check.integer, "n", 9, at_most=8), ArgumentError, "Argument `n` must be at most 8, but is 9."),
        (partial(check.integer, "n", 9, at_least=1, at_most=8), ArgumentError, "must be at least 1 and at most 8, but is 9."),
        (partial(check.optional_integer, "n", 0, at_least=1), ArgumentError, "Argument `n` must be at least 1, but is 0."),
        (partial(check.optional_integer, "n", False), DtypeError, "Argument `n` must be an integer, but is False."),
        (partial(check.real, "x", "1"), DtypeError, "Argument `x` must be a number, but is '1'."),
        (partial(check.real, "x", True), DtypeError, "Argument `x` must be a number, but is True."),
        (partial(check.real, "x", 1j), DtypeError, "Argument `x` must be a number, but is 1j."),
        (partial(check.real, "x", NAN), ArgumentError, "Argument `x` must be finite, but is nan."),
        (partial(check.real, "x", -INF), ArgumentError, "Argument `x` must be finite, but is -inf."),
        (partial(check.real, "x", 0.0, above=0.0), ArgumentError, "Argument `x` must be above 0, but is 0.0."),
        (partial(check.real, "x", 1, below=1.0), ArgumentError, "Argument `x` must be below 1, but is 1.0."),
        (
            partial(check.real, "x", -0.1, at_least=0.0, below=1.0),
            ArgumentError,
            "must be at least 0 and below 1, but is -0.1.",
        ),
        (partial(check.real, "x", 0.6, above=0.0, at_most=0.5), ArgumentError, "must be above 0 and at most 0.5, but is 0.6."),
        (partial(check.flag, "f", 1), DtypeError, "Argument `f` must be True or False, but is 1."),
        (partial(check.flag, "f", None), DtypeError, "Argument `f` must be True or False, but is None."),
        (partial(check.choice, "c", "z", ("x", "y")), ArgumentError, "Argument `c` must be one of x, y, but is 'z'."),
        (partial(check.choice, "c", ["x"], ("x", "y")), ArgumentError, "Argument `c` must be one of x, y, but is ['x']."),
        (partial(check.tensor, "t", np.zeros(2)), DtypeError, "Argument `t` must be a torch tensor, but is ndarray."),
        (partial(check.tensor, "t", torch.zeros(1).half()), DtypeError, "must have dtype float32 or float64, but has float16."),
        (
            partial(check.tensor, "t", torch.zeros(1), dtypes=(torch.bool,)),
            DtypeError,
            "must have dtype bool, but has float32.",
        ),
        (
            partial(check.finite, "t", torch.tensor([1.0, NAN, INF])),
            ArgumentError,
            "but 2 of its 3 values are NaN or infinite.",
        ),
        (partial(check.finite, "t", torch.tensor([INF, -INF])), ArgumentError, "but 2 of its 2 values are NaN or infinite."),
        (partial(check.shape_of, "t", torch.zeros(2, 3), (3, 2)), ShapeError, "must have shape (3, 2), but has shape (2, 3)."),
        (partial(check.shape_of, "t", torch.zeros(2), ("n", 4)), ShapeError, "must have shape (n, 4), but has shape (2,)."),
        (partial(check.shape_of, "t", torch.zeros(2), (3,)), ShapeError, "must have shape (3,), but has shape (2,)."),
        (partial(check.shape_of, "t", torch.zeros(()), ("n",)), ShapeError, "must have shape (n,), but has shape ()."),
    ],
)
def test_bad_input_gets_one_sentence(act: Callable[[], object], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as raised:
        act()
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_any_kind_become_int(value: object) -> None:
    assert type(check.integer("n", value, at_least=3, at_most=3)) is int


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_numbers_of_any_kind_become_float(value: object) -> None:
    found = check.real("x", value, at_least=0.5, at_most=0.5, above=0.4, below=0.6)
    assert (type(found), found) == (float, 0.5)


def test_good_values_come_back() -> None:
    values = torch.tensor([[1.0, 3e38], [3e38, -1.0]])
    assert check.optional_integer("n", None, at_least=5) is None
    assert check.flag("f", False) is False
    assert check.choice("c", "y", iter(("x", "y"))) == "y"
    assert check.tensor("t", values) is values
    # The sum of these overflows, and none of them is infinite.
    assert check.finite("t", values) is values
    assert check.finite("t", values[:0]).numel() == 0
    assert check.shape_of("t", values, ("n", 2)) is values


def test_an_unknown_name_lists_the_known_ones() -> None:
    error = check.unknown("mapping", "sigmund", ["sigmoid", "tanh"])
    assert str(error) == "Unknown mapping `sigmund`: it must be one of sigmoid, tanh. Did you mean `sigmoid`?"


def test_every_error_has_the_one_base() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(found) > 8
    assert all(issubclass(value, QLIFError) for value in found)
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DtypeError, TypeError)
