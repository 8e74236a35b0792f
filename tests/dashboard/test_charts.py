"""What the browser is given to draw."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("streamlit")

from qlifq.dashboard import widgets
from qlifq.dashboard.charts import Line, lines

COLUMNS = {
    "x": np.arange(12)[::3],
    "wide": np.array([0.1, np.nan, np.inf, -2.0]),
    "narrow": np.arange(8, dtype=np.float32).reshape(4, 2)[:, 1],
    "name": np.array(["|0⟩", "a", "", "ü"]),
    "spiked": np.array([True, False, False, True]),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[pa.Table, dict[str, Any]]]:
    """Tables and specifications, as they are handed over."""
    found: list[tuple[pa.Table, dict[str, Any]]] = []
    monkeypatch.setattr("streamlit.vega_lite_chart", lambda table, spec, **_: found.append((table, spec)))
    return found


def test_every_kind_of_column_arrives_as_it_is(drawn: list[tuple[pa.Table, dict[str, Any]]]) -> None:
    chart = lines("chart", "Title", COLUMNS, [Line("wide", "wide", "#123456")], across=("x", "x"), y_title="y")
    widgets.draw(chart, "page", "aer, 3 shots")
    ((table, _),) = drawn
    assert table.column_names == list(COLUMNS)
    for name, column in COLUMNS.items():
        np.testing.assert_array_equal(table[name].to_numpy(), column)
    assert table.schema == pa.table(COLUMNS).schema


def test_a_title_has_lines_that_fit_on_a_telephone(drawn: list[tuple[pa.Table, dict[str, Any]]]) -> None:
    title = "A title of so many words that no telephone is wide enough for it, and no glass either"
    for text in ("Short", title):
        widgets.draw(
            lines("chart", text, COLUMNS, [Line("x", "x", "red")], across=("x", "x"), y_title="y"), "page", "aer, 3 shots"
        )
    (_, short), (_, long) = drawn
    assert short["title"]["text"] == ["Short"]
    assert " ".join(long["title"]["text"]) == title
    assert max(map(len, long["title"]["text"])) <= 44
    assert long["height"] - short["height"] == 17 * (len(long["title"]["text"]) - 1) > 0


def test_every_line_has_its_colour_and_its_name_in_the_legend(drawn: list[tuple[pa.Table, dict[str, Any]]]) -> None:
    named = [Line("x", "first", "#111111"), Line("wide", "second", "#222222", dash=True)]
    marks = [Line("narrow", "third", "#333333")]
    widgets.draw(lines("chart", "Title", COLUMNS, named, across=("x", "x"), y_title="y", marks=marks), "page", "aer, 3 shots")
    ((_, spec),) = drawn
    assert [layer["mark"]["color"] for layer in spec["layer"]] == ["#111111", "#222222", "#333333"]
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    assert scale == {"domain": ["first", "second", "third"], "range": ["#111111", "#222222", "#333333"]}
