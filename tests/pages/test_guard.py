"""Who may talk to a local page."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from starlette.testclient import TestClient

from real2sim.pages.guard import LARGEST_BODY, TOKEN_HEADER, Guard, allowed_names, is_loopback
from real2sim.pages.server import local_app

ADDRESS = "http://127.0.0.1:8765"


@pytest.fixture
def app() -> Guard:
    return local_app("label.html", {}, {}, {"/api/echo": lambda values: values})


@pytest.fixture
def client(app: Guard) -> TestClient:
    return TestClient(app, base_url=ADDRESS)


def headers(app: Guard, **changed: str | None) -> dict[str, str]:
    """Those of the page's own POST, some of them changed or left out."""
    usual: dict[str, str | None] = {
        "origin": ADDRESS,
        TOKEN_HEADER: app.token,
        "content-type": "application/json",
    }
    usual |= {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in usual.items() if value is not None}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8765", "127.0.0.1", "localhost:8765", "LOCALHOST", "[::1]:8765", "192.168.0.7:8765"]
)
def test_the_page_answers_to_addresses_and_to_localhost(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8765",
            "127.0.0.1.evil.example:8765",
            "localhost.evil.example",
            "",
            "127.0.0.1:x",
        ),
        *("user@127.0.0.1:8765", "127.0.0.1/evil", "[::1", "127.0.0.1:8765#x", "2130706433"),
    ],
)
def test_another_name_in_the_host_header_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "Host header" in answer.json()["error"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:8765",
        "http://127.0.0.1:8766",
        "http://localhost:8765",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_page_is_refused(client: TestClient, app: Guard, origin: str, method: str) -> None:
    path = "/" if method == "GET" else "/api/echo"
    answer = client.request(method, path, headers=headers(app, origin=origin))
    assert answer.status_code == 403
    assert answer.json() == {"error": "the request comes from another page"}


def test_a_post_needs_the_token_of_the_page(client: TestClient, app: Guard) -> None:
    assert client.post("/api/echo", headers=headers(app), content="{}").json() == {}
    for token in (None, "", "x", app.token[:-1]):
        answer = client.post("/api/echo", headers=headers(app, x_real2sim_token=token), content="{}")
        assert answer.status_code == 403
    page = client.get("/").text
    assert app.token in page
    other = local_app("label.html", {}, {}, {})
    assert other.token not in page


@pytest.mark.parametrize(
    ("changed", "status"), [("text/plain", 415), ("multipart/form-data", 415), (None, 415)]
)
def test_a_form_of_another_page_is_no_json(client: TestClient, app: Guard, changed: Any, status: int) -> None:
    answer = client.post("/api/echo", headers=headers(app, content_type=changed), content="{}")
    assert answer.status_code == status


def test_a_big_body_is_refused_before_it_is_read(client: TestClient, app: Guard) -> None:
    answer = client.post("/api/echo", headers=headers(app), content=b"x" * (LARGEST_BODY + 1))
    assert answer.status_code == 413
    endless = {**headers(app), "content-length": "9" * 5000}
    assert client.post("/api/echo", headers=endless, content=b"x").status_code == 413
    pieces = (b"x" * 1000 for _ in range(10))
    assert client.post("/api/echo", headers=headers(app), content=pieces).status_code == 413


@pytest.mark.parametrize(
    "body", ["", "[]", "nonsense", "1", "[" * 2000, '"\ud800"'.encode("utf-8", "replace"), b"\xff"]
)
def test_a_body_that_is_no_object_is_refused(client: TestClient, app: Guard, body: str | bytes) -> None:
    answer = client.post("/api/echo", headers=headers(app), content=body)
    assert answer.status_code == 400
    assert answer.json() == {"error": "the body is no JSON object"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(client: TestClient, app: Guard, method: str) -> None:
    assert client.request(method, "/", headers=headers(app)).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../server.py",
            "/static/%2e%2e%2fserver.py",
            "/static/..%2fguard.py",
            "/static//etc/passwd",
        ),
        *("/static/view.html", "/static/", "/etc/passwd", "/static/%00", "/static/label.html"),
    ],
)
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_answers_forbid_frames_foreign_scripts_and_caching(client: TestClient) -> None:
    for path in ("/", "/static/page.css", "/nothing"):
        answer = client.get(path)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_the_machines_name_is_known_only_where_others_may_come() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("192.168.0.7") and not is_loopback("robot.lab")
    assert allowed_names("127.0.0.1") == {"localhost", "127.0.0.1"}
    assert socket.gethostname().lower() in allowed_names("0.0.0.0")
