"""Policies in Python files behind openpi's wire, as `real2sim serve-policy` puts them there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real2sim import cli
from real2sim.policies import serve
from real2sim.policies.remote import RemotePolicy
from real2sim.policies.servers.policy_wire import policy_server
from real2sim.simulation.observation import observe_frames

SOURCE = """
import numpy as np

class Counts:
    def __init__(self, robot):
        self.width = robot.action_width
    def reset(self, instructions):
        self.seen = 0
    def act(self, observation):
        self.seen += 1
        if self.seen > 3:
            raise RuntimeError("tired")
        action = np.zeros(self.width)
        action[10] = 0.01 * self.seen
        return [list(action)]

class Broken:
    def __init__(self, robot):
        raise KeyError("weights")
    reset = act = None
"""
FRAMES = np.zeros((2, 16, 16, 3), np.uint8)


@pytest.fixture
def place(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(SOURCE)
    return f"{tmp_path / 'mine.py'}:Counts"


def served(monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    """What `real2sim serve-policy` would serve."""
    found: dict[str, Any] = {}

    def keep(make: Callable[[], Any], greeting: dict[str, Any], host: str, port: int) -> None:
        found.update(make=make, greeting=greeting)

    monkeypatch.setattr(serve, "serve_forever", keep)
    cli.main(["serve-policy", *words])
    return found


def test_each_connection_has_a_python_policy_of_its_own(
    tiny_suite: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served(monkeypatch, place, "--suite", str(tiny_suite))
    with policy_server(found["make"], found["greeting"]) as server:
        policy = RemotePolicy("ws://{}:{}".format(*server.socket.getsockname()[:2]))
        policy.reset(["close drawer", "open drawer"])
        seen = [policy.act(observe_frames(FRAMES))[:, 10] for _ in range(3)]
        np.testing.assert_allclose(seen, [[0.01] * 2, [0.02] * 2, [0.03] * 2], rtol=1e-5)
        with pytest.raises(ValueError, match=r"failed in act: .*mine\.py, line 12: RuntimeError: tired"):
            policy.act(observe_frames(FRAMES))
        policy.close()


def test_the_policy_is_named_with_or_without_its_option(
    tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tiny_suite / "policies" / "late")
    for words in ([folder], ["--policy", folder], ["--port", "0", "--policy", folder]):
        assert served(monkeypatch, *words)["greeting"]["stateful"] is True


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("Nope", "has no 'Nope'"), ("Broken", "cannot be made|no method"), ("", "names no policy in the file")],
)
def test_a_python_policy_that_cannot_be_made_is_found_before_anybody_connects(
    tiny_suite: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    complaint: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        served(monkeypatch, place.replace("Counts", name), "--suite", str(tiny_suite))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert any(words in said for words in complaint.split("|")), said
    assert "mine.py" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["random", "--embeddings", "x.npz"], "--embeddings is for RT-1's SavedModel"),
        (["{place}", "--embeddings", "x.npz"], "--embeddings is for RT-1's SavedModel"),
        (["random", "--gripper-dead-zone", "0.5"], "--gripper-dead-zone is for RT-1's SavedModel"),
        (["random", "--host", "1.2.3.4"], "host '1.2.3.4' is no address of this machine"),
        (["random", "--port", "8000.5"], "--port: '8000.5' is no whole number"),
        (["random", "--gripper-dead-zone", "x"], "--gripper-dead-zone: 'x' is no number"),
        (["random", "--port", "{busy}"], "is in use by another program; choose another with --port"),
    ],
)
def test_options_that_this_policy_or_machine_cannot_have(
    place: str, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            cli.main(["serve-policy", *(word.format(place=place, busy=busy) for word in words)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
