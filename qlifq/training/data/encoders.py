"""From images to input currents in time."""

import torch
from torch import Tensor

from qlifq._validation import finite, integer, real, shape_of, tensor
from qlifq.errors import ArgumentError
from qlifq.random import MAX_SEED, BatchShard, generator

__all__ = ["ENCODINGS", "current", "latency", "poisson"]

ENCODINGS = ("current", "poisson", "latency")


def current(images: Tensor, steps: int, gain: float = 1.0) -> Tensor:
    """A constant current per pixel, I[t] = gain · pixel.

    Args:
        images: `(batch, neurons)`, float32 or float64, finite.
        steps: how many steps, at least 1.
        gain: the current of a pixel of 1, dimensionless.

    Returns:
        `(steps, batch, neurons)`, in the dtype of `images`; a view without copies in time.

    Raises:
        ArgumentError: if a value is out of range or not finite, or `images` has another shape.
        DtypeError: if an argument has another type or dtype.

    Example:
        >>> current(torch.tensor([[0.0, 0.5, 1.0]]), steps=2, gain=2.0).tolist()
        [[[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]]
    """
    _check(images, steps, gain)
    return (gain * images).expand(steps, *images.shape)


def latency(images: Tensor, steps: int, gain: float = 1.0) -> Tensor:
    """One input spike per pixel, the earlier the brighter: at step round((1 − pixel)(steps − 1)); a pixel of 0 sends none.

    Args:
        images: `(batch, neurons)`, float32 or float64, from 0 to 1.
        steps: how many steps, at least 1.
        gain: the current of an input spike, dimensionless.

    Returns:
        `(steps, batch, neurons)`, each element 0 or `gain`, in the dtype of `images`.

    Raises:
        ArgumentError: if a value is out of range or not finite, or `images` has another shape.
        DtypeError: if an argument has another type or dtype.

    Example:
        >>> latency(torch.tensor([[0.0, 0.5, 1.0]]), steps=3).argmax(dim=0).tolist()
        [[0, 1, 0]]
    """
    _check(images, steps, gain)
    _check_range(images, "a latency")
    # A pixel of 1 spikes at step 0, the darkest that is not 0 near the last: brightness becomes an early spike.
    moments = ((1 - images) * (steps - 1)).round()
    times = torch.arange(steps, dtype=images.dtype, device=images.device)[:, None, None]
    return gain * ((times == moments) & (images > 0)).to(images.dtype)


def poisson(
    images: Tensor,
    steps: int,
    gain: float = 1.0,
    rate: float = 0.25,
    seed: int | None = None,
    shard: BatchShard | None = None,
) -> Tensor:
    """Input spikes whose rate is the pixel: I[t] = gain with probability rate · pixel, else 0, independently at every step.

    This is the Bernoulli form of a Poisson train at a resolution of one step, at most one spike per step.

    Args:
        images: `(batch, neurons)`, float32 or float64, from 0 to 1.
        steps: how many steps, at least 1.
        gain: the current of an input spike, dimensionless; the mean current is gain · rate · pixel.
        rate: spikes per step of a pixel of 1, from 0 to 1.
        seed: from 0 to 2⁶³ − 1; the same seed gives the same spikes. None draws from torch's global generator.
        shard: which rows of a larger batch these images are; they get the spikes that they have there.

    Returns:
        `(steps, batch, neurons)`, each element 0 or `gain`, in the dtype of `images`.

    Raises:
        ArgumentError: if a value is out of range or not finite, or `images` has another shape.
        DtypeError: if an argument has another type or dtype.

    Example:
        >>> poisson(torch.tensor([[0.0, 1.0]]), steps=2, gain=3.0, rate=1.0).tolist()
        [[[0.0, 3.0]], [[0.0, 3.0]]]
    """
    _check(images, steps, gain)
    real("rate", rate, at_least=0, at_most=1)
    _check_range(images, "Poisson spikes")
    source = None if seed is None else generator(integer("seed", seed, at_least=0, at_most=MAX_SEED), images.device)
    # The whole batch is drawn and a shard takes its rows of it, so that the number of processes changes no spike.
    first, total = (0, len(images)) if shard is None else shard
    uniform = torch.rand((steps, total, images.shape[1]), dtype=images.dtype, device=images.device, generator=source)
    return gain * (uniform[:, first : first + len(images)] < rate * images).to(images.dtype)


def _check(images: Tensor, steps: int, gain: float) -> None:
    finite("images", shape_of("images", tensor("images", images), ("batch", "neurons")))
    integer("steps", steps, at_least=1)
    real("gain", gain)


def _check_range(images: Tensor, purpose: str) -> None:
    if images.numel() and not bool(((images >= 0) & (images <= 1)).all()):
        low, high = float(images.min()), float(images.max())
        raise ArgumentError(f"Argument `images` must be from 0 to 1 for {purpose}, but goes from {low:g} to {high:g}.")
