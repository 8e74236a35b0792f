"""The page of the neuron."""

import io
import math
from functools import partial

import numpy as np
import streamlit as st
from torch import Tensor

from qlifq.dashboard.charts import Chart
from qlifq.dashboard.neuron.charts import neuron_charts
from qlifq.dashboard.neuron.run import NeuronRun, Statistics, check_upload, python_code, run_neuron
from qlifq.dashboard.neuron.view import AS_SET, PRESETS, NeuronView, preset_of
from qlifq.dashboard.widgets import Panel, downloads, draw, figures, refused
from qlifq.training.data.datasets import parse_current

__all__ = ["neuron_page"]

_PRESET = "neuron:preset"
#: Charts that are seen without scrolling: the spikes, the input and the membrane.
_FIRST = 3


def neuron_page() -> None:
    """Controls beside the traces of a neuron that runs."""
    panel = Panel("neuron", NeuronView)
    file = st.session_state.get("neuron:file")
    upload: Tensor | None = None
    run: NeuronRun | None = None
    charts: list[Chart] = []
    # What the user waits for goes to the browser first, then the controls, then what is seen by scrolling alone.
    with refused():
        if file is not None and panel.values["source"] == "upload":
            upload = check_upload(parse_current(file.getvalue(), file.name))
        panel.limit(_limits(panel, upload))
        view = NeuronView.of(panel.values)
        panel.share()
        run = run_neuron(view, upload)
        charts = _show(run)
    with st.sidebar:
        preset = st.session_state[_PRESET] = preset_of(panel.values)
        names = [AS_SET, *PRESETS]
        st.selectbox("Preset", names, key=_PRESET, on_change=_start_from, args=(panel,), help="a place to start from")
        # Always there: where an element comes or goes, those after it are made anew and lose the keyboard's focus.
        st.caption(PRESETS[preset][0] if preset in PRESETS else "Values of your own: a preset sets all of them.")
        if panel.values["source"] == "upload":
            st.file_uploader("Current, .npy of (time, batch, neurons)", type="npy", key="neuron:file")
        panel.draw(opened=("input",), limits=_limits(panel, upload))
    if run is None or not charts:
        return
    with refused():
        source = run.recording.decided_by
        for chart in charts[_FIRST:]:
            draw(chart, "neuron", source)
        code = python_code(run.view, "current.npy" if file is None else file.name)
        downloads("neuron", charts, source, ("Data (npz)", "neuron.npz", partial(_data, run)), code)


def _start_from(panel: Panel) -> None:
    if st.session_state[_PRESET] in PRESETS:
        panel.put(PRESETS[st.session_state[_PRESET]][1])


def _limits(panel: Panel, upload: Tensor | None) -> dict[str, int]:
    values = panel.values
    neurons = 64 if values["source"] == "digits" else int(values["neurons"])
    if upload is None:
        return {"shown": neurons - 1}
    return {"shown": upload.shape[2] - 1, "sample": upload.shape[1] - 1}


def _show(run: NeuronRun) -> list[Chart]:
    """The numbers and the first charts of a run; all its charts are returned."""
    statistics = Statistics.of(run)
    summary = {
        "spikes per neuron and step": f"{statistics.rate:.4f}",
        "mean interval": _number(statistics.interval, "steps"),
        "variation of intervals": _number(statistics.variation),
        "spike decisions": f"{statistics.evaluations:,}",
        **{f"∂ rate / ∂ {name}": f"{value:+.3g}" for name, value in run.gradients.items()},
    }
    figures(summary)
    charts = neuron_charts(run, statistics)
    for chart in charts[:_FIRST]:
        draw(chart, "neuron", run.recording.decided_by)
    return charts


def _number(value: float, unit: str = "") -> str:
    return "none" if math.isnan(value) else f"{value:.3g} {unit}".rstrip()


def _data(run: NeuronRun) -> bytes:
    """Input and traces of all neurons, `(time, neurons)` each."""
    traces = {name: run.recording[name][:, 0].detach().numpy() for name in run.recording.names}
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, current=run.current[:, 0].numpy(), **traces)
    return stream.getvalue()
