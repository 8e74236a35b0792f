"""Starting the server: python -m qlifq.dashboard."""

import argparse
import contextlib
import importlib
import os
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path

from qlifq._packages import load
from qlifq.dashboard.folder import FOLDER
from qlifq.dashboard.gate import Gate, own_names
from qlifq.errors import ArgumentError, QLIFError

__all__ = ["MOST_MEGABYTES", "main", "server_options"]

MOST_MEGABYTES = 20


def server_options(address: str, port: int) -> dict[str, object]:
    """The configuration of Streamlit's server: its address, no usage reports, and small files only."""
    # Without the checks of `qlifq._validation`: they load torch, and the server should listen before that.
    if not 1 <= port <= 65535:
        raise ArgumentError(f"Argument `port` must be at least 1 and at most 65535, but is {port}.")
    return {
        "server.address": address,
        "server.port": port,
        # The browser is opened here, and no request to a service finds out the address of this machine.
        "server.headless": True,
        "browser.serverAddress": _shown(address),
        "server.maxUploadSize": MOST_MEGABYTES,
        "server.fileWatcherType": "none",
        # A collection of all that torch consists of holds back what the browser waits for; Python's own ones go on.
        "runner.postScriptGC": False,
        "browser.gatherUsageStats": False,
        # Otherwise the hosting service's pages may steer this one, and the browser compares every message with all of them.
        "client.allowedOrigins": [f"http://localhost:{port}"],
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }


def _shown(address: str) -> str:
    """Under which name a browser on this machine finds the server."""
    return address if address not in {"0.0.0.0", "::"} else "localhost"


def _check_place(address: str, port: int) -> None:
    """Refuse an address that no server can listen at here, and a port that is taken."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        raise ArgumentError(f"Option --address must be an address of this machine, but is {address!r}.") from error
    try:
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                # Connections that a server before this one left behind do not take the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((place[0], port, *place[2:]))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ArgumentError(f"Option --port must be one that is free, but is {port}: {why}.") from error


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"Option --folder must be a folder, but {folder} is a file.")


def main(arguments: list[str] | None = None) -> int:
    """Serve the dashboard until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m qlifq.dashboard", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--name", action="append", default=[], help="A further name of this server, such as that of a proxy.")
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--no-open", dest="open_browser", action="store_false")
    given = parser.parse_args(arguments)
    try:
        streamlit = load("streamlit", package="streamlit", feature="The dashboard", install="'qlifq[dashboard]'")
        options = server_options(given.address, given.port)
        _check_place(given.address, given.port)
        _check_folder(given.folder)
    except QLIFError as error:
        print("Error:", error, file=sys.stderr)
        return 2
    os.environ[FOLDER] = str(given.folder.absolute())
    threading.Thread(target=_once_it_listens, args=(given.address, given.port, given.open_browser), daemon=True).start()
    middleware = importlib.import_module("starlette.middleware").Middleware
    gate = middleware(Gate, address=given.address, names=own_names(given.address, given.name))
    app = Path(__file__).with_name("app.py")
    # Streamlit takes what it calls the script from here, and puts its folder first among the places of modules.
    sys.argv = [str(app)]
    # When an interrupt arrives here, the server has closed its connections.
    with contextlib.suppress(KeyboardInterrupt):
        streamlit.App(app, middleware=[gate]).run(config=options)
    return 0


def _once_it_listens(address: str, port: int, open_browser: bool) -> None:
    """Open the browser, and load what the first page needs while it fetches it, but not before the server listens."""
    here = _shown(address)
    for _ in range(500):
        try:
            socket.create_connection((here, port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.02)
    if open_browser:
        webbrowser.open(f"http://{f'[{here}]' if ':' in here else here}:{port}")
    importlib.import_module("qlifq.dashboard.neuron.page")


if __name__ == "__main__":
    sys.exit(main())
