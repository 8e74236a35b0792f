"""Randomness as a function of seed and place: streams of seeds, shards of a batch, draws."""
