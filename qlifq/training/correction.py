"""A trained network calibrated and corrected, layer by layer, on the backend of its spike decisions."""

from collections.abc import Sequence
from typing import Any

from qlifq.backends import Plan
from qlifq.calibration import Calibration, Correction, fit
from qlifq.calibration.measurement import round_plan
from qlifq.errors import ShapeError, UnsupportedError
from qlifq.neurons import MAPPINGS, QLIF, SeedStream
from qlifq.training.networks import Network

__all__ = ["calibrate_layers", "calibration_plan", "correct_layers", "one_for_each"]

#: In how many rounds a layer is calibrated.
_ROUNDS = 2


def one_for_each(calibration: Sequence[Calibration], layers: int) -> list[Calibration]:
    """One calibration for each layer of neurons, where a single one stands for all.

    Raises:
        ShapeError: for another number of them.
    """
    if len(calibration) not in {1, layers}:
        needed = "1 record" if layers == 1 else f"1 record for all layers of neurons or {layers}, one for each"
        raise ShapeError(f"Argument `calibration` must hold {needed}, but holds {len(calibration)}.")
    return list(calibration) if len(calibration) == layers else [*calibration] * layers


def calibrate_layers(network: Network, *, shots: int, seed: int) -> list[Calibration]:
    """Measure the response of every layer of neurons on its own backend, with its own numbers.

    Args:
        network: the network, as it was designed.
        shots: per angle and neuron, over all rounds.
        seed: root of all counts, from 0 to 2⁶³ − 1.

    Returns:
        A calibration for each layer, from the input on.

    Raises:
        QLIFError: if a layer has no QLIF neurons on qubits, or an argument cannot be used.
    """
    found, seeds = [], SeedStream(seed)
    for layer in _layers(network):
        settings = layer.settings
        own: dict[str, Any] = {name: layer.shared(name) for name in MAPPINGS[layer.mapping].parameters}
        found.append(
            fit(
                layer.backend,
                neurons=layer.num_neurons * settings.quantum_wire,
                mapping=layer.mapping,
                q_scale=layer.q_scale.detach().flatten().repeat_interleave(settings.quantum_wire),
                q_bias=layer.q_bias.detach().flatten().repeat_interleave(settings.quantum_wire),
                quantum_leak=layer.shared("quantum_leak"),
                circuit=layer.circuit,
                shots=shots,
                rounds=_ROUNDS,
                seed=seeds.next_seed(),
                **own,
            )
        )
    return found


def calibration_plan(network: Network, *, shots: int) -> Plan:
    """What `calibrate_layers` costs; spends nothing."""
    plans = []
    for layer in _layers(network):
        sites = layer.num_neurons * layer.settings.quantum_wire
        plans.append(round_plan(layer.backend, sites, shots=shots, rounds=_ROUNDS, circuit=layer.circuit).times(_ROUNDS))
    return Plan.total(plans)


def correct_layers(network: Network, calibration: Sequence[Calibration]) -> list[Correction]:
    """Correct every layer of neurons in place, so that it answers as it was designed to; runs nothing on the backend.

    Args:
        network: the network, as it was designed.
        calibration: that of each layer, or one for all.

    Returns:
        What was applied to each layer; a neuron on a qubit that no correction helps is left as it is, and NaN there.

    Raises:
        QLIFError: if there are not as many as layers, or one does not match its layer; those before it are corrected by then.
    """
    layers = _layers(network)
    records = one_for_each(calibration, len(layers))
    return [record.apply_to(layer, unreachable="keep") for record, layer in zip(records, layers, strict=True)]


def _layers(network: Network) -> list[QLIF]:
    """The layers of neurons, all of which a calibration can correct."""
    layers = list(network.neurons())
    able = [layer for layer in layers if isinstance(layer, QLIF) and layer.settings.quantum_mode]
    if len(able) < len(layers):
        raise UnsupportedError("A calibration would be ignored: it is for QLIF neurons on qubits, but the network has others.")
    return able
