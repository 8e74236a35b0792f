"""The neurons that a network can be built of, by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType, SimpleNamespace
from typing import cast

import torch

from qlifq._registry import Registry
from qlifq._validation import choice
from qlifq.backends import Backend
from qlifq.errors import UnsupportedError
from qlifq.neurons import QLIF, BrandPetruccione, Settings
from qlifq.neurons.parameters import PROBABILISTIC, spec_of

__all__ = ["CLASSICAL", "NEURONS", "SHORT_TAU", "NeuronKind", "Shape", "make_neurons", "parameters_for"]

#: How many neurons a layer has, or the shape in which they stand.
Shape = int | tuple[int, ...]


@dataclass(frozen=True)
class NeuronKind:
    """A neuron as a network uses it.

    Args:
        description: what it is, for a report.
        options: what its layer is built with, beside what the user gives.
        rotated: whether it is driven by a rotation and an interval (two weights per connection) instead of a current.
    """

    description: str
    options: Mapping[str, object] = field(default_factory=dict)
    rotated: bool = False

    @property
    def as_published(self) -> bool:
        """Whether leak and gradient are those of the code that the paper's authors released."""
        return self.rotated and self.options["leak"] == self.options["gradient"] == "published"

    @property
    def untrained(self) -> bool:
        """Whether its spikes pass no gradient, so that the layers in front of it do not train."""
        return self.rotated and self.options["gradient"] == "published"


_CLASSIC = {"quantum_mode": False}

#: The stochastic classical neuron has the slope of the mapping `sigmoid` at the threshold, dp/dΔ = π/2.
NEURONS: Registry[NeuronKind] = Registry(
    "neuron",
    {
        "qlif": NeuronKind("QLIF, mapping sigmoid", {"mapping": "sigmoid"}),
        "qlif-linear": NeuronKind("QLIF, mapping linear", {"mapping": "linear"}),
        "qlif-tanh": NeuronKind("QLIF, mapping tanh", {"mapping": "tanh"}),
        "quadratic": NeuronKind("QLIF with a quadratic membrane, our discretisation", {"membrane": "quadratic"}),
        "classical": NeuronKind("classical LIF, deterministic", _CLASSIC),
        "classical-stochastic": NeuronKind(
            "classical LIF, stochastic", {**_CLASSIC, "stochastic": True, "base_alpha": 2 * math.pi}
        ),
        "brand-petruccione": NeuronKind(
            "Brand and Petruccione, relaxation leak, true gradient", {"leak": "relaxation", "gradient": "true"}, True
        ),
        "brand-petruccione-published": NeuronKind(
            "Brand and Petruccione as published", {"leak": "published", "gradient": "published"}, True
        ),
        "brand-petruccione-published-leak": NeuronKind(
            "Brand and Petruccione, published leak, true gradient", {"leak": "published", "gradient": "true"}, True
        ),
        "brand-petruccione-published-gradient": NeuronKind(
            "Brand and Petruccione, relaxation leak, published gradient", {"leak": "relaxation", "gradient": "published"}, True
        ),
    },
)
#: What makes a membrane follow its input within the steps that an image is shown for.
SHORT_TAU: Mapping[str, object] = MappingProxyType({"tau": 1.5})
#: The neurons of the networks that every network is compared with, with as many parameters.
CLASSICAL = ("classical", "classical-stochastic")


def make_neurons(
    kind: str,
    neurons: Shape,
    parameters: Mapping[str, object],
    *,
    backend: str | Backend = "analytic",
    shots: int | None = None,
    seed: int | None = None,
) -> QLIF | BrandPetruccione:
    """A layer of neurons of a kind.

    Args:
        kind: a name in `NEURONS`.
        neurons: how many, or their shape.
        parameters: further options of the layer, which override those of the kind.
        backend: where its spike decisions run; a classical neuron has none on a qubit and needs "analytic".
        shots: as for the layer.
        seed: as for the layer.

    Raises:
        ArgumentError: for an unknown kind.
        QLIFError: for an option that its layer does not take.
    """
    chosen = NEURONS[choice("neuron", kind, NEURONS)]
    options = {**chosen.options, **parameters}
    if chosen.rotated:
        for name in parameters:
            if name not in {"threshold", "t1", "delay_t1"}:
                raise UnsupportedError(f"Argument `{name}` would be ignored: neuron {kind} has threshold, t1 and delay_t1.")
        count = neurons if isinstance(neurons, int) else math.prod(neurons)
        return BrandPetruccione(count, backend=backend, shots=shots, seed=seed, **options)  # type: ignore[arg-type]
    if not isinstance(neurons, int):
        # A design is JSON: one number per neuron of a map comes in a row.
        options = {name: _shaped(value, neurons) for name, value in options.items()}
    return QLIF(neurons, backend=backend, shots=shots, seed=seed, **options)  # type: ignore[arg-type]


def _shaped(value: object, shape: tuple[int, ...]) -> object:
    """Numbers in a row, one per neuron, in the shape of the neurons; anything else as it is."""
    row = isinstance(value, tuple) and len(value) == math.prod(shape) and all(isinstance(each, float | int) for each in value)
    return torch.tensor(value, dtype=torch.float64).reshape(shape) if row else value


def parameters_for(kind: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Those of the parameters that have an effect in a neuron of another kind too; what makes the kind is its own."""
    chosen = NEURONS[kind]
    if chosen.rotated:
        return {}
    specs = {item.name: spec_of(item) for item in fields(Settings)}
    kept = {
        name: value
        for name, value in parameters.items()
        if name in specs and name not in {"quantum_mode", "stochastic", *chosen.options}
    }
    while True:
        values = {**{item.name: item.default for item in fields(Settings)}, **chosen.options, **kept}
        # A need tests values alone, and these may still be some that `Settings` itself refuses.
        settings = cast(Settings, SimpleNamespace(**values))
        idle = [name for name in kept if not specs[name].has_effect(settings)]
        if "learnable" in kept:
            kept["learnable"] = tuple(
                name for name in settings.learnable if name not in specs or specs[name].has_effect(settings)
            )
        if settings.neuromod_mode == "prob_slope" and not PROBABILISTIC.holds(settings):
            idle.append("neuromod_mode")
        if not idle:
            return kept
        # What needed one of them may be idle now itself.
        kept = {name: value for name, value in kept.items() if name not in idle}
