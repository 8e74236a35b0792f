"""The page of the neuron, without a browser: its runs, its code and its charts."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from qlifq.dashboard.charts import picture
from qlifq.dashboard.controls import Value
from qlifq.dashboard.neuron.charts import count_charts, neuron_charts
from qlifq.dashboard.neuron.run import Statistics, check_upload, python_code, run_neuron
from qlifq.dashboard.neuron.view import PRESETS, SOURCES, NeuronView
from qlifq.errors import FileFormatError, ShapeError
from qlifq.training.data.arrays import parse_current
from tests.dashboard.harness import STATES, executed


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
    assert f"spikes per step {Statistics.of(run).rate:.4f}" in printed


def test_the_code_gives_the_gradients_of_the_page() -> None:
    run = run_neuron(NeuronView.of({"learnable_threshold": True, "learnable_qscale": True, "steps": 50, "gain": 2.0}))
    assert set(run.gradients) == {"V_th", "q_scale"}
    assert all(value != 0 for value in run.gradients.values())
    _, printed = executed(python_code(run.view))
    assert str(run.gradients) in printed


def test_the_gradients_of_the_page_are_by_the_constants_themselves() -> None:
    """Central differences of the expected rate: each constant a little larger and smaller, in all neurons at once."""
    constants = {"V_th": 1.1, "tau": 7.0, "eta": 0.08, "q_scale": 3.5, "q_bias": 0.2}
    flags = ("learnable_threshold", "learnable_tau", "learnable_eta", "learnable_qscale", "learnable_qbias")
    shown: dict[str, Value] = {
        "steps": 80,
        "gain": 1.7,
        "neurons": 3,
        "use_adaptive_threshold": True,
        "decision": "expectation",
    }
    run = run_neuron(NeuronView.of({**shown, **constants, **dict.fromkeys(flags, True)}))
    assert set(run.gradients) == set(constants)
    layer, current = run.layer.double(), run.current.double()
    with torch.no_grad():
        for name, value in constants.items():
            rates = []
            for beside in (value - 1e-4, value + 1e-4):
                layer.assign(**{name: torch.full((3,), beside, dtype=torch.float64)})
                rates.append(float(layer(current)[0].mean()))
            layer.assign(**{name: torch.full((3,), value, dtype=torch.float64)})
            assert run.gradients[name] == pytest.approx((rates[1] - rates[0]) / 2e-4, rel=2e-3), name


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
    traces = neuron_charts(run)
    charts = {chart.name: chart for chart in (*traces, *count_charts(Statistics.of(run)))}
    assert set(charts["mechanisms"].columns) == {"time", "adaptation", "ahp", "rate"}
    assert set(charts["input"].columns) == {"time", "current", "modulation"}
    assert charts["raster"].columns["spike"].sum() == run.recording.spikes.sum()
    assert charts["intervals"].columns["count"].sum() == len(Statistics.of(run).intervals)
    for chart in charts.values():
        for layer in chart.spec.get("layer", [chart.spec]):
            for side in ("x", "y"):
                assert layer["encoding"][side]["axis"]["title"]
            # Panels share an axis of time where its ends and what stands left of it are the same.
            assert layer["encoding"]["y"]["axis"]["minExtent"] == layer["encoding"]["y"]["axis"]["maxExtent"] == 34
            assert chart not in traces or layer["encoding"]["x"]["scale"]["domain"] == [0, 79]
    drawing = picture(list(charts.values()), "svg", run.recording.decided_by).decode()
    assert all(f"<!-- {chart.title} -->" in drawing for chart in charts.values())


def test_an_upload_that_is_no_current_is_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"evil\.npy must be a \.npy file of plain numbers"):
        parse_current(stream.getvalue(), "evil.npy")
    with pytest.raises(
        ShapeError, match=r"File long\.npy must have at most 2000 steps and 256 neurons to be shown, but has 3000 and 1"
    ):
        check_upload(torch.zeros(3000, 1, 1), "long.npy")
    with pytest.raises(ShapeError, match=r"needs a \.npy file"):
        run_neuron(NeuronView.of({"source": "upload"}))
