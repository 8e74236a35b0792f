"""What an epoch of training costs: 5,000 images of 28 × 28, 20 steps, 512 hidden neurons, batches of 128.

    python -m benchmarks.epoch [--quick]

The images are random: what they show does not change the work. The contenders take turns, an epoch each.
"""

import argparse
import statistics

import torch

from qlifq.training import Dataset, Design, LabelledImages, TrainingSettings, train

IMAGES = 5000
CONTENDERS: dict[str, tuple[str, dict[str, object]]] = {
    "QLIF": ("qlif", {}),
    "QLIF, every step in general form": ("qlif", {"learnable_tau": True}),
    "classical LIF, stochastic": ("classical-stochastic", {}),
    "classical LIF, deterministic": ("classical", {}),
}


def seconds(neuron: str, parameters: dict[str, object], data: Dataset) -> float:
    """Wall time of an epoch."""
    design = Design(
        network="mlp",
        neuron=neuron,
        picture=(28, 28),
        classes=10,
        hidden=(512,),
        steps=20,
        parameters={"tau": 1.5, **parameters},
    )
    trained = train(design, data, TrainingSettings(epochs=1, batch=128, learning_rate=1e-3))
    return trained.history[0].seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 15")
    rounds = 3 if parser.parse_args().quick else 15
    generator = torch.Generator().manual_seed(0)
    pictures = LabelledImages(torch.rand(IMAGES, 784, generator=generator), torch.randint(10, (IMAGES,), generator=generator))
    data = Dataset("random", pictures, LabelledImages(pictures.images[:10], pictures.labels[:10]), (28, 28), "drawn")
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, (neuron, parameters) in CONTENDERS.items():
            times[name].append(seconds(neuron, parameters, data))
    print(f"{IMAGES:,} images, 20 steps, 512 hidden, batch 128, {torch.get_num_threads()} threads, {rounds} rounds")
    for name, values in times.items():
        print(f"{name:34s} median {statistics.median(values):5.2f} s   least {min(values):5.2f} s")


if __name__ == "__main__":
    main()
