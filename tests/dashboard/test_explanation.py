"""What the page of the backends says of a difference."""

import math

import numpy as np
import pytest

from qlifq.dashboard.backends.explanation import explain, noise_of, response_chart
from qlifq.dashboard.backends.view import SIDES, BackendsView, Pair, backends_charts, layer_of, run_pair
from qlifq.dashboard.controls import Value
from qlifq.dashboard.noise import BACKENDS, CAPABILITIES

EXACT: dict[str, Value] = {"second_backend": "analytic", "second_shots": "exact"}
READ: dict[str, Value] = {"second_noise": "numbers", "readout_p01": 0.2, "readout_p10": 0.1, "gate_error": 0.0}


def pair_of(values: dict[str, Value]) -> Pair:
    view = BackendsView.of({"neurons": 2, "steps": 40, "repeats": 6, **values})
    return run_pair(view, {side: layer_of(view, side) for side in SIDES})


@pytest.mark.parametrize("name", [name for name in BACKENDS if not (CAPABILITIES[name].device or CAPABILITIES[name].record)])
def test_backends_are_compared_under_equal_noise_at_first(name: str) -> None:
    view = BackendsView.of({"second_backend": name})
    assert noise_of(view, "first") == noise_of(view, "second") == "none"


def test_a_readout_error_explains_its_share_of_the_difference_in_closed_form() -> None:
    pair = pair_of({**EXACT, **READ})
    explained = explain(pair)
    taken = pair.sides["first"].recording["angle"].double().numpy()
    ideal = np.sin(taken / 2) ** 2
    # 240 rows of angles: none is left out.
    assert explained.at_angles == pytest.approx((ideal.mean(), (0.2 + 0.7 * ideal).mean()), abs=1e-12)
    response = np.sin(explained.angle / 2) ** 2
    np.testing.assert_allclose(explained.first, response, atol=1e-12)
    np.testing.assert_allclose(explained.second, 0.2 + 0.7 * response, atol=1e-12)
    share = explained.at_angles[1] - explained.at_angles[0]
    text = " ".join(explained.sentences)
    assert "The rates differ beyond chance" in text
    assert "A is analytic, B is analytic, noise readout_p01=0.2, readout_p10=0.1" in text
    assert f"{share:+.4f} per decision by noise alone" in text
    assert f"The other {pair.difference.value - share:+.4f} is chance and what follows" in text
    assert response_chart(explained).source == "closed form, exact, the mean over the qubits"


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ({**EXACT}, ["do not differ beyond chance", "Neither backend has noise, so noise makes no difference."]),
        (
            {**EXACT, **READ, "first_noise": "numbers"},
            ["do not differ beyond chance", "the same noise (numbers), so noise makes no difference."],
        ),
        (
            {"decision": "threshold", "second_backend": "analytic", "second_shots": "1"},
            ["differ beyond chance", "noise makes no difference", "(A exact, B 1), and matter here"],
        ),
        (
            {"decision": "sample", "second_backend": "analytic", "second_shots": "10", "gain": 2.0},
            ["do not differ beyond chance", "noise makes no difference", "(A exact, B 10), and do not matter here"],
        ),
    ],
)
def test_equal_noise_is_no_cause_and_shots_are_one_with_a_threshold(values: dict[str, Value], sentences: list[str]) -> None:
    found = explain(pair_of(values)).sentences
    assert len(found) == len(sentences)
    for sentence, part in zip(found, sentences, strict=True):
        assert part in sentence


def test_a_difference_that_nothing_explains_is_not_blamed_on_noise() -> None:
    pair = pair_of(EXACT)
    apart = pair._replace(difference=pair.difference._replace(value=0.2, low=0.1, high=0.3))
    assert "One such interval in a hundred misses the truth" in explain(apart).sentences[1]


def test_rates_have_error_bars_and_traces_have_bands_that_hold_their_means() -> None:
    pair = pair_of({"second_shots": "1", "second_backend": "analytic"})
    charts = {chart.name: chart for chart in backends_charts(pair)}
    kinds = {name: [layer["mark"]["type"] for layer in chart.spec["layer"]] for name, chart in charts.items()}
    assert kinds == {
        "rate": ["point", "rule"] * 2,
        "potential": ["line", "area"] * 2,
        "probability": ["line", "area"] * 2,
    }
    for chart in charts.values():
        for side in SIDES:
            low, value, high = (chart.columns[name] for name in (f"{side}_low", side, f"{side}_high"))
            known = np.isfinite(value)
            assert (low[known] <= value[known]).all()
            assert (value[known] <= high[known]).all()
            assert (high[known] - low[known]).max() > 0
        assert chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 39]
    assert charts["probability"].spec["layer"][0]["encoding"]["y"]["scale"] == {"domain": [0.0, 1.0]}
    # Four windows of each side; each mean is that of the spikes in its window.
    columns = charts["rate"].columns
    for side in SIDES:
        spikes = pair.sides[side].recording.spikes.mean(dim=(1, 2)).double().numpy()
        known = np.isfinite(columns[side])
        np.testing.assert_allclose(columns[side][known], spikes.reshape(4, 10).mean(1), atol=1e-7)
        np.testing.assert_allclose(columns["time"][known], [4.5, 14.5, 24.5, 34.5], atol=0.2)
    # B stands to the right of A.
    assert (columns["time"][:4] < [4.5, 14.5, 24.5, 34.5]).all()
    assert np.isfinite(columns["first"][:4]).all()
    assert math.isclose(float(np.nanmean(columns["first"])), pair.rates["first"].value, abs_tol=1e-7)
