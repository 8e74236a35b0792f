"""Views as widgets: what every page does with Streamlit."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy.typing as npt
import pyarrow as pa
import streamlit as st

from qlifq.dashboard.charts import COLOURS, Chart, Columns, picture
from qlifq.dashboard.controls import Control, Value, relevant
from qlifq.dashboard.view import View, from_address, settle, to_address
from qlifq.errors import QLIFError
from qlifq.neurons.parameter_table import formulas

__all__ = ["Panel", "downloads", "draw", "draw_beside", "figures", "halves", "refused", "said"]

#: Pixels that the title of a chart takes, and each further line of it; the letters of a line.
_TITLE, _LINE, _LETTERS = 48, 17, 44
#: The same of the lines under it.
_SMALL_LINE, _SMALL_LETTERS = 14, 56
_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]()#+-.!|<>$:~&@"})


class Panel:
    """The controls of a page: their values, kept while another page is open, and their place in the address.

    What is wrong with the address stands at the top of the page.

    Args:
        page: its name, a prefix for all keys.
        view: its kind of view.
    """

    def __init__(self, page: str, view: type[View]) -> None:
        self.page, self.view = page, view
        # Streamlit forgets the value of a widget as soon as a run of the script does not draw it: one of a group that is
        # closed, of another page, or one that has no effect for a while.
        self._kept: dict[str, Value] = st.session_state.setdefault(f"{page}:values", {})
        opened = f"{page}:opened"
        if opened not in st.session_state:
            st.session_state[opened] = True
            values, wrong = from_address(view, st.query_params.to_dict())
            self.put(values)
            for sentence in wrong:
                st.warning(said(sentence))
        for item in view.controls():
            for key in self._keys(item):
                if key in st.session_state:
                    self._kept[key] = _rounded(item, st.session_state[key])

    @property
    def values(self) -> dict[str, Value]:
        """The value of every control as it stands."""
        values = self.view.defaults()
        # Those first that the defaults of others follow.
        for by in (False, True):
            for item in self.view.controls():
                if (item.by is not None) == by:
                    values[item.name] = self._kept.get(self._key(item, values), item.default_among(values))
        return values

    def put(self, values: Mapping[str, Value]) -> None:
        """Set all controls: those that are not named go back to their defaults."""
        everything = {**self.view.defaults(), **values}
        self._kept.clear()
        for item in self.view.controls():
            for key in self._keys(item):
                # What stands in the session goes before the value that a widget is given.
                st.session_state.pop(key, None)
            if item.name in values:
                self._kept[self._key(item, everything)] = values[item.name]

    def limit(self, limits: Mapping[str, int]) -> None:
        """Bring values down to the highest ones that something else allows, before anything is shown."""
        values = self.values
        for item in self.view.controls():
            if item.name in limits and values[item.name] > limits[item.name]:  # type: ignore[operator]
                key = self._key(item, values)
                self._kept[key] = st.session_state[key] = limits[item.name]

    def draw(self, *, opened: Sequence[str], limits: Mapping[str, int] | None = None) -> None:
        """The controls, group by group.

        Args:
            opened: the groups that are open at first.
            limits: highest values that an upload or another page allows; a control that could only be 0 is not shown.
        """
        # What is shown now may have set other limits than the last call of `limit`.
        self.limit({name: most for name, most in (limits or {}).items() if most})
        values = self.values
        settled = settle(self.view, values)
        for group, items in _groups(self.view.controls()).items():
            # A closed group costs a rerun nothing: its controls are made when it is opened.
            place = st.expander(
                group[0].upper() + group[1:], expanded=group in opened, key=f"{self.page}:group:{group}", on_change="rerun"
            )
            if not place.open:
                continue
            with place:
                if equations := formulas(group):
                    st.code("\n".join(equations), language=None, wrap_lines=True)
                unmet: dict[str, list[str]] = {}
                for item in items:
                    limit = (limits or {}).get(item.name)
                    if limit == 0:
                        continue
                    if relevant(item, settled):
                        self._widget(item, values, limit)
                    elif item.need is not None:
                        unmet.setdefault(item.need.words, []).append(said(item.label))
                for words, labels in unmet.items():
                    st.caption(f"**With {said(words)}:** {', '.join(labels)}")

    def share(self) -> None:
        """Bring the address up to what is shown."""
        address = to_address(self.view, self.values)
        # Each write is an entry in the history of the browser.
        if st.query_params.to_dict() != address:
            st.query_params.from_dict(address)

    def _widget(self, item: Control, values: Mapping[str, Value], limit: int | None) -> None:
        key, value = self._key(item, values), values[item.name]
        # Through the session and not as the widget's default: Streamlit warns where both are set, as they are after a limit.
        if key not in st.session_state:
            st.session_state[key] = value
        if item.kind == "flag":
            st.toggle(item.label, key=key, help=said(item.doc))
        elif item.kind == "choice":
            st.selectbox(item.label, item.options, key=key, help=said(item.doc))
        else:
            self._slider(item, key, values, limit)

    def _slider(self, item: Control, key: str, values: Mapping[str, Value], limit: int | None) -> None:
        default = float(item.default_among(values))
        lowest, highest, step = item.slider(float(values[item.name]), default)
        if limit is not None:
            highest = limit
        if item.kind == "integer":
            st.slider(item.label, int(lowest), int(highest), step=int(step), key=key, help=said(item.doc))
        else:
            # As many digits as the step has: a float has crumbs behind them.
            digits = max(0, -int(f"{step:e}".partition("e")[2]))
            st.slider(item.label, lowest, highest, step=step, key=key, help=said(item.doc), format=f"%.{digits}f")

    def _key(self, item: Control, values: Mapping[str, Value]) -> str:
        # A default that follows another control has a widget of its own for each of that one's values.
        return f"{self.page}.{item.name}" + ("" if item.by is None else f".{values[item.by]}")

    def _keys(self, item: Control) -> list[str]:
        if isinstance(item.default, Mapping):
            return [f"{self.page}.{item.name}.{name}" for name in item.default]
        return [f"{self.page}.{item.name}"]


def draw(chart: Chart, place: str, source: str, width: Literal["stretch", "content"] = "stretch") -> None:
    """One panel, as wide as its column or as it is by itself; under its title, what its numbers were computed on."""
    # What the browser draws fastest: pixels instead of a tree of shapes, no sentence about each of them, which nobody could
    # read out of pixels, and the title as a part of the picture.
    # A title that is wider than a telephone would make the axes narrow.
    title, source_lines = textwrap.wrap(chart.title, _LETTERS), textwrap.wrap(chart.source or source, _SMALL_LETTERS)
    spec = {
        **chart.spec,
        "title": {
            "text": title,
            "subtitle": source_lines,
            "anchor": "start",
            "fontSize": 14,
            "subtitleFontSize": 11,
            "subtitleColor": COLOURS["grey"],
            "offset": 4,
            "limit": 0,
        },
        "height": chart.spec["height"] + _TITLE + _LINE * (len(title) - 1) + _SMALL_LINE * len(source_lines),
        "config": {"mark": {"aria": False}},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
    }
    st.vega_lite_chart(_table(chart.columns), spec, width=width, key=f"{place}.{chart.name}", alt=chart.title)


def halves(charts: Sequence[Chart]) -> tuple[Sequence[Chart], Sequence[Chart]]:
    """What stands on the left and on the right where the window is wide; on a telephone the first comes before the second."""
    middle = -(-len(charts) // 2)
    return charts[:middle], charts[middle:]


def draw_beside(charts: Sequence[Chart], place: str, source: str) -> None:
    """Panels in two columns, where there is room for two."""
    for column, part in zip(st.columns(2), halves(charts), strict=True):
        with column:
            for chart in part:
                draw(chart, place, source)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _arrow(column) for name, column in columns.items()})


def _arrow(column: npt.NDArray[Any]) -> pa.Array:
    """A column as Arrow holds it: for one of numbers `pa.array` would load pandas, a quarter of a second of the first page."""
    if column.dtype.kind not in "iuf" or not column.dtype.isnative:
        return pa.array(column)
    return pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [None, pa.py_buffer(column.tobytes())])


def downloads(page: str, charts: Sequence[Chart], source: str, data: tuple[str, str, Callable[[], bytes]], code: str) -> None:
    """The figure, the data and the code of what is shown; files are made when they are downloaded.

    Args:
        page: names the files.
        charts: what is shown.
        source: what the numbers were computed on.
        data: label, file name and content.
        code: Python.
    """
    label, name, content = data
    with st.container(horizontal=True):
        if charts:
            for form, kind in (("png", "image/png"), ("svg", "image/svg+xml")):
                made = partial(picture, charts, form, source)
                # Without `ignore` each download would run the whole page again.
                st.download_button(f"Figure ({form.upper()})", made, f"{page}.{form}", kind, on_click="ignore")
        st.download_button(label, content, name, "application/octet-stream", on_click="ignore")
        st.download_button("Code (Python)", code, f"{page}.py", "text/x-python", on_click="ignore")
    place = st.expander("The Python that gives these numbers", key=f"{page}:code", on_change="rerun")
    if place.open:
        with place:
            st.code(code, language="python")


def figures(values: Mapping[str, str]) -> None:
    """Numbers in a row, each under its name."""
    with st.container(horizontal=True):
        for label, text in values.items():
            st.metric(label, text, width="content")


def said(sentence: str) -> str:
    """A sentence as Markdown that shows it letter by letter, whoever wrote it."""
    return sentence.translate(_MARKDOWN)


@contextmanager
def refused() -> Iterator[None]:
    """The library's sentence in place of a page, for whatever it refuses."""
    try:
        yield
    except QLIFError as error:
        st.error(said(str(error)))
    except (MemoryError, RuntimeError) as error:
        # torch has no class of its own for this.
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        st.error("This does not fit into memory: ask for fewer neurons or steps.")


def _groups(controls: Sequence[Control]) -> dict[str, list[Control]]:
    groups: dict[str, list[Control]] = {}
    for item in controls:
        groups.setdefault(item.group, []).append(item)
    return groups


def _rounded(item: Control, value: Value) -> Value:
    """The value of a widget without the crumbs of a slider's steps."""
    return float(f"{value:.12g}") if item.kind == "real" else value
