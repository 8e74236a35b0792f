"""The fully connected network of arXiv 2407.16398, 784-1000-10, 3 epochs, 25 steps, on MNIST.

    python -m benchmarks.training.paper --data-dir DIR [--seeds 3]

First as published, with its recipe; then with the relaxation leak and the true gradient.
"""

from benchmarks.training._rows import arguments, data_set, trained_row


def main() -> None:
    given = arguments(__doc__)
    data = data_set("mnist", given)
    for neuron in ("brand-petruccione-published", "brand-petruccione"):
        trained_row(f"paper's network, {neuron}", "paper", data, given.seeds, design={"neuron": neuron})


if __name__ == "__main__":
    main()
