"""The page of the backends."""

import io

import numpy as np
import streamlit as st

from qlifq.dashboard.backends.explanation import Explanation, explain, response_chart
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
from qlifq.dashboard.costs import costs
from qlifq.dashboard.noise import in_vendor_thread
from qlifq.dashboard.widgets import Panel, downloads, draw_beside, figures, refused, said
from qlifq.neurons.description import describe_decisions

__all__ = ["backends_page"]

_RAN = "backends:ran"


def backends_page() -> None:
    """Two backends, what each would cost, and the button that runs them."""
    panel = Panel("backends", BackendsView)
    with refused():
        view = BackendsView.of(panel.values)
        panel.share()
        record = kept_record()
        # Built at every change, since building spends nothing and finds what does not go together.
        layers = {side: in_vendor_thread(layer_of, view, side, record) for side in SIDES}
        st.markdown("**What it would cost**")
        st.table(
            costs(
                {
                    f"backend {SIDES[side]}": (describe_decisions(layer), in_vendor_thread(plan_of, view, layer))
                    for side, layer in layers.items()
                }
            )
        )
        # A device costs money: nobody should start it with one click, or by an address that somebody else wrote.
        blocked = remote(view)
        if blocked:
            st.info(said(f"{', '.join(blocked)} runs on another machine: run it from Python or the command line."))
        if st.button("Run both", type="primary", disabled=bool(blocked), key="backends:run"):
            with st.spinner("Running both backends…"):
                pair = in_vendor_thread(run_pair, view, layers, record, kept_file())
                # Kept with its explanation: a run of the script must not run circuits again.
                st.session_state[_RAN] = (pair, in_vendor_thread(explain, pair))
        ran: tuple[Pair, Explanation] | None = st.session_state.get(_RAN)
        if ran is None:
            st.caption("Nothing has run yet.")
        else:
            if not ran[0].shows(view, record):
                st.warning("What follows is of an earlier run, with other settings or another calibration record.")
            _show(*ran)
    with st.sidebar:
        panel.draw(opened=("backend A", "backend B", "run"))


def _show(ran: Pair, explanation: Explanation) -> None:
    figures(
        {
            **{f"Rate of {letter} (spikes per step)": f"{ran.rates[side].value:.4f}" for side, letter in SIDES.items()},
            "Difference B − A": f"{ran.difference.value:+.4f}",
            "Its 99 % interval": f"{ran.difference.low:+.4f} to {ran.difference.high:+.4f}",
        }
    )
    st.markdown("**What explains the difference**")
    st.markdown("\n".join(f"- {said(sentence)}" for sentence in explanation.sentences))
    charts, source = [*backends_charts(ran), response_chart(explanation)], sources(ran)
    draw_beside(charts, "backends", source)
    st.caption("Error bars and bands are 99 % intervals of the mean, by a bootstrap over the runs.")
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
