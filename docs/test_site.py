"""The built site: every link leads somewhere, every page opens with its pictures, and its search finds what it holds.

`make docs` builds it and then runs this; it is no part of the ordinary tests.
"""

import json
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver.support.ui import WebDriverWait

SITE = Path(__file__).resolve().parent.parent / "build" / "docs"
PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of the site."""
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


class Links(HTMLParser):
    """The addresses that a page uses, and its places that an address can name."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag links to, and its id."""
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.addresses.append(value)


def dead_links(site: Path) -> list[str]:
    """The links of a folder of pages to a file or a place in one that does not exist."""
    pages = {page: Links(page) for page in site.rglob("*.html") if "_static" not in page.parts}
    dead = []
    for page, links in pages.items():
        for address in map(urlsplit, links.addresses):
            if address.scheme or address.netloc:
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            fragment = unquote(address.fragment)
            if not target.is_file() or (fragment and target in pages and fragment not in pages[target].places):
                dead.append(f"{page.relative_to(site)}: {address.geturl()}")
    return dead


def test_no_link_is_dead() -> None:
    assert len(PAGES) > 150
    assert dead_links(SITE) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here"></a><a href="b.html#gone"></a><img src="c.png">', encoding="utf-8")
    (tmp_path / "b.html").write_text(
        '<p id="here"><a href="#nowhere"></a><a href="https://example.org"></a></p>', encoding="utf-8"
    )
    assert sorted(dead_links(tmp_path)) == ["a.html: b.html#gone", "a.html: c.png", "b.html: #nowhere"]


def test_every_page_opens_with_its_pictures(browser: Any, server: str) -> None:
    wrong = []
    pictures = 0
    for page in PAGES:
        browser.get(f"{server}/{page}")
        heading, drawn = browser.execute_script(
            "return [document.querySelector('h1')?.innerText, [...document.images].map(i => i.complete && i.naturalWidth > 0)]"
        )
        pictures += len(drawn)
        noise = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        if not (heading and all(drawn)) or noise:
            wrong.append((page, heading, drawn, noise))
    assert wrong == []
    assert pictures > 2


def test_every_tutorial_is_a_notebook_too() -> None:
    notebooks = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in SITE.glob("_downloads/*/*.ipynb")}
    assert set(notebooks) == {page.stem for page in (SITE / "tutorials").glob("*.html")} - {"index"}
    assert len(notebooks) == 8
    for notebook in notebooks.values():
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        assert len(outputs) > 3
        assert "error" not in {output["output_type"] for output in outputs}


@pytest.mark.parametrize(
    ("words", "page"), [("calibrate", "tutorials/calibrate.html"), ("NoiseModel", "tutorials/own-device.html")]
)
def test_the_search_finds_what_the_site_holds(browser: Any, server: str, words: str, page: str) -> None:
    found = "return [...document.querySelectorAll('#search-results li a')].map(a => new URL(a.href).pathname.slice(1))"
    browser.get(f"{server}/search.html?q={words}")
    WebDriverWait(browser, 20).until(lambda driver: page in driver.execute_script(found))
    browser.get(f"{server}/search.html?q=xylophone")
    WebDriverWait(browser, 20).until(lambda driver: "did not match" in driver.find_element("id", "search-results").text)
    assert browser.execute_script(found) == []
