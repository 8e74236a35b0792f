"""How soon the dashboard shows a neuron, and a change of it, in a real browser.

    python -m benchmarks.dashboard [--quick]

Headless Chromium opens the page of the neuron (10 neurons, 500 steps) of a server that was just started, and moves a slider of
the input: the clock runs in the page, from the key to the frame in which the membrane's trace is another one. Beside it the
part of Python alone: the run of the layer and its charts, without Streamlit.
"""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver
from selenium.webdriver import ActionChains, Keys

from qlifq.dashboard.neuron.charts import count_charts, neuron_charts
from qlifq.dashboard.neuron.run import Statistics, run_neuron
from qlifq.dashboard.neuron.view import PRESETS, NeuronView

CHARTS = "return document.querySelectorAll('[data-testid=stVegaLiteChart] canvas').length"
#: Waits for the next key, and then for the frame in which the second chart, the membrane, differs: looked at once a frame, and
#: at some of its pixels, since looking must not cost what is measured.
ARM = """
const seen = () => {
  const canvas = document.querySelectorAll('[data-testid=stVegaLiteChart] canvas')[1];
  if (!canvas) return null;
  const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  let value = canvas.width;
  for (let i = 0; i < pixels.length; i += 13) value = (Math.imul(value, 31) + pixels[i]) | 0;
  return value;
};
const before = seen();
window.took = null;
document.addEventListener('keydown', () => {
  const start = performance.now();
  const poll = () => {
    const now = performance.now();
    if (seen() !== before || now - start > 10000) window.took = now - start; else requestAnimationFrame(poll);
  };
  requestAnimationFrame(poll);
}, {once: true, capture: true});
"""


def python_seconds(preset: str, rounds: int) -> float:
    """Median time of a run and its charts."""
    view = NeuronView.of(PRESETS[preset][1])
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run = run_neuron(view)
        neuron_charts(run), count_charts(Statistics.of(run))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


@contextmanager
def opened(browser: Any, port: int) -> Iterator[dict[str, float]]:
    """The page of a server that was just started, and the seconds from the command until each thing is there."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "qlifq.dashboard", "--port", str(port), "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        seconds = {"server listens": time.perf_counter() - start}
        browser.get(f"http://127.0.0.1:{port}")
        seconds["page shows axes"] = until(browser, CHARTS, 1) - start
        seconds["page shows a neuron"] = until(browser, CHARTS, 3) - start
        yield seconds
        browser.get("about:blank")
    finally:
        server.terminate()
        server.wait(20)


def until(browser: Any, script: str, least: int) -> float:
    """The time at which a script first returns at least so much."""
    while browser.execute_script(script) < least:
        time.sleep(0.01)
    return time.perf_counter()


def browser_seconds(rounds: int) -> dict[str, list[float]]:
    """From the command to a neuron, from a further page's address to a neuron, and from a key to another trace."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,800"):
        options.add_argument(argument)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    found: dict[str, list[float]] = {}
    try:
        for turn in range(1 + rounds // 10):
            with opened(browser, port) as seconds:
                # What a page consists of is in the browser's cache from the second time on.
                before = "again" if turn else "first time"
                for name, value in seconds.items():
                    found.setdefault(f"command, {before}: {name}", []).append(value)
                time.sleep(3)
                start = time.perf_counter()
                browser.refresh()
                found.setdefault("a further page shows a neuron", []).append(until(browser, CHARTS, 3) - start)
                if not turn:
                    time.sleep(3)
                    found["a slider shows"] = slider_seconds(browser, rounds)
    finally:
        browser.quit()
    return found


def slider_seconds(browser: Any, rounds: int) -> list[float]:
    """From a key at the slider of the gain to the frame in which the membrane's trace is another one."""
    slider = browser.find_element("css selector", "input[type=range][aria-label=gain]")
    browser.execute_script("arguments[0].focus()", slider)
    times = []
    for turn in range(rounds):
        browser.execute_script(ARM)
        ActionChains(browser, duration=0).send_keys(Keys.ARROW_RIGHT if turn % 2 else Keys.ARROW_LEFT).perform()
        time.sleep(1.0)
        while (took := browser.execute_script("return window.took")) is None:
            time.sleep(0.1)
        times.append(took / 1000)
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 moves and 2 starts instead of 50 and 6")
    rounds = 10 if parser.parse_args().quick else 50
    for preset in PRESETS:
        print(f"{f'Python alone, {preset}':42s} {python_seconds(preset, rounds) * 1e3:6.0f} ms   median of {rounds}")
    if shutil.which("chromedriver") is None:
        print("no browser: install chromium and chromium-driver")
        return
    for name, seconds in browser_seconds(rounds).items():
        middle = statistics.median(seconds) * 1e3
        spread = f"median of {len(seconds)}, fastest {min(seconds) * 1e3:.0f}" if len(seconds) > 1 else "once"
        print(f"{name:42s} {middle:6.0f} ms   {spread}")


if __name__ == "__main__":
    main()
