"""`check-policy`: what a policy is given, what it answers, and which mistakes are told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real2sim.cli import main
from real2sim.episodes.arrays import write_arrays
from real2sim.evaluation.check_policy import CheckPolicy, check_lines, check_policy
from real2sim.evaluation.policy_answers import find_warnings
from real2sim.policies.policy import Observation
from real2sim.policies.serve import GREETING, PolicyLane
from real2sim.policies.servers.policy_wire import policy_server
from real2sim.robot import ActionNumber, Camera, Robot, StateNumber
from real2sim.simulation.suite import Start, SuiteConfig, Task, write_suite

HAND = Robot(
    name="hand",
    action=(
        ActionNumber("x", -0.1, 0.1, "m"),
        ActionNumber("y", -0.1, 0.1, "m"),
        ActionNumber("z", -0.1, 0.1, "m"),
        ActionNumber("yaw", -0.5, 0.5, "rad"),
        ActionNumber("gripper", 0, 1),
    ),
    control_hz=5,
    cameras=(Camera("front", 16, 16), Camera("wrist", 16, 16)),
    state=(StateNumber("height", "m"),),
    state_from="model",
)
LENGTH, EPISODES = 12, 6
Change = Callable[[np.ndarray], np.ndarray]


def write_recorded(folder: Path) -> Path:
    """Episodes whose frames tell what was done in them."""
    folder.mkdir(parents=True)
    HAND.save(folder)
    rng = np.random.default_rng(0)
    for number in range(EPISODES):
        actions = rng.uniform(-0.05, 0.05, (LENGTH, 5)).astype(np.float32)
        actions[:, 3] *= 4
        actions[:, 4] = np.arange(LENGTH) >= rng.integers(3, 9)
        frames = np.zeros((LENGTH, 16, 32, 3), np.uint8)
        frames[:, 0, :5, 0] = np.round(actions / [0.05, 0.05, 0.05, 0.2, 1] * 100 + 128)
        write_arrays(
            folder / f"{number}.npz",
            {
                "image": frames,
                "action": actions,
                "state": rng.uniform(0, 1, (LENGTH, 1)).astype(np.float32),
                "instruction": np.array("lift the cube"),
            },
        )
    return folder


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    task = Task("lift", "lift the cube", 4)
    frames = np.zeros((2, 16, 32, 3), np.uint8)
    starts = [Start(task, str(i), frames[i], robot_state=np.zeros(1, np.float32)) for i in range(2)]
    write_suite(folder, SuiteConfig("lifting", (task,), real_source="made up"), {"lift": starts}, HAND)
    write_recorded(folder / "recorded")
    return folder


class Reads:
    """Does what the frame says was done, with a little noise, in a convention of its own."""

    def __init__(self, change: Change = lambda actions: actions) -> None:
        self._change, self._rng = change, np.random.default_rng(1)

    def reset(self, instructions: Sequence[str]) -> None:
        self.instructions = instructions

    def act(self, observation: Observation) -> np.ndarray:
        said = (observation.frames[:, 0, :5, 0].astype(np.float32) - 128) / 100
        said *= [0.05, 0.05, 0.05, 0.2, 1]
        said[:, :4] *= 1 + 0.1 * self._rng.standard_normal((len(said), 4))
        return self._change(said.astype(np.float32))


def swapped(actions: np.ndarray) -> np.ndarray:
    return actions[:, [1, 0, 2, 3, 4]]


def scaled(place: int, factor: float, offset: float = 0) -> Change:
    def change(actions: np.ndarray) -> np.ndarray:
        actions[:, place] = actions[:, place] * factor + offset
        return actions

    return change


def warnings(suite: Path, change: Change) -> tuple[str, ...]:
    return check_policy(CheckPolicy("mine", str(suite)), {"mine": Reads(change)}).warnings


def test_a_policy_in_the_robot_s_own_convention_gets_no_warning(suite: Path) -> None:
    check = check_policy(CheckPolicy("mine", str(suite)), {"mine": Reads()})
    assert check.warnings == ()
    assert check.source == f"10 moments of 6 recorded episodes in {suite / 'recorded'}"
    text = check_lines(check)
    for line in (
        "camera 'wrist': 16 x 16, 0 to 0, mean 0",
        "state height [m]: 0.",
        "instruction: 'lift the cube'",
        "it is to answer 1 x 5 numbers per frame (delta, 5 per second): x, y, z, yaw, gripper",
        "correlation (10 moments)",
        "No sign, scale, gripper or frame looks wrong",
    ):
        assert line in text
    x = check.numbers[0]
    assert x.correlation is not None
    assert x.correlation > 0.98
    assert check.recorded is not None
    assert x.recorded_mean == pytest.approx(check.recorded[..., 0].mean())
    assert x.high == pytest.approx(check.answered[..., 0].max())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (scaled(4, -1, 1), "gripper does the opposite of what was recorded"),
        (scaled(3, 180 / np.pi), "yaw: .* times as large as recorded: degrees where radians are expected"),
        (scaled(0, 1000), "x: .* times as large as recorded: millimetres where metres are expected"),
        (scaled(2, 0.001), "z: .* as large as recorded: metres where millimetres are expected"),
        (swapped, "x and y look swapped: each follows what was recorded of the other"),
        (lambda actions: scaled(0, -1)(swapped(actions)), "x and y look swapped, with signs turned"),
        (scaled(1, -1), r"y runs against what was recorded \(correlation -(0.9\d|1.00), 10 moments\)"),
        (scaled(0, 0), "x is always 0, and not in what was recorded"),
        (scaled(1, 10), r"y: .* times as large as recorded: another scale"),
        (scaled(1, 1, 1), r"10 of 10 answers are outside the robot's bounds, .*: y .* \(allowed is -0.1 to 0.1\)"),
    ],
)  # fmt: skip
def test_a_wrong_convention_is_told(suite: Path, change: Change, said: str) -> None:
    found = warnings(suite, change)
    assert any(re.search(said, warning) for warning in found), found


def test_axes_that_a_weak_policy_exchanges_are_told_with_enough_moments() -> None:
    rng = np.random.default_rng(0)
    recorded = rng.normal(0, 0.03, (60, 1, 3)).astype(np.float32)
    weak = (recorded + rng.normal(0, 0.05, recorded.shape)).clip(-0.1, 0.1).astype(np.float32)
    robot = replace(HAND, action=HAND.action[:3])
    assert not any("swapped" in text for text in find_warnings(weak, recorded, robot))
    (found,) = find_warnings(weak[..., [0, 2, 1]], recorded, robot)
    assert re.match(r"y and z look swapped: each follows what was recorded of the other", found)
    (found,) = find_warnings(weak[..., [1, 2, 0]] * [1, -1, 1], recorded, robot)
    assert re.match(
        r"x, y and z look swapped, with signs turned: x follows what was recorded of y \(0\.\d\d\), y follows .* of z "
        r"\(-0\.\d\d\), z follows what was recorded of x \(0\.\d\d\)",
        found,
    )


def test_what_the_observations_cannot_tell_is_said(suite: Path) -> None:
    class Vague(Reads):
        def act(self, observation: Observation) -> np.ndarray:
            actions = super().act(observation)
            actions[:, 1] = self._rng.normal(0, 0.03, len(actions))
            return actions

    check = check_policy(CheckPolicy("mine", str(suite)), {"mine": Vague()})
    assert check.too_weak == ("y",)
    assert "10 observations do not tell sign and order of y: " in check_lines(check)
    assert "do not tell" not in check_lines(check_policy(CheckPolicy("mine", str(suite)), {"mine": Reads()}))


def test_a_number_that_a_policy_hardly_moves_is_no_wrong_unit_but_all_of_a_unit_are() -> None:
    rng = np.random.default_rng(0)
    recorded = rng.normal(0, 0.03, (10, 1, 3)).astype(np.float32)
    answered = recorded + rng.normal(0, 0.005, recorded.shape).astype(np.float32)
    robot = replace(HAND, action=HAND.action[:3])
    idle = answered.copy()
    idle[..., 0] = rng.normal(0, 0.001, idle[..., 0].shape)
    assert find_warnings(idle.clip(-0.1, 0.1), recorded, robot) == []
    (found,) = find_warnings(answered / 57, recorded, robot)
    assert re.match(r"x, y, z: 0.01.* times as large as recorded: ", found)
    assert "degrees" not in found


def test_answers_that_follow_nothing_are_told() -> None:
    robot = replace(HAND, action=HAND.action[:4])
    waves = 2 * np.pi * np.arange(10)[:, None, None] / 10 * np.arange(1, 5)
    (found,) = find_warnings(0.05 * np.sin(waves), 0.05 * np.cos(waves), robot)
    assert re.match(
        r"nothing that it answers follows what was recorded \(largest correlation -?0\.00\)", found
    )


def test_a_gripper_that_is_constant_and_opposite_is_told() -> None:
    robot = replace(HAND, action=HAND.action[4:])
    recorded = np.zeros((10, 1, 1), np.float32)
    recorded[-1] = 1e-3
    for answered, count in ((np.ones_like(recorded), 1), (np.zeros_like(recorded) + 0.02, 0)):
        found = [
            text
            for text in find_warnings(answered, recorded, robot)
            if "gripper" in text and "turned" in text
        ]
        assert len(found) == count
    commands = np.full((10, 1, 1), -1, np.float32)
    signed = replace(HAND, action=(ActionNumber("gripper_closedness_action", -1, 1),))
    assert any("turned round" in text for text in find_warnings(-commands, commands, signed))
    assert find_warnings(commands, commands, signed) == []


@pytest.mark.slow
def test_a_good_policy_is_hardly_ever_warned_of() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        recorded = rng.normal(0, 0.03, (10, 1, 5)).astype(np.float32).clip(-0.09, 0.09)
        recorded[..., 4] = rng.random((10, 1)) < 0.5
        answered = recorded + rng.normal(0, 0.02, recorded.shape) * [1, 1, 1, 1, 0]
        alarms += bool(find_warnings(answered.clip(HAND.low, HAND.high), recorded, HAND))
    assert alarms <= 6


def test_flipped_swapped_and_degrees_are_found_in_noisy_answers() -> None:
    rng = np.random.default_rng(0)
    found = dict.fromkeys(("opposite", "swapped", "degrees"), 0)
    for _ in range(100):
        recorded = rng.normal(0, 0.03, (10, 1, 5)).astype(np.float32)
        recorded[..., 4] = np.arange(10)[:, None] >= 5
        answered = recorded + rng.normal(0, 0.01, recorded.shape)
        answered[..., 4] = 1 - recorded[..., 4]
        answered[..., 3] *= 57
        text = " ".join(find_warnings(answered[..., [1, 0, 2, 3, 4]], recorded, HAND))
        for word in found:
            found[word] += word in text
    assert min(found.values()) >= 95, found


def test_a_suite_without_recordings_says_so_and_shows_what_is_given(
    tiny_suite: Path, suite: Path, capsys: Any
) -> None:
    shutil.rmtree(suite / "recorded")
    main(["check-policy", "random", "--suite", str(suite)])
    text = capsys.readouterr().out
    assert "camera 'front': 16 x 16" in text
    assert "It answers on 2 first frames of suite 'lifting':" in text
    assert "The suite has no recorded actions to compare these with; name a dataset folder" in text
    assert "recorded mean" not in text


def test_first_frames_and_replays_serve_where_no_episodes_are_recorded(tiny_suite: Path, capsys: Any) -> None:
    main(["check-policy", "late", "--suite", str(tiny_suite), "--observations", "4"])
    text = capsys.readouterr().out
    assert "4 first frames of suite 'tiny', with the first actions of controller" in text
    assert "correlation (4 moments)" in text
    assert "4 moments are too few to say whether signs and frames are right" in text


def test_a_dataset_folder_can_be_named_and_must_be_of_the_suite_s_robot(suite: Path, tmp_path: Path) -> None:
    other = write_recorded(tmp_path / "other")
    check = check_policy(CheckPolicy("mine", str(suite), data=other, observations=6), {"mine": Reads()})
    assert check.source == f"6 moments of 6 recorded episodes in {other}"
    replace(HAND, control_hz=7).save(other)
    with pytest.raises(ValueError, match=r"do not fit: control_hz is 7.* in the one, 5"):
        check_policy(CheckPolicy("mine", str(suite), data=other), {"mine": Reads()})


def test_of_a_server_every_value_that_is_sent_is_shown(suite: Path) -> None:
    robot = replace(HAND)
    greeting = GREETING | {"action_names": list(robot.action_names)}
    with policy_server(lambda: PolicyLane(Reads(), robot), greeting) as server:
        place = "ws://{}:{}".format(*server.socket.getsockname()[:2])
        check = check_policy(CheckPolicy(f"far={place}", str(suite)))
    text = check_lines(check)
    for line in (
        "the server is sent:",
        "observation/image: uint8 16x16x3",
        "observation/wrist: uint8 16x16x3",
        "observation/state: float32 1, ",
        "prompt: 'lift the cube'",
    ):
        assert line in text
    assert check.warnings == ()


def test_what_cannot_be_checked_is_one_sentence(suite: Path, tiny_suite: Path, capsys: Any) -> None:
    class Wrong(Reads):
        def act(self, observation: Observation) -> np.ndarray:
            return np.full((1, 5), np.nan, np.float32)

    class Short(Reads):
        def act(self, observation: Observation) -> np.ndarray:
            return np.zeros((1, 4), np.float32)

    for policy, reason in (
        (Wrong(), "not finite"),
        (Short(), r"float32 \(1, 4\), expected numbers \(1, 5\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            check_policy(CheckPolicy("mine", str(suite)), {"mine": policy})
    for name, reason in (("shipped", "stands for 3 policies"), ("replay:all", "policies|plays recorded")):
        with pytest.raises(ValueError, match=reason):
            check_policy(CheckPolicy(name, str(tiny_suite)))
    with pytest.raises(SystemExit):
        main(["check-policy", "nobody", "--suite", str(tiny_suite)])
    assert "error: unknown policy 'nobody'" in capsys.readouterr().err
