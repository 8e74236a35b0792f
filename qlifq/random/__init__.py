"""Randomness as a function of seed and place: streams of seeds, shards of a batch, draws."""

from qlifq.random.draws import MAX_SEED, BatchShard, bernoulli, generator, shared
from qlifq.random.streams import SeedStream, Steps

__all__ = ["MAX_SEED", "BatchShard", "SeedStream", "Steps", "bernoulli", "generator", "shared"]
