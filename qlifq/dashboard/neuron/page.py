"""The page of the neuron."""

import io
import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from qlifq.dashboard.charts import Chart
from qlifq.dashboard.neuron.charts import count_charts, neuron_charts
from qlifq.dashboard.neuron.run import NeuronRun, Statistics, check_upload, python_code, run_neuron
from qlifq.dashboard.neuron.view import AS_SET, PRESETS, NeuronView, preset_of
from qlifq.dashboard.widgets import Panel, downloads, draw, draw_beside, figures, halves, refused
from qlifq.training.data.arrays import parse_current

__all__ = ["neuron_page"]

_PRESET = "neuron:preset"
_FILE = "neuron:file"


def neuron_page() -> None:
    """Controls beside the traces of a neuron that runs."""
    panel = Panel("neuron", NeuronView)
    # What the uploader holds is known before it is drawn: the charts come before the controls.
    file = st.session_state.get(_FILE)
    upload: Tensor | None = None
    shown: _Shown | None = None
    # What the user waits for goes to the browser first, then the controls, then the rest.
    with refused():
        if file is not None and panel.values["source"] == "upload":
            upload = check_upload(parse_current(file.getvalue(), file.name), file.name)
        panel.limit(_limits(panel, upload))
        view = NeuronView.of(panel.values)
        panel.share()
        shown = _begin(run_neuron(view, upload))
    with st.sidebar:
        preset = st.session_state[_PRESET] = preset_of(panel.values)
        names = [AS_SET, *PRESETS]
        st.selectbox("Preset", names, key=_PRESET, on_change=_start_from, args=(panel,), help="a place to start from")
        # Always there: where an element comes or goes, those after it are made anew and lose the keyboard's focus.
        st.caption(PRESETS[preset][0] if preset in PRESETS else "Values of your own: a preset sets all of them.")
        if panel.values["source"] == "upload":
            st.file_uploader("Current: a .npy file of shape (time, batch, neurons)", type="npy", key=_FILE)
        panel.draw(opened=("input",), limits=_limits(panel, upload))
    if shown is not None:
        with refused():
            _finish(shown, "current.npy" if file is None else file.name)


class _Shown(NamedTuple):
    """A page of which the numbers and the left column stand.

    Args:
        run: what is shown.
        statistics: its numbers.
        traces: its panels over time.
        right: the column that is still empty.
    """

    run: NeuronRun
    statistics: Statistics
    traces: list[Chart]
    right: DeltaGenerator


def _begin(run: NeuronRun) -> _Shown:
    """Show the numbers of a run and the first half of its panels."""
    statistics, traces = Statistics.of(run), neuron_charts(run)
    figures(
        {
            "Spikes per neuron and step": f"{statistics.rate:.4f}",
            "Mean interval": _number(statistics.interval, "steps"),
            "Variation of intervals (CV)": _number(statistics.variation),
            "Spike decisions": f"{statistics.evaluations:,}",
            **{f"∂ rate / ∂ {name}": f"{value:+.3g}" for name, value in run.gradients.items()},
        }
    )
    # Both columns are made now, so that the right one keeps its place while the controls are drawn.
    left, right = st.columns(2)
    _draw_all(left, halves(traces)[0], run)
    return _Shown(run, statistics, traces, right)


def _finish(shown: _Shown, file: str) -> None:
    """Show the other panels and the downloads; `file` is the name of the uploaded current."""
    run, counted = shown.run, count_charts(shown.statistics)
    _draw_all(shown.right, halves(shown.traces)[1], run)
    source = run.recording.decided_by
    draw_beside(counted, "neuron", source)
    data = ("Data (npz)", "neuron.npz", partial(_data, run))
    downloads("neuron", [*shown.traces, *counted], source, data, python_code(run.view, file))


def _draw_all(place: DeltaGenerator, charts: Sequence[Chart], run: NeuronRun) -> None:
    with place:
        for chart in charts:
            draw(chart, "neuron", run.recording.decided_by)


def _start_from(panel: Panel) -> None:
    if st.session_state[_PRESET] in PRESETS:
        panel.put(PRESETS[st.session_state[_PRESET]][1])


def _limits(panel: Panel, upload: Tensor | None) -> dict[str, int]:
    values = panel.values
    neurons = 64 if values["source"] == "digits" else int(values["neurons"])
    if upload is None:
        return {"shown": neurons - 1}
    return {"shown": upload.shape[2] - 1, "sample": upload.shape[1] - 1}


def _number(value: float, unit: str = "") -> str:
    return "none" if math.isnan(value) else f"{value:.3g} {unit}".rstrip()


def _data(run: NeuronRun) -> bytes:
    """Input and traces of all neurons, `(time, neurons)` each."""
    traces = {name: run.recording[name][:, 0].detach().numpy() for name in run.recording.names}
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, current=run.current[:, 0].numpy(), **traces)
    return stream.getvalue()
