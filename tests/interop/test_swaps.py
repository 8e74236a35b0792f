"""Introductory networks of snnTorch, Norse and SpikingJelly, written anew, learn as well with QLIF as their neuron.

Runs where the libraries are installed. An accuracy is of 355 test images, so that a point is 3.6 of them.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from qlifq import QLIF, Readout, SpikingSequential
from qlifq.training import load_dataset

REASON = "its introductory network is compared where it is installed"


def accuracy(
    network: SpikingSequential,
    encode: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    scores: Callable[[Tensor], Tensor],
    rate: float,
    epochs: int,
) -> float:
    """The accuracy in percent on the digits that were not learnt."""
    digits = load_dataset("digits")
    images, labels = digits.train.read(slice(None)), digits.train.labels
    tests, expected = digits.test.read(slice(None)), digits.test.labels
    optimiser, source = torch.optim.Adam(network.parameters(), lr=rate), torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=source).split(64):  # type: ignore[no-untyped-call]
            output, _ = network(encode(images[chosen].float().flatten(1)))
            optimiser.zero_grad()
            loss(output, labels[chosen].long()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.eval()
    with torch.no_grad():
        answers = scores(network(encode(tests.float().flatten(1)))[0]).argmax(dim=1)
    return 100 * float((answers == expected).float().mean())


def compare(build: Callable[[nn.Module], SpikingSequential], theirs: nn.Module, ours: nn.Module, **recipe: Any) -> None:
    found = []
    for neuron in (theirs, ours):
        torch.manual_seed(1)
        found.append(accuracy(build(copy.deepcopy(neuron)), **recipe))
    original, swapped = found
    print(f"original {original:.2f} %, with QLIF {swapped:.2f} %")
    assert original > 92
    assert swapped > original - 2


def test_the_network_of_the_fifth_tutorial_of_snntorch() -> None:
    snntorch = pytest.importorskip("snntorch", reason=REASON)

    def build(neuron: nn.Module) -> SpikingSequential:
        readout = Readout(10, tau=20.0, decay_input=False)
        return SpikingSequential(nn.Linear(64, 256), neuron, nn.Linear(256, 10), readout)

    compare(
        build,
        snntorch.Leaky(0.95),
        QLIF(256, tau=20.0, decay_input=False, seed=0),
        encode=lambda images: images.expand(25, *images.shape),
        loss=cross_entropy,
        scores=lambda output: output,
        rate=2e-3,
        epochs=8,
    )


def test_the_introductory_network_of_norse() -> None:
    norse = pytest.importorskip("norse.torch", reason=REASON)

    def build(neuron: nn.Module) -> SpikingSequential:
        return SpikingSequential(nn.Linear(64, 128), neuron, nn.Linear(128, 10), Readout(10, tau=10.0, over_time="max"))

    compare(
        build,
        norse.LIFCell(),
        QLIF(128, tau=10.0, decay_input=False, seed=0),
        encode=lambda images: images.expand(32, *images.shape),
        loss=cross_entropy,
        scores=lambda output: output,
        rate=5e-3,
        epochs=8,
    )


def test_the_introductory_network_of_spikingjelly() -> None:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", reason=REASON)

    def encode(images: Tensor) -> Tensor:
        return (torch.rand(50, *images.shape) < images).float()

    compare(
        lambda neuron: SpikingSequential(nn.Linear(64, 10, bias=False), neuron),
        neurons.LIFNode(tau=2.0),
        QLIF(10, tau=2.0, seed=0),
        encode=encode,
        loss=lambda spikes, labels: mse_loss(spikes.mean(dim=0), one_hot(labels, 10).float()),
        scores=lambda spikes: spikes.mean(dim=0),
        rate=1e-2,
        epochs=10,
    )
