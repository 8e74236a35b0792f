"""The script that Streamlit runs at every change: the pages and what they have in common."""

import streamlit as st
import torch

from qlifq.dashboard.backends_page import backends_page
from qlifq.dashboard.calibration_page import calibration_page
from qlifq.dashboard.circuit_page import circuit_page
from qlifq.dashboard.comparisons_page import comparisons_page
from qlifq.dashboard.neuron_page import neuron_page

# Tensors of some neurons are too small to share out: threads would only wait for each other.
torch.set_num_threads(1)
st.set_page_config(page_title="qlifq", page_icon="⚛", layout="wide")
st.navigation(
    [
        st.Page(neuron_page, title="Neuron", default=True),
        st.Page(circuit_page, title="Circuit", url_path="circuit"),
        st.Page(backends_page, title="Backends", url_path="backends"),
        st.Page(calibration_page, title="Calibration", url_path="calibration"),
        st.Page(comparisons_page, title="Comparisons", url_path="comparisons"),
    ]
).run()
