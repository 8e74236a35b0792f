"""The autoencoder on MNIST, 10 epochs, 40 steps, 256 hidden neurons: binary cross entropy of the 10,000 test images.

python -m benchmarks.training.autoencoder --data-dir DIR [--seeds 3]
"""

from benchmarks.training._rows import arguments, data_set, trained_row


def main() -> None:
    given = arguments(__doc__)
    data = data_set("mnist", given)
    for neuron in ("qlif", "classical"):
        trained_row(f"autoencoder, {neuron}", "autoencoder", data, given.seeds, design={"neuron": neuron})


if __name__ == "__main__":
    main()
