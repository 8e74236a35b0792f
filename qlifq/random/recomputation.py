"""Whether the code that runs is a recomputation, and of what: the regions of `torch.utils.checkpoint` around it.

`torch.utils.checkpoint` runs a region twice: first in the forward pass, which keeps no activations, and again in every backward
pass that needs them. Nothing shows the region which of the two it is in, but the call stack shows it: both times one and the
same object of torch's stands there, which lives as long as the graph of the region.
"""

import sys
from types import FrameType
from typing import NamedTuple, cast

import torch
from torch.utils import checkpoint

__all__ = ["Recomputation", "surrounding_regions"]

_GLOBALS = vars(checkpoint)


class Recomputation(NamedTuple):
    """One of the times that a region is run again.

    Args:
        region: what is run again.
        number: separates this time from the others.
    """

    region: object
    number: object


def surrounding_regions() -> tuple[list[object], Recomputation | None]:
    """The regions around the caller that are run for the first time, and the recomputation that all of this is part of.

    A region inside one that is run again is new each time: it has a graph of its own. What lies outside a recomputation is
    the program that runs the backward pass, and does not matter to what is run again.
    """
    first: list[object] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is _GLOBALS:
            found = _region_of(frame)
            if isinstance(found, Recomputation):
                return first, found
            if found is not None:
                first.append(found)
        frame = frame.f_back
    return first, None


def _region_of(frame: FrameType) -> object | None:
    """The region that a function of `torch.utils.checkpoint` runs, a `Recomputation` where it does so again.

    No name here is public; with a version of torch that has others, the tests of recomputation fail.
    """
    names = frame.f_locals
    match frame.f_code.co_qualname:
        # With `use_reentrant=True`. A backward pass runs a region again once.
        case "CheckpointFunction.forward":
            return cast(object, names["ctx"])
        case "CheckpointFunction.backward":
            return Recomputation(names["ctx"], torch._C._current_graph_task_id())
    # With `use_reentrant=False`. A generator holds the region at first; the other times are numbered.
    if "gid" in names:
        return Recomputation(names["frame"], names["gid"])
    return cast(object, names["gen"].gi_frame.f_locals["new_frame"]) if "gen" in names else None
