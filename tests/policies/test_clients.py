"""Clients of a served policy that send odd observations: each gets a sentence or the right actions, and the others
theirs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import connect

from real2sim.actions import rt1_robot
from real2sim.policies.serve import GREETING, PolicyLane
from real2sim.policies.servers.policy_wire import log, pack_message, policy_server, unpack_message
from real2sim.robot import Camera, Robot, StateNumber
from real2sim.simulation.observation import Observation
from tests.policies.test_remote import address

FRAME = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
ONE = replace(rt1_robot(), cameras=(Camera("front", 8, 6),))
TWO = replace(
    ONE,
    cameras=(Camera("front", 8, 6), Camera("wrist", 4, 4)),
    state=(StateNumber("elbow"), StateNumber("gripper")),
    state_from="model",
)
BOTH = {
    "observation/front": FRAME,
    "observation/wrist": FRAME[:4, :4],
    "observation/state": np.array([0.25, 0.5]),
}


class Sums:
    """Its action tells how often it was asked in this episode, and what it sees."""

    def reset(self, instructions: Sequence[str]) -> None:
        self.asked = 0

    def act(self, observation: Observation) -> np.ndarray:
        self.asked += 1
        seen = [frames.mean() / 256 for frames in observation.images.values()]
        state = [] if observation.state is None else [*observation.state[0], observation.state.itemsize / 8]
        values = [self.asked, *seen, *state]
        return np.array([values + [0.0] * (13 - len(values))])


class Fails(Sums):
    def act(self, observation: Observation) -> np.ndarray:
        raise ZeroDivisionError


@pytest.fixture(params=["one", "two"])
def robot(request: pytest.FixtureRequest) -> Robot:
    return {"one": ONE, "two": TWO}[request.param]


@pytest.fixture
def said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    monkeypatch.setattr(log, "propagate", True)
    with caplog.at_level(logging.INFO, logger=log.name):
        yield caplog


def asked(robot: Robot, *observations: dict[str, Any] | bytes | str, policy: type = Sums) -> list[Any]:
    """What a server answers to one client, question by question."""
    answers: list[Any] = []
    with (
        policy_server(lambda: PolicyLane(policy(), robot), GREETING) as server,
        connect(address(server), compression=None) as connection,
    ):
        connection.recv()
        for observation in observations:
            connection.send(pack_message(observation) if isinstance(observation, dict) else observation)
            answer = connection.recv(timeout=10)
            answers.append(answer if isinstance(answer, str) else unpack_message(answer)["actions"][0])
    return answers


def usual(robot: Robot, **more: Any) -> dict[str, Any]:
    found = {"observation/image": FRAME, "prompt": "close drawer"}
    return (
        found
        | (BOTH if robot is TWO else {})
        | {f"observation/{name}": value for name, value in more.items()}
    )


def right(robot: Robot, count: int = 1) -> np.ndarray:
    values = [count, FRAME.mean() / 256]
    values += [FRAME[:4, :4].mean() / 256, 0.25, 0.5, 0.5] if robot is TWO else []
    return np.array(values + [0.0] * (13 - len(values)), np.float32)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"joint_position": np.zeros(7), "gripper_position": np.zeros(1, np.float32)},
        {"other_camera": FRAME[:2]},
        {"image": np.asfortranarray(FRAME)},
    ],
)
def test_what_the_policy_does_not_look_at_may_be_sent_too(robot: Robot, more: dict[str, Any]) -> None:
    (answer,) = asked(robot, usual(robot, **more))
    np.testing.assert_allclose(answer, right(robot), rtol=1e-6)


@pytest.mark.parametrize("frame", [np.kron(FRAME, np.ones((2, 2, 1), np.uint8)), FRAME[:7], FRAME[:1, :1]])
def test_a_frame_of_another_size_than_the_robots_is_no_crop_of_it(robot: Robot, frame: np.ndarray) -> None:
    name = "image" if robot is ONE else "front"
    (answer,) = asked(robot, usual(robot, **{name: frame}))
    assert "frames of camera 'front' are uint8" in answer
    assert "expected uint8 (1, 8, 6, 3)" in answer


@pytest.mark.parametrize("state", [np.zeros(1), np.zeros(3), np.zeros(0)])
def test_a_state_of_another_length_is_refused(state: np.ndarray) -> None:
    (answer,) = asked(TWO, usual(TWO, state=state))
    assert "observation/state has" in answer
    assert "expected the 2 of robot" in answer
    assert "elbow, gripper" in answer


def test_a_robot_without_a_state_is_shown_none() -> None:
    (answer,) = asked(ONE, usual(ONE, state=np.ones(3)))
    np.testing.assert_allclose(answer, right(ONE), rtol=1e-6)


@pytest.mark.parametrize("wrong", ["hello", b"\xc1", {"prompt": "close drawer"}, {"prompt": 3}])
def test_a_malformed_question_does_not_begin_the_episode_anew(robot: Robot, wrong: Any) -> None:
    answers = asked(robot, usual(robot), wrong, usual(robot))
    assert isinstance(answers[1], str)
    np.testing.assert_allclose(answers[2], right(robot, 2), rtol=1e-6)


def test_a_mistake_of_a_client_is_one_line_of_the_log_and_an_error_of_the_policy_a_traceback(
    said: pytest.LogCaptureFixture,
) -> None:
    asked(ONE, "hello", {"\x1b[31mred": 1}, usual(ONE, image=FRAME[:2]))
    lines = [record for record in said.records if record.levelno >= logging.WARNING]
    assert [record.exc_info for record in lines] == [None] * 3
    assert r"it holds \x1b[31mred" in lines[1].getMessage()
    assert "action_checks" not in lines[2].getMessage()
    said.clear()
    asked(ONE, usual(ONE), policy=Fails)
    assert any(record.exc_info for record in said.records)
