"""Conformance checks of whole spike trains: their distribution against the exact law, their seeds, their refusals."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from qlifq.backends.conformance.contract import all_refused, check_plain_value
from qlifq.backends.conformance.harness import Harness
from qlifq.backends.interface import MAX_SHOTS
from qlifq.backends.noise import DeviceNoise
from qlifq.backends.trains import TrainOutcome
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.errors import ConformanceError, UnsupportedError

__all__ = ["TRAINS", "contract", "law"]

#: The error of the probability of a train that its counts must show.
BIAS = 0.05

#: Conditions of trains by what they are on, for as many steps: each kind shows another mistake in a register.
TRAINS: Mapping[str, Callable[[int], list[Condition]]] = MappingProxyType(
    {
        "last spike": lambda steps: [
            Condition(t, first, t - 1 if first % 2 else first, newest=not first % 2) for t in range(steps) for first in range(t)
        ],
        "single bits": lambda steps: [Condition(t, s, s) for t in range(steps) for s in range(t)],
        "another site": lambda steps: [Condition(t, s, s, source=0) for t in range(steps) for s in range(t + 1)],
    }
)


def law(kind: str, harness: Harness) -> str:
    """The distribution of whole trains, all sites together where they turn each other."""
    train = _train(kind, harness, steps=2 if kind == "another site" else 4)
    noise = getattr(harness.oracle, "noise", None)
    if noise is not None and not isinstance(noise, DeviceNoise):
        raise UnsupportedError(f"The law of trains is known for a DeviceNoise alone, not for {type(noise).__name__}.")
    of_trains = None if noise is None else noise.of_trains(train.base.dtype, train.base.device)
    # Every train of all sites together has a number, as has every train of each.
    bits = train.steps * (train.sites if train.coupled else 1)
    listed = ((torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1).bool()
    spread = listed.reshape(2**bits, train.steps, 1, -1).expand(-1, -1, train.batch, train.sites)
    chances = train.probability(spread, of_trains)
    truth = (chances.prod(-1, keepdim=True) if train.coupled else chances).flatten(1)
    shots = min(harness.shots_to_see(BIAS, truth.numel()), harness.can.max_shots or MAX_SHOTS)
    spikes = _run(harness, train, shots).spikes
    spikes = spikes.transpose(1, 2).flatten(2).unsqueeze(-1) if train.coupled else spikes.transpose(1, 2)
    numbers = (spikes.long() * (1 << torch.arange(bits))[:, None]).sum(2).flatten(1)
    found = torch.stack([numbers.eq(number).sum(0) for number in range(2**bits)])
    harness.plausible(found.numpy(), shots, truth, truth.unsqueeze(-1))
    return f"{truth.numel()} trains from {shots:,} shots"


def contract(harness: Harness) -> str:
    """Shape, seeds, plain metadata, the empty batch and refusals."""
    train = _train("last spike", harness, steps=3)
    first, again, other = (_run(harness, train, 20, seed=harness.seed + more) for more in (0, 0, 1))
    for outcome in (first, again, other):
        if outcome.spikes.shape != (20, *train.base.shape) or outcome.spikes.dtype != torch.bool:
            raise ConformanceError(f"`spikes` must be bool (20, time, batch, sites), but are {tuple(outcome.spikes.shape)}")
    if not torch.equal(first.spikes, again.spikes):
        raise ConformanceError("the same seed gives other trains")
    if torch.equal(first.spikes, other.spikes):
        raise ConformanceError("another seed gives the same trains")
    check_plain_value("metadata", dict(first.metadata))
    for fact, value in harness.backend.facts.items():
        if first.metadata.get(fact) != value:
            raise ConformanceError(f"its `facts` report {fact} {value!r}, but the metadata {first.metadata.get(fact)!r}")
    empty = train.select(torch.arange(0))
    if _run(harness, empty, 5).spikes.shape != (5, train.steps, 0, train.sites):
        raise ConformanceError("an empty batch must give empty trains")
    bad: dict[str, dict[str, object]] = {
        "a train that is a string": {"train": "train"},
        **{f"shots={value!r}": {"shots": value} for value in (None, 0, -1, 1.5, True)},
        **{f"seed={value!r}": {"seed": value} for value in (-1, 2**63, 1.5, True)},
    }
    all_refused(harness.backend.run_train, {"train": train, "shots": 5, "seed": harness.seed}, bad)
    planned = harness.backend.plan_train(train, shots=5)
    if planned.evaluations != train.base.numel():
        raise ConformanceError(f"`evaluations` must be {train.base.numel()}, but is {planned.evaluations}")
    return f"seeds, shape, the empty batch, {len(bad)} bad calls"


def _train(kind: str, harness: Harness, steps: int) -> SpikeTrainCircuit:
    """Random angles under the conditions of a kind."""
    source = torch.Generator().manual_seed(harness.seed % 2**32)
    conditions = TRAINS[kind](steps)
    sizes = (2, harness.sites(2))
    base = torch.rand((steps, *sizes), dtype=torch.float64, generator=source) * 2 + 0.5
    angles = torch.rand((len(conditions), *sizes), dtype=torch.float64, generator=source) * 3 - 1.5
    if kind == "another site":
        angles[..., 0] = 0
    return SpikeTrainCircuit(base.to(harness.device), tuple(conditions), angles.to(harness.device))


def _run(harness: Harness, train: SpikeTrainCircuit, shots: int, seed: int | None = None) -> TrainOutcome:
    return harness.backend.run_train(train, shots=shots, seed=harness.seed if seed is None else seed)
