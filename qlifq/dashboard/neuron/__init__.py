"""The page of a neuron."""
