"""Each kind of control of every page, moved in a real browser: the picture or the numbers must change.

Which controls change nothing is found for all of them, without a browser, in `test_controls`.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qlifq.dashboard.backends.view import BackendsView
from qlifq.dashboard.calibration.view import CalibrationView
from qlifq.dashboard.circuit.view import CircuitView
from qlifq.dashboard.neuron.view import NeuronView
from qlifq.dashboard.trains.view import TrainsView
from qlifq.dashboard.view import View
from tests.dashboard.test_controls import NEURON, shares

#: Waits in the page until nothing runs and the picture stands still, for `patience` milliseconds while it is as before, and
#: gives a hash of what is shown: numbers, pictures and tables, without the controls.
SETTLE = r"""
const [before, patience, done] = arguments;
// Kept by the page, so that the browser has compiled it after some calls.
window.shownHash ??= (() => {
  const shown = '[data-testid=stMetric],[data-testid=stVegaLiteChart] canvas,[data-testid=stTable],[data-testid=stCode],' +
    '[data-testid=stHeading],[data-testid=stImage] img,[data-testid=stDataFrame] canvas';
  const mix = (value, numbers, stride) => {
    for (let i = 0; i < numbers.length; i += stride) value = (Math.imul(value, 31) + numbers[i]) | 0;
    return value;
  };
  const text = words => Array.from(words, sign => sign.codePointAt(0));
  const pixels = e => e.width && e.height ?
    new Uint32Array(e.getContext('2d').getImageData(0, 0, e.width, e.height).data.buffer) : [];
  return () => {
    let value = 7;
    for (const e of document.querySelector('[data-testid=stMain]').querySelectorAll(shown)) {
      if (e.closest('[data-testid=stExpander]')) continue;
      // Every third pixel: to read all takes as long as to draw them.
      if (e.tagName === 'CANVAS') value = mix(value, pixels(e), 3);
      else value = mix(value, text(e.tagName === 'IMG' ? e.src : e.innerText), 1);
    }
    return value;
  };
})();
const start = performance.now();
let last = null, since = start;
const step = () => {
  const now = performance.now();
  const running = document.querySelector('[data-testid=stApp]').dataset.testScriptState !== 'notRunning';
  const value = running ? null : window.shownHash();
  if (value === null || value !== last) { last = value; since = now; }
  const still = value !== null && now - since > 150;
  if (still && (value !== before || now - start > patience)) done(value);
  else setTimeout(step, 50);
};
step();
"""
#: What can be moved: beside the page, and choices on it.
CONTROLS = ":is([data-testid=stSidebar], [data-testid=stMain] [data-testid=stSelectbox]) input"
WRONG = "return [...document.querySelectorAll('[data-testid=stAlert],[data-testid=stException]')].map(e => e.innerText)"


class Page:
    """A page in the browser."""

    def __init__(self, browser: Any, server: str) -> None:
        self.browser, self.server = browser, server
        self.rest, self.opened, self.ran = 0, ("", ""), False

    def open(self, path: str, address: str = "") -> float:
        """Open a page afresh; return the seconds until it shows a chart or a table."""
        self.opened, self.ran = (path, address), False
        start = time.monotonic()
        self.browser.get(f"{self.server}/{path}{address}")
        self.until(
            "return document.querySelectorAll('[data-testid=stVegaLiteChart] canvas,[data-testid=stMetric],"
            "[data-testid=stAlert],[data-testid=stTable],[data-testid=stMain] [data-testid=stCode]').length > 0"
        )
        took = time.monotonic() - start
        self.until("return document.querySelectorAll('[data-testid=stSidebar] input').length > 0")
        self.unfold()
        self.rest = self.settle()
        return took

    def until(self, script: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.browser.execute_script(script):
            assert time.monotonic() < deadline, f"waited in vain for {script}"
            time.sleep(0.02)

    def settle(self, before: int | None = None, patience: float = 1.0) -> int:
        """Wait until the page has come to rest, as long as `patience` in seconds for what differs from before."""
        return int(self.browser.execute_async_script(SETTLE, before, 1000 * patience))

    def wrong(self) -> list[str]:
        return list(self.browser.execute_script(WRONG))

    def unfold(self) -> None:
        """Open every group of controls, which are made then."""
        self.settle()
        self.browser.execute_script(
            "document.querySelectorAll('[data-testid=stSidebar] details:not([open]) summary').forEach(e => e.click())"
        )
        empty = "details => !details.open || !details.querySelector('input, [data-testid=stCaptionContainer]')"
        self.until(f"return ![...document.querySelectorAll('[data-testid=stSidebar] details')].some({empty})")

    def controls(self) -> dict[str, str]:
        """Every control that can be moved, by its label: "range", "checkbox" or "combobox"."""
        found = self.browser.execute_script(
            f"return [...document.querySelectorAll('{CONTROLS}:not([disabled])')]"
            ".map(e => [e.getAttribute('aria-label'), e.getAttribute('role') || e.type])"
        )
        kinds = {str(name): {"switch": "checkbox"}.get(kind, kind) for name, kind in found if kind != "file"}
        assert set(kinds.values()) <= {"range", "checkbox", "combobox"}, kinds
        return kinds

    def move(self, name: str, kind: str, attempt: int) -> None:
        from selenium.webdriver import ActionChains, Keys

        selector = f'{CONTROLS}[aria-label="{name}"]'
        self.until(f"return !!document.querySelector('{selector}')")
        control = self.browser.find_element("css selector", selector)
        if kind == "checkbox":
            self.browser.execute_script("arguments[0].click()", control)
            return
        # To one side, to the other side of where it began, and on: no attempt leads back to the beginning.
        if kind == "range":
            keys = ([Keys.PAGE_UP], [Keys.PAGE_DOWN] * 2, [Keys.END], [Keys.HOME])[attempt]
        else:
            # The first key opens the list.
            down, up = Keys.ARROW_DOWN, Keys.ARROW_UP
            keys = [*([down] * 2, [down] * 2, [up] * 4, [up] * 2)[attempt], Keys.ENTER]
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", control)
        ActionChains(self.browser, duration=0).send_keys(*keys).perform()

    def dead(self, names: set[str], *, button: str | None = None) -> list[str]:
        """The controls that change nothing, of the named ones. One that is refused at a place is moved on.

        Sliders come first, since they hide nothing. All go from the last to the first: what one hides comes after it, and the
        number of steps, which makes all that follows slower, before. Where one is hidden or everything refused, the page is
        opened again.

        Args:
            names: those that are tried.
            button: the key of a button that is pressed where moving alone changes nothing, and whenever the page was opened,
                so that what it gives is there to compare with.
        """
        if button is not None:
            self.run(button)
        silent = []
        kinds = {name: kind for name, kind in self.controls().items() if name in names}
        sliders = [name for name, kind in kinds.items() if kind == "range"]
        for name in [*reversed(sliders), *reversed([name for name in kinds if name not in sliders])]:
            if name not in self.controls() or self.refused():
                self.again(button)
            if self.moves(name, kinds[name], button):
                continue
            # Those before it may have hidden its effect: it has another chance where the page begins.
            self.again(button)
            if not self.moves(name, kinds[name], button):
                silent.append(name)
        return silent

    def again(self, button: str | None) -> None:
        """Open the page as it was opened, with what its button gives, and take it as what is compared with."""
        self.open(*self.opened)
        if button is not None:
            self.run(button)

    def run(self, button: str) -> None:
        """Press a button, and take what it gives as what is compared with; pressed again, it gives the same."""
        self.press(button)
        self.rest = self.settle(self.rest, 20.0 if not self.ran else 0.5)
        self.ran = True

    def moves(self, name: str, kind: str, button: str | None) -> bool:
        """Whether some move of a control gives another picture than the one that there was before all of them."""
        before = self.rest
        attempts = 1 if kind == "checkbox" else 4
        return any(self.changes(name, kind, attempt, before, button) for attempt in range(attempts))

    def changes(self, name: str, kind: str, attempt: int, before: int, button: str | None) -> bool:
        self.move(name, kind, attempt)
        self.rest = self.settle(before)
        if self.rest == before and button is not None and not self.refused():
            self.press(button)
            self.rest = self.settle(before, 2.0)
        return self.rest != before and not self.refused()

    def press(self, key: str) -> None:
        self.browser.execute_script(f"document.querySelector('.st-key-{key.replace(':', '-')} button').click()")

    @contextlib.contextmanager
    def dark(self) -> Iterator[None]:
        """The browser of somebody whose system is dark."""
        for theme in ("dark", ""):
            features = [{"name": "prefers-color-scheme", "value": theme}]
            self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            if theme:
                yield

    def filter_of_pictures(self) -> str:
        picture = "document.querySelector('[data-testid=stImage] img')"
        self.until(f"return !!{picture}")
        return str(self.browser.execute_script(f"return getComputedStyle({picture}).filter"))

    def order_of(self, selector: str) -> list[str]:
        """What matches within the page, in its order, without repetitions: test names, or the kinds of elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.dataset.testid || e.tagName)"
        main = ", ".join(f"[data-testid=stMain] {part.strip()}" for part in selector.split(","))
        return list(dict.fromkeys(self.browser.execute_script(script, main)))

    def refused(self) -> bool:
        return bool(self.browser.execute_script("return document.querySelectorAll('[data-testid=stAlertContentError]').length"))


@pytest.fixture
def page(browser: Any, server: str) -> Page:
    return Page(browser, server)


def test_each_kind_of_control_of_the_neuron_changes_what_is_shown(page: Page) -> None:
    page.open("", f"?v=1&{NEURON['mechanisms']}")
    assert page.wrong() == []
    labels = {item.name: item.label for item in NeuronView.controls()}
    assert shares()["mechanisms"] <= set(page.controls())
    assert page.dead({labels["tau"], labels["source"], labels["use_ahp"], "Preset"}) == []


@pytest.mark.parametrize(
    ("path", "view", "address", "button", "label"),
    [
        ("circuit", CircuitView, "circuit=LeakySpike&mapping=tanh&p0=0.4", None, "Mapping"),
        ("trains", TrainsView, "backend=analytic&mapping=linear&steps=6&trains=30&noise=numbers", "trains:run", "Seed"),
        (
            "backends",
            BackendsView,
            "neurons=2&steps=20&repeats=4&first_noise=numbers&second_noise=numbers&second_shots=10",
            "backends:run",
            "Backend B",
        ),
        ("calibration", CalibrationView, "noise=numbers&neurons=2&shots=200", "calibration:run", "Seed"),
    ],
)
def test_every_page_shows_its_controls_and_answers_one(
    page: Page, path: str, view: type[View], address: str, button: str | None, label: str
) -> None:
    page.open(path, f"?v=1&{address}")
    assert page.wrong() == []
    if button is not None:
        page.run(button)
        # A slider for the neuron that is shown is there when something was measured.
        page.unfold()
    assert set(page.controls()) == {item.label for item in view.controls()}
    assert page.dead({label}, button=button) == []


def test_each_control_of_the_comparisons_changes_what_is_shown(page: Page) -> None:
    with page.dark():
        page.open("comparisons", "?run=digits-a")
        assert page.filter_of_pictures().startswith("invert")
        assert page.dead({"Run", "Sample"}) == []
    page.open("comparisons", "?run=report")
    assert page.filter_of_pictures() == "none"
    assert page.order_of("[data-testid=stHeading], h3, [data-testid=stImage], [data-testid=stDataFrame]") == [
        "stHeading",
        "H3",
        "stImage",
        "stDataFrame",
    ]
    assert page.dead({"Table"}) == []


PLANTED = """
from dataclasses import dataclass

import streamlit as st

from qlifq.dashboard.controls import control
from qlifq.dashboard.view import View
from qlifq.dashboard.widgets import Panel, figures


@dataclass(frozen=True, kw_only=True)
class Planted(View):
    live: float = control(1.0, "real", "input", "shown", at_least=0.0)
    off: bool = control(False, "flag", "input", "not shown")


panel = Panel("planted", Planted)
if st.button("Run", key="planted:run"):
    st.session_state["planted:ran"] = str(panel.values["live"])
figures({"live": st.session_state.get("planted:ran", "nothing has run")})
with st.sidebar:
    panel.draw(opened=("input",))
"""


@pytest.fixture(scope="module")
def planted(browser: Any, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The planted page: its values are shown when its button is pressed."""
    script = tmp_path_factory.mktemp("planted") / "planted.py"
    script.write_text(PLANTED, encoding="utf-8")
    run = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    with serve(*run, "--browser.gatherUsageStats=false", "--server.address=127.0.0.1", "--server.port") as address:
        yield Page(browser, address)


def test_a_planted_control_that_changes_nothing_is_found(planted: Page) -> None:
    planted.open("")
    assert planted.dead({"Live", "Off"}, button="planted:run") == ["Off"]


def test_an_address_that_is_wrong_is_named_on_the_page(planted: Page) -> None:
    planted.open("", "?v=1&live=%3Cscript%3Ealert(1)%3C/script%3E&other=2")
    assert len(planted.wrong()) == 2
    assert "Argument `live` must be a number, but is '<script>alert(1)</script>'" in planted.wrong()[0]


def test_an_upload_is_shown_and_a_hostile_one_is_refused(page: Page, tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.random.default_rng(0).uniform(0, 3, (60, 3, 4)))
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    page.open("", "?v=1&source=upload")
    assert "needs a .npy file" in page.wrong()[0]
    for name in ("evil", "good"):
        page.until("return document.querySelectorAll('[data-testid=stSidebar] input[type=file]').length > 0")
        chooser = page.browser.find_element("css selector", "[data-testid=stSidebar] input[type=file]")
        chooser.send_keys(str(tmp_path / f"{name}.npy"))
        if name == "evil":
            page.until("return document.body.innerText.includes('must be a .npy file of plain numbers')")
    page.until("return document.querySelectorAll('[data-testid=stVegaLiteChart] canvas').length > 3")
    page.settle()
    assert page.wrong() == []
    page.until("return !!document.querySelector('input[aria-label=Sample]')")
    assert page.dead({"Sample"}) == []
