"""Starting the server: its configuration, and what is refused before it starts."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qlifq import dashboard
from qlifq.cli import main as command_line
from qlifq.dashboard.__main__ import main, server_options

APP = Path(dashboard.__file__).with_name("app.py")


def test_the_server_listens_on_loopback_reports_to_nobody_and_takes_small_files() -> None:
    options = server_options("127.0.0.1", 8501)
    assert options["server.address"] == "127.0.0.1"
    assert options["browser.gatherUsageStats"] is False
    assert options["server.headless"] is True
    assert options["server.maxUploadSize"] == 20
    assert options["client.showErrorDetails"] == "none"
    assert options["runner.postScriptGC"] is False
    assert options["client.allowedOrigins"] == ["http://localhost:8501"]
    # Streamlit asks a service for the address of this machine, unless it has one to show.
    assert options["browser.serverAddress"] == "127.0.0.1"
    assert server_options("0.0.0.0", 8501)["browser.serverAddress"] == "localhost"


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0"]) == 2
    assert "Argument `port` must be at least 1 and at most 65535, but is 0." in capsys.readouterr().err
    assert command_line(["dashboard", "--port", "0"]) == 2


def test_a_port_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert f"Option --port must be one that is free, but is {port}: address already in use." in capsys.readouterr().err


def test_an_address_or_a_folder_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for address in ("no.such.host.invalid", "192.0.2.1", "a" * 300):
        assert main(["--address", address]) == 2
        assert f"Option --address must be an address of this machine, but is '{address}'." in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["--folder", str(tmp_path / "file")]) == 2
    assert "Option --folder must be a folder, but" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "streamlit", None)
    assert main([]) == 2
    assert "The dashboard needs the package `streamlit`" in capsys.readouterr().err


def test_the_first_page_loads_no_package_that_it_can_do_without() -> None:
    """Each of these takes a quarter of a second or more, which everybody would wait for."""
    script = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"page = AppTest.from_file({str(APP)!r}, default_timeout=60).run()\n"
        "assert not page.exception and len(page.metric) == 4\n"
        "print(*sorted({'altair', 'matplotlib', 'pandas', 'pennylane', 'qiskit', 'scipy', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
