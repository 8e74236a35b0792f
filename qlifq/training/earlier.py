"""What earlier versions of qlifq kept in their checkpoints, in the form of today."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from qlifq.training.checkpoint import VERSION
from qlifq.training.networks import Design, build

__all__ = ["as_of_today"]

#: Until version 2 a layer held its weights and neurons itself; now it is a chain.
_LAYER = re.compile(r"^(layers\.\d+|readout\.layer)\.")


def as_of_today(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint of any version, as today's code would have written it.

    Until version 2 the constants of neurons in maps stood in a row, `(channels · rows · columns,)`; now in the shape of the
    maps. Names, numbers and their order are the same otherwise.

    Args:
        content: what `load_checkpoint` read.

    Raises:
        QLIFError: if its design cannot be built.
    """
    # What a design did not have then is at its default.
    design = Design.from_dict(content["identity"]["design"])
    content = {**content, "identity": {**content["identity"], "design": design.to_dict()}}
    if content["format_version"] == VERSION:
        return content
    network = build(design, seed=0)
    shapes = {name: value.shape for name, value in network.state_dict().items()}

    def weights(kept: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        if kept is None:
            return None
        renamed = {_LAYER.sub(r"\1.chain.", name): value for name, value in kept.items()}
        return {name: _reshaped(value, shapes.get(name, value.shape)) for name, value in renamed.items()}

    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    states = content["optimiser"]["state"]
    # The moments of Adam stand beside its count of steps, which has no shape.
    moments = {
        place: {key: _reshaped(value, trained[place].shape) if key != "step" else value for key, value in kept.items()}
        for place, kept in states.items()
    }
    return {
        **content,
        "network": weights(content["network"]),
        "best": weights(content["best"]),
        "optimiser": {**content["optimiser"], "state": moments},
    }


def _reshaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same numbers in another shape; as they are where their count differs, which whoever loads them refuses."""
    return value.reshape(shape) if value.numel() == math.prod(shape) else value
