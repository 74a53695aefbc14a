"""The policies of the SO-101 that test a world model and are not shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import so101_controllers, so101_learned
from real2sim.episodes.arrays import write_arrays
from real2sim.policies.policy import observe
from real2sim.simulation.suite import load_suite
from real2sim.so101.physics import TASKS


def test_the_block_is_found_where_it_is() -> None:
    suite, missed = load_suite("so101"), []
    for task in TASKS:
        for start in suite.starts(task):
            found = so101_controllers.find_block(suite.robot.images(start.frame[None])["front"][0])
            assert found is not None
            place = dict(start.measured)
            missed.append(np.hypot(found[0] - place["block.x"], found[1] - place["block.y"]))
    assert len(missed) == 200
    assert max(missed) < 0.008
    assert so101_controllers.find_block(np.full((64, 64, 3), 90, np.uint8)) is None


@pytest.mark.parametrize("make", [so101_learned.Nearest, so101_learned.Filters, so101_learned.Replayed])
def test_recorded_frames_are_answered_with_what_was_done_there(
    make: type[so101_learned.Nearest | so101_learned.Filters | so101_learned.Replayed],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = load_suite("so101").robot
    robot.save(tmp_path)
    rng = np.random.default_rng(0)
    low, high = (np.array([getattr(number, end) for number in robot.action]) for end in ("low", "high"))
    episodes = []
    for number, instruction in enumerate(TASKS.values()):
        episodes.append(
            {
                "image": rng.integers(0, 256, (6, 64, 128, 3), dtype=np.uint8),
                "state": rng.normal(0, 20, (6, 6)).astype(np.float32),
                "action": rng.uniform(low, high, (6, 5, 6)).astype(np.float32),
                "instruction": np.array(instruction),
            }
        )
        write_arrays(tmp_path / f"{number:06d}.npz", episodes[-1])
    monkeypatch.setattr(so101_learned, "DEMONSTRATIONS", tmp_path)
    options = {so101_learned.Nearest: {"count": 1}, so101_learned.Filters: {"ridge": 1e-6}}
    policy = make(**options.get(make, {}))
    policy.reset(list(TASKS.values()))
    for moment in range(5):
        frames = np.stack([episode["image"][moment] for episode in episodes])
        states = np.stack([episode["state"][moment] for episode in episodes])
        answers = policy.act(observe(robot, frames, list(TASKS.values()), states))
        done = np.stack([episode["action"][moment] for episode in episodes])
        assert np.abs(answers - done).max() < 0.1
