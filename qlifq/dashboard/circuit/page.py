"""The page of the circuit."""

import pandas as pd
import streamlit as st

from qlifq.circuits import CIRCUITS
from qlifq.dashboard.circuit.sphere import sphere
from qlifq.dashboard.circuit.view import CLOSED_FORM, CircuitView, circuit_charts, circuit_code, run_circuit
from qlifq.dashboard.widgets import Panel, downloads, draw, figures, refused

__all__ = ["circuit_page"]


def circuit_page() -> None:
    """The drawing, the sphere and the response, with baseline and slope as handles."""
    panel = Panel("circuit", CircuitView)
    with refused():
        view = CircuitView.of(panel.values)
        panel.share()
        run = run_circuit(view)
        st.code(f"{run.circuit.draw()}\n{CIRCUITS[view.circuit].formula}", language=None, wrap_lines=True)
        x, y, z = run.path[-1].tolist()
        figures(
            {
                "Slope q_scale": f"{run.q_scale:.4g}",
                "Offset q_bias": f"{run.q_bias:.4g}",
                "Angle θ0 (radians)": f"{float(run.at[0]):.4f}",
                "P(1)": f"{run.p:.4f}",
                "Bloch vector (x, y, z)": f"{x:.2f}, {y:.2f}, {z:.2f}",
            }
        )
        if not run.solved:
            st.caption(
                "The target P(1) and slope are those of a circuit of one angle with this slope and offset: the second angle "
                "moves the response off them."
            )
        charts, ball = circuit_charts(run), sphere(run.path.numpy())
        left, right = st.columns([3, 2])
        with left:
            for chart in charts:
                draw(chart, "circuit", CLOSED_FORM)
        with right:
            # As wide as it is high: stretched, the sphere would be an egg.
            draw(ball, "circuit", CLOSED_FORM, width="content")
            st.markdown("**OpenQASM 3**")
            st.code(run.circuit.to_openqasm(), language=None)
        table = pd.DataFrame({"gap": run.gaps, "angle": run.angle, "probability": run.probability})
        data = ("Data (csv)", "circuit.csv", lambda: table.to_csv(index=False).encode())
        downloads("circuit", [*charts, ball], CLOSED_FORM, data, circuit_code(view))
    with st.sidebar:
        panel.draw(opened=("circuit", "response"))
