"""Half precision: what is given in it is computed in float32 at least, and the output goes back to it."""

import torch
from torch import Tensor

__all__ = ["HALVES", "returned", "widened"]

HALVES = (torch.float16, torch.bfloat16)


def widened(value: Tensor) -> Tensor:
    """The tensor in float32 where it has half precision, else the tensor itself."""
    return value.float() if value.dtype in HALVES else value


def returned(output: Tensor, given: Tensor) -> Tensor:
    """An output in the half precision of the input that it was computed from.

    Under autocast it stays as it was computed, as that of an operation which autocast runs in float32.
    """
    if given.dtype in HALVES and not torch.is_autocast_enabled(given.device.type):
        return output.to(given.dtype)
    return output
