"""Leaky integrate-and-fire layers of other projects, each run as its documentation runs it; see `requirements.txt`."""

import importlib
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["layers"]

#: The membrane time constant of every contender, in steps.
TAU = 20.0


def layers(device: str = "cpu") -> dict[str, Callable[[Tensor], Tensor]]:
    """Layers by name, each from a current `(time, batch, neurons)` to spikes; those whose package is there.

    Args:
        device: "cpu" or "cuda".
    """
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    for makers in (_spikingjelly, _snntorch, _norse):
        try:
            found |= makers(device)
        except ImportError as error:
            print(f"{makers.__name__[1:]} does not take part: {error}")
    return found


def _spikingjelly(device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    neuron = importlib.import_module("spikingjelly.activation_based.neuron")
    # Takes the fastest of its kernels that the device has by itself.
    node = neuron.LIFNode(tau=TAU, step_mode="m").to(device)

    def run(current: Tensor) -> Tensor:
        node.reset()
        return torch.as_tensor(node(current))

    return {"SpikingJelly LIF": run}


def _snntorch(device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    leaky = importlib.import_module("snntorch").Leaky(beta=1 - 1 / TAU).to(device)

    def run(current: Tensor) -> Tensor:
        membrane = torch.zeros_like(current[0])
        spikes = []
        for now in current:
            spiked, membrane = leaky(now, membrane)
            spikes.append(spiked)
        return torch.stack(spikes)

    return {"snnTorch Leaky": run}


def _norse(device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    norse = importlib.import_module("norse.torch")
    cell = norse.LIFCell().to(device)

    def run(current: Tensor) -> Tensor:
        state = None
        spikes = []
        for now in current:
            spiked, state = cell(now, state)
            spikes.append(spiked)
        return torch.stack(spikes)

    return {"Norse LIF": run}
