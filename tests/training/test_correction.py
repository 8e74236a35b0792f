"""A network is calibrated and corrected layer by layer, and what that costs is known before."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qlifq.backends import Backend, DeviceNoise, get
from qlifq.calibration import Calibration
from qlifq.circuits import RYSpike
from qlifq.errors import QLIFError, ShapeError, UnsupportedError
from qlifq.neurons import QLIF
from qlifq.neurons.mapping import MAPPINGS
from qlifq.training import Design, Network, build
from qlifq.training.correction import calibrate_layers, calibration_plan, correct_layers, one_for_each

DESIGN = Design(network="mlp", picture=(4, 4), classes=10, hidden=(7, 4), steps=3, parameters={"q_bias": 0.2})
NOISE = DeviceNoise(readout_p01=0.15, readout_p10=0.02)


#: At its default baseline of 0.02 `tanh` lies below the readout floor.
TANH = {"q_bias": 1.2, "theta_max": 1.4}


@pytest.fixture(scope="module")
def device() -> Backend:
    return get("analytic", noise=NOISE)


@pytest.fixture(scope="module")
def records(device: Backend) -> list[Calibration]:
    return calibrate_layers(build(DESIGN, backend=device, seed=0), shots=40_000, seed=5)


def qlifs(network: Network) -> list[QLIF]:
    return [layer for layer in network.neurons() if isinstance(layer, QLIF)]


def angle_at_threshold(layer: QLIF) -> Tensor:
    """θ at gap 0, `(1, neurons)`."""
    gap = torch.zeros(1, layer.num_neurons)
    return MAPPINGS[layer.mapping].angle(gap, layer.q_scale, layer.q_bias, layer.settings.theta_max).detach()


def measured(device: Backend, layer: QLIF) -> Tensor:
    """P(1) at gap 0 on the device, exact."""
    return device.run(RYSpike(), angle_at_threshold(layer).unsqueeze(-1), shots=None, seed=None).probability


@pytest.mark.parametrize("neuron", ["qlif", "qlif-linear", "qlif-tanh"])
def test_every_layer_is_calibrated_with_its_own_numbers_and_answers_as_it_was_designed_to(neuron: str, device: Backend) -> None:
    design = replace(DESIGN, neuron=neuron, parameters={"q_scale": 2.0, **(TANH if neuron == "qlif-tanh" else {})})
    network = build(design, backend=device, seed=0)
    found = calibrate_layers(network, shots=40_000, seed=5)
    assert [(record.sites, record.measurement.data.rounds) for record in found] == [(7, 2), (4, 2)]
    assert len({record.measurement.seed for record in found}) == 2
    for layer, record in zip(qlifs(network), found, strict=True):
        programme = record.measurement.design
        assert torch.equal(programme.q_scale.float(), layer.q_scale)
        assert torch.equal(programme.q_bias.float(), layer.q_bias)
    targets = [(angle_at_threshold(layer) / 2).sin().square() for layer in qlifs(network)]
    before = [measured(device, layer) for layer in qlifs(network)]
    corrections = correct_layers(network, found)
    for layer, target, uncorrected, correction in zip(qlifs(network), targets, before, corrections, strict=True):
        assert torch.equal(layer.q_bias, correction.q_bias.float())
        assert float((uncorrected - target).abs().min()) > 0.03
        # 40,000 shots know a corner to 0.0015 and less: six standard errors of what follows from all of them.
        assert float((measured(device, layer) - target).abs().max()) < 0.009


def test_the_plan_is_what_runs(device: Backend, records: list[Calibration]) -> None:
    shots = 40_000
    planned = calibration_plan(build(DESIGN, backend=device, seed=0), shots=shots)
    assert planned.evaluations == sum(record.measurement.counts.ones.numel() for record in records)
    # Where a call executes, both rounds of both layers do.
    executed = calibration_plan(build(DESIGN, backend=get("lightning"), seed=0), shots=shots).executions
    points = len(records[0].measurement.design.angles)
    assert executed == sum(-(-points * sites // 8) * shots for sites in (7, 4))


def test_one_record_is_for_all_layers_or_each_has_its_own(device: Backend, records: list[Calibration]) -> None:
    first, second = records
    assert one_for_each([first, second], 2) == [first, second]
    assert one_for_each([first], 3) == [first] * 3
    same_shape = build(replace(DESIGN, hidden=(7, 7)), backend=device, seed=0)
    correct_layers(same_shape, [first])
    assert torch.equal(*(layer.q_bias for layer in qlifs(same_shape)))
    assert bool((qlifs(same_shape)[0].q_bias != 0.2).all())


REFUSED: list[tuple[Design, Callable[[list[Calibration]], list[Calibration]], type[QLIFError], str]] = [
    (DESIGN, lambda two: [], ShapeError, "must hold 1 record for all layers of neurons or 2, one for each, but holds 0."),
    (
        DESIGN,
        lambda two: [*two, two[0]],
        ShapeError,
        "must hold 1 record for all layers of neurons or 2, one for each, but holds 3.",
    ),
    (DESIGN, lambda two: two[::-1], ShapeError, "has 4 sites, but the layer has 7 neurons"),
    (DESIGN, lambda two: two[:1], ShapeError, "has 7 sites, but the layer has 4 neurons"),
    (
        replace(DESIGN, neuron="brand-petruccione", parameters={}),
        lambda two: two,
        UnsupportedError,
        "A calibration would be ignored: it is for QLIF neurons on qubits, but the network has others.",
    ),
    (replace(DESIGN, neuron="classical", parameters={}), lambda two: two, UnsupportedError, "A calibration would be ignored"),
]


@pytest.mark.parametrize(("design", "choose", "error", "message"), REFUSED)
def test_what_does_not_go_with_the_network_is_refused(
    device: Backend,
    records: list[Calibration],
    design: Design,
    choose: Callable[[list[Calibration]], list[Calibration]],
    error: type[QLIFError],
    message: str,
) -> None:
    network = build(design, backend="analytic" if design.neuron == "classical" else device, seed=0)
    with pytest.raises(error, match=re.escape(message)):
        correct_layers(network, choose(records))
