"""Every control of every page, moved without a browser: the numbers, charts or tables that the page sends must change.

That a browser draws what is sent, and moves each kind of control, is shown in `test_browser`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from qlifq.dashboard.app import PAGES
from qlifq.dashboard.backends.view import BackendsView
from qlifq.dashboard.calibration.view import CalibrationView
from qlifq.dashboard.circuit.view import CircuitView
from qlifq.dashboard.controls import control, relevant
from qlifq.dashboard.folder import FOLDER
from qlifq.dashboard.neuron.view import NeuronView
from qlifq.dashboard.trains.view import TrainsView
from qlifq.dashboard.view import View, from_address

#: What a page shows of its results; warnings and downloads are none.
SHOWN = {"metric", "vega_lite_chart", "table", "dataframe", "code", "heading", "imgs"}

#: Addresses of the page of the neuron that together show all its controls.
NEURON = {
    "mechanisms": "neurons=3&steps=120&gain=2.5&use_adaptive_threshold=1&homeostasis_enabled=1&homeostasis_lr=0.04"
    "&max_threshold=1.3&spike_increase=0.1&use_ahp=1&depression_rate=0.2&allow_dynamic_spike_probability=1&modulation=step",
    "quadratic": "neurons=3&steps=120&gain=5&membrane=quadratic&reset=partial&V_peak=1.2",
    "threshold": "neurons=3&steps=120&gain=3&mapping=tanh&decision=threshold&quantum_threshold=1&reset=soft",
    "classic": "neurons=3&steps=120&gain=2.5&quantum_mode=0&stochastic=1",
    "learning": "neurons=3&steps=120&gain=2.5&quantum_mode=0&learnable_threshold=1&use_adaptive_threshold=1",
    "staircase": "neurons=3&steps=120&source=staircase&shots=10",
    "pulses": "neurons=3&steps=120&source=pulses&period=50&width=20",
    "poisson": "neurons=3&steps=120&source=poisson",
    "digits": "steps=60&source=digits",
}


def neuron() -> None:
    from qlifq.dashboard.neuron.page import neuron_page

    neuron_page()


def circuit() -> None:
    from qlifq.dashboard.circuit.page import circuit_page

    circuit_page()


def backends() -> None:
    from qlifq.dashboard.backends.page import backends_page

    backends_page()


def trains() -> None:
    from qlifq.dashboard.trains.page import trains_page

    trains_page()


def calibration() -> None:
    from qlifq.dashboard.calibration.page import calibration_page

    calibration_page()


def comparisons() -> None:
    from qlifq.dashboard.comparisons.page import comparisons_page

    comparisons_page()


def values(address: str) -> dict[str, str]:
    return dict(part.split("=") for part in address.split("&"))


class Page:
    """A page with all groups of its controls open.

    Args:
        function: the page.
        groups: keys of its groups of controls.
        address: what it is opened with.
        button: the key of the button that runs what the controls say; None where every move does.
    """

    def __init__(self, function: Callable[[], None], groups: set[str], address: str, button: str | None = None) -> None:
        self.app, self.button = AppTest.from_function(function, default_timeout=120), button
        for name, text in values(address).items():
            self.app.query_params[name] = text
        for group in groups:
            self.app.session_state[f"{function.__name__}:group:{group}"] = True
        self.run(press=True)
        assert [each.value for each in (*self.app.warning, *self.app.error, *self.app.exception)] == []
        self.first = self.shown()

    def run(self, *, press: bool) -> None:
        self.app.run()
        if press and self.button is not None and not self.refused():
            self.app.button(key=self.button).click().run()

    def refused(self) -> bool:
        return bool(self.app.error or self.app.exception)

    def shown(self) -> list[bytes]:
        def leaves(node: Any) -> Iterator[Any]:
            for child in node.children.values():
                if hasattr(child, "children"):
                    yield from leaves(child)
                elif child.type in SHOWN:
                    yield child

        return [leaf.proto.SerializeToString() for leaf in leaves(self.app.main)]

    def controls(self) -> dict[str, Any]:
        every = (*self.app.slider, *self.app.selectbox, *self.app.toggle)
        return {each.label: each for each in every if not each.disabled}

    def dead(self, labels: set[str]) -> set[str]:
        """The controls, of those named, of which no value changes what the page showed when it was opened."""
        return {label for label in labels if not self.changes(label)}

    def changes(self, label: str) -> bool:
        start = self.controls()[label].value
        try:
            return any(self.differs(label, value) for value in moves(self.controls()[label]))
        finally:
            # What a button has run since would count as a change of the next control.
            self.controls()[label].set_value(start)
            self.run(press=True)
            assert self.shown() == self.first

    def differs(self, label: str, value: object) -> bool:
        self.move(label, value)
        if self.shown() == self.first and self.button is not None:
            self.run(press=True)
        return not self.refused() and self.shown() != self.first

    def move(self, label: str, value: object) -> None:
        self.controls()[label].set_value(value)
        self.run(press=False)


def moves(element: Any) -> list[object]:
    """Values to move a control to: the others of a choice or a switch; of a slider a tenth of it up and down, and its ends."""
    if element.type == "toggle":
        return [not element.value]
    if element.type == "selectbox":
        return [option for option in element.options if option != element.value]
    near = (element.max - element.min) / 10
    steps = [round((each - element.min) / element.step) for each in (element.value + near, element.value - near)]
    inside = [element.min + step * element.step for step in steps if 0 <= step * element.step <= element.max - element.min]
    return [*(type(element.value)(each) for each in inside), element.max, element.min]


def test_every_page_is_tested_here() -> None:
    assert set(PAGES) == {function.__name__ for function in (neuron, circuit, trains, backends, calibration, comparisons)}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_a_title_and_two_sentences(name: str) -> None:
    title, sentences = PAGES[name]
    assert title
    assert not title.endswith(".")
    assert len(re.findall(r"[^.?!]+[.?!](?= [A-Z]|$)", sentences)) == 2
    assert sentences.endswith(".")


def groups(view: type[View]) -> set[str]:
    return {item.group for item in view.controls()}


def shares() -> dict[str, set[str]]:
    """Which controls each address of `NEURON` answers for: those that it is the first to show."""
    shared: dict[str, set[str]] = {}
    for name, address in NEURON.items():
        given, wrong = from_address(NeuronView, values(f"v=1&{address}"))
        assert wrong == []
        complete = {**NeuronView.defaults(), **given}
        shown = {item.label for item in NeuronView.controls() if relevant(item, complete)}
        shared[name] = shown.difference(*shared.values())
    assert set().union(*shared.values()) == {item.label for item in NeuronView.controls()} - {"Sample"}
    return shared


@pytest.mark.parametrize("name", NEURON)
def test_every_control_of_the_neuron_changes_what_is_shown(name: str) -> None:
    page = Page(neuron, groups(NeuronView), f"v=1&{NEURON[name]}")
    labels = shares()[name]
    assert labels <= set(page.controls())
    assert page.dead(labels) == set()


@pytest.mark.parametrize(
    ("function", "view", "address", "button"),
    [
        (circuit, CircuitView, "circuit=LeakySpike&mapping=tanh&p0=0.4", None),
        (trains, TrainsView, "backend=analytic&mapping=linear&tau=2&steps=8&trains=30&noise=numbers", "trains:run"),
        (
            backends,
            BackendsView,
            "neurons=2&steps=20&repeats=4&first_noise=numbers&second_noise=numbers&second_shots=10",
            "backends:run",
        ),
        (calibration, CalibrationView, "noise=numbers&neurons=2&shots=200", "calibration:run"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_every_control_of_a_page_changes_what_is_shown(
    function: Callable[[], None], view: type[View], address: str, button: str | None
) -> None:
    page = Page(function, groups(view), f"v=1&{address}", button)
    assert set(page.controls()) == {item.label for item in view.controls()}
    assert page.dead(set(page.controls())) == set()


@pytest.mark.parametrize(("run", "labels"), [("digits-a", {"Run", "Sample"}), ("report", {"Table"})])
def test_every_control_of_the_comparisons_changes_what_is_shown(
    run: str, labels: set[str], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(runs))
    page = Page(comparisons, set(), f"run={run}")
    assert page.dead(labels) == set()


@dataclass(frozen=True, kw_only=True)
class Planted(View):
    """Two controls that change nothing."""

    live: float = control(1.0, "real", "input", "shown", at_least=0.0)
    silent: float = control(1.0, "real", "input", "not shown", at_least=0.0)
    off: bool = control(False, "flag", "input", "not shown")


def planted() -> None:
    import streamlit as st

    from qlifq.dashboard.widgets import Panel, figures
    from tests.dashboard.test_controls import Planted

    panel = Panel("planted", Planted)
    figures({"live": str(panel.values["live"])})
    with st.sidebar:
        panel.draw(opened=("input",))


def pressed() -> None:
    import streamlit as st

    from qlifq.dashboard.widgets import Panel, figures
    from tests.dashboard.test_controls import Planted

    panel = Panel("pressed", Planted)
    if st.button("Run", key="pressed:run"):
        st.session_state["pressed:ran"] = str(panel.values["live"])
    figures({"live": st.session_state.get("pressed:ran", "nothing has run")})
    with st.sidebar:
        panel.draw(opened=("input",))


@pytest.mark.parametrize(("function", "button"), [(planted, None), (pressed, "pressed:run")])
def test_a_planted_control_that_changes_nothing_is_found(function: Callable[[], None], button: str | None) -> None:
    page = Page(function, {"input"}, "v=1", button)
    assert page.dead({"Live", "Silent", "Off"}) == {"Silent", "Off"}
