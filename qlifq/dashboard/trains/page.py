"""The page of spike trains in one circuit."""

import io

import numpy as np
import streamlit as st

from qlifq.backends import Plan, get
from qlifq.dashboard.costs import costs
from qlifq.dashboard.noise import in_vendor_thread
from qlifq.dashboard.trains.run import TrainsRun, frequent, run_trains, trains_charts
from qlifq.dashboard.trains.view import DEVICE, Compiled, TrainsView, backend_of, compiled, layer_of, trains_code
from qlifq.dashboard.widgets import Panel, downloads, draw_beside, figures, refused, said

__all__ = ["trains_page"]

_RAN = "trains:ran"
#: Steps of the drawing that are shown at first.
_LINES = 8


def trains_page() -> None:
    """The circuit of a neuron, its exact law, and the button that runs both loops."""
    panel = Panel("trains", TrainsView)
    with refused():
        view = TrainsView.of(panel.values)
        panel.share()
        # At every change: a train of some tens of steps is compiled in milliseconds.
        made = compiled(view)
        _show_circuit(made)
        _show_costs(view, made)
        if st.button("Run both loops", type="primary", key="trains:run"):
            with st.spinner("Both loops run…"):
                st.session_state[_RAN] = in_vendor_thread(run_trains, made)
        ran: TrainsRun | None = st.session_state.get(_RAN)
        if ran is not None and ran.compiled.view != view:
            st.warning("What follows is of an earlier run, with other settings.")
        _show(made if ran is None else ran.compiled, ran)
    with st.sidebar:
        panel.draw(opened=("neuron", "input", "run"))


def _show_circuit(made: Compiled) -> None:
    train = made.train
    figures(
        {
            "Steps": f"{train.steps}",
            "Conditional rotations": f"{train.conditionals:,}",
            "Largest error of an angle (radians)": f"{train.error:.2g}",
            "Exact rate (spikes per step)": "not known" if made.law is None else f"{float(made.law.rate.mean()):.4f}",
        }
    )
    if made.refused:
        st.caption(said(f"No exact rate: {made.refused}"))
    drawing = train.draw().splitlines()
    st.markdown("**The circuit, one line per step**")
    st.code("\n".join(drawing[:_LINES]), language=None)
    if len(drawing) > _LINES:
        st.caption(f"The first {_LINES} of {len(drawing)} steps.")
    place = st.expander("The whole circuit, and its OpenQASM 3", key="trains:text", on_change="rerun")
    if place.open:
        with place:
            st.code("\n".join(drawing), language=None)
            st.code(train.to_openqasm(), language=None)


def _show_costs(view: TrainsView, made: Compiled) -> None:
    """What both loops would cost here, and on a device where somebody wants to know."""
    st.markdown("**What it would cost**")
    here = in_vendor_thread(plans, view, made, None)
    st.table(costs(here))
    # A device is loaded when it is looked at: its snapshot and its compiler take seconds.
    place = st.expander(f"The same on a device ({DEVICE})", key="trains:device", on_change="rerun")
    if place.open:
        with place:
            st.table(costs(in_vendor_thread(plans, view, made, DEVICE)))


def plans(view: TrainsView, made: Compiled, device: str | None) -> dict[str, tuple[str, Plan]]:
    """What each loop would cost on the chosen backend, or on a device; spends nothing."""
    backend = backend_of(view) if device is None else get("ibm", device=device)
    host = layer_of(view, backend).plan(view.trains).times(view.steps)
    circuit = backend.plan_train(made.train, shots=view.trains)
    return {"loop on the host": (backend.description, host), "loop in the circuit": (backend.description, circuit)}


def _show(made: Compiled, ran: TrainsRun | None) -> None:
    source = "exact, from the angles of the circuit"
    if ran is not None:
        source = ran.source
        rates = {f"Rate of the {loop} loop": f"{spikes.mean():.4f}" for loop, spikes in ran.spikes.items()}
        figures({**rates, **{f"p-value, {name}": f"{p:.3f}" for name, p in ran.tests.items()}})
        st.caption(
            "p-values of permutation tests that exchange trains between the loops: a small one says that their distributions "
            "differ. Without noise they are the same; with noise the circuit has errors of its conditional rotations and "
            "resets that the host loop has not, and what is exact is of the circuit. Error bars are 99 % intervals."
        )
    charts = trains_charts(made, ran)
    draw_beside(charts, "trains", source)
    if ran is None:
        data = ("Circuit (OpenQASM 3)", "train.qasm", lambda: made.train.to_openqasm().encode())
    else:
        st.markdown("**The most frequent trains** (1 is a spike)")
        st.dataframe(frequent(ran), hide_index=True)
        data = ("Trains (npz)", "trains.npz", lambda: _data(ran))
    downloads("trains", charts, source, data, trains_code(made.view))


def _data(ran: TrainsRun) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **ran.spikes)
    return stream.getvalue()
