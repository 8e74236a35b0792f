"""QLIF beside the Brand and Petruccione neuron."""
