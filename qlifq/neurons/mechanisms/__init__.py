"""The mechanisms of the neuron, one file each: parameters, states and equations in one row, see `Mechanism`."""
