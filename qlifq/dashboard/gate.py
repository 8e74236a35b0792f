"""Who may talk to the server: the browser that shows its own pages, under a name that is its own.

A web page that somebody else wrote can reach a server on this machine: through a name of its own that it lets point here
(DNS rebinding), from another port of this machine, or by showing our pages inside its own. Every request and every web socket
passes this gate before Streamlit sees it.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Gate", "own_names"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

#: No page may show ours inside its own: the first header for old browsers, the second for all others.
_NO_FRAMES = ((b"x-frame-options", b"DENY"), (b"content-security-policy", b"frame-ancestors 'none'"))
#: Of a web socket that is refused: against the policy of the server.
_POLICY_VIOLATION = 1008


def own_names(address: str, further: Iterable[str] = ()) -> frozenset[str]:
    """The host names of a server that listens at an address, beside numeric addresses.

    Args:
        address: where it listens.
        further: names that the user gives, such as that of a proxy.
    """
    names = {"localhost", address, *further}
    if not _is_loopback(address):
        names |= {socket.gethostname(), f"{socket.gethostname()}.local", socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def _is_loopback(host: str) -> bool:
    address = _as_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Gate:
    """Lets through requests that name this server by one of its names and come from its own pages, and forbids frames.

    `Host` must be one of the names, or an address: a loopback one, or where the server listens for others any, since a browser
    that was sent to an address knows it as that and as no page's name. `Origin`, where a browser sends it, must be the
    very host that the request names, its port included.

    Args:
        app: the server behind the gate.
        address: where it listens.
        names: see `own_names`.
    """

    def __init__(self, app: _App, *, address: str, names: frozenset[str]) -> None:
        self.app, self.names = app, names
        self.open_to_others = not _is_loopback(address)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """ASGI: pass on, or refuse with status 403."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
        elif (reason := self.refusal(scope["headers"])) is None:
            await self.app(scope, receive, _without_frames(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await _without_frames(send)({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Why a request with these headers is refused, or None."""
        found = [(name.lower(), value.decode("latin-1")) for name, value in headers]
        hosts = [value for name, value in found if name == b"host"]
        origins = [value for name, value in found if name == b"origin"]
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return "The host must be one of this server's own names, but is another: see --name of qlifq dashboard."
        if any(origin not in {f"http://{hosts[0]}", f"https://{hosts[0]}"} for origin in origins):
            return "The origin must be this server's own, but is another."
        return None

    def _is_own(self, host: str) -> bool:
        """Whether the value of a `Host` header names this server; its port is that of a tunnel where there is one."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if name is None or parts.netloc != host or parts.username is not None:
            return False
        address = _as_address(name)
        return name in self.names or (address is not None and (self.open_to_others or address.is_loopback))


def _without_frames(send: _Send) -> _Send:
    """The same, with the headers that forbid frames on every answer."""

    async def guarded(message: _Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_NO_FRAMES]}
        await send(message)

    return guarded
