"""The SO-101 in physics: marked `physics`, since it needs the extra [so101] and headless rendering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.cli import main
from real2sim.episodes.lerobot.dataset import LeRobotDataset
from real2sim.simulation.suite import load_suite
from real2sim.so101.experts import FlawedExpert, Flaws
from real2sim.so101.physics import (
    ACTIONS_PER_FRAME,
    HORIZON,
    LIFTED_ABOVE,
    TASKS,
    SO101Physics,
    SO101Start,
    is_success,
)
from real2sim.so101.record import ALL, CONTACT, MIXES, TURNED, WIDE, RecordSO101, record, record_episode
from real2sim.so101.scene import BLOCK, TRAY
from real2sim.so101.world import SO101World

pytestmark = pytest.mark.physics
MIDDLE = SO101Start((-8.0, -30.0, 25.0, 75.0, 0.0, 30.0), (0.22, -0.04, 10.0))


@pytest.fixture(scope="module")
def physics() -> SO101Physics:
    return SO101Physics()


@pytest.mark.parametrize("task", list(TASKS))
def test_the_expert_does_its_task_from_different_starts(physics: SO101Physics, task: str) -> None:
    for number in range(3):
        rng = np.random.default_rng([3, number])
        physics.reset(SO101Start.draw(rng))
        expert = FlawedExpert(task, Flaws(), physics, rng)
        for step in range(HORIZON * ACTIONS_PER_FRAME):
            physics.act(expert.act(step, physics.tool, physics.block))
        assert is_success(task, physics.block)


def test_an_expert_that_aims_beside_the_block_does_not_lift_it(physics: SO101Physics) -> None:
    physics.reset(MIDDLE)
    expert = FlawedExpert("lift_block", Flaws(aim=(0.0, 0.07, 0.0)), physics, np.random.default_rng(0))
    for step in range(HORIZON * ACTIONS_PER_FRAME):
        physics.act(expert.act(step, physics.tool, physics.block))
    assert not is_success("lift_block", physics.block)


def test_success_is_decided_by_the_place_of_the_block() -> None:
    on_table, in_tray = np.array([0.22, 0.0, BLOCK, 0.0]), np.array([*TRAY, BLOCK, 0.0])
    above = np.array([*TRAY, LIFTED_ABOVE + 0.01, 0.0])
    places = np.stack([on_table, in_tray, above])
    assert is_success("push_block", places).tolist() == [False, True, False]
    assert is_success("lift_block", places).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="unknown task 'stack'"):
        is_success("stack", on_table)


def test_an_arm_that_is_told_to_stay_stays(physics: SO101Physics) -> None:
    physics.reset(MIDDLE)
    before = physics.state
    for _ in range(45):
        physics.act(np.array(MIDDLE.joints))
    assert np.abs(physics.state - before).max() < 0.05
    assert np.abs(before - np.array(MIDDLE.joints)).max() < 0.05


def test_degrees_and_percent_are_those_of_the_joints(physics: SO101Physics) -> None:
    assert physics.low[5] == pytest.approx(0) and physics.high[5] == pytest.approx(100)
    numbers = np.array([10.0, -20.0, 30.0, -40.0, 50.0, 25.0])
    assert np.allclose(physics.from_radians(physics.to_radians(numbers)), numbers)
    # The gripper's joint goes from -10 to 100 degrees.
    assert np.degrees(physics.to_radians(numbers)[5]) == pytest.approx(17.5, abs=0.01)


def test_a_restored_snapshot_goes_on_as_if_nothing_had_happened(physics: SO101Physics) -> None:
    commands = np.array(MIDDLE.joints) + np.random.default_rng(0).normal(0, 5, (12, 6)).cumsum(axis=0)
    physics.reset(MIDDLE)
    for command in commands[:6]:
        physics.act(command)
    snapshot = physics.snapshot()
    ends = []
    other = SO101Physics()
    for robot in (physics, other):
        robot.restore(snapshot)
        for command in commands[6:]:
            robot.act(command)
        ends.append((robot.state, robot.block, robot.render(64)["wrist"]))
    for mine, theirs in zip(*ends, strict=True):
        assert np.array_equal(mine, theirs)


def test_every_kind_of_controller_can_act(physics: SO101Physics) -> None:
    for number, kind in enumerate(ALL | WIDE | CONTACT | TURNED):
        episode = record_episode(physics, 9, number, {kind: 1.0})
        assert episode.kind == kind
        assert np.isfinite(episode.action).all()
    assert sum(ALL.values()) == pytest.approx(1.0)
    assert all(sum(kinds.values()) == pytest.approx(1.0) for kinds in MIXES.values())


def test_jaws_that_are_turned_against_the_block_turn_it(physics: SO101Physics) -> None:
    lifts = [
        record_episode(physics, 12, number, {"turned": 1.0}, ("lift_block",)).environment[:, :4]
        for number in range(6)
    ]
    reached = [places[:, 2].max() > 0.055 for places in lifts]
    turned = [np.ptp(places[:, 3]) > 10.0 for places in lifts]
    assert sum(reached) >= 3
    assert sum(turned) >= 3


def test_a_recording_holds_the_tasks_that_are_asked_for(physics: SO101Physics, tmp_path: Path) -> None:
    both = [record_episode(physics, 3, number, {"still": 1.0}).task for number in range(2)]
    assert both == ["push_block", "lift_block"]
    assert record_episode(physics, 3, 0, {"still": 1.0}, ("lift_block",)).task == "lift_block"
    for tasks in ((), ("stack",), ("lift_block", "lift_block")):
        with pytest.raises(ValueError, match="expected different ones of push_block, lift_block"):
            RecordSO101(tmp_path, tasks=tasks)
    assert record(RecordSO101(tmp_path, episodes=1, seed=4, tasks=("lift_block",))) == 1
    with pytest.raises(ValueError, match="was recorded with tasks = "):
        record(RecordSO101(tmp_path, episodes=1, seed=4))


def test_a_whole_motion_elsewhere_rarely_moves_the_block(physics: SO101Physics) -> None:
    episodes = [record_episode(physics, 11, number, {"elsewhere": 1.0}) for number in range(6)]
    moved = [np.linalg.norm(np.ptp(episode.environment[:, :2], axis=0)) > 0.01 for episode in episodes]
    assert sum(moved) <= 2
    for episode in episodes:
        assert np.ptp(episode.state[:, :5], axis=0).max() > 20, "the arm moves"


def test_a_recording_that_was_stopped_goes_on_with_the_episodes_that_are_missing(tmp_path: Path) -> None:
    assert record(RecordSO101(tmp_path / "parts", episodes=1, seed=4)) == 1
    with pytest.raises(ValueError, match="was recorded with seed = 4, now 5 is asked for"):
        record(RecordSO101(tmp_path / "parts", episodes=2, seed=5))
    assert record(RecordSO101(tmp_path / "parts", episodes=2, seed=4)) == 1
    record(RecordSO101(tmp_path / "whole", episodes=2, seed=4))
    parts, whole = LeRobotDataset(tmp_path / "parts"), LeRobotDataset(tmp_path / "whole")
    assert len(parts) == len(whole) == 2
    for number in range(2):
        assert np.array_equal(parts.rows(number).action, whole.rows(number).action)
        assert np.array_equal(parts.rows(number).state, whole.rows(number).state)


def test_from_a_recording_to_a_suite_in_which_physics_repeats_it(tmp_path: Path) -> None:
    recording, data, suite = tmp_path / "recording", tmp_path / "data", tmp_path / "suite"
    commands = (
        f"record-so101 --out {recording} --episodes 4 --seed 6 --mix demonstrations",
        f"convert lerobot {recording} --out {data} --cameras front wrist --size 64 64 --hz 3 --processes 1 "
        "--units deg deg deg deg deg percent --state-from model --success-at-every-frame",
        f"suite make {data} --out {suite} --starts 2 --physics so101 --task push_block=push lift_block=lift",
    )
    for command in commands:
        main(command.split())
    found = load_suite(suite)
    world = SO101World()
    for task in found.tasks:
        starts = found.starts(task.name)
        lanes = world.reset(starts, [0, 0])
        assert np.allclose(world.robot_state(lanes), [start.robot_state for start in starts], atol=0.02)
        for step in range(task.horizon):
            frames, lanes = world.step(lanes, found.replays(task.name)["recorded"][:, step])
        assert world.outcomes(lanes).all()
        assert frames.shape == (2, 64, 128, 3)
