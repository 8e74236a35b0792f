"""A phrase that says who decides the spikes of a layer."""

from collections.abc import Iterable

from qlifq.neurons.brand_petruccione import BrandPetruccione
from qlifq.neurons.qlif import QLIF

__all__ = ["describe_decisions", "describe_layers"]


def describe_decisions(layer: QLIF | BrandPetruccione) -> str:
    """Who answers the spike decisions of a layer, and how well they are known.

    Example:
        >>> describe_decisions(QLIF(2)), describe_decisions(QLIF(2, shots=10)), describe_decisions(QLIF(2, quantum_mode=False))
        ('analytic, exact', 'analytic, 10 shots', 'none, the decision is classic')
    """
    if isinstance(layer, QLIF) and not layer.settings.quantum_mode:
        return "none, the decision is classic"
    return layer.backend.describe(layer.shots)


def describe_layers(layers: Iterable[QLIF | BrandPetruccione]) -> str:
    """Who answers the spike decisions of several layers, each answer once: layers may stand on backends of their own.

    Example:
        >>> describe_layers([QLIF(2), QLIF(3), QLIF(2, shots=10)])
        'analytic, exact and analytic, 10 shots'
    """
    return " and ".join(dict.fromkeys(describe_decisions(layer) for layer in layers))
