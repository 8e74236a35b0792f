"""Checks of user input, in one place so that every refusal reads the same.

Every function returns the checked value and raises a subclass of `QLIFError` otherwise. torch is imported by those that are
given a tensor: whatever needs a number checked, such as a table on the command line, does without it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING

from qlifq._text import similar
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "all_finite",
    "choice",
    "finite",
    "flag",
    "integer",
    "not_finite",
    "optional_integer",
    "real",
    "shape_of",
    "suggestion",
    "tensor",
    "unknown",
    "with_values",
    "within",
]


def integer(name: str, value: object, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """A whole number within its bounds; bool is refused, since True is seldom meant as 1."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise DtypeError(f"Argument `{name}` must be an integer, but is {value!r}.")
    number = int(value)
    if (at_least is not None and number < at_least) or (at_most is not None and number > at_most):
        raise ArgumentError(f"Argument `{name}` must be {_interval(at_least, at_most)}, but is {number}.")
    return number


def optional_integer(name: str, value: object, *, at_least: int | None = None, at_most: int | None = None) -> int | None:
    """As `integer`, or None."""
    return None if value is None else integer(name, value, at_least=at_least, at_most=at_most)


def real(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """A finite number within its bounds."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DtypeError(f"Argument `{name}` must be a number, but is {value!r}.")
    number = float(value)
    if not math.isfinite(number):
        raise ArgumentError(f"Argument `{name}` must be finite, but is {number}.")
    if (
        (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (below is not None and number >= below)
        or (at_most is not None and number > at_most)
    ):
        raise ArgumentError(f"Argument `{name}` must be {_interval(at_least, at_most, above, below)}, but is {number}.")
    return number


def flag(name: str, value: object) -> bool:
    """True or False and nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise DtypeError(f"Argument `{name}` must be True or False, but is {value!r}.")
    return value


def choice(name: str, value: object, options: Iterable[str]) -> str:
    """One of the names in `options`."""
    names = list(options)
    if not isinstance(value, str) or value not in names:
        raise ArgumentError(f"Argument `{name}` must be one of {', '.join(names)}, but is {value!r}.{suggestion(value, names)}")
    return value


def unknown(kind: str, given: str, known: Sequence[str]) -> ArgumentError:
    """The error for a name that nobody knows, with the names that are known."""
    return ArgumentError(f"Unknown {kind} `{given}`: it must be one of {', '.join(known)}.{suggestion(given, known)}")


def suggestion(given: object, known: Iterable[str]) -> str:
    """The end of an error about a name: the known one that was most likely meant, or nothing.

    Example:
        >>> suggestion("vth", ["V_th", "V_reset"])
        ' Did you mean `V_th`?'
    """
    found = similar(given, known) if isinstance(given, str) else None
    return "" if found is None else f" Did you mean `{found}`?"


def tensor(name: str, value: object, *, dtypes: "Sequence[torch.dtype] | None" = None) -> "Tensor":
    """A torch tensor of one of the dtypes, `FLOATS` where none are given."""
    from torch import Tensor

    from qlifq._transforms import FLOATS

    if not isinstance(value, Tensor):
        raise DtypeError(f"Argument `{name}` must be a torch tensor, but is {type(value).__name__}.")
    if value.dtype not in (dtypes or FLOATS):
        required = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes or FLOATS)
        raise DtypeError(f"Argument `{name}` must have dtype {required}, but has {str(value.dtype).removeprefix('torch.')}.")
    return value


def finite(name: str, value: "Tensor") -> "Tensor":
    """A tensor without NaN and infinities, see `not_finite`."""
    from qlifq._transforms import is_batched

    if is_batched(value):
        raise UnsupportedError(
            f"Argument `{name}` must not be batched by torch.vmap: stack the samples along the dimension `batch` instead."
        )
    if bad := not_finite(value):
        raise ArgumentError(f"Argument `{name}` must be finite, but {bad} of its {value.numel()} values are NaN or infinite.")
    return value


def not_finite(value: "Tensor") -> int:
    """How many values are NaN or infinite.

    A NaN or an infinity makes the sum one, so a finite sum clears them all at a fortieth of the cost of
    `isfinite().all()`; only where the sum is not finite, perhaps because it overflowed, is each value looked at. On an
    accelerator this waits for the device, so callers check once per sequence and not once per step.
    """
    return 0 if math.isfinite(value.detach().sum().item()) else int((~value.isfinite()).sum())


def all_finite(values: Mapping[str, "Tensor"]) -> None:
    """Refuse the first tensor with NaN or infinities; waits for an accelerator once, and not for every tensor."""
    import torch

    from qlifq._transforms import is_batched

    batched = [name for name, value in values.items() if is_batched(value)]
    # What one number stands for is read once, under however many names it goes.
    distinct = {id(value): value.detach() for value in values.values()}.values()
    sums = [] if batched else [value[tuple(slice(None if step else 1) for step in value.stride())].sum() for value in distinct]
    if batched or not math.isfinite(torch.stack(sums).sum().item()):
        for name, value in values.items():
            finite(name, value)


def within(name: str, numbers: Iterable[float], dtype: "torch.dtype") -> None:
    """Refuse finite numbers that a dtype cannot hold: that become infinite there, or 0 though they are not."""
    import torch

    limits = torch.finfo(dtype)
    for number in numbers:
        if number and not limits.tiny <= abs(number) <= limits.max:
            dtype_name = str(dtype).removeprefix("torch.")
            raise ArgumentError(f"Argument `{name}` must neither overflow nor vanish in {dtype_name}, but is {number:g}.")


def with_values(name: str, value: "Tensor") -> "Tensor":
    """A tensor that holds values."""
    if value.is_meta:
        raise DtypeError(f"Argument `{name}` must hold values, but is on the device meta, which has none.")
    return value


def shape_of(name: str, value: "Tensor", expected: Sequence[int | str]) -> "Tensor":
    """A tensor of the expected shape, in which a string stands for a dimension of any size."""
    actual = tuple(value.shape)
    fits = len(actual) == len(expected) and all(
        isinstance(want, str) or want == have for want, have in zip(expected, actual, strict=True)
    )
    if not fits:
        required = "(" + ", ".join(str(size) for size in expected) + ("," if len(expected) == 1 else "") + ")"
        raise ShapeError(f"Argument `{name}` must have shape {required}, but has shape {actual}.")
    return value


def _interval(at_least: float | None, at_most: float | None, above: float | None = None, below: float | None = None) -> str:
    """The bounds as an error sentence names them, such as "at least 0 and below 1"."""
    words = [("at least", at_least), ("above", above), ("at most", at_most), ("below", below)]
    bounds = ((word, bound if isinstance(bound, int) else f"{bound:g}") for word, bound in words if bound is not None)
    return " and ".join(f"{word} {bound}" for word, bound in bounds)
