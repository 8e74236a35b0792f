"""Settings shared by all tests."""

import torch
from hypothesis import settings

# Circuits and tensors here are tiny: threads beyond one only wait for each other when tests run side by side.
torch.set_num_threads(1)

# Deadlines measure the machine and not the code; a fixed derandomised search fails the same way everywhere.
settings.register_profile("qlifq", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("qlifq")
