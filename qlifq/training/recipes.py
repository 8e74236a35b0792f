"""What a network is trained with where the user says nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from qlifq import _validation as check
from qlifq.training.datasets import Dataset
from qlifq.training.networks import Design
from qlifq.training.neuron_kinds import FAST, NEURONS, parameters_for
from qlifq.training.settings import TrainingSettings

__all__ = ["RECIPES", "Recipe", "prepared"]


@dataclass(frozen=True)
class Recipe:
    """Defaults of a network.

    Args:
        design: of what it is built from.
        settings: of its training.
        small: what differs for small pictures, of both.
        published: what differs where the neurons are as they were published, of the design and of the training: there the
            network is trained as the paper's was.
    """

    design: Mapping[str, Any]
    settings: Mapping[str, Any]
    small: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})


_DIGITS = {"epochs": 12, "batch": 64, "learning_rate": 1e-2}

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mlp": Recipe(
            {"hidden": (512,), "steps": 20, "parameters": FAST},
            {"epochs": 5, "batch": 128, "learning_rate": 1.5e-2, "schedule": "one-cycle", "smoothing": 0.1},
            {"hidden": (128,), "steps": 12, "gain": 2.0, **_DIGITS},
        ),
        "conv": Recipe(
            {"hidden": (12, 32), "steps": 12, "gain": 2.0, "parameters": FAST},
            {"epochs": 3, "batch": 128, "learning_rate": 2e-3, "schedule": "cosine"},
            _DIGITS,
        ),
        "autoencoder": Recipe(
            {"hidden": (256,), "steps": 40, "parameters": FAST},
            {"epochs": 10, "batch": 128, "learning_rate": 1e-2, "schedule": "one-cycle"},
            {"hidden": (64,), **_DIGITS},
        ),
        "paper": Recipe(
            {"neuron": "brand-petruccione", "hidden": (1000,), "steps": 25, "spike_loss": 5.0, "bias": -0.2},
            {"epochs": 3, "batch": 200, "learning_rate": 2e-3, "schedule": "one-cycle"},
            published=({"spike_loss": 0.0, "bias": 0.0}, {"learning_rate": 5e-3, "schedule": "constant"}),
        ),
        "paper-conv": Recipe(
            {
                "neuron": "brand-petruccione",
                "hidden": (12, 64),
                "steps": 16,
                "spike_loss": 5.0,
                "scale": 2.0,
                "pooling": "currents",
            },
            {"epochs": 2, "batch": 128, "learning_rate": 5e-3, "schedule": "one-cycle"},
            published=(
                {"steps": 50, "spike_loss": 0.0, "scale": 1.0, "pooling": "spikes"},
                {"batch": 200, "learning_rate": 5e-4, "schedule": "constant"},
            ),
        ),
    }
)
#: Pictures with fewer rows or columns are small.
_SMALL = 16


def prepared(
    network: str,
    data: Dataset,
    design: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Design, TrainingSettings]:
    """A network's recipe for a data set, with what the user wants otherwise.

    Args:
        network: a name in `RECIPES`.
        data: what it is for.
        design: fields of `Design` that differ; its parameters are added to those of the recipe.
        settings: fields of `TrainingSettings` that differ.

    Raises:
        QLIFError: if they cannot be used.
    """
    recipe = RECIPES[check.choice("network", network, RECIPES)]
    small = recipe.small if min(data.picture) < _SMALL else {}
    neuron = check.choice("neuron", (design or {}).get("neuron", recipe.design.get("neuron", "qlif")), NEURONS)
    as_published = recipe.published if neuron == "brand-petruccione-published" else ({}, {})
    names = {item.name for item in fields(Design)}
    built = {
        **recipe.design,
        **{name: value for name, value in small.items() if name in names},
        **as_published[0],
        **(design or {}),
    }
    trained = {
        **recipe.settings,
        **{name: value for name, value in small.items() if name not in names},
        **as_published[1],
        **(settings or {}),
    }
    usual = recipe.design.get("parameters", {})
    built["parameters"] = {**parameters_for(neuron, usual), **(design or {}).get("parameters", {})}
    return Design(network=network, picture=data.picture, classes=data.classes, **built), TrainingSettings(**trained)
