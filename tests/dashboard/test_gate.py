"""Who may talk to the server: tried on one that runs as its users run it, with requests that a browser would send."""

import http.client
import socket
from urllib.parse import urlsplit

import pytest

pytest.importorskip("streamlit")

from qlifq.dashboard.gate import Gate, own_names

_SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "cWxpZnEgZGFzaGJvYXJkIQ==",
}


def answered(server: str, host: str, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    """What the server answers to a request in which the browser believes to be at `host`."""
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    upgrade = _SOCKET if path.endswith("stream") else {}
    for name, value in {"Host": host, **upgrade, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    response.close()
    connection.close()
    return response


def port_of(server: str) -> int:
    return urlsplit(server).port or 0


@pytest.mark.parametrize("path", ["/", "/_stcore/stream", "/_stcore/health", "/_stcore/host-config", "/neuron"])
def test_another_name_that_points_here_is_refused(server: str, path: str) -> None:
    for name in ("rebound.example", "localhost.rebound.example", "192.0.2.7", "127.0.0.1.rebound.example"):
        foreign = f"{name}:{port_of(server)}"
        assert answered(server, foreign, path, Origin=f"http://{foreign}").status == 403
        assert answered(server, foreign, path).status == 403


@pytest.mark.parametrize("path", ["/", "/_stcore/stream"])
def test_a_page_of_another_host_or_port_is_refused(server: str, path: str) -> None:
    own = f"localhost:{port_of(server)}"
    for origin in ("http://rebound.example", "http://localhost", "http://localhost:3000", "http://127.0.0.1:8000", "null"):
        assert answered(server, own, path, Origin=origin).status == 403
    assert answered(server, own, path, Origin=f"http://{own}").status == (101 if path != "/" else 200)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
def test_its_own_names_are_let_through_a_tunnel_too(server: str, name: str) -> None:
    for port in (port_of(server), 4321):
        host = f"{name}:{port}"
        assert answered(server, host).status == 200
        assert answered(server, host, "/_stcore/stream", Origin=f"http://{host}").status == 101


def test_no_page_may_be_shown_inside_another(server: str) -> None:
    own = f"localhost:{port_of(server)}"
    for path, host in (
        ("/", own),
        ("/circuit", own),
        ("/_stcore/health", own),
        ("/no/such/page.js", own),
        ("/", "rebound.example"),
    ):
        response = answered(server, host, path)
        assert response.getheader("X-Frame-Options") == "DENY"
        assert "frame-ancestors 'none'" in (response.getheader("Content-Security-Policy") or "")


def test_a_request_without_a_host_or_with_two_is_refused(server: str) -> None:
    for hosts in ((), ("localhost", "rebound.example"), ("rebound.example", "localhost")):
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=20) as raw:
            lines = ["GET / HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close"]
            raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert raw.recv(64).split()[1] in {b"400", b"403"}


@pytest.mark.parametrize(
    ("address", "further", "host", "passes"),
    [
        ("127.0.0.1", (), "10.1.2.3:8501", False),
        ("0.0.0.0", (), "10.1.2.3:8501", True),
        ("0.0.0.0", (), "[2001:db8::5]:8501", True),
        ("0.0.0.0", (), "rebound.example:8501", False),
        ("0.0.0.0", (), f"{socket.gethostname()}:8501", True),
        ("127.0.0.1", ("Lab.example",), "lab.example", True),
        ("127.0.0.1", ("lab.example",), "other.lab.example", False),
        ("127.0.0.1", (), "user@localhost", False),
        ("127.0.0.1", (), "localhost/x", False),
        ("127.0.0.1", (), "localhost:99999", False),
        ("127.0.0.1", (), "[::1", False),
        ("127.0.0.1", (), "", False),
        ("127.0.0.5", (), "127.0.0.5:8501", True),
    ],
)
def test_the_names_follow_from_where_it_listens(address: str, further: tuple[str, ...], host: str, passes: bool) -> None:
    async def nothing(*_: object) -> None: ...

    gate = Gate(nothing, address=address, names=own_names(address, further))
    reason = gate.refusal([(b"Host", host.encode())])
    assert (reason is None) is passes
    assert reason is None or "The host must be one of this server's own names" in reason
