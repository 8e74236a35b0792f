"""The script that Streamlit runs at every change: the pages and what they have in common.

A page is loaded when it is opened: torch and the vendors' packages take seconds.
"""

import importlib
from typing import Any

import streamlit as st

#: Axes without a trace, for as long as there is none.
_AXES: dict[str, Any] = {
    "title": {"text": "The page is being prepared", "anchor": "start"},
    "height": 200,
    "data": {"sequence": {"start": 0, "stop": 0, "as": "time"}},
    "mark": "line",
    "encoding": {"x": {"field": "time", "type": "quantitative", "title": "time (steps)", "scale": {"domain": [0, 500]}}},
    "usermeta": {"embedOptions": {"renderer": "canvas"}},
}


def neuron() -> None:
    """The page of the neuron."""
    from qlifq.dashboard.neuron.page import neuron_page

    neuron_page()


def circuit() -> None:
    """The page of the circuit."""
    from qlifq.dashboard.circuit.page import circuit_page

    circuit_page()


def backends() -> None:
    """The page of the backends."""
    from qlifq.dashboard.backends.page import backends_page

    backends_page()


def calibration() -> None:
    """The page of the calibration."""
    from qlifq.dashboard.calibration.page import calibration_page

    calibration_page()


def comparisons() -> None:
    """The page of the comparisons."""
    from qlifq.dashboard.comparisons.page import comparisons_page

    comparisons_page()


def load() -> None:
    """Load torch and the page of the neuron, with empty axes on the page in the meantime."""
    place = st.empty()
    if "begun" not in st.session_state:
        st.session_state["begun"] = True
        # The browser fetches what it draws charts with while torch is loaded here.
        place.vega_lite_chart(_AXES)
    # On every page, since another thread may be loading this ahead: two must not load the same packages in different orders.
    importlib.import_module("qlifq.dashboard.neuron.page")
    # Tensors of some neurons are too small to share out: threads would only wait for each other.
    importlib.import_module("torch").set_num_threads(1)
    place.empty()


if __name__ == "__main__":
    st.set_page_config(page_title="qlifq", page_icon="⚛", layout="wide")
    pages = (neuron, circuit, backends, calibration, comparisons)
    chosen = st.navigation(
        [st.Page(page, title=page.__name__.title(), url_path=page.__name__, default=page is neuron) for page in pages]
    )
    load()
    chosen.run()
