"""The page of the backends."""

import io

import numpy as np
import pandas as pd
import streamlit as st

from qlifq.backends import Plan
from qlifq.dashboard.backends.view import (
    SIDES,
    BackendsView,
    Pair,
    backends_charts,
    backends_code,
    layer_of,
    plan_of,
    remote,
    run_pair,
    sources,
)
from qlifq.dashboard.calibration.page import kept_file, kept_record
from qlifq.dashboard.noise import in_vendor_thread
from qlifq.dashboard.widgets import Panel, downloads, draw, figures, refused, said
from qlifq.neurons.description import describe_decisions
from qlifq.reporting.wording import duration

__all__ = ["backends_page"]

_RAN = "backends:ran"
_COUNTS = ("evaluations", "circuits", "qubits", "jobs", "executions", "turns")


def backends_page() -> None:
    """Two backends, what each would cost, and the button that runs them."""
    panel = Panel("backends", BackendsView)
    with refused():
        view = BackendsView.of(panel.values)
        panel.share()
        record = kept_record()
        layers = {side: in_vendor_thread(layer_of, view, side, record) for side in SIDES}
        st.markdown("**What it would cost**")
        st.table(
            _costs(
                {side: (describe_decisions(layer), in_vendor_thread(plan_of, view, layer)) for side, layer in layers.items()}
            )
        )
        blocked = remote(view)
        if blocked:
            st.info(said(f"{', '.join(blocked)} runs on another machine: run it from Python or the command line."))
        if st.button("Run both", type="primary", disabled=bool(blocked), key="backends:run"):
            with st.spinner("Running both backends…"):
                st.session_state[_RAN] = in_vendor_thread(run_pair, view, layers, record, kept_file())
        ran: Pair | None = st.session_state.get(_RAN)
        if ran is None:
            st.caption("Nothing has run yet.")
        else:
            if not ran.shows(view, record):
                st.warning("What follows is of an earlier run, with other settings or another calibration record.")
            _show(ran)
    with st.sidebar:
        panel.draw(opened=("backend A", "backend B", "run"))


def _costs(plans: dict[str, tuple[str, Plan]]) -> pd.DataFrame:
    rows = {}
    for side, (decisions, plan) in plans.items():
        counts = {name: f"{getattr(plan, name):,}" for name in _COUNTS}
        times = {"time": plan.estimated_seconds, "device time": plan.device_seconds}
        estimates = {name: "not known" if value is None else f"about {duration(value)}" for name, value in times.items()}
        rows[f"backend {SIDES[side]}"] = {"decisions": decisions, **counts, **estimates}
    costs = pd.DataFrame(rows)
    # Only a device charges its time.
    charged = any(plan.device_seconds is not None for _, plan in plans.values())
    return costs if charged else costs.drop(index="device time")


def _show(ran: Pair) -> None:
    figures(
        {
            **{f"rate, backend {letter}": f"{ran.rates[side].value:.4f}" for side, letter in SIDES.items()},
            "difference (B − A)": f"{ran.difference.value:+.4f}",
            "its 99 % interval": f"{ran.difference.low:+.4f} to {ran.difference.high:+.4f}",
        }
    )
    apart = "do not differ beyond chance" if ran.difference.holds(0.0) else "differ"
    st.caption(f"Spikes per neuron and step; the interval is a bootstrap over the runs. By it the two rates {apart}.")
    charts, source = backends_charts(ran), sources(ran)
    for chart in charts:
        draw(chart, "backends", source)
    downloads("backends", charts, source, ("Data (npz)", "backends.npz", lambda: _data(ran)), backends_code(ran.view, ran.file))


def _data(ran: Pair) -> bytes:
    arrays = {
        f"{side}_{name}": ran.sides[side].recording[name].numpy()
        for side in SIDES
        for name in ("spikes", "potential", "probability")
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()
