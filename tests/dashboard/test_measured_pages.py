"""The pages of circuit, backends and calibration, without a browser."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qlifq.backends import Plan, capabilities
from qlifq.calibration.record import parse
from qlifq.circuits import RYSpike
from qlifq.dashboard.backends.view import (
    SIDES,
    BackendsView,
    backends_charts,
    backends_code,
    layer_of,
    plan_of,
    remote,
    run_pair,
    sources,
)
from qlifq.dashboard.calibration.view import (
    CalibrationView,
    calibration_charts,
    calibration_code,
    described,
    measure,
    opened,
    planned,
    table,
    written,
)
from qlifq.dashboard.charts import picture
from qlifq.dashboard.circuit.sphere import sphere
from qlifq.dashboard.circuit.view import CLOSED_FORM, CircuitView, circuit_charts, circuit_code, run_circuit
from qlifq.dashboard.controls import Value
from qlifq.dashboard.costs import costs
from qlifq.dashboard.noise import BACKENDS, IMPORTS, NOISES, backend_code, build, noisy
from qlifq.errors import ArgumentError, QLIFError
from tests.dashboard.harness import executed


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"circuit": "LeakySpike", "second": 0.75, "mapping": "tanh", "p0": 0.4, "theta_max": 1.5},
        {"circuit": "BrandPetruccione", "mapping": "linear", "leak": 0.5, "gap": -0.3},
    ],
)
def test_the_circuit_is_solved_turned_and_written_out(values: dict[str, Value]) -> None:
    run = run_circuit(CircuitView.of(values))
    assert float((1 - run.path[-1, 2]) / 2) == pytest.approx(run.p, abs=1e-12)
    assert run.path.norm(dim=1).numpy() == pytest.approx(1.0)
    names, printed = executed(circuit_code(run.view))
    assert (names["q_scale"], names["q_bias"]) == (run.q_scale, run.q_bias)
    assert names["probability"] == pytest.approx(run.p, abs=1e-12)
    assert run.circuit.draw() in printed
    if run.view.circuit == "RYSpike":
        middle = len(run.gaps) // 2
        assert float(run.probability[middle]) == pytest.approx(run.view.p0)
        rise = (run.probability[middle + 1] - run.probability[middle - 1]) / (run.gaps[middle + 1] - run.gaps[middle - 1])
        assert float(rise) == pytest.approx(run.view.slope, rel=1e-2)
    assert ("tangent" in circuit_charts(run)[0].columns) is (run.view.circuit == "RYSpike")
    ball = sphere(run.path.numpy())
    assert picture([*circuit_charts(run), ball], "png", CLOSED_FORM).startswith(b"\x89PNG")
    drawing = picture([ball], "svg", CLOSED_FORM).decode()
    labels = [layer for layer in ball.spec["layer"] if layer["mark"]["type"] == "text"]
    assert [layer["mark"]["text"] for layer in labels] == ["x", "y", "z, |0⟩", "|1⟩"]
    for layer in labels:
        # In the file too; and outside the outline, within which the vector and its way stay.
        assert f"<!-- {layer['mark']['text']} -->" in drawing
        assert math.hypot(*layer["data"]["values"][0].values()) > 1.1
    assert np.hypot(ball.columns["u"], ball.columns["w"])[np.isin(ball.columns["part"], ["way", "vector"])].max() < 1 + 1e-12


@pytest.mark.parametrize(
    "values",
    [
        {"second_noise": "numbers", "second_shots": "10"},
        {"first_backend": "reference", "second_backend": "lightning", "first_noise": "numbers"},
    ],
)
def test_two_backends_are_planned_run_and_written_out(values: dict[str, Value]) -> None:
    view = BackendsView.of({"neurons": 2, "steps": 20, "repeats": 4, **values})
    layers = {side: layer_of(view, side) for side in SIDES}
    assert [plan_of(view, layers[side]).evaluations for side in SIDES] == [160, 160]
    pair = run_pair(view, layers)
    assert pair.difference.low <= pair.difference.value <= pair.difference.high
    assert pair.difference.value == pytest.approx(pair.rates["second"].value - pair.rates["first"].value)
    _, printed = executed(backends_code(view))
    for side in SIDES:
        assert float(printed.split(f"{side} ")[1].split()[0]) == pytest.approx(pair.rates[side].value, abs=1e-6)
    assert picture(backends_charts(pair), "svg", sources(pair))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", [name for name in BACKENDS if noisy(name) and name not in {"ibm", "distributed"}])
def test_every_noise_that_is_offered_can_be_had(name: str, noise: str) -> None:
    view = BackendsView.of({"neurons": 2, "second_noise": "numbers"})
    backend = build(name, noise, view, None)
    code = f"{IMPORTS}\nbackend = {backend_code(name, noise, view, '')}"
    angles = torch.linspace(0.0, 3.0, 14, dtype=torch.float64).reshape(7, 2, 1)
    shots = None if capabilities(name).exact else 10_000
    again = executed(code)[0]["backend"]
    found, refound = (each.run(RYSpike(), angles, shots=shots, seed=1).probability for each in (backend, again))
    assert torch.equal(found, refound)
    exact = 1e-12
    if shots is not None:
        # A hundred million counts drawn from the distribution stray from the probability by less than 6 σ = 0.0003, the numbers
        # of a snapshot from its errors by less than 0.001, and any two of the noises by more than 0.002.
        law, shots, exact = executed(f"{code.removesuffix(')')}, sampling='law')")[0]["backend"], 100_000_000, 0.0013
        found = law.run(RYSpike(), angles, shots=shots, seed=1).probability
    beside = build("analytic", noise, view, None).run(RYSpike(), angles, shots=None, seed=None).probability
    assert float((found - beside).abs().max()) < exact


def test_a_table_of_costs_has_the_rows_that_say_something() -> None:
    plan = Plan(evaluations=1000, circuits=1, qubits=2, jobs=3, executions=4000, estimated_seconds=0.002)
    plain = costs({"one": ("aer", plan)})
    assert plain["one"]["spike decisions"] == "1,000"
    assert plain["one"]["time"] == "about 2 ms"
    assert not {"device time", "conditional rotations per circuit"} & set(plain.index)
    both = costs({"one": ("aer", plan), "two": ("ibm", replace(plan, conditionals=66, device_seconds=3.0))})
    assert both["two"]["conditional rotations per circuit"] == "66"
    assert list(both.loc["device time"]) == ["not known", "about 3 s"]


@pytest.mark.parametrize("noise", NOISES)
def test_every_noise_of_a_cluster_is_that_of_its_code(noise: str) -> None:
    """What runs on a cluster's workers is tested with the backend; here none is started."""
    view = BackendsView.of({"neurons": 2, "second_noise": "numbers"})
    again = executed(f"{IMPORTS}\nbackend = {backend_code('distributed', noise, view, '')}")[0]["backend"]
    assert build("distributed", noise, view, None).description == again.description
    assert (noise == "none") is (again.description == "aer")


def test_a_device_is_planned_by_its_snapshot_and_not_run_from_the_page() -> None:
    view = BackendsView.of({"second_backend": "ibm", "neurons": 3, "steps": 20, "repeats": 4})
    assert view.second_noise == "fake_torino"
    assert remote(view) == ["ibm"]
    plan = plan_of(view, layer_of(view, "second"))
    assert (plan.jobs, plan.executions, plan.qubits) == (20, 80, 3)
    assert (plan.device_seconds or 0.0) > 40
    assert "backend=get('ibm', device='fake_torino')" in backends_code(view)
    with pytest.raises(ArgumentError, match=r"Backend ibm needs a device, one of fake_torino, .* but has 'numbers'\."):
        layer_of(BackendsView.of({"second_backend": "ibm", "second_noise": "numbers"}), "second")


def test_a_noisy_backend_shows_in_the_difference_and_an_equal_one_does_not() -> None:
    same = BackendsView.of({"second_backend": "analytic", "second_shots": "exact", "second_noise": "none"})
    pair = run_pair(same, {side: layer_of(same, side) for side in SIDES})
    assert pair.difference.value == 0
    noise: dict[str, Value] = {
        "second_backend": "analytic",
        "second_noise": "numbers",
        "readout_p01": 0.2,
        "second_shots": "exact",
    }
    noisy = BackendsView.of(noise)
    pair = run_pair(noisy, {side: layer_of(noisy, side) for side in SIDES})
    assert pair.difference.low > 0


def test_a_calibration_is_measured_kept_and_written_out() -> None:
    view = CalibrationView.of({"backend": "analytic", "noise": "numbers", "neurons": 2, "shots": 400})
    assert measure(replace(view, noise="fake_torino")).sites == 2
    record = measure(view)
    again = parse(written(record), "record.json")
    correction = again.correct(p0=view.p0, slope=view.slope)
    rows = table(again, correction)
    assert list(rows["neuron"]) == [0, 1]
    assert abs(rows["readout_p10"] - 0.05).max() < 0.1
    shown = described(rows)
    assert shown.shape == (2, 9)
    value, error = shown["readout P(0 | 1)"][1].split(" ± ")
    assert float(value) == pytest.approx(rows["readout_p10"][1], abs=0.1 * float(error))
    assert float(error) == pytest.approx(rows["readout_p10 ±"][1], rel=0.1)
    ((name, (_, plan)),) = planned(view).items()
    assert (name, plan.evaluations) == ("2 rounds", record.measurement.counts.ones.numel())
    names, printed = executed(calibration_code(view, None))
    assert torch.equal(names["measured"].measurement.counts.ones, record.measurement.counts.ones)
    assert "correction of 2 neurons" in printed
    assert picture(calibration_charts(again, correction, 1), "png", again.source)
    with pytest.raises(QLIFError, match=r"File record\.json must hold JSON"):
        parse(b"{", "record.json")


def test_counts_of_a_laboratory_are_opened_as_a_record_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts = b"site,gap,angle,shots,ones\n0,,0,900,20\n0,-0.2,,100,33\n0,0.1,,2000,1105\n0,0.4,,400,312\n0,,3.14,50,46\n"
    record = opened(counts, "lab.csv", "linear")
    assert (record.measurement.design.mapping, record.source) == ("linear", "data measured by the file lab.csv")
    view = CalibrationView.of({"mapping": "linear"})
    correction = record.correct(p0=view.p0, slope=view.slope)
    assert len(table(record, correction)) == 1
    assert picture(calibration_charts(record, correction, 0), "png", record.source)
    (tmp_path / "lab.csv").write_bytes(counts)
    names, printed = executed(calibration_code(view, "lab.csv"))
    assert torch.equal(names["measured"].measurement.counts.ones, record.measurement.counts.ones)
    assert "data measured by the file lab.csv · 1 site · mapping linear" in printed
    assert str(opened(written(record), "record.json", "sigmoid")) == str(record)
    with pytest.raises(QLIFError, match=r"File lab\.csv, line 2: `ones` must be at most its 900 shots, but is 920"):
        opened(counts.replace(b"900,20", b"900,920"), "lab.csv", "linear")


def test_a_pair_on_a_twin_knows_the_record_that_it_ran_with() -> None:
    record = measure(CalibrationView.of({"backend": "analytic", "noise": "numbers", "neurons": 2, "shots": 100}))
    values: dict[str, Value] = {"neurons": 2, "steps": 10, "repeats": 2, "second_backend": "analytic"}
    exact, twin = BackendsView.of(values), BackendsView.of({**values, "second_backend": "twin"})
    layers = {side: layer_of(twin, side, record) for side in SIDES}
    pair = run_pair(twin, layers, record, "torino.json")
    assert pair.shows(twin, record)
    assert not pair.shows(twin, parse(written(record), "record.json"))
    assert "calibration.load('torino.json')" in backends_code(pair.view, pair.file)
    assert run_pair(exact, {side: layer_of(exact, side) for side in SIDES}).shows(exact, record)
