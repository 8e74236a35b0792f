"""Networks of spiking neurons: what each kind consists of, the design that a file keeps, and the modules built from it."""

from qlifq.training.networks.design import Design
from qlifq.training.networks.kinds import NETWORKS, NetworkKind, Recipe
from qlifq.training.networks.network import Network, NetworkRun, build, matched
from qlifq.training.networks.neurons import NEURONS, NeuronKind
from qlifq.training.networks.recipes import resolve_recipe

__all__ = [
    "NETWORKS",
    "NEURONS",
    "Design",
    "Network",
    "NetworkKind",
    "NetworkRun",
    "NeuronKind",
    "Recipe",
    "build",
    "matched",
    "resolve_recipe",
]
