"""From values to input currents in time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from qlifq._registry import Registry
from qlifq._validation import finite, integer, real, shape_of, tensor
from qlifq.errors import ArgumentError, ShapeError
from qlifq.random import MAX_SEED, BatchShard, generator

__all__ = ["ENCODINGS", "Encoding", "EncodingSettings", "current", "delta", "latency", "phase", "poisson"]


class EncodingSettings(Protocol):
    """The numbers that the encoders take; a `Design` has them."""

    @property
    def steps(self) -> int:
        """Time steps."""

    @property
    def gain(self) -> float:
        """The current of a value of 1, or of an input spike."""

    @property
    def rate(self) -> float:
        """For "poisson", input spikes per step of a value of 1."""

    @property
    def change(self) -> float:
        """For "delta", the change of a value that sends a spike."""

    @property
    def bits(self) -> int:
        """For "phase", steps of a period."""


@dataclass(frozen=True)
class Encoding:
    """All that is known of one encoder.

    Args:
        description: what it does, in a few words.
        encode: from values, `(batch, neurons)` or in time `(time, batch, neurons)`, settings, a seed and a shard to the input.
        in_time: whether it takes values that change in time.
        unit_range: whether its values must be from 0 to 1.
    """

    description: str
    encode: Callable[[Tensor, EncodingSettings, int, BatchShard], Tensor]
    in_time: bool
    unit_range: bool


def current(images: Tensor, steps: int, gain: float = 1.0) -> Tensor:
    """A current per value, I[t] = gain · x[t], the same at every step for values without time.

    Args:
        images: `(batch, neurons)`, or in time `(steps, batch, neurons)`; float32 or float64, finite.
        steps: how many steps, at least 1.
        gain: the current of a value of 1, dimensionless.

    Returns:
        `(steps, batch, neurons)`, in the dtype of `images`; of values without time a view without copies in time.

    Raises:
        ArgumentError: if a value is out of range or not finite, or `images` has another shape.
        DtypeError: if an argument has another type or dtype.

    Example:
        >>> current(torch.tensor([[0.0, 0.5, 1.0]]), steps=2, gain=2.0).tolist()
        [[[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]]
    """
    return _in_time(gain * _check(images, steps, gain), steps)


def latency(images: Tensor, steps: int, gain: float = 1.0) -> Tensor:
    """One input spike per value, the earlier the larger: at step round((1 − x)(steps − 1)); a value of 0 sends none.

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
    _check_range(_check(images, steps, gain, in_time=False), "a latency")
    # A value of 1 spikes at step 0, the least that is not 0 near the last: size becomes an early spike.
    moments = ((1 - images) * (steps - 1)).round()
    times = torch.arange(steps, dtype=images.dtype, device=images.device)[:, None, None]
    return gain * ((times == moments) & (images > 0)).to(images.dtype)


def phase(images: Tensor, steps: int, gain: float = 1.0, bits: int = 8) -> Tensor:
    """The binary digits of a value as weighted spikes: one digit per step, the largest first, again in every period.

    With x̂ = ⌊2^K x⌋ / 2^K and its digits b₁ … b_K, the step k of a period of K steps sends I = gain · 2^−k · b_k; a value
    of 1 is taken as 1 − 2^−K. So a whole period sums to gain · x̂, which is below gain · x by less than gain · 2^−K.

    Args:
        images: `(batch, neurons)`, float32 or float64, from 0 to 1.
        steps: how many steps, at least 1.
        gain: the current that a period of a value of 1 sums to, dimensionless.
        bits: K, from 1 to 16.

    Returns:
        `(steps, batch, neurons)`, in the dtype of `images`.

    Raises:
        ArgumentError: if a value is out of range or not finite, or `images` has another shape.
        DtypeError: if an argument has another type or dtype.

    Reference:
        Kim, Kim, Huh, Lee and Choi, Deep neural networks with weighted spikes, Neurocomputing 311 (2018).

    Example:
        >>> phase(torch.tensor([[0.625]]), steps=4, bits=3).flatten().tolist()
        [0.5, 0.0, 0.125, 0.5]
    """
    _check_range(_check(images, steps, gain, in_time=False), "phases")
    number = 1 << integer("bits", bits, at_least=1, at_most=16)
    levels = (images * number).floor().clamp(max=number - 1)
    weights = 0.5 ** (1 + torch.arange(steps, dtype=images.dtype, device=images.device) % bits)[:, None, None]
    # Digit k of the integer n is ⌊n / 2^(K − k)⌋ mod 2.
    digits = (levels / (number * weights)).floor() % 2
    return gain * weights * digits


def delta(images: Tensor, steps: int, gain: float = 1.0, change: float = 0.1) -> Tensor:
    """Spikes where a value changes: +gain or −gain at a step at which it left the band around what was sent so far.

    Delta modulation: with r = 0 before the first step, s[t] = +1 where x[t] − r ≥ c, −1 where x[t] − r ≤ −c, else 0;
    r ← r + c s[t]. So r follows x, closer than c wherever x moves by at most c per step and |x − r| < c once; a constant is
    climbed to and then silent.

    Args:
        images: `(batch, neurons)`, or in time `(steps, batch, neurons)`; float32 or float64, finite.
        steps: how many steps, at least 1.
        gain: the current of an input spike, dimensionless.
        change: c, the change that sends a spike, above 0.

    Returns:
        `(steps, batch, neurons)`, each element −gain, 0 or gain, in the dtype of `images`.

    Raises:
        ArgumentError: if a value is out of range or not finite, or `images` has another shape.
        DtypeError: if an argument has another type or dtype.

    Example:
        >>> delta(torch.tensor([[0.25]]), steps=4).flatten().tolist()
        [1.0, 1.0, 0.0, 0.0]
    """
    values = _in_time(_check(images, steps, gain), steps)
    real("change", change, above=0)
    # Counted in whole changes: a sum of many changes would drift by their rounding.
    sent = torch.zeros_like(values[0])
    spikes = torch.empty_like(values, memory_format=torch.contiguous_format)
    for step, value in enumerate(values):
        apart = value - change * sent
        spikes[step] = (apart >= change).to(value.dtype) - (apart <= -change).to(value.dtype)
        sent += spikes[step]
    return gain * spikes


def poisson(
    images: Tensor,
    steps: int,
    gain: float = 1.0,
    rate: float = 0.25,
    seed: int | None = None,
    shard: BatchShard | None = None,
) -> Tensor:
    """Input spikes whose rate is the value: I[t] = gain with probability rate · x[t], else 0, independently at every step.

    This is the Bernoulli form of a Poisson train at a resolution of one step, at most one spike per step.

    Args:
        images: `(batch, neurons)`, or in time `(steps, batch, neurons)`; float32 or float64, from 0 to 1.
        steps: how many steps, at least 1.
        gain: the current of an input spike, dimensionless; the mean current is gain · rate · x.
        rate: spikes per step of a value of 1, from 0 to 1.
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
    batch, neurons = images.shape[-2:]
    # The whole batch is drawn and a shard takes its rows of it, so that the number of processes changes no spike.
    first, total = (0, batch) if shard is None else shard
    uniform = torch.rand((steps, total, neurons), dtype=images.dtype, device=images.device, generator=source)
    return gain * (uniform[:, first : first + batch] < rate * images).to(images.dtype)


def _check(images: Tensor, steps: int, gain: float, *, in_time: bool = True) -> Tensor:
    """The values, which can be encoded."""
    tensor("images", images)
    integer("steps", steps, at_least=1)
    if in_time and images.ndim == 3:
        if len(images) != steps:
            raise ShapeError(f"Argument `steps` must be {len(images)}, as many as `images` has in time, but is {steps}.")
    else:
        shape_of("images", images, ("batch", "neurons"))
    real("gain", gain)
    return finite("images", images)


def _check_range(images: Tensor, purpose: str) -> None:
    if images.numel() and not bool(((images >= 0) & (images <= 1)).all()):
        low, high = float(images.min()), float(images.max())
        raise ArgumentError(f"Argument `images` must be from 0 to 1 for {purpose}, but goes from {low:g} to {high:g}.")


def _in_time(values: Tensor, steps: int) -> Tensor:
    """Values in time, without copies: those without time are the same at every step."""
    return values if values.ndim == 3 else values.expand(steps, *values.shape)


#: The encoders by name; one of one's own is one row.
ENCODINGS: Registry[Encoding] = Registry(
    "encoding",
    {
        "current": Encoding(
            "a current in proportion to the value",
            lambda values, of, seed, shard: current(values, of.steps, of.gain),
            in_time=True,
            unit_range=False,
        ),
        "poisson": Encoding(
            "random spikes whose rate is the value",
            lambda values, of, seed, shard: poisson(values, of.steps, of.gain, of.rate, seed, shard),
            in_time=True,
            unit_range=True,
        ),
        "latency": Encoding(
            "one spike, the earlier the larger the value",
            lambda values, of, seed, shard: latency(values, of.steps, of.gain),
            in_time=False,
            unit_range=True,
        ),
        "delta": Encoding(
            "a spike of either sign where the value changes",
            lambda values, of, seed, shard: delta(values, of.steps, of.gain, of.change),
            in_time=True,
            unit_range=False,
        ),
        "phase": Encoding(
            "the binary digits of the value, the largest first, in every period",
            lambda values, of, seed, shard: phase(values, of.steps, of.gain, of.bits),
            in_time=False,
            unit_range=True,
        ),
    },
)
