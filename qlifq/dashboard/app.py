"""The script that Streamlit runs at every change: the pages and what they have in common."""

import streamlit as st
import torch

from qlifq.dashboard.neuron_page import neuron_page

# Tensors of some neurons are too small to share out: threads would only wait for each other.
torch.set_num_threads(1)
st.set_page_config(page_title="qlifq", page_icon="⚛", layout="wide")
st.navigation(
    [
        st.Page(neuron_page, title="Neuron", url_path="neuron", default=True),
    ]
).run()
