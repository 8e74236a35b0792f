"""The fully connected network on the first 5,000 MNIST images, 5 epochs, 20 steps, 512 hidden neurons, tested on all 10,000.

    python -m benchmarks.training.mlp --data-dir DIR [--seeds 3]

Its hidden neurons pass spikes of 0 and 1; the classical networks of the same size are trained in the same way.
"""

from benchmarks.training._rows import arguments, data_set, trained_row


def main() -> None:
    given = arguments(__doc__)
    data = data_set("mnist", given, 5000)
    for neuron in ("qlif", "classical", "classical-stochastic"):
        trained_row(f"mlp, 5,000 images, {neuron}", "mlp", data, given.seeds, design={"neuron": neuron})


if __name__ == "__main__":
    main()
