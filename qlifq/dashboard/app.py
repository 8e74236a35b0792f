"""The script that Streamlit runs at every change: the pages and what they have in common.

A page is loaded when it is opened: torch and the vendors' packages take seconds.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

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


#: Less empty space over a page than Streamlit leaves, and tables of a report that scroll by themselves: else the widest one
#: makes the whole page scroll sideways on a telephone.
_STYLE = (
    "[data-testid=stMainBlockContainer] { padding-top: 4rem; padding-bottom: 3rem; }"
    "[data-testid=stMarkdownContainer] table { display: block; overflow-x: auto; max-width: 100%; }"
)


class Heading(NamedTuple):
    """What stands over a page: what it is, and two sentences about what it shows and what to do with it."""

    title: str
    sentences: str


#: The pages, the first one at the address of the server; each is a folder here with a function of its name in `page.py`.
PAGES: Mapping[str, Heading] = MappingProxyType(
    {
        "neuron": Heading(
            "A neuron whose spikes a qubit decides",
            "A leaky integrate-and-fire neuron sums its input current to a membrane potential, and at every step a qubit "
            "decides with probability P(1) whether it spikes. Choose a preset or move a parameter: the traces and the Python "
            "below them follow.",
        ),
        "circuit": Heading(
            "The circuit of one spike decision",
            "The gap Δ between the potential and the threshold sets the angle of a qubit, whose measurement gives a spike with "
            "probability P(1). Choose P(1) and its slope at the threshold: the page solves for the mapping's slope and offset "
            "that give them.",
        ),
        "trains": Heading(
            "A whole spike train in one circuit",
            "With measurements in the middle of a circuit, resets and conditional rotations, one shot is one whole spike "
            "train. The page shows the circuit that a neuron is compiled to and its exact probabilities, and runs the loop in "
            "the circuit beside the loop on the host.",
        ),
        "backends": Heading(
            "Two backends side by side",
            "The same neurons with the same input run on two backends, under equal noise unless you choose another. The page "
            "says what each would cost, and after a run whether the firing rates differ and what explains it.",
        ),
        "calibration": Heading(
            "Calibration from measured counts",
            "A real qubit answers an angle with a probability of its own, which counts of ones reveal: measured here on a "
            "simulated device, or in a file of your own. The fit gives the slope and offset that bring each neuron to its "
            "target response.",
        ),
        "comparisons": Heading(
            "Runs and their reports",
            "A run that `qlifq simulate` or `qlifq compare` wrote under this server's folder, as it was written. Choose one at "
            "the side: its report comes first, its tables follow.",
        ),
    }
)


def page_of(name: str) -> Callable[[], None]:
    """A page as Streamlit takes it: its heading at once, the rest when it is loaded."""

    def page() -> None:
        # `st.title` is so large that on a telephone no chart is left below it.
        st.header(PAGES[name].title, anchor=False)
        st.markdown(PAGES[name].sentences)
        load()
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
    st.html(f"<style>{_STYLE}</style>")
    st.navigation(
        [st.Page(page_of(name), title=name.title(), url_path=name, default=name == next(iter(PAGES))) for name in PAGES]
    ).run()
