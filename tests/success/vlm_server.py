"""A stub of a chat server with OpenAI's interface that does as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes] | str
"""Status and body, or what the model says."""


def completion(text: Any, usage: Any = None) -> bytes:
    """An answer in the shape of OpenAI's chat completions."""
    counted = {"prompt_tokens": 100, "completion_tokens": 7} if usage is None else usage
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message}],
            "usage": counted,
        }
    ).encode()


class StubServer:
    """Requests that came, and the address to send them to."""

    def __init__(self, reply: Callable[[dict[str, Any], int], Reply]) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.stalls = 0.0
        self.more_headers: dict[str, str] = {}
        self.url = ""


@contextmanager
def serving(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[StubServer]:
    """A running stub; ``reply`` gets the request and how many came before it."""
    stub = StubServer(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with stub.lock:
                number = len(stub.requests)
                stub.requests.append(request)
                stub.headers.append(dict(self.headers))
                stub.paths.append(self.path)
                stub.at_once += 1
                stub.most_at_once = max(stub.most_at_once, stub.at_once)
            try:
                time.sleep(stub.stalls)
                said = stub.reply(request, number)
                status, body = (200, completion(said)) if isinstance(said, str) else said
                with stub.lock:
                    stub.at_once -= 1
                self.send_response(status)
                for name, value in stub.more_headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()


def pictures(request: dict[str, Any]) -> list[str]:
    """The data URLs of a request's pictures."""
    parts = request["messages"][0]["content"]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def question(request: dict[str, Any]) -> str:
    """The text of a request."""
    text: str = request["messages"][0]["content"][-1]["text"]
    return text
