"""Which neurons a spike-train circuit can hold: one row per parameter that stands in the way."""

from collections.abc import Callable
from typing import NamedTuple

from qlifq.circuits import RYSpike, SpikeCircuit
from qlifq.errors import UnsupportedError
from qlifq.neurons.parameters import Settings

__all__ = ["check_additive", "check_trainable"]


class _Row(NamedTuple):
    """A parameter, when it stands in the way, and why."""

    name: str
    stands: Callable[[Settings], bool]
    why: str


#: What no circuit holds, whatever the reset.
_ALWAYS = (
    _Row("quantum_mode", lambda s: not s.quantum_mode, "no qubit decides"),
    _Row("decision", lambda s: s.decision != "sample", "one shot is one train of drawn spikes"),
    _Row("quantum_wire", lambda s: s.quantum_wire > 1, "the shots of several qubits are pooled on the host"),
    _Row("noise_std", lambda s: s.uses("noise_std"), "the membrane noise is drawn on the host"),
    _Row("reset", lambda s: s.reset == "partial", "the potential after a spike depends on the one before it"),
    _Row(
        "allow_dynamic_spike_probability",
        lambda s: s.allow_dynamic_spike_probability,
        "recent spikes divide the slope, which no sum of angles does",
    ),
    _Row("homeostasis_enabled", lambda s: s.homeostasis_enabled, "the threshold follows a rate within bounds"),
    _Row("depression_rate", lambda s: s.uses("depression_rate"), "a spike takes a fraction of what earlier spikes left"),
)
#: Where V is a sum over all spikes, the angle must be one too.
_SOFT = (
    _Row("membrane", lambda s: s.membrane != "leaky", "with reset='soft' the potential must be a sum over the spikes"),
    _Row("mapping", lambda s: s.mapping != "linear", "with reset='soft' the angle must be a sum over the spikes"),
    _Row("V_min", lambda s: s.V_min is not None, "with reset='soft' the potential must be a sum over the spikes"),
    _Row("refractory_period", lambda s: s.refractory_period > 0, "with reset='soft' the angle must be a sum over the spikes"),
    _Row(
        "use_adaptive_threshold",
        lambda s: s.use_adaptive_threshold,
        "with reset='soft' a spike takes off the threshold that earlier spikes raised, which is no sum over the spikes",
    ),
)
#: Where V depends on the last spike alone, what depends on all of them must stand beside it in a sum.
_HARD = (
    _Row(
        "spike_increase", lambda s: s.uses("spike_increase"), "with reset='hard' the potential must follow the last spike alone"
    ),
    _Row("use_ahp", lambda s: s.use_ahp, "with reset='hard' the potential must follow the last spike alone"),
    _Row(
        "use_adaptive_threshold",
        lambda s: s.use_adaptive_threshold and s.mapping != "linear",
        "the threshold sums over all spikes, which the angle does with mapping='linear' alone",
    ),
    _Row(
        "refractory_period",
        lambda s: s.use_adaptive_threshold and s.refractory_period > 0,
        "with use_adaptive_threshold=True the angle must be a sum over the spikes",
    ),
)


def check_trainable(settings: Settings, circuit: SpikeCircuit) -> None:
    """Refuse a neuron whose train no circuit holds, by the name of the parameter that stands in the way.

    Raises:
        UnsupportedError: for such a neuron.
    """
    for row in (*_ALWAYS, *(_SOFT if settings.reset == "soft" else _HARD)):
        if row.stands(settings):
            value = getattr(settings, row.name)
            raise UnsupportedError(f"Argument `{row.name}` must not be {value!r} for a spike train in one circuit: {row.why}.")
    if circuit.gates != RYSpike().gates:
        raise UnsupportedError(
            "Argument `circuit` must be RYSpike for a spike train in one circuit, whose angles add up, "
            f"but is {circuit.draw()}."
        )


def check_additive(settings: Settings) -> None:
    """Refuse a neuron whose angles are no sum over its spikes, as one must be that is driven by others in one circuit.

    Raises:
        UnsupportedError: for such a neuron.
    """
    if settings.reset != "soft":
        raise UnsupportedError(
            f"Argument `reset` must be 'soft' for neurons of one circuit that drive each other, but is {settings.reset!r}."
        )
