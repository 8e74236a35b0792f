"""Views, addresses and code, without a browser."""

import contextlib
import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qlifq.dashboard.backends import SIDES, BackendsView, backends_charts, backends_code, layer_of, plan_of, remote, run_pair
from qlifq.dashboard.calibration import CalibrationView, calibration_charts, calibration_code, measure, read, table, written
from qlifq.dashboard.charts import picture
from qlifq.dashboard.circuit import CircuitView, circuit_charts, circuit_code, run_circuit, sphere
from qlifq.dashboard.comparisons import code, find_runs, open_run
from qlifq.dashboard.controls import Value, parameter_controls, relevant
from qlifq.dashboard.neuron import (
    AS_SET,
    PRESETS,
    SOURCES,
    NeuronView,
    Statistics,
    check_upload,
    preset_of,
    python_code,
    run_neuron,
)
from qlifq.dashboard.neuron_charts import neuron_charts
from qlifq.dashboard.view import View, from_address, to_address
from qlifq.errors import ArgumentError, FileFormatError, QLIFError, ShapeError
from qlifq.neurons import Settings
from qlifq.training.datasets import read_current

VIEWS: list[type[View]] = [NeuronView, CircuitView, BackendsView, CalibrationView]


def executed(text: str) -> tuple[dict[str, Any], str]:
    """What code leaves, and what it prints."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "downloaded.py", "exec"), names)
    return names, printed.getvalue()


def test_every_parameter_of_the_neuron_is_a_control() -> None:
    assert {item.name for item in parameter_controls()} == set(Settings.__dataclass_fields__)
    assert {item.name for item in parameter_controls()} < {item.name for item in NeuronView.controls()}


@pytest.mark.parametrize("view", VIEWS)
def test_a_slider_holds_its_default_and_every_value_that_an_address_can_give(view: type[View]) -> None:
    values = view.defaults()
    for item in view.controls():
        if item.kind not in {"real", "integer"}:
            continue
        default = float(item.default_among(values))
        low, high, step = item.slider(default, default)
        assert low <= default <= high
        assert step > 0
        for value in (low, high):
            item.checked(int(value) if item.kind == "integer" else value)
        if "at_most" not in item.bounds and "below" not in item.bounds:
            assert item.slider(1e6, default)[1] == 1e6


@pytest.mark.parametrize("view", VIEWS)
def test_defaults_need_no_address_and_give_a_view(view: type[View]) -> None:
    assert to_address(view, {}) == {}
    assert from_address(view, {}) == ({}, [])
    assert view.of({}) == view.of(view.defaults())


STATES: list[dict[str, Value]] = [
    *(dict(values) for _, values in PRESETS.values()),
    {"mapping": "tanh", "q_scale": 0.7, "theta_max": 1.25, "source": "ramp", "gain": 3.3},
    {"quantum_mode": False, "stochastic": True, "base_alpha": 3.5, "modulation": "pulses", "neuromod_transform": "tanh"},
]


@pytest.mark.parametrize("values", STATES)
def test_an_address_gives_back_what_was_shown(values: dict[str, Value]) -> None:
    address = to_address(NeuronView, values)
    back, wrong = from_address(NeuronView, address)
    assert wrong == []
    assert NeuronView.of(back) == NeuronView.of(values)
    assert sum(map(len, address.values())) < 120


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"v": "2", "tau": "5"}, "must have v=1"),
        ({"tau": "5"}, "must have v=1"),
        ({"v": "1", "tau": "nan"}, "`tau` must be finite, but is nan"),
        ({"v": "1", "tau": "1e999"}, "`tau` must be finite, but is inf"),
        ({"v": "1", "tau": "__import__('os')"}, "`tau` must be a number, but is"),
        ({"v": "1", "tau": "9" * 100}, "at most 40 characters, but has 100"),
        ({"v": "1", "tau": "-1"}, "`tau` must be above 0 and at most 1e+06, but is -1"),
        ({"v": "1", "neurons": "100000"}, "`neurons` must be at least 1 and at most 64, but is 100000"),
        ({"v": "1", "steps": "2.5"}, "`steps` must be an integer, but is '2.5'"),
        ({"v": "1", "use_ahp": "yes"}, "`use_ahp` must be True or False, but is 'yes'"),
        ({"v": "1", "mapping": "<script>"}, "`mapping` must be one of sigmoid, linear, tanh, but is '<script>'"),
        ({"v": "1", "noise_std": "1e39"}, "`noise_std` must be at least 0 and at most 1e+06, but is 1e+39"),
        ({"v": "1", "V_reset": "-1e300"}, "`V_reset` must be at least -1e+06 and at most 1e+06, but is -1e+300"),
        ({"v": "1", "refractory_period": "9" * 20}, "must be at least 0 and at most 1e+06, but is 99999999999999999999"),
        ({"v": "1", "quantum_wire": "1000"}, "`quantum_wire` must be at least 1 and at most 20, but is 1000"),
        ({"v": "1", "neuromod_mode": "off"}, "must be one of gain, threshold, prob_slope, but is 'off'"),
        ({"v": "1", "decision": "threshold", "seed": "1"}, "`seed` would be ignored: it needs decision='sample', finite shots"),
        ({"v": "1", "<b>": "1"}, "names of controls, but holds '<b>'"),
        ({"v": "1", "eta": "0.2"}, "`eta` would be ignored: it needs use_adaptive_threshold=True"),
        ({"v": "1", "V_th": "-1"}, "`V_th` must be above V_reset = 0, but is -1"),
    ],
)
def test_a_bad_address_gives_a_sentence_and_the_defaults(address: dict[str, str], sentence: str) -> None:
    values, wrong = from_address(NeuronView, address)
    assert values == ({"decision": "threshold"} if "decision" in address else {})
    assert len(wrong) == 1
    assert sentence in wrong[0]


def test_an_integer_of_every_page_has_an_end() -> None:
    for view in VIEWS:
        for item in view.controls():
            if item.kind in {"integer", "real"}:
                with pytest.raises(ArgumentError, match=f"`{item.name}` must be .*at most|below"):
                    item.parsed("9" * 20)


def test_a_value_without_effect_counts_neither_for_what_follows_from_it_nor_for_the_rest() -> None:
    # The slope of tanh is another than that of sigmoid; without a qubit neither matters.
    classic: dict[str, Value] = {**NeuronView.defaults(), "mapping": "tanh", "q_scale": 2.5, "quantum_mode": False}
    assert NeuronView.of(classic).settings == Settings(quantum_mode=False)
    values, wrong = from_address(BackendsView, {"v": "1", "second_backend": "analytic", "readout_p01": "0.3"})
    assert values == {"second_backend": "analytic"}
    assert wrong == ["Argument `readout_p01` would be ignored: it needs noise='numbers'."]


@pytest.mark.parametrize(
    ("view", "values", "drawn"),
    [
        (NeuronView, {}, True),
        (NeuronView, {"decision": "threshold"}, False),
        (NeuronView, {"decision": "threshold", "shots": "10"}, True),
        (NeuronView, {"decision": "threshold", "noise_std": 0.1}, True),
        (NeuronView, {"quantum_mode": False, "gain": 2.0}, False),
        (NeuronView, {"quantum_mode": False, "gain": 2.0, "shots": "10"}, False),
        (NeuronView, {"quantum_mode": False, "stochastic": True}, True),
        (NeuronView, {"decision": "threshold", "source": "poisson"}, True),
        (BackendsView, {"decision": "threshold", "second_shots": "10"}, True),
        (BackendsView, {"decision": "threshold", "second_shots": "exact"}, False),
    ],
)
def test_a_seed_is_shown_where_it_changes_the_numbers(view: type[View], values: dict[str, Value], drawn: bool) -> None:
    small: dict[str, Value] = {"neurons": 3, "steps": 80}
    if view is BackendsView:
        small |= {"repeats": 3, "second_backend": "analytic"}
    views = [view.of({**small, **values, "seed": seed}) for seed in (0, 1)]
    assert (views[0] != views[1]) is drawn
    if isinstance(views[0], NeuronView):
        first, second = (run_neuron(replace(views[0], seed=seed)).recording["potential"] for seed in (0, 1))
        assert (not torch.equal(first, second)) is drawn


def test_the_preset_that_is_named_is_the_one_that_is_shown() -> None:
    for name, (_, values) in PRESETS.items():
        assert preset_of({**NeuronView.defaults(), **values}) == name
    assert preset_of({"tau": 7.0}) == AS_SET


def test_many_bad_values_give_few_sentences() -> None:
    _, wrong = from_address(NeuronView, {"v": "1", **{f"x{n}": "1" for n in range(100)}})
    assert len(wrong) == 6
    assert wrong[-1] == "95 more values of the address are not used."


def test_a_good_value_beside_a_bad_one_is_used() -> None:
    values, wrong = from_address(NeuronView, {"v": "1", "tau": "nan", "gain": "2"})
    assert values == {"gain": 2.0}
    assert len(wrong) == 1


@pytest.mark.parametrize("values", [*STATES, *({"source": source, "steps": 60} for source in SOURCES)])
def test_the_code_of_the_neuron_gives_the_numbers_of_the_page(
    values: dict[str, Value], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = None
    if values.get("source") == "upload":
        monkeypatch.chdir(tmp_path)
        # The page shows the last sample for one that the file has not.
        values = {"source": "upload", "sample": 7, "gain": 1.5, "modulation": "ramp"}
        array = np.random.default_rng(0).uniform(0, 2, (50, 3, 4)).astype(np.float32)
        np.save("current.npy", array)
        upload = torch.from_numpy(array)
    run = run_neuron(NeuronView.of(values), upload)
    text = python_code(run.view)
    names, printed = executed(text)
    assert len([line for line in text.splitlines() if line and not line.startswith(("import", "from"))]) <= 10
    for name in run.recording.names:
        assert torch.equal(names["recording"][name], run.recording[name])
    assert f"spikes a step {Statistics.of(run).rate:.4f}" in printed


def test_the_code_gives_the_gradients_of_the_page() -> None:
    run = run_neuron(NeuronView.of({"learnable_threshold": True, "learnable_qscale": True, "steps": 50, "gain": 2.0}))
    assert set(run.gradients) == {"constants.V_th.raw", "constants.q_scale.raw"} or len(run.gradients) == 2
    assert all(value != 0 for value in run.gradients.values())
    _, printed = executed(python_code(run.view))
    assert str(run.gradients) in printed


def test_the_presets_show_what_they_say() -> None:
    runs = {name: run_neuron(NeuronView.of(values)) for name, (_, values) in PRESETS.items()}
    found = {name: Statistics.of(run) for name, run in runs.items()}
    assert found["irregular, stochastic"].variation > 0.25
    assert found["regular, deterministic"].variation == 0
    adapting = np.diff(np.flatnonzero(runs["adapting threshold"].trace("spikes")))
    assert adapting[-3:].mean() > 1.3 * adapting[:2].mean()
    assert np.ptp(runs["adapting threshold"].trace("threshold")) > 0.1
    values = {**PRESETS["self-limiting probability"][1], "allow_dynamic_spike_probability": False}
    free = run_neuron(NeuronView.of(values))
    assert found["self-limiting probability"].rate < 0.8 * Statistics.of(free).rate
    spikes = runs["neuromodulated"].recording.spikes
    first, second = spikes[:250], spikes[250:]
    assert second.mean() > 1.5 * first.mean()


def test_every_trace_of_a_run_is_drawn() -> None:
    run = run_neuron(
        NeuronView.of({"use_ahp": True, "spike_increase": 0.1, "homeostasis_enabled": True, "modulation": "step", "steps": 80})
    )
    charts = {chart.name: chart for chart in neuron_charts(run, Statistics.of(run))}
    assert set(charts["mechanisms"].columns) == {"time", "adaptation", "ahp", "rate"}
    assert set(charts["input"].columns) == {"time", "current", "modulation"}
    assert charts["raster"].columns["spike"].sum() == run.recording.spikes.sum()
    assert charts["intervals"].columns["count"].sum() == len(Statistics.of(run).intervals)
    for chart in charts.values():
        for layer in chart.spec.get("layer", [chart.spec]):
            for side in ("x", "y"):
                assert layer["encoding"][side]["axis"]["title"]
        assert b"<svg" in picture([chart], "svg")
    assert picture(list(charts.values()), "png").startswith(b"\x89PNG")


def test_an_upload_that_is_no_current_is_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    stream.seek(0)
    with pytest.raises(FileFormatError, match=r"evil\.npy must be a \.npy file of plain numbers"):
        read_current(stream, "evil.npy")
    with pytest.raises(ShapeError, match="at most 2000 steps and 256 neurons to be shown, but has 3000 and 1"):
        check_upload(torch.zeros(3000, 1, 1))
    with pytest.raises(ShapeError, match=r"needs a \.npy file"):
        run_neuron(NeuronView.of({"source": "upload"}))


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
    assert picture([*circuit_charts(run), sphere(run)], "png").startswith(b"\x89PNG")


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
    assert picture(backends_charts(pair), "svg")


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
    record = measure(view)
    again = read(written(record))
    correction = again.correct(p0=view.p0, slope=view.slope)
    rows = table(again, correction)
    assert list(rows["neuron"]) == [0, 1]
    assert abs(rows["eta"] - 0.05).max() < 0.1
    names, printed = executed(calibration_code(view, None))
    assert torch.equal(names["measured"].measurement.ones, record.measurement.ones)
    assert "correction of 2 neurons" in printed
    assert picture(calibration_charts(again, correction, 1), "png")
    with pytest.raises(QLIFError, match="must hold JSON"):
        read(b"{")


def test_a_pair_on_a_twin_knows_the_record_that_it_ran_with() -> None:
    record = measure(CalibrationView.of({"backend": "analytic", "noise": "numbers", "neurons": 2, "shots": 100}))
    values: dict[str, Value] = {"neurons": 2, "steps": 10, "repeats": 2, "second_backend": "analytic"}
    plain, twin = BackendsView.of(values), BackendsView.of({**values, "second_backend": "twin"})
    layers = {side: layer_of(twin, side, record) for side in SIDES}
    pair = run_pair(twin, layers, record, "torino.json")
    assert pair.shows(twin, record)
    assert not pair.shows(twin, read(written(record)))
    assert "calibration.load('torino.json')" in backends_code(pair.view, pair.file)
    assert run_pair(plain, {side: layer_of(plain, side) for side in SIDES}).shows(plain, record)


def test_runs_are_found_and_read_under_the_folder_alone(runs: Path) -> None:
    assert find_runs(runs) == ["digits-a", "digits-b", "report"]
    simulated, report = open_run(runs, "digits-a"), open_run(runs, "report")
    assert simulated.spikes is not None
    assert simulated.spikes.shape == (40, 2, 64)
    assert set(report.tables) == {"one", "two"}
    assert ("picture", "curve") in report.text
    for found in (simulated, report):
        _, printed = executed(code(found))
        assert str(found.summary["command"]) in printed
    assert f"{simulated.spikes.mean()}" in executed(code(simulated))[1]
    for name in ("..", "../..", "/etc"):
        with pytest.raises(FileFormatError, match=r"must be under|must hold the summary\.json"):
            open_run(runs, name)


def test_a_link_out_of_the_folder_is_not_followed(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(runs / "report")
    assert find_runs(tmp_path) == []
    with pytest.raises(FileFormatError, match="must be under"):
        open_run(tmp_path, "link")


def test_facts_that_lie_elsewhere_or_are_too_many_are_no_run(runs: Path, tmp_path: Path) -> None:
    for name in ("link", "long"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / "summary.json").symlink_to(runs / "report" / "summary.json")
    facts = (runs / "report" / "summary.json").read_text(encoding="utf-8")
    (tmp_path / "long" / "summary.json").write_text(facts + " " * 1_000_000, encoding="utf-8")
    assert find_runs(tmp_path) == []
    with pytest.raises(FileFormatError, match="must hold the summary"):
        open_run(tmp_path, "link")


def test_files_of_a_run_that_are_broken_give_a_sentence(runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "digits-a", tmp_path / "run")
    whole = (run / "spikes.npz").read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros((2, 2, 2)))
    damaged = bytearray(whole)
    damaged[100 : len(whole) // 2] = b"\xff" * (len(whole) // 2 - 100)
    for content in (whole[: len(whole) // 2], array.getvalue(), bytes(damaged), b"", b"PK"):
        (run / "spikes.npz").write_bytes(content)
        with pytest.raises(FileFormatError, match="must hold the array `spikes`, but does not"):
            open_run(tmp_path, "run")
    with zipfile.ZipFile(run / "spikes.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("spikes.npy", "w") as member:
        for _ in range(501):
            member.write(bytes(1_000_000))
    with pytest.raises(FileFormatError, match="must unpack to at most 500,000,000 bytes to be shown, but says 501,000,000"):
        open_run(tmp_path, "run")
    (run / "spikes.npz").unlink()
    (run / "report.md").write_bytes(b"caf\xe9")
    with pytest.raises(FileFormatError, match=r"report\.md must be text in UTF-8"):
        open_run(tmp_path, "run")
    (run / "report.md").write_text("!![x](http://elsewhere/a.png) ![y](b.png)", encoding="utf-8")
    assert open_run(tmp_path, "run").text == [("text", "[x](http://elsewhere/a.png) [y](b.png)")]


def test_a_control_that_would_have_no_effect_is_hidden() -> None:
    by_name = {item.name: item for item in NeuronView.controls()}
    values = NeuronView.defaults()
    assert not relevant(by_name["tau_ahp"], values)
    assert relevant(by_name["tau_ahp"], {**values, "use_ahp": True})
    assert not relevant(by_name["neuromod_strength"], values)
