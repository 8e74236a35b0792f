"""The page of spike trains in one circuit, without a browser."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from qlifq.backends import DeviceNoise, get
from qlifq.dashboard.charts import Columns, picture
from qlifq.dashboard.controls import Value
from qlifq.dashboard.trains.page import plans
from qlifq.dashboard.trains.run import TrainsRun, drawn, frequent, run_trains, trains_charts
from qlifq.dashboard.trains.view import TrainsView, backend_of, compiled, lags_of, trains_code
from qlifq.errors import UnsupportedError
from tests.dashboard.harness import executed

NOISE: dict[str, Value] = {"noise": "numbers", "readout_p01": 0.1, "readout_p10": 0.2, "reset_error": 0.1}


def view_of(**values: Value) -> TrainsView:
    return TrainsView.of({"backend": "analytic", "steps": 6, "trains": 60, **values})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"reset": "soft", "backend": "reference", "tolerance": "0"},
        {"mapping": "linear", "eta": 0.05, **NOISE},
        {"refractory_period": 2, "mapping": "tanh", "backend": "aer"},
    ],
)
def test_the_code_of_the_trains_gives_the_numbers_of_the_page(values: dict[str, Value]) -> None:
    view = view_of(**values)
    made = compiled(view)
    assert made.law is not None
    ran = run_trains(made)
    names, printed = executed(trains_code(view))
    assert np.array_equal(names["circuit"][:, :, 0, 0].numpy(), ran.spikes["circuit"])
    assert np.array_equal(names["host"][..., 0].T.bool().numpy(), ran.spikes["host"])
    numbers = {name: float(printed.split(f"\n{name} ")[1].split()[0]) for name in ("exact", "circuit", "host")}
    assert numbers["exact"] == pytest.approx(float(made.law.rate.mean()), rel=1e-6)
    assert numbers["circuit"] == pytest.approx(ran.spikes["circuit"].mean())
    assert numbers["host"] == pytest.approx(ran.spikes["host"].mean())
    assert made.train.draw() in printed


@pytest.mark.parametrize("values", [{}, {"reset": "soft"}, NOISE])
def test_the_exact_law_is_that_of_the_trains_that_are_drawn(values: dict[str, Value]) -> None:
    """Rates of 10 steps, within 6.5 σ each: less than one false alarm in 1e9 runs."""
    made = compiled(view_of(trains=2000, steps=10, **values))
    assert made.law is not None
    exact = made.law.rate[:, 0, 0].numpy()
    spikes = drawn(made, backend_of(made.view))
    # Noise of a reset and of conditional rotations is none of the host loop.
    for loop in spikes if not values.get("noise") else ("circuit",):
        assert (np.abs(spikes[loop].mean(axis=0) - exact) < 6.5 * np.sqrt(exact * (1 - exact) / 2000)).all()


def test_rates_and_covariances_are_drawn_beside_the_exact_line_with_bounds_that_hold_them() -> None:
    ran = run_trains(compiled(view_of()))
    rate, covariance, *rasters = trains_charts(ran.compiled, ran)
    law = ran.compiled.law
    assert law is not None
    np.testing.assert_allclose(at(rate.columns, "time", range(6), "exact"), law.rate[:, 0, 0])
    lags = lags_of(ran.compiled.view)
    expected = [float(law.covariances[lag].mean()) for lag in lags]
    np.testing.assert_allclose(at(covariance.columns, "lag", lags, "exact"), expected)
    for chart in (rate, covariance):
        for loop in ran.spikes:
            low, value, high = (chart.columns[name] for name in (f"{loop}_low", loop, f"{loop}_high"))
            known = np.isfinite(value)
            assert (low[known] <= value[known]).all()
            assert (value[known] <= high[known]).all()
    for loop, chart in zip(ran.spikes, rasters, strict=True):
        known = np.isfinite(rate.columns[loop])
        np.testing.assert_array_equal(rate.columns[loop][known], ran.spikes[loop].mean(axis=0))
        assert chart.columns["spike"].sum() == ran.spikes[loop][:30].sum()


def at(columns: Columns, x: str, places: Iterable[int], name: str) -> Any:
    """A column where x is one of these whole numbers."""
    return columns[name][np.isin(columns[x], list(places))]


def test_the_table_of_trains_holds_their_exact_probabilities() -> None:
    """All 8 trains of 3 steps, with the probability of each bit multiplied up by hand for the neuron of this view."""
    made = compiled(view_of(steps=3, trains=1000, gain=2.1, tau=3.0))
    table = frequent(TrainsRun(made, drawn(made, backend_of(made.view)), {}, {}, "analytic"))
    assert set(table["train"]) == {"".join(bits) for bits in itertools.product("01", repeat=3)}
    assert table["exact probability"].sum() == pytest.approx(1.0, abs=1e-9)
    for loop in ("host", "circuit"):
        assert table[f"share in the {loop} loop"].sum() == pytest.approx(1.0)
    for row in table.itertuples(index=False):
        potential, probability = 0.0, 1.0
        for bit in row[0]:
            potential += (2.1 - potential) / 3.0
            p = np.sin(np.pi / (1 + np.exp(-(4.0 * (potential - 1.0)))) / 2) ** 2
            probability *= p if bit == "1" else 1 - p
            potential *= bit == "0"
        assert row[1] == pytest.approx(probability, abs=1e-6)


def test_a_law_that_is_not_to_be_had_is_refused_in_a_sentence_and_the_circuit_runs() -> None:
    made = compiled(view_of(reset="soft", tolerance="0", steps=20, tau=1000.0))
    assert made.law is None
    assert "at most 14 steps back for exact moments" in made.refused
    assert trains_charts(made, None) == []
    ran = run_trains(made)
    charts = trains_charts(made, ran)
    assert [chart.name for chart in charts] == ["rate", "autocovariance", "host", "circuit"]
    assert "exact" not in charts[0].columns
    assert picture(charts, "png", ran.source).startswith(b"\x89PNG")


def test_a_neuron_that_no_circuit_holds_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="Argument `mapping` must not be 'sigmoid' for a spike train in one circuit"):
        compiled(view_of(reset="soft", mapping="sigmoid"))


def test_a_device_costs_one_job_for_the_circuit_and_one_per_step_for_the_host() -> None:
    view = view_of()
    found = plans(view, compiled(view), "fake_torino")
    assert {name: plan.jobs for name, (_, plan) in found.items()} == {"loop on the host": 6, "loop in the circuit": 1}
    assert found["loop in the circuit"][1].conditionals == compiled(view).train.conditionals > 0


def test_noise_of_the_view_is_that_of_the_backend() -> None:
    noise = DeviceNoise(readout_p01=0.1, readout_p10=0.2, gate_error=0.001, reset_error=0.1)
    assert backend_of(view_of(**NOISE)).description == get("analytic", noise=noise).description
    assert lags_of(view_of(steps=3)) == [1, 2]
