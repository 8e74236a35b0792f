"""Comparisons on one's own layers, networks and input."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qlifq.backends import DeviceNoise, get
from qlifq.errors import QLIFError
from qlifq.neurons import QLIF, BrandPetruccione, SpikingSequential
from qlifq.reporting.report import records
from qlifq.studies import (
    brand_petruccione_comparison_report,
    compare_brand_petruccione,
    compare_shot_noise,
    shot_noise_comparison_report,
)

SHOTS = (1, 30, 100_000)
CURRENT = torch.rand(40, 3, 4, generator=torch.Generator().manual_seed(1)) * 3


def chain() -> SpikingSequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        modules = {"weights": nn.Linear(4, 8), "hidden": QLIF(8, decision="threshold"), "readout": nn.Linear(8, 3)}
        return SpikingSequential(modules)


def test_shots_bring_a_threshold_layer_to_the_model() -> None:
    """With 30 shots a decision near ½ errs often; with 100,000 only where |p − ½| is below about 0.005."""
    layer = QLIF(4, decision="threshold", backend="reference", shots=7, seed=5)
    compared = compare_shot_noise(layer, CURRENT, "analytic", shots=SHOTS, repeats=4)
    model, one, _, most = records(compared.spikes)
    assert (model["backend"], model["shots"], model["distance"], model["differing"]) == ("analytic", 0, 0.0, 0.0)
    assert one["distance"] > 0.5 > 10 * most["distance"]
    assert most["rate"] == pytest.approx(model["rate"], rel=0.05)
    exact, _ = QLIF(4, decision="threshold")(CURRENT)
    assert model["rate"] == pytest.approx(float(exact.mean()))
    # The layer itself stays as it is.
    assert (layer.backend.name, layer.shots, layer.seeds.position) == ("reference", 7, 0)


def test_noise_of_a_second_backend_is_rows_of_its_own() -> None:
    noisy = get("analytic", noise=DeviceNoise(readout_p01=0.4, readout_p10=0.4))
    first, second = ("analytic", noisy), (noisy, "analytic")
    for backends in (first, second):
        compared = compare_shot_noise(QLIF(4), CURRENT, backends, shots=SHOTS, repeats=3)
        rates = compared.spikes.groupby("backend")["rate"].min()
        # Every spike is read with a probability of at least 0.4.
        assert rates[noisy.description] > 0.39 > 2 * rates["analytic"]


def test_a_rotated_layer_keeps_its_parameters_on_another_backend() -> None:
    """At T1 = 2 the leak acts at once, so that a threshold or leak that were lost would move the distance at many shots."""
    chain = SpikingSequential({"rotated": BrandPetruccione(2, threshold=0.5, t1=2.0, leak="published")})
    compared = compare_shot_noise(chain, CURRENT, "analytic", shots=(1, 30, 1_000_000), repeats=2)
    exact, _ = chain(CURRENT)
    assert compared.spikes["rate"].iloc[[0, -1]].to_list() == pytest.approx([float(exact.mean())] * 2, rel=0.05)


def test_answers_of_a_network_are_compared_with_those_of_the_model() -> None:
    compared = compare_shot_noise(chain(), CURRENT, "analytic", shots=SHOTS, repeats=4)
    assert set(compared.spikes["layer"]) == {"chain.hidden"}
    assert compared.answers is not None
    assert list(compared.answers["shots"]) == [0, *SHOTS]
    assert compared.answers["agreement"].iloc[0] == 1.0
    assert compared.answers["agreement"].iloc[-1] >= compared.answers["agreement"].iloc[1]
    again = compare_shot_noise(chain(), CURRENT, "analytic", shots=SHOTS, repeats=4)
    assert compared.spikes.equals(again.spikes)
    report = shot_noise_comparison_report(compared, {"input from": "here"})
    assert set(report.tables()) == {"spikes", "answers"}
    assert all(axes.get_ylabel() for each in report.sections for one in each.pictures.values() for axes in one.draw().axes)


def test_the_current_moves_both_neurons_by_the_same_share_of_the_way() -> None:
    """A quarter of the way in every step, nearly without a leak: QLIF crosses in step 4, their population exceeds in step 4."""
    layer = QLIF(2, decision="threshold", tau=1e6, V_th=2.0, refractory_period=1).double()
    share = 0.2501
    current = torch.full((5, 1, 2), share * 2.0 * 1e6, dtype=torch.float64)
    compared = compare_brand_petruccione(layer, current)
    phi = 2 * math.asin(math.sqrt(0.75))
    for leak in ("relaxation", "published"):
        trace = compared.responses[f"BP {leak}"].trace[:4, 0]
        expected = [math.sin(share * phi * step / 2) ** 2 for step in (1, 2, 3, 4)]
        assert np.allclose(trace, expected, atol=1e-9)
        assert list(compared.responses[f"BP {leak}"].spikes[:, 0]) == [0, 0, 0, 1, 0]
    assert list(compared.responses["QLIF threshold"].spikes[:, 1]) == [0, 0, 0, 1, 0]
    assert list(compared.neurons["distance"]) == [0, 0, 0]
    added = QLIF(2, decision="threshold", tau=1e6, V_th=2.0, refractory_period=1, decay_input=False).double()
    same = compare_brand_petruccione(added, current / 1e6)
    assert np.allclose(same.responses["BP relaxation"].trace, compared.responses["BP relaxation"].trace, atol=1e-9)
    report = brand_petruccione_comparison_report(compared, {})
    assert len(report.sections[0].pictures["neurons"].draw().axes) == 3


@pytest.mark.parametrize(
    ("network", "current", "options", "message"),
    [
        (nn.Linear(4, 2), CURRENT, {}, "`network` must have a QLIF or BrandPetruccione layer on a qubit, but has none"),
        ("layer", CURRENT, {}, "`network` must be a torch module, but is str"),
        (QLIF(4), CURRENT[0], {}, r"floating of shape \(time, batch, neurons\), but is torch.float32 of shape \(3, 4\)"),
        (QLIF(4), CURRENT * math.nan, {}, "`current` must be finite"),
        (QLIF(4), CURRENT, {"repeats": 1}, "`repeats` must be at least 2, but is 1"),
        (QLIF(4), CURRENT, {"backend": ("analytic", "analytic")}, "backends that differ, but two are the same"),
        (QLIF(4), CURRENT, {"shots": (1, 2)}, "at least 3 rising numbers"),
    ],
)
def test_what_shots_cannot_be_compared_on_is_refused(network: Any, current: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        compare_shot_noise(network, current, **{"backend": "analytic", **options})


@pytest.mark.parametrize(
    ("layer", "current", "message"),
    [
        (BrandPetruccione(4), CURRENT, "`layer` must be a QLIF or a list of them"),
        (QLIF(4), CURRENT - 1, "`current` must be at least 0, but is -"),
        (QLIF(3), CURRENT, "`current` must have shape"),
        (QLIF(4, membrane="quadratic"), CURRENT, "must have membrane='leaky'"),
        (QLIF(4, decision="expectation"), CURRENT, "decision 'threshold' or 'sample'"),
        ([QLIF(4), QLIF(4, tau=30.0)], CURRENT, "must have one `tau`"),
        ([QLIF(4), QLIF(4)], CURRENT, "differ in their decision, but two are the same"),
    ],
)
def test_what_neurons_cannot_be_compared_on_is_refused(layer: Any, current: torch.Tensor, message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        compare_brand_petruccione(layer, current)
