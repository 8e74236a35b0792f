"""The page of the neuron."""

import io
import math
from dataclasses import replace

import numpy as np
import streamlit as st
from torch import Tensor

from qlifq.dashboard.neuron import PRESETS, NeuronRun, NeuronView, Statistics, check_upload, python_code, run_neuron
from qlifq.dashboard.neuron_charts import neuron_charts
from qlifq.dashboard.widgets import Panel, draw, refused, said
from qlifq.neurons import Recording
from qlifq.studies import SimulationRun, simulation_figure
from qlifq.training.datasets import read_current

__all__ = ["neuron_page"]

_PRESET = "neuron:preset"


def neuron_page() -> None:
    """Controls beside the traces of a neuron that runs."""
    panel = Panel("neuron", NeuronView)
    upload: Tensor | None = None
    name = "current.npy"
    with st.sidebar:
        st.selectbox("preset", list(PRESETS), key=_PRESET, on_change=_start_from, args=(panel,), help="a place to start from")
        st.caption(PRESETS[st.session_state[_PRESET]][0])
        with refused():
            if panel.values["source"] == "upload":
                file = st.file_uploader("current, .npy of (time, batch, neurons)", type="npy", key="neuron:file")
                if file is not None:
                    name = file.name
                    upload = check_upload(read_current(file, file.name))
        panel.draw(opened=("input",), limits=_limits(panel, upload))
    for sentence in panel.wrong:
        st.warning(said(sentence))
    with refused():
        view = NeuronView.of(panel.values)
        panel.share()
        _show(run_neuron(view, upload), name)


def _start_from(panel: Panel) -> None:
    panel.put(PRESETS[st.session_state[_PRESET]][1])


def _limits(panel: Panel, upload: Tensor | None) -> dict[str, int]:
    values = panel.values
    neurons = 64 if values["source"] == "digits" else int(values["neurons"])
    if upload is None:
        return {"shown": neurons - 1}
    return {"shown": upload.shape[2] - 1, "sample": upload.shape[1] - 1}


def _show(run: NeuronRun, file_name: str) -> None:
    statistics = Statistics.of(run)
    told = {
        "spikes per neuron and step": f"{statistics.rate:.4f}",
        "mean interval": _number(statistics.interval, "steps"),
        "variation of intervals": _number(statistics.variation),
        "asked of a qubit": f"{statistics.evaluations:,}",
        **{f"∂ rate / ∂ {name.split('.')[1]}": f"{value:+.3g}" for name, value in run.gradients.items()},
    }
    with st.container(horizontal=True):
        for label, text in told.items():
            st.metric(label, text, width="content")
    for chart in neuron_charts(run, statistics):
        draw(chart, "neuron")
    code = python_code(run.view, file_name)
    with st.container(horizontal=True):
        st.download_button("Figure (PNG)", lambda: _figure(run, "png"), "neuron.png", "image/png", on_click="ignore")
        st.download_button("Figure (SVG)", lambda: _figure(run, "svg"), "neuron.svg", "image/svg+xml", on_click="ignore")
        st.download_button("Data (npz)", lambda: _data(run), "neuron.npz", "application/octet-stream", on_click="ignore")
        st.download_button("Code (Python)", code, "neuron.py", "text/x-python", on_click="ignore")
    with st.expander("The Python that gives these numbers"):
        st.code(code, language="python")


def _number(value: float, unit: str = "") -> str:
    return "none" if math.isnan(value) else f"{value:.3g} {unit}".rstrip()


def _figure(run: NeuronRun, form: str) -> bytes:
    """The figure of `qlifq simulate`, of the neuron that is shown."""
    picture = (8, 8) if run.view.source == "digits" else None
    simulated = SimulationRun(run.layer, run.current, _detached(run), run.seconds)
    stream = io.BytesIO()
    simulation_figure(simulated, neuron=run.shown, picture=picture).savefig(stream, format=form)
    return stream.getvalue()


def _data(run: NeuronRun) -> bytes:
    """Input and traces of all neurons, `(time, neurons)` each."""
    recording = _detached(run)
    traces = {name: recording[name][:, 0].numpy() for name in recording.names}
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, current=run.current[:, 0].numpy(), **traces)
    return stream.getvalue()


def _detached(run: NeuronRun) -> Recording:
    """The recording without the graph of its gradients."""
    traces = {name: values.detach() for name, values in run.recording.traces.items()}
    return replace(run.recording, spikes=run.recording.spikes.detach(), traces=traces)
