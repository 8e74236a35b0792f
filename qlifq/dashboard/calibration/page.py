"""The page of the calibration."""

from dataclasses import replace

import streamlit as st

from qlifq.calibration import Calibration
from qlifq.dashboard.calibration.view import (
    CalibrationView,
    calibration_charts,
    calibration_code,
    described,
    is_counts,
    measure,
    opened,
    planned,
    table,
    written,
)
from qlifq.dashboard.costs import costs
from qlifq.dashboard.noise import in_vendor_thread
from qlifq.dashboard.widgets import Panel, downloads, draw_beside, figures, refused, said
from qlifq.errors import QLIFError

__all__ = ["calibration_page", "kept_file", "kept_record"]

#: The record that is shown, with the view or the name of the file that it is from.
_KEPT = "calibration:kept"
_FILE = "calibration:file"
_SENTENCE = "calibration:sentence"
#: The bytes of a CSV file of counts, which are fitted again when another mapping is chosen.
_CONTENT = "calibration:content"
_OFFERED = "calibration.json"
_FORMATS = """A record is the JSON file that `qlifq calibrate` or this page writes. A CSV file of counts has a row for each site
and angle, at least three angles for a site:

```text
site,angle,shots,ones
0,0.0,900,20
0,1.5,2000,1005
0,3.0,400,380
```

`site` counts from 0, `angle` is in radians, `ones` are the shots that gave 1. A column `gap` in place of `angle`, or beside it
with one of both empty, holds the gaps that went through the mapping chosen at the side; `round` tells repetitions apart.
"""


def calibration_page() -> None:
    """Measure or load a record, and show it."""
    panel = Panel("calibration", CalibrationView)
    with refused():
        measured = kept_record()
        # A record of fewer neurons may have come since the neuron was chosen.
        if measured is not None:
            panel.limit({"site": measured.sites - 1})
        view = CalibrationView.of(panel.values)
        panel.share()
        _fit_again(view.mapping)
        here, own = st.columns(2)
        with here:
            st.markdown("**Measure here: what it would cost**")
            st.table(costs(in_vendor_thread(planned, view)))
            if st.button("Measure", type="primary", key="calibration:run"):
                with st.spinner("The circuits run…"):
                    st.session_state[_KEPT] = (in_vendor_thread(measure, view), view)
        with own:
            st.markdown("**Or bring counts of your own**")
            st.file_uploader(
                "A record (JSON) or counts (CSV)", type=["json", "csv"], key=_FILE, on_change=_load, args=(view.mapping,)
            )
            st.markdown(_FORMATS)
        st.session_state.setdefault(_SENTENCE, None)
        if st.session_state[_SENTENCE]:
            st.error(said(st.session_state[_SENTENCE]))
        if kept_record() is None:
            st.caption("Nothing is measured or loaded yet.")
        else:
            _show(view)
    with st.sidebar:
        record = kept_record()
        panel.draw(opened=("measurement", "target"), limits={"site": 0 if record is None else record.sites - 1})


def kept_record() -> Calibration | None:
    """The record that is shown, which serves the page of the backends as the twin."""
    kept: tuple[Calibration, object] | None = st.session_state.get(_KEPT)
    return None if kept is None else kept[0]


def kept_file() -> str:
    """The name of its record: the file that it was loaded from, or that it is offered under."""
    made = st.session_state.get(_KEPT, (None, None))[1]
    return made if isinstance(made, str) and not is_counts(made) else _OFFERED


def _load(mapping: str) -> None:
    """Take the record or the counts of a file that was just chosen."""
    file = st.session_state[_FILE]
    # Called once for a file and not at every run of the page, so the sentence is kept until the next one.
    st.session_state[_SENTENCE] = None
    if file is None:
        return
    st.session_state[_CONTENT] = file.getvalue()
    try:
        st.session_state[_KEPT] = (opened(st.session_state[_CONTENT], file.name, mapping), file.name)
    except QLIFError as error:
        st.session_state[_SENTENCE] = str(error)


def _fit_again(mapping: str) -> None:
    """Fit the counts of a file for the mapping that is chosen now: they say nothing of one themselves."""
    record, made = st.session_state.get(_KEPT, (None, None))
    if isinstance(made, str) and is_counts(made) and record.measurement.design.mapping != mapping:
        st.session_state[_KEPT] = (opened(st.session_state[_CONTENT], made, mapping), made)


def _show(view: CalibrationView) -> None:
    record, made = st.session_state[_KEPT]
    measurement = record.measurement
    correction = record.correct(p0=view.p0, slope=view.slope)
    charts = calibration_charts(record, correction, view.site)
    source = f"{record.source}, {measurement.data.describe()}"
    figures(
        {
            "Neurons": f"{record.sites}",
            "Mapping": measurement.design.mapping,
            "Cannot reach the target": f"{int((~correction.reachable).sum())}",
        }
    )
    # Counts of a file already name it as their source.
    file = f", file {made}" if isinstance(made, str) and made not in record.source else ""
    st.caption(said(f"Measured {measurement.time_utc} on {source}{file}"))
    # The target and the neuron shown are no part of what was measured.
    if isinstance(made, CalibrationView) and replace(made, p0=view.p0, slope=view.slope, site=view.site) != view:
        st.warning("What follows is of an earlier measurement, with other settings.")
    draw_beside(charts, "calibration", source)
    found = table(record, correction)
    st.dataframe(described(found), hide_index=True)
    st.caption(
        "± is a standard error. A small p of fit says that the counts do not follow the fitted response, a small p of drift "
        "that the rounds differ. The last two columns are what a layer is given for its target response."
    )
    measured_with = made if isinstance(made, CalibrationView) else replace(view, mapping=measurement.design.mapping)
    shown = replace(measured_with, p0=view.p0, slope=view.slope)
    code = calibration_code(shown, made if isinstance(made, str) else None)
    with st.container(horizontal=True):
        st.download_button("Record (json)", lambda: written(record), _OFFERED, "application/json", on_click="ignore")
    downloads(
        "calibration", charts, source, ("Table (csv)", "calibration.csv", lambda: found.to_csv(index=False).encode()), code
    )
