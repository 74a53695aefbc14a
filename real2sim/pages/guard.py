"""Who may talk to a local page: requests with a foreign Host or Origin, without its token or with a big body end here.

A page of the web that the same browser shows can send requests to this machine.  It cannot read the answers, unless
its own name is made to point here (DNS rebinding): then the Host header still has that name.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from real2sim.wording import whole_number

TOKEN_HEADER = "x-real2sim-token"
LARGEST_BODY = 4096
"""Bytes of a request's body."""
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_names(host: str) -> frozenset[str]:
    """Names by which a server that listens on ``host`` may be called; addresses are always allowed.

    Rebinding needs a name, so an address in the Host header is harmless.
    """
    names = {"localhost", host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


class Guard:
    """ASGI middleware in front of a local page."""

    def __init__(self, app: ASGIApp, names: Iterable[str], token: str | None = None) -> None:
        self.app, self.names = app, frozenset(names)
        self.token = token or secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"a local page speaks HTTP alone, got {scope['type']}")
        refusal, body = self._refusal(scope), b""
        if refusal is None:
            body, refusal = await _whole_body(receive)
        if refusal is not None:
            status, sentence = refusal
            headers = {"connection": "close"} if status == 413 else {}
            response = JSONResponse({"error": sentence}, status, headers)
            await response(scope, receive, _with_headers(send))
            return

        async def read() -> Message:
            nonlocal body
            found, body = body, b""
            return {"type": "http.request", "body": found, "more_body": False}

        await self.app(scope, read, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 403, "the Host header names another machine; open the page by the address that was printed"
        if any(origin.lower() != f"{scope['scheme']}://{hosts[0].lower()}" for origin in origins):
            return 403, "the request comes from another page"
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return 405, "only GET and POST are understood"
        if not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
            return 403, "the request lacks the page's token; load the page again"
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, "expected a body of the type application/json"
        length = whole_number(headers.get("content-length", "0"))
        if length is None or length > LARGEST_BODY:
            return 413, f"the body may have at most {LARGEST_BODY} bytes"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if not name or parts.username is not None or parts.path or parts.query or parts.fragment:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.removesuffix(".") in self.names
        return True


async def _whole_body(receive: Receive) -> tuple[bytes, tuple[int, str] | None]:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", (400, "the request ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            return b"", (413, f"the body may have at most {LARGEST_BODY} bytes")
        if not message.get("more_body", False):
            return b"".join(parts), None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            added = {**SECURITY_HEADERS, "cache-control": "no-store"}
            message["headers"] = [
                *message["headers"],
                *(
                    (name.encode(), value.encode())
                    for name, value in added.items()
                    if name.encode() not in present
                ),
            ]
        await send(message)

    return sending
