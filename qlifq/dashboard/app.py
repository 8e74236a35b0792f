"""The script that Streamlit runs at every change: the pages and what they have in common.

A page is loaded when it is opened: torch and the vendors' packages take seconds.
"""

import importlib
from collections.abc import Callable
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


#: The pages, the first one at the address of the server; each is a folder here with a function of its name in `page.py`.
PAGES = ("neuron", "circuit", "backends", "calibration", "comparisons")


def page_of(name: str) -> Callable[[], None]:
    """A page as Streamlit takes it: loaded when it is opened."""

    def page() -> None:
        getattr(importlib.import_module(f"qlifq.dashboard.{name}.page"), f"{name}_page")()

    return page


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
    chosen = st.navigation(
        [st.Page(page_of(name), title=name.title(), url_path=name, default=name == PAGES[0]) for name in PAGES]
    )
    load()
    chosen.run()
