"""Fashion-MNIST and Kuzushiji-MNIST, the paper's fully connected network: as published, and with the true gradient.

    python -m benchmarks.training.relatives --data-dir DIR [--seeds 3]

Both on the same files in the same run, so that the difference does not depend on how these were split.
"""

import statistics

from benchmarks.training._rows import arguments, data_set, trained_row


def main() -> None:
    given = arguments(__doc__)
    for name in ("fashion-mnist", "kmnist"):
        data = data_set(name, given)
        print(f"{name}: {len(data.train):,} images to learn, {len(data.test):,} to be tested on")
        means = []
        for neuron in ("brand-petruccione-published", "brand-petruccione"):
            row = trained_row(f"{name}, {neuron}", "paper", data, given.seeds, design={"neuron": neuron})
            means.append(statistics.mean(row.figures))
        print(f"{name}: {means[1] - means[0]:+.2f} points above published mode")


if __name__ == "__main__":
    main()
