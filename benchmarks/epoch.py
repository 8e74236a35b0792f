"""What an epoch of training costs: 5,000 images of 28 × 28, 20 steps, 512 hidden neurons, batches of 128.

    python -m benchmarks.epoch [--quick] [--opponents] [--cpu-time]

The images are random: what they show does not change the work. The contenders take turns, an epoch each. With `--opponents`
the neurons of SpikingJelly, snnTorch and Norse take turns with QLIF in one plain loop of torch, in which the same network
without neurons shows what the matrix products, the encoding and the optimiser cost alone.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import qlifq
from benchmarks._opponents import layers
from benchmarks._turns import add_clock, show, turns_by
from qlifq.training import Dataset, Design, LabelledImages, TrainingSettings, train

IMAGES, BATCH, HIDDEN, STEPS = 5000, 128, 512, 20
CONTENDERS: dict[str, tuple[str, dict[str, object]]] = {
    "QLIF": ("qlif", {}),
    "QLIF, trained time constants": ("qlif", {"learnable_tau": True}),
    "classical LIF, stochastic": ("classical-stochastic", {}),
    "classical LIF, deterministic": ("classical", {}),
}


def epoch(neuron: str, parameters: dict[str, object], data: Dataset) -> None:
    """An epoch as `qlifq train` runs it."""
    design = Design(
        network="mlp",
        neuron=neuron,
        picture=(28, 28),
        classes=10,
        hidden=(HIDDEN,),
        steps=STEPS,
        parameters={"tau": 1.5, **parameters},
    )
    train(design, data, TrainingSettings(epochs=1, batch=BATCH, learning_rate=1e-3))


def torch_epoch(hidden: Callable[[Tensor], Tensor], data: LabelledImages) -> None:
    """An epoch of the same network as users of torch write it: Poisson encoding, linear, neurons, linear, cross entropy."""
    inner, outer = nn.Linear(data.images.shape[1], HIDDEN), nn.Linear(HIDDEN, 10)
    optimiser = torch.optim.AdamW([*inner.parameters(), *outer.parameters()], lr=1e-3)
    for images, labels in zip(torch.split(data.images, BATCH), torch.split(data.labels, BATCH), strict=True):
        spikes = (torch.rand(STEPS, *images.shape) < images).float()
        loss = nn.functional.cross_entropy(outer(hidden(inner(spikes))).mean(0), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 15, and a fifth of the images")
    parser.add_argument("--opponents", action="store_true", help="with the neurons of SpikingJelly, snnTorch and Norse")
    add_clock(parser)
    given = parser.parse_args()
    turns = turns_by(given)
    rounds, count = (3, IMAGES // 5) if given.quick else (15, IMAGES)
    generator = torch.Generator().manual_seed(0)
    pictures = LabelledImages(torch.rand(count, 784, generator=generator), torch.randint(10, (count,), generator=generator))
    data = Dataset("random", pictures, LabelledImages(pictures.images[:10], pictures.labels[:10]), (28, 28), "drawn")
    title = f"An epoch of {count:,} images, {STEPS} steps, {HIDDEN} hidden, batch {BATCH}"
    trained = {name: partial(epoch, neuron, parameters, data) for name, (neuron, parameters) in CONTENDERS.items()}
    show(f"{title}: qlifq.training", turns(trained, rounds), "QLIF")
    if given.opponents:
        layer = qlifq.QLIF(HIDDEN, seed=1, tau=1.5)
        hidden = {"without neurons": lambda current: current, "QLIF": lambda current: layer(current)[0], **layers()}
        loops = {name: partial(torch_epoch, run, pictures) for name, run in hidden.items()}
        show(f"{title}: a plain loop", turns(loops, rounds), "without neurons")


if __name__ == "__main__":
    main()
