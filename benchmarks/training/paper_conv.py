"""The convolutional network of arXiv 2407.16398, 1-12-64 with kernels of 5 × 5 and pooling, 2 epochs, on MNIST.

python -m benchmarks.training.paper_conv --data-dir DIR [--seeds 3] [--neuron brand-petruccione]

With the true gradient it runs for 16 steps and its currents are averaged before the neurons; as published
(--neuron brand-petruccione-published) for 50 steps, and the spikes of whole maps are pooled.
"""

from benchmarks.training._rows import arguments, data_set, trained_row


def main() -> None:
    given = arguments(
        __doc__,
        neuron=(str, "brand-petruccione", "brand-petruccione or one of its variants"),
        steps=(int, None, "time steps, if not those of the recipe"),
    )
    design = {"neuron": given.neuron} | ({} if given.steps is None else {"steps": given.steps})
    data = data_set("mnist", given)
    trained_row(f"paper's convolutional network, {given.neuron}", "paper-conv", data, given.seeds, design=design)


if __name__ == "__main__":
    main()
