"""The network of the shot-noise study: trained in seconds on exact probabilities, run again with shots.

A `qlifq.training.Design` describes the same network, but averages the spikes before its linear read-out: the sums round
in another order, and the tables of the study would change.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from qlifq.backends import Backend, get
from qlifq.neurons import QLIF, SpikingSequential
from qlifq.reporting.intervals import Floats

__all__ = ["HIDDEN", "STEPS", "SmallNetwork"]

HIDDEN, STEPS = 24, 6
_TAU, _BATCH, _RATE = 4.0, 100, 5e-3


class SmallNetwork:
    """One layer of neurons between two linear ones, trained with one decision; the read-out is the mean over time.

    Args:
        images: `(samples, pixels)` float32.
        labels: `(samples,)` int64.
        decision: "sample", "threshold" or "expectation".
        epochs: of training.
        seed: of initial weights, order of the samples and spikes.
    """

    def __init__(self, images: Tensor, labels: Tensor, decision: str, *, epochs: int, seed: int) -> None:
        self.decision = decision
        self.sizes = images.shape[1], int(labels.max()) + 1
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # With decision "threshold" the first batches are nearly silent, and the network learns from them nevertheless.
            warnings.filterwarnings("ignore", message="A layer of .* stayed silent", category=RuntimeWarning)
            # torch draws initial weights from its global generator alone.
            torch.manual_seed(seed)
            self.trained = self._build(get("analytic"), None, seed)
            optimiser = torch.optim.Adam(self.trained.parameters(), lr=_RATE)
            for _ in range(epochs):
                for batch in torch.split(torch.randperm(len(images)), _BATCH):
                    loss = nn.functional.cross_entropy(_scores(self.trained, images[batch]), labels[batch])
                    optimiser.zero_grad()
                    torch.autograd.backward(loss)
                    optimiser.step()

    def recognised(
        self, images: Tensor, labels: Tensor, backend: Backend, shots: int | None, *, passes: int, seed: int
    ) -> Floats:
        """How often each image is recognised in some passes, `(samples,)`, between 0 and 1."""
        with torch.random.fork_rng(devices=[]):
            network = self._build(backend, shots, seed)
        network.load_state_dict(self.trained.state_dict())
        with torch.no_grad():
            answers = _scores(network, images.repeat(passes, 1)).argmax(dim=1)
        correct = answers.reshape(passes, -1) == labels
        return np.asarray(correct.to(torch.float64).mean(dim=0).numpy())

    def _build(self, backend: Backend, shots: int | None, seed: int) -> SpikingSequential:
        pixels, classes = self.sizes
        hidden = QLIF(HIDDEN, backend=backend, shots=shots, seed=seed, decision=self.decision, tau=_TAU)
        return SpikingSequential(nn.Linear(pixels, HIDDEN), hidden, nn.Linear(HIDDEN, classes))


def _scores(network: SpikingSequential, images: Tensor) -> Tensor:
    """The mean output over time, `(samples, classes)`."""
    output, _ = network(images.expand(STEPS, *images.shape))
    return torch.mean(output, dim=0)
