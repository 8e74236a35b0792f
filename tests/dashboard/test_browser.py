"""Every control of every page, moved in a real browser: the picture or the numbers must change."""

import re
import time
from typing import Any

import pytest

#: Waits in the page until nothing runs and the picture stands still, for `patience` milliseconds while it is as before, and
#: gives a hash of what is shown: numbers, pictures and tables, without the controls.
SETTLE = r"""
const [before, patience, done] = arguments;
const shown = '[data-testid=stMetric],[data-testid=stVegaLiteChart] svg,[data-testid=stTable],[data-testid=stCode],' +
  '[data-testid=stHeading],[data-testid=stImage] img,[data-testid=stDataFrame] canvas';
const look = e => e.tagName === 'IMG' ? e.src : e.tagName === 'CANVAS' ? e.toDataURL() :
  e.tagName === 'svg' ? e.innerHTML.replace(/(clip|gradient_)\d+/g, '') : e.innerText;
const hash = () => {
  let value = 7;
  for (const e of document.querySelector('[data-testid=stMain]').querySelectorAll(shown)) {
    if (e.closest('[data-testid=stExpander]')) continue;
    for (const sign of look(e)) value = (Math.imul(value, 31) + sign.codePointAt(0)) | 0;
  }
  return value;
};
const start = performance.now();
let last = null, since = start;
const step = () => {
  const now = performance.now();
  const running = document.querySelector('[data-testid=stApp]').dataset.testScriptState !== 'notRunning';
  const value = running ? null : hash();
  if (value === null || value !== last) { last = value; since = now; }
  const still = value !== null && now - since > 150;
  if (still && (value !== before || now - start > patience)) done(value);
  else setTimeout(step, 30);
};
step();
"""
WRONG = "return [...document.querySelectorAll('[data-testid=stAlert],[data-testid=stException]')].map(e => e.innerText)"


class Page:
    """A page in the browser."""

    def __init__(self, browser: Any, server: str) -> None:
        self.browser, self.server = browser, server
        self.rest = 0

    def open(self, path: str, *, address: str = "") -> float:
        """Open a page afresh; return the seconds until it shows a chart or a table."""
        start = time.monotonic()
        self.browser.get(f"{self.server}/{path}{address}")
        self.until(
            "return document.querySelectorAll('[data-testid=stVegaLiteChart] svg,[data-testid=stMetric],"
            "[data-testid=stTable],[data-testid=stMain] [data-testid=stCode]').length > 0"
        )
        took = time.monotonic() - start
        self.until("return document.querySelectorAll('[data-testid=stSidebar] input').length > 0")
        self.settle()
        return took

    def until(self, script: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.browser.execute_script(script):
            assert time.monotonic() < deadline, f"waited in vain for {script}"
            time.sleep(0.02)

    def settle(self, before: int | None = None, patience: float = 2.0) -> int:
        """Wait until the page has come to rest, as long as `patience` in seconds for what differs from before."""
        return int(self.browser.execute_async_script(SETTLE, before, 1000 * patience))

    def wrong(self) -> list[str]:
        return list(self.browser.execute_script(WRONG))

    def unfold(self) -> None:
        """Open every group of controls."""
        self.browser.execute_script(
            "document.querySelectorAll('[data-testid=stSidebar] details:not([open]) summary').forEach(e => e.click())"
        )

    def controls(self) -> dict[str, str]:
        """Every control beside the page that can be moved, by its name: "range", "checkbox" or "combobox"."""
        found = self.browser.execute_script(
            "return [...document.querySelectorAll('[data-testid=stSidebar] input:not([disabled])')]"
            ".map(e => [e.getAttribute('aria-label'), e.getAttribute('role') || e.type])"
        )
        kinds = {str(name): {"switch": "checkbox"}.get(kind, kind) for name, kind in found if kind != "file"}
        assert set(kinds.values()) <= {"range", "checkbox", "combobox"}, kinds
        return kinds

    def move(self, name: str, kind: str, attempt: int) -> None:
        from selenium.webdriver import ActionChains, Keys

        control = self.browser.find_element("css selector", f'[data-testid=stSidebar] input[aria-label="{name}"]')
        if kind == "checkbox":
            self.browser.execute_script("arguments[0].click()", control)
            return
        way = (Keys.ARROW_DOWN, Keys.ARROW_UP)[attempt % 2]
        keys = [(Keys.PAGE_UP, Keys.PAGE_DOWN, Keys.END, Keys.HOME)[attempt]] if kind == "range" else [way, way, Keys.ENTER]
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", control)
        ActionChains(self.browser, duration=0).send_keys(*keys).perform()

    def dead(self, names: set[str], *, button: str | None = None) -> list[str]:
        """The controls that change nothing, of the named ones. One that is refused at a place is moved on.

        Args:
            names: those that are tried.
            button: the key of a button that is pressed where moving alone changes nothing.
        """
        self.unfold()
        silent = []
        self.rest = self.settle()
        for name, kind in self.controls().items():
            if name not in names:
                continue
            attempts = 1 if kind == "checkbox" else 4
            worked = next((at for at in range(attempts) if self.changes(name, kind, at, button)), None)
            if worked is None:
                silent.append(name)
            elif kind != "range":
                # What it shows or hides is as before for those that follow.
                self.move(name, kind, worked + 1)
                self.rest = self.settle(self.rest)
        return silent

    def changes(self, name: str, kind: str, attempt: int, button: str | None) -> bool:
        before = self.rest
        self.move(name, kind, attempt)
        self.rest = self.settle(before)
        if self.rest == before and button is not None and not self.refused():
            self.press(button)
            self.rest = self.settle(before, 10.0)
        return self.rest != before and not self.refused()

    def press(self, key: str) -> None:
        self.browser.execute_script(f"document.querySelector('.st-key-{key.replace(':', '-')} button').click()")

    def refused(self) -> bool:
        return bool(self.browser.execute_script("return document.querySelectorAll('[data-testid=stAlertContentError]').length"))


@pytest.fixture
def page(browser: Any, server: str) -> Page:
    return Page(browser, server)


#: Addresses of the page of the neuron that together show all its controls.
NEURON = {
    "mechanisms": "neurons=3&steps=120&gain=2.5&use_adaptive_threshold=1&homeostasis_enabled=1&homeostasis_lr=0.04"
    "&spike_increase=0.1&use_ahp=1&depression_rate=0.2&allow_dynamic_spike_probability=1&modulation=step",
    "quadratic": "neurons=3&steps=120&gain=2.5&membrane=quadratic&reset=partial&mapping=tanh&decision=threshold",
    "classic": "neurons=3&steps=120&gain=2.5&quantum_mode=0&stochastic=1",
    "learning": "neurons=3&steps=120&gain=2.5&quantum_mode=0&learnable_threshold=1&use_adaptive_threshold=1",
    "staircase": "neurons=3&steps=120&source=staircase",
    "pulses": "neurons=3&steps=120&source=pulses&period=50&width=20",
    "poisson": "neurons=3&steps=120&source=poisson",
    "digits": "steps=60&source=digits",
}


def test_every_control_of_the_neuron_changes_what_is_shown(page: Page) -> None:
    from qlifq.dashboard.neuron import NeuronView

    left = {item.name for item in NeuronView.controls()}
    for address in NEURON.values():
        page.open("", address=f"?v=1&{address}")
        assert page.wrong() == []
        page.unfold()
        shown = set(page.controls()) & left
        assert page.dead(shown) == []
        left -= shown
    assert left == {"sample"}
    page.open("")
    assert page.dead({"preset"}) == []
