"""The page of the comparisons."""

import json
from collections.abc import Callable

import streamlit as st

from qlifq._text import printable
from qlifq.dashboard.comparisons.view import RunFolder, code, find_runs, open_run, spikes_chart
from qlifq.dashboard.folder import folder
from qlifq.dashboard.widgets import downloads, draw, figures, refused, said

__all__ = ["comparisons_page"]

_RUN = "comparisons.run"


def comparisons_page() -> None:
    """A run that was written earlier: its report, its tables, its pictures."""
    root = folder()
    with refused():
        found = find_runs(root)
        requested = st.query_params.get("run")
        if requested is not None and requested not in found and _RUN not in st.session_state:
            st.warning(said(f"There is no run {requested[:80]!r} under {root}."))
        if not found:
            st.info(
                said(f"No run under {root} yet: `qlifq simulate` and `qlifq compare` write one, --folder names another place.")
            )
            return
        # The latest by name, which is the UTC time where nobody chose one.
        if _RUN not in st.session_state:
            st.session_state[_RUN] = requested if requested in found else found[-1]
        with st.sidebar:
            name = st.selectbox("Run", found, key=_RUN, help=said(f"a folder under {root}"))
        if st.query_params.to_dict() != {"run": name}:
            st.query_params.from_dict({"run": name})
        _show(open_run(root, name))


def _show(run: RunFolder) -> None:
    """The report or the spikes, then the tables, then what can be downloaded."""
    if st.context.theme.type == "dark":
        # The pictures of a run are files on white. Turned over, white is the background of the page and the hues stay.
        st.html("<style>[data-testid=stImage] img { filter: invert(0.91) hue-rotate(180deg); }</style>")
    for kind, piece in run.text:
        if kind == "text":
            st.markdown(piece)
        else:
            st.image(run.pictures[piece], width="stretch")
    if not run.text:
        # A report begins with these itself.
        st.markdown(f"### {said(run.path.name)}")
        st.caption(said(f"Numbers of {run.source}"))
        st.code(run.command, language=None, wrap_lines=True)
    facts = {name: run.summary[name] for name in ("neurons", "steps", "samples", "firing_rate") if name in run.summary}
    figures(
        {
            name.replace("_", " ").capitalize(): f"{value:.4g}" if isinstance(value, float) else printable(str(value))
            for name, value in facts.items()
        }
    )
    charts = []
    if run.spikes is not None:
        batch = run.spikes.shape[1]
        with st.sidebar:
            sample = st.slider("Sample", 0, batch - 1, key="comparisons.sample") if batch > 1 else 0
        charts = spikes_chart(run, sample)
    for chart in charts:
        draw(chart, "comparisons", run.source)
    if not run.text:
        for picture in run.pictures.values():
            st.image(picture, width="stretch")
    data = _table(run)
    downloads("comparison", charts, run.source, data, code(run))


def _table(run: RunFolder) -> tuple[str, str, Callable[[], bytes]]:
    """Show a table of a run, the first one at first; the label, the name and the content of a file of it."""
    if not run.tables:
        return "Summary (json)", "summary.json", lambda: json.dumps(run.summary, indent=2).encode()
    # Above the table and not beside the page: a report can be many windows long, and the choice is seen where it acts.
    chosen = st.selectbox("Table", list(run.tables), key="comparisons.table")
    table = run.tables[chosen]
    st.dataframe(table, hide_index=True)
    return "Table (csv)", f"{chosen}.csv", lambda: table.to_csv(index=False).encode()
