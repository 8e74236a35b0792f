import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qlifq.cli import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WHY = "needs Chromium and its driver: apt-get install chromium chromium-driver"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two simulations and a small report, as the command line writes them."""
    folder = tmp_path_factory.mktemp("runs")
    for name, steps in (("digits-a", 40), ("digits-b", 50)):
        assert main(["simulate", "--samples", "2", "--steps", str(steps), "--out", str(folder / name)]) == 0
    import pandas as pd

    from qlifq.reporting.figures import column_figure
    from qlifq.reporting.report import Picture, Report, Section, write_report

    tables = {"one": pd.DataFrame({"shots": [1, 10], "error": [0.5, 0.2]}), "two": pd.DataFrame({"bias": [0.25]})}
    figure, axes = column_figure(60, single=True)
    axes[0][0].plot([1, 10], [0.5, 0.2])
    section = Section("Shots", "How many?", ["Ten."], {"curve": Picture(lambda: figure, "The error falls.")}, tables)
    report = Report(
        "A small report", "What is compared.", ["What is found."], "Quite sure.", {"seed": 0}, [section], "analytic, exact"
    )
    write_report(folder / "report", report, command="qlifq compare something")
    return folder


@contextlib.contextmanager
def serving(*command: str) -> Iterator[str]:
    """The address of a server that runs meanwhile; the command takes a port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def serve() -> Any:
    """`serving`, for tests with a server of their own."""
    return serving


@pytest.fixture(scope="session")
def server(runs: Path) -> Iterator[str]:
    """The address of a dashboard that runs as its users run it."""
    entry = "import sys; from qlifq.cli import main; sys.exit(main())"
    with serving(sys.executable, "-c", entry, "dashboard", "--no-open", "--folder", str(runs), "--port") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium. Where there is none, a user's tests skip and those of continuous integration fail."""
    if CHROMIUM is None or DRIVER is None:
        if os.environ.get("CI"):
            pytest.fail(WHY)
        pytest.skip(WHY)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,2400"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()
