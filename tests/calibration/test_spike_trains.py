"""A bit that was read is the spike: the correction of q_scale and q_bias is that of single decisions, for whole trains too."""

import torch

from qlifq.backends import DeviceNoise, get
from qlifq.calibration import fit
from qlifq.neurons import QLIF


def test_the_correction_of_single_decisions_corrects_whole_trains() -> None:
    """By exact rates, so that the only randomness is that of the calibration; no correction lowers the readout floor."""
    noise = DeviceNoise(readout_p01=0.02, readout_p10=0.05)
    of_trains = noise.of_trains(torch.float64, torch.device("cpu"))
    backend = get("analytic", noise=noise)
    layer = QLIF(4, tau=5.0, backend=backend).double()
    current = 6 * torch.rand(30, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ideal = layer.train_circuit(current).moments().rate
    before = layer.train_circuit(current).moments(noise=of_trains).rate - ideal
    fit(backend, neurons=4, shots=40_000, seed=1).apply_to(layer, span=(-1.0, 0.5))
    after = layer.train_circuit(current).moments(noise=of_trains).rate - ideal
    assert float(before.abs().mean()) > 0.02
    assert float(after.abs().mean()) < 0.6 * float(before.abs().mean())
    # The rate of every neuron over the whole sequence, within 0.2 % of a spike per step.
    assert float(after.mean(0).abs().max()) < 0.002
