"""The script that Streamlit runs at every change: the pages and what they have in common.

A page is loaded when it is opened: the vendors' packages that some of them need take seconds.
"""

import streamlit as st
import torch

from qlifq.dashboard.neuron_page import neuron_page


def circuit() -> None:
    """The page of the circuit."""
    from qlifq.dashboard.circuit_page import circuit_page

    circuit_page()


def backends() -> None:
    """The page of the backends."""
    from qlifq.dashboard.backends_page import backends_page

    backends_page()


def calibration() -> None:
    """The page of the calibration."""
    from qlifq.dashboard.calibration_page import calibration_page

    calibration_page()


def comparisons() -> None:
    """The page of the comparisons."""
    from qlifq.dashboard.comparisons_page import comparisons_page

    comparisons_page()


if __name__ == "__main__":
    # Tensors of some neurons are too small to share out: threads would only wait for each other.
    torch.set_num_threads(1)
    st.set_page_config(page_title="qlifq", page_icon="⚛", layout="wide")
    pages = {
        "Neuron": neuron_page,
        "Circuit": circuit,
        "Backends": backends,
        "Calibration": calibration,
        "Comparisons": comparisons,
    }
    st.navigation(
        [st.Page(page, title=title, url_path=title.lower(), default=title == "Neuron") for title, page in pages.items()]
    ).run()
