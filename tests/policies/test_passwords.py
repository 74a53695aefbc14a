"""A password in the address of a policy server is sent to it, and shown and written nowhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import ServerConnection

from real2sim.cli import main
from real2sim.policies.remote_options import read_address
from real2sim.policies.servers.policy_wire import pack_message
from real2sim.wording import without_password
from tests.policies.test_remote import raw_server

SECRET = "geheim"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ws://me:geheim@host:8000#execute=8", "ws://me:***@host:8000#execute=8"),
        ("far=wss://me:geheim@[::1]:8000/path", "far=wss://me:***@[::1]:8000/path"),
        ("'ws://me:geheim@host' and 'ws://you:geheim2@host'", "'ws://me:***@host' and 'ws://you:***@host'"),
        ("ws://me:geh@eim@host", "ws://me:***@host"),
        ("ws://me:geh#eim@host:1", "ws://me:***@host:1"),
        ("ws://me:geh/eim?@host:1", "ws://me:***@host:1"),
        ("ws://me:1234@host:1", "ws://me:***@host:1"),
        ("ws://geheim@host:1", "ws://***@host:1"),
        ("ws://:geheim@host", "ws://:***@host"),
        ("http://host/v1?api_key=geheim&model=m", "http://host/v1?api_key=***&model=m"),
        ("wss://host/?v=1&token=geheim#execute=8", "wss://host/?v=1&token=***#execute=8"),
        ("ws://host:8000#image_key=a@b", "ws://host:8000#image_key=a@b"),
        ("ws://[::1]:8000#image_key=a@b", "ws://[::1]:8000#image_key=a@b"),
        ("ws://host:8000, a@b", "ws://host:8000, a@b"),
        ("mail to a@b: see ws://host", "mail to a@b: see ws://host"),
    ],
)
def test_a_password_is_replaced_and_nothing_else(text: str, shown: str) -> None:
    assert without_password(text) == shown


@pytest.fixture
def guarded() -> Iterator[str]:
    """A server that asks for a password."""

    def answers(connection: ServerConnection) -> None:
        assert connection.request is not None
        given = connection.request.headers.get("Authorization", "")
        assert given == "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
        connection.send(pack_message({}))
        for _ in connection:
            connection.send(pack_message({"actions": np.zeros((1, 13), np.float32)}))

    with raw_server(answers) as place:
        yield place.replace("ws://", f"ws://me:{SECRET}@")


@pytest.mark.parametrize(
    ("name", "processes"), [("", "1"), pytest.param("mine:far=", "2", marks=pytest.mark.slow)]
)
def test_a_run_with_a_password_writes_it_nowhere(
    tiny_suite: Path,
    tmp_path: Path,
    guarded: str,
    name: str,
    processes: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    options = ["--suite", str(tiny_suite), "--starts", "1", "--lanes", "1", "--processes", processes]
    for _ in range(2):
        main(["rollout", "--out", str(out), "--policies", name + guarded, *options])
    main(["score", str(out)])
    main(["report", str(out), "--out", str(tmp_path / "report")])
    main(["check-policy", guarded, "--suite", str(tiny_suite)])
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        assert SECRET.encode() not in path.read_bytes(), path
    assert "me:***@" in (out / "run.json").read_text()


@pytest.mark.parametrize(
    "written",
    [
        "ws://me:geheim@127.0.0.1:1#patience=0",
        "ws://me:geheim@127.0.0.1:99999",
        "ws://me:geheim@127.0.0.1:1#unknown=1",
        "ws://me:geheim@127.0.0.1:1#execute=0",
        "ws://me:gehe#im@127.0.0.1:1",
        "zmq://me:geheim@127.0.0.1:5555",
        "http://me:geheim@127.0.0.1:5555",
        "ws:/me:geheim@127.0.0.1:5555",
        "a:=ws://me:geheim@127.0.0.1:5555",
    ],
)
def test_a_sentence_on_an_address_shows_no_password(
    tiny_suite: Path, tmp_path: Path, written: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["rollout", "--out", str(tmp_path / "run"), "--suite", str(tiny_suite), "--policies", written]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--starts", "1", "--processes", "1"])
    said = capfd.readouterr().err
    assert ended.value.code == 2
    assert "geheim" not in said
    assert "im@" not in said
    assert "***@" in said


def test_zmq_knows_no_passwords() -> None:
    with pytest.raises(
        ValueError, match=r"zmq://me:\*\*\*@h:1' is not an address such as zmq://127.0.0.1:5555"
    ):
        read_address("zmq://me:geheim@h:1")


def test_a_user_without_a_password_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"ws://\*\*\*@h:1' is .*: it names a user without a password"):
        read_address("ws://me@h:1")


def test_a_log_of_a_bug_holds_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("ws://me:geheim@host fell over")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("real2sim.evaluation.run.rollout", fails)
    with pytest.raises(SystemExit):
        main(["rollout", "--out", str(tmp_path / "run"), "--policies", "ws://me:geheim@host", "--traceback"])
    said = capfd.readouterr().err
    (log,) = tmp_path.glob("real2sim-*.log")
    assert "geheim" not in said + log.read_text()
    assert "ws://me:***@host fell over" in said
