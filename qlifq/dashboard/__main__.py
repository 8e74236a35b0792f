"""Starting the server: python -m qlifq.dashboard."""

import argparse
import importlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

from qlifq._packages import load
from qlifq.dashboard.folder import FOLDER
from qlifq.errors import ArgumentError, QLIFError

__all__ = ["MOST_MEGABYTES", "main", "server_options"]

MOST_MEGABYTES = 20


def server_options(address: str, port: int, *, open_browser: bool) -> dict[str, object]:
    """What Streamlit's server is told: to listen where the user said, to report to nobody, to take small files only."""
    # Without the checks of `qlifq._validation`: they load torch, and the server should listen before that.
    if not 1 <= port <= 65535:
        raise ArgumentError(f"Argument `port` must be at least 1 and at most 65535, but is {port}.")
    return {
        "server.address": address,
        "server.port": port,
        "server.headless": not open_browser,
        "server.showEmailPrompt": False,
        "server.maxUploadSize": MOST_MEGABYTES,
        "server.fileWatcherType": "none",
        # A collection of all that torch consists of holds back what the browser waits for; Python's own ones go on.
        "runner.postScriptGC": False,
        "browser.gatherUsageStats": False,
        # Otherwise the hosting service's pages may steer this one, and the browser compares every message with all of them.
        "client.allowedOrigins": f"http://localhost:{port}",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }


def _check_address(address: str) -> None:
    """Refuse an address that no server can listen at here."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        raise ArgumentError(f"Option --address must be an address of this machine, but is {address!r}.") from error


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"Option --folder must be a folder, but {folder} is a file.")


def main(arguments: list[str] | None = None) -> int:
    """Serve the dashboard until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m qlifq.dashboard", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--no-open", dest="open_browser", action="store_false")
    given = parser.parse_args(arguments)
    try:
        server = load("streamlit.web.cli", package="streamlit", feature="The dashboard", install="'qlifq[dashboard]'")
        options = server_options(given.address, given.port, open_browser=given.open_browser)
        _check_address(given.address)
        _check_folder(given.folder)
    except QLIFError as error:
        print("Error:", error, file=sys.stderr)
        return 2
    threading.Thread(target=_load_ahead, args=(given.address, given.port), daemon=True).start()
    os.environ[FOLDER] = str(given.folder.absolute())
    flags = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    server.main(["run", str(Path(__file__).with_name("app.py")), *flags], standalone_mode=False)
    return 0


def _load_ahead(address: str, port: int) -> None:
    """Load what the first page needs while the browser fetches it, but not before the server listens."""
    here = address if address not in {"0.0.0.0", "::"} else "localhost"
    for _ in range(500):
        try:
            socket.create_connection((here, port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.02)
    importlib.import_module("qlifq.dashboard.neuron_page")


if __name__ == "__main__":
    sys.exit(main())
