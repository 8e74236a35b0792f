"""One step of the neuron of Brand and Petruccione on an ideal qubit, as a function of named tensors.

Preparing α again and rotating on is an addition of angles, so that no arcsine is needed: with β = α e^(−τ/T1)

    x = 1                     α' = (√α cos θ/2 + √(1 − α) sin θ/2)²
    x = 0, leak "relaxation"  α' = β
    x = 0, leak "published"   α' = (√α √(1 − β) − √β √(1 − α))²

for α below the threshold, and 0 otherwise. √α and √(1 − α) have no derivative at α = 0 and 1; there it is taken as 0, where a
reset leaves no gradient to carry and an infinite one would turn into NaN.
"""

import functools
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from qlifq.neurons.kernels import Formula
from qlifq.neurons.surrogates import SURROGATES

__all__ = ["ONCE", "formula_of"]

#: Why the published gradient has no derivative.
ONCE = (
    "Argument `gradient` must be 'true' for a second derivative (`create_graph`), but is 'published', which is the "
    "derivative of no function."
)


@functools.cache
def formula_of(leak: str, gradient: str) -> Formula:
    """The step of a layer with this leak and gradient; its constants are `threshold`, `t1` and `margin`.

    The margin is the distance from 0 and 1 within which a root has no derivative.
    """

    def step(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        before, theta, margin = values["population"], values["theta"], values["margin"]
        relaxed = before * (-values["tau"] / values["t1"]).exp()
        excited, ground = _root(before, margin), _root(1 - before, margin)
        driven = (excited * (theta / 2).cos() + ground * (theta / 2).sin()).square()
        leaked = relaxed
        if leak == "published":
            leaked = (excited * _root(1 - relaxed, margin) - _root(relaxed, margin) * ground).square()
        # Rounding may add an ulp to 1, of whose complement the next step would take the root.
        after = torch.where(values["x"] > 0, driven, leaked).clamp(max=1.0) * (before < values["threshold"])
        if gradient == "published":
            scale = 1 / (1 + (math.pi * before.detach()).square())
            after = after.detach() + scale * (after - after.detach())
        excess = (after.detach() if gradient == "published" else after) - values["threshold"]
        smooth = SURROGATES["arctan"].smooth(excess, math.pi)
        spikes = values["drawn"] if "drawn" in values else (excess > 0).to(after.dtype)
        return {"population": after, "spikes": spikes + (smooth - smooth.detach())}

    return Formula(
        step,
        states=("population",),
        inputs=("theta", "tau", "x"),
        constants=("threshold", "t1", "margin"),
        outputs=("spikes", "population"),
        binary=True,
        random=False,
        noisy=False,
        once=ONCE if gradient == "published" else None,
    )


def _root(value: Tensor, margin: Tensor) -> Tensor:
    """The square root, whose derivative is 0 within a margin of 0 and of 1."""
    inside = (value > margin) & (value < 1 - margin)
    smooth = torch.where(inside, value, 0.5).sqrt()
    return torch.where(inside, smooth, value.detach().sqrt())
