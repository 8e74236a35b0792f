"""What a network is built from and trained with where the user says nothing else."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from qlifq import _validation as check
from qlifq.training.data.interface import Dataset
from qlifq.training.networks.design import Design
from qlifq.training.networks.kinds import NETWORKS
from qlifq.training.networks.neurons import NEURONS, parameters_for
from qlifq.training.settings import TrainingSettings

__all__ = ["resolve_recipe"]

#: Pictures with fewer rows or columns are small.
_SMALL = 16


def resolve_recipe(
    network: str,
    data: Dataset,
    design: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Design, TrainingSettings]:
    """A network's recipe for a data set, with what the user wants otherwise.

    Args:
        network: a name in `NETWORKS`.
        data: what it is for.
        design: fields of `Design` that differ; its parameters are added to those of the recipe.
        settings: fields of `TrainingSettings` that differ.

    Raises:
        QLIFError: if they cannot be used.
    """
    recipe = NETWORKS[check.choice("network", network, NETWORKS)].recipe
    small = recipe.small if min(data.picture) < _SMALL else {}
    neuron = check.choice("neuron", (design or {}).get("neuron", recipe.design.get("neuron", "qlif")), NEURONS)
    as_published = recipe.published if NEURONS[neuron].as_published else ({}, {})
    # Data in time have steps of their own, and are currents.
    timed = {} if data.steps is None else {"steps": data.steps, "encoding": "current", "gain": 1.0}
    names = {item.name for item in fields(Design)}
    built = {
        **recipe.design,
        **{name: value for name, value in small.items() if name in names},
        **as_published[0],
        **timed,
        **(design or {}),
    }
    trained = {
        **recipe.settings,
        **{name: value for name, value in small.items() if name not in names},
        **as_published[1],
        **(recipe.regression if data.targets else {}),
        **(settings or {}),
    }
    usual = recipe.design.get("parameters", {})
    built["parameters"] = {**parameters_for(neuron, usual), **(design or {}).get("parameters", {})}
    return Design(network=network, picture=data.picture, classes=data.classes, targets=data.targets, **built), TrainingSettings(
        **trained
    )
