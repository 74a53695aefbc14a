"""A small web server for pages on this machine: what every page has in common, and running one until Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from real2sim.failures import one_line
from real2sim.files import read_bytes, read_text
from real2sim.pages.episode_files import NotHereError
from real2sim.pages.guard import Guard, allowed_names, is_loopback
from real2sim.policies.servers.policy_wire import listening_sentence

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
SHARED = {"page.css": "text/css", "player.js": "text/javascript"}
"""Files of every page."""
UNTOLD = "that did not work; the terminal in which the page was started says why"
Answer = Callable[[Request], Response]


def local_app(
    page: str,
    own_files: Mapping[str, str],
    gets: Mapping[str, Answer],
    posts: Mapping[str, Callable[[Any], Any]] | None = None,
    host: str = "127.0.0.1",
    blind: bool = False,
) -> Guard:
    """A page and its answers behind a `Guard`.

    ``page`` is an HTML file of ``static``, ``own_files`` are further ones with their types; ``gets`` are answers by
    path, ``posts`` take a JSON object and return one.  All of them run in threads.  ValueError and OSError are told to
    the page as one sentence, or on the terminal alone if the page is ``blind``, since they name files; NotHereError is
    404.
    """
    files = {**SHARED, **own_files}

    def index(_: Request) -> Response:
        return HTMLResponse(read_text(STATIC / page).replace("{{token}}", guard.token))

    def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        return Response(read_bytes(STATIC / name), media_type=files[name])

    routes = [
        Route("/", _answering(index, blind)),
        Route("/static/{name}", _answering(static, blind)),
        *(Route(path, _answering(answer, blind)) for path, answer in gets.items()),
        *(Route(path, _taking(take, blind), methods=["POST"]) for path, take in (posts or {}).items()),
    ]
    handlers: dict[Any, Any] = {HTTPException: _said, Exception: _bug}
    guard = Guard(Starlette(routes=routes, exception_handlers=handlers), allowed_names(host))
    return guard


def _answering(answer: Answer, blind: bool) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _in_a_thread(functools.partial(answer, request), blind)

    return endpoint


def _taking(take: Callable[[Any], Any], blind: bool) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            values = json.loads(await request.body())
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise HTTPException(400, "the body is no JSON object")
        return await _in_a_thread(lambda: JSONResponse(take(values)), blind)

    return endpoint


async def _in_a_thread(answer: Callable[[], Response], blind: bool) -> Response:
    try:
        return await run_in_threadpool(answer)
    except NotHereError as error:
        raise HTTPException(404, str(error)) from error
    except (ValueError, OSError) as error:
        logger.warning("%s", one_line(error))
        raise HTTPException(400, UNTOLD if blind else one_line(error)) from error


def _said(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _bug(_: Request, error: Exception) -> Response:
    return JSONResponse(
        {"error": f"this is a bug in real2sim ({type(error).__name__}); the terminal shows it"}, 500
    )


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of a request's query; ValueError outside ``low`` to ``high``."""
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 12 or not low <= int(text) <= high:
        raise ValueError(f"{name} is {text[:40]!r}, expected a whole number from {low} to {high}")
    return int(text)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host`` and ``port`` (0 is any free one); OSError says in a sentence why not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f"host {host!r} is no address of this machine; leave --host out") from error
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen()
    except OSError as error:
        found.close()
        raise OSError(listening_sentence(error.errno, host, port)) from error
    return found


def serve(app: Guard, host: str, port: int, what: str) -> None:
    """Run a page until Ctrl-C or the system stops it; prints its address first."""
    import uvicorn

    with listen(host, port) as found:
        number = found.getsockname()[1]
        print("\n".join(addresses(host, number, what)), flush=True)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=2, timeout_keep_alive=30, limit_concurrency=64, proxy_headers=False,
        )  # fmt: skip
        # The server ends in order; it then tells its caller what stopped it.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[found])


def addresses(host: str, port: int, what: str) -> Sequence[str]:
    """What to say about where a page is."""
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    shown = f"[{shown}]" if ":" in shown else shown
    lines = [f"{what}: http://{shown}:{port}/ (Ctrl-C ends it)"]
    if not is_loopback(host):
        lines.append("warning: everybody who can reach this machine over the network can open this page")
    return lines
