"""Which neurons a spike-train circuit can hold: the rows of the mechanisms say what stands in the way, and so do those here."""

from qlifq.circuits import RYSpike, SpikeCircuit
from qlifq.errors import UnsupportedError
from qlifq.neurons.mechanisms.mechanism import TrainObstacle
from qlifq.neurons.parameters import Settings

__all__ = ["check_additive", "check_trainable"]

#: What of decision, reset, membrane and mapping no circuit holds.
_OBSTACLES = (
    TrainObstacle("quantum_mode", "no qubit decides", lambda s: not s.quantum_mode),
    TrainObstacle("decision", "one shot is one train of drawn spikes", lambda s: s.decision != "sample"),
    TrainObstacle("quantum_wire", "the shots of several qubits are pooled on the host", lambda s: s.quantum_wire > 1),
    TrainObstacle("reset", "the potential after a spike depends on the one before it", lambda s: s.reset == "partial"),
    # Where V is a sum over all spikes, the angle must be one too; where it depends on the last one alone, both may be anything.
    TrainObstacle(
        "membrane",
        "with reset='soft' the potential must be a sum over the spikes",
        lambda s: s.reset == "soft" and s.membrane != "leaky",
    ),
    TrainObstacle(
        "mapping",
        "with reset='soft' the angle must be a sum over the spikes",
        lambda s: s.reset == "soft" and s.mapping != "linear",
    ),
)


def check_trainable(settings: Settings, circuit: SpikeCircuit) -> None:
    """Refuse a neuron whose train no circuit holds, by the name of the parameter that stands in the way.

    Raises:
        UnsupportedError: for such a neuron.
    """
    of_mechanisms = (each for row in settings.mechanisms for each in row.obstacles or ())
    for name, why, stands in (*_OBSTACLES, *of_mechanisms):
        if stands(settings):
            value = getattr(settings, name)
            raise UnsupportedError(f"Argument `{name}` must not be {value!r} for a spike train in one circuit: {why}.")
    for row in settings.mechanisms:
        if row.obstacles is None:
            raise UnsupportedError(
                f"A spike train in one circuit must be of a neuron without {row.on.words}, whose mechanism does not say that "
                "its effect is a sum over the spikes."
            )
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
