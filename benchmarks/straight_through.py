"""How far the straight-through gradient of sampled spikes is from the gradient of the expected loss, which is known exactly.

    python -m benchmarks.straight_through [--quick]

A spike is drawn and carries the derivative of its probability, ds := dp. That is exact where the loss is linear in spikes which
nothing follows; a reset, a layer above and a curved loss make it biased. Networks here are so small that every spike train can
be enumerated: the expected loss is

    E[L] = Σ over trains s of P(s) L(s),   P(s) = Π over steps and neurons of p^s (1 − p)^(1 − s),

with p the closed form given the spikes before, and its gradient is that of a smooth function. The table has this gradient, the
mean of the estimator over all trains, and the mean of sampled backward passes through `qlifq.QLIF` with its interval.
"""

import argparse
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qlifq.circuits import excitation
from qlifq.neurons import MAPPINGS, QLIF, integrate, settle
from qlifq.neurons.mapping import THETA_MAX
from qlifq.reporting.intervals import Interval, large_sample_mean

#: What the two parameters of a network scale: its input, and what its second layer is given.
PARAMETERS = ("input gain", "second layer's weight")
#: Constant input of each neuron of the first layer, which the gain multiplies, and the weights into the second.
INPUT, WEIGHTS = (1.0, 1.3, 0.7), (1.0, -0.4, 0.8)


class Case(NamedTuple):
    """A network whose trains can be enumerated.

    Args:
        name: what the table calls it.
        hidden: neurons of the first layer.
        layers: 1, whose neurons are the output; or 2, with one neuron on top.
        steps: time steps.
        gain: of the input.
        weight: of what the second layer is given.
        target: None for the loss "mean output spike", else for the square of its distance from this.
    """

    name: str
    hidden: int
    layers: int
    steps: int
    gain: float
    weight: float
    target: float | None = None

    def parameters(self) -> Tensor:
        """The gain, and for two layers the weight."""
        return torch.tensor([self.gain, self.weight][: self.layers], dtype=torch.float64, requires_grad=True)

    def build(self, seed: int) -> list[QLIF]:
        """The layers, float64."""
        sizes = [self.hidden, 1][: self.layers]
        return [QLIF(size, tau=2.0, seed=10 * seed + place).double() for place, size in enumerate(sizes)]

    def loss(self, spikes: Tensor) -> Tensor:
        """L of output spikes `(time, batch, neurons)`, `(batch,)`."""
        rate = spikes.mean(dim=(0, 2))
        return rate if self.target is None else (rate - self.target).square()


CASES = (
    Case("one layer, one step", 1, 1, 1, 2.5, 0.0),
    Case("one layer, 8 steps", 1, 1, 8, 2.0, 0.0),
    Case("one layer, 8 steps, squared loss", 1, 1, 8, 2.0, 0.0, target=0.3),
    Case("one layer, 8 steps, saturated", 1, 1, 8, 4.5, 0.0),
    Case("two layers, 4 steps", 2, 2, 4, 2.0, 2.5),
    Case("two layers, 4 steps, squared loss", 2, 2, 4, 2.0, 2.5, target=0.3),
    Case("two layers, 4 steps, saturated", 2, 2, 4, 2.0, 12.0),
)


def trains(case: Case) -> Tensor:
    """Every spike train of the whole network, `(time, trains, neurons)` of 0 and 1."""
    neurons = case.hidden + (case.layers == 2)
    bits = case.steps * neurons
    numbers = torch.arange(2**bits)[:, None] >> torch.arange(bits)
    return (numbers & 1).to(torch.float64).reshape(-1, case.steps, neurons).transpose(0, 1)


def along(case: Case, parameters: Tensor, *, straight_through: bool) -> tuple[Tensor, Tensor]:
    """The probability and the loss of every train, `(trains,)` each.

    Args:
        case: the network.
        parameters: as `Case.parameters`.
        straight_through: whether the spikes carry the derivative of their probability, or are constants of the train.
    """
    given = trains(case)
    layers = case.build(0)
    states = [layer.initial_state(given.shape[1]) for layer in layers]
    probability, outputs = torch.ones((), dtype=torch.float64), []
    for step in given:
        below: Tensor | None = None
        for place, layer in enumerate(layers):
            drawn = step[:, : case.hidden] if place == 0 else step[:, case.hidden :]
            current = driven(case, parameters, below).expand_as(drawn)
            states[place], gap = integrate(states[place], current, layer.dynamics())
            angle = MAPPINGS[layer.mapping].angle(gap, layer.q_scale, layer.q_bias, THETA_MAX)
            p = excitation(angle)
            # Where the train says 1 the factor is p, else 1 − p.
            probability = probability * torch.where(drawn > 0, p, 1 - p).prod(dim=1)
            below = drawn + (p - p.detach()) if straight_through else drawn
            states[place] = settle(states[place], below, layer.dynamics())
        assert below is not None
        outputs.append(below)
    return probability, case.loss(torch.stack(outputs))


def driven(case: Case, parameters: Tensor, below: Tensor | None) -> Tensor:
    """The current of a layer: the input with its gain, or the spikes below `(..., hidden)` with their weights."""
    if below is None:
        return parameters[0] * torch.tensor(INPUT[: case.hidden], dtype=torch.float64)
    weights = torch.tensor(WEIGHTS[: case.hidden], dtype=torch.float64)
    return parameters[1] * (below * weights).sum(dim=-1, keepdim=True)


def expected_loss(case: Case, parameters: Tensor) -> Tensor:
    """E[L], a smooth function of the parameters."""
    probability, loss = along(case, parameters, straight_through=False)
    return (probability * loss).sum()


def exact_gradient(case: Case) -> Tensor:
    """dE[L] by each parameter."""
    parameters = case.parameters()
    return torch.autograd.grad(expected_loss(case, parameters), parameters)[0]


def mean_estimate(case: Case) -> Tensor:
    """The expectation of the straight-through gradient: its mean over all trains, each with its probability."""
    parameters = case.parameters()
    probability, loss = along(case, parameters, straight_through=True)
    return torch.autograd.grad((probability.detach() * loss).sum(), parameters)[0]


def sampled_estimates(case: Case, *, rounds: int, batch: int) -> Tensor:
    """Straight-through gradients of `qlifq.QLIF` as a user gets them, means over a batch, `(rounds, parameters)`."""
    found = []
    for seed in range(1, rounds + 1):
        layers, parameters = case.build(seed), case.parameters()
        current = driven(case, parameters, None).expand(case.steps, batch, -1)
        spikes, _ = layers[0](current)
        for layer in layers[1:]:
            spikes, _ = layer(driven(case, parameters, spikes))
        found.append(torch.autograd.grad(case.loss(spikes).mean(), parameters)[0])
    return torch.stack(found)


class Row(NamedTuple):
    """One gradient of one network: exact, the estimator's mean over all trains, and its mean over samples."""

    case: str
    parameter: str
    exact: float
    mean: float
    sampled: Interval


def measure(cases: Sequence[Case], *, rounds: int, batch: int) -> list[Row]:
    """The rows of the table."""
    rows = []
    for case in cases:
        samples = sampled_estimates(case, rounds=rounds, batch=batch).numpy()
        exact, mean = exact_gradient(case).tolist(), mean_estimate(case).tolist()
        for place, (true, expected) in enumerate(zip(exact, mean, strict=True)):
            sampled = large_sample_mean(np.asarray(samples[:, place]))
            rows.append(Row(case.name, PARAMETERS[place], true, expected, sampled))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The bias of the straight-through gradient against exact enumeration.")
    parser.add_argument("--quick", action="store_true", help="fewer samples, wider intervals")
    rounds, batch = (100, 500) if parser.parse_args().quick else (400, 5000)
    # A layer says when all of its neurons spike at every step, which the saturated networks are made to do.
    warnings.filterwarnings("ignore", "A layer of 1 neurons fired without pause", RuntimeWarning)
    print(f"{rounds * batch:,} sampled trains for each network; 95 % intervals in brackets\n")
    print(
        "| network | gradient by | exact | straight-through, over all trains | sampled | bias, sampled less exact | of exact |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in measure(CASES, rounds=rounds, batch=batch):
        print("|", " | ".join(cells(row)), "|")


def cells(row: Row) -> list[str]:
    """A row as text; what is 0 but for rounding is 0."""
    bias = [0.0 if abs(bound - row.exact) < 1e-12 else bound - row.exact for bound in row.sampled]
    share = [f"{100 * bound / abs(row.exact):+.1f}" for bound in bias]
    numbers = [f"{number:.5f}" for number in (row.exact, row.mean, row.sampled.value)]
    return [row.case, row.parameter, *numbers, str(Interval(*bias)), f"{share[0]} % ({share[1]} to {share[2]})"]


if __name__ == "__main__":
    main()
