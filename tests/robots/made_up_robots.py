"""Robots other than RT-1's, with datasets and suites of noise: real files of every kind at toy size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from real2sim.episodes.arrays import write_arrays
from real2sim.robot import ActionNumber, Camera, Robot, StateNumber
from real2sim.simulation.suite import Start, SuiteConfig, Task, write_suite

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
SIX_JOINTS = Robot(
    name="six joints",
    action=tuple(ActionNumber(f"{name}.pos", -100, 110, "deg") for name in JOINTS),
    action_kind="absolute",
    control_hz=30,
    actions_per_frame=5,
    cameras=(Camera("front", 24, 32), Camera("wrist", 16, 16)),
    state=tuple(StateNumber(f"{name}.pos", "deg") for name in JOINTS),
    state_from="action",
)
"""Six absolute joint targets at 30 Hz, five per frame, two cameras of unequal size, a state."""

ARMS = tuple(
    f"{side}_{joint}" for side in ("left", "right") for joint in (*JOINTS[:5], "wrist_rotate", "gripper")
)
TWO_ARMS = Robot(
    name="two arms",
    action=tuple(ActionNumber(name, -3.2, 3.2, "rad") for name in ARMS),
    action_kind="absolute",
    control_hz=50,
    actions_per_frame=2,
    world_action="last",
    cameras=(Camera("top", 16, 24),),
    state=tuple(StateNumber(name, "rad") for name in ARMS),
    state_from="action",
)
"""Fourteen absolute joint targets at 50 Hz, of which the world model is told every second."""

TASKS = (Task("lift", "lift the cube", 3), Task("push", "push the cube", 2))


def canvases(robot: Robot, count: int, rng: np.random.Generator) -> np.ndarray:
    """Frames uint8 (count h w 3) of all cameras."""
    images = {
        camera.name: rng.integers(0, 256, (count, camera.height, camera.width, 3), dtype=np.uint8)
        for camera in robot.cameras
    }
    return robot.canvas(images)


def write_dataset(folder: Path, robot: Robot, lengths: tuple[int, ...] = (6, 8, 7, 9)) -> Path:
    """Episodes of different lengths with everything that the trainings read, and ``robot.json``."""
    folder.mkdir(parents=True)
    robot.save(folder)
    rng = np.random.default_rng(0)
    for index, length in enumerate(lengths):
        task = TASKS[index % 2]
        actions = rng.uniform(robot.low, robot.high, (length, robot.actions_per_frame, robot.action_width))
        write_arrays(
            folder / f"{index:03d}.npz",
            {
                "image": canvases(robot, length, rng),
                "action": robot.recorded(actions).astype(np.float32),
                "state": rng.uniform(-1, 1, (length, len(robot.state))).astype(np.float32),
                "instruction": np.array(task.instruction),
                "task": np.array(task.name),
                "success": np.array(index >= 2),
            },
        )
    return folder


def write_robot_suite(folder: Path, robot: Robot) -> Path:
    """A suite with two tasks of two starts each, and ``robot.json``."""
    rng = np.random.default_rng(1)
    starts = {}
    for task in TASKS:
        frames = canvases(robot, 2, rng)
        state = rng.uniform(-1, 1, len(robot.state)).astype(np.float32) if robot.state else None
        starts[task.name] = [Start(task, str(i), frames[i], robot_state=state) for i in range(2)]
    write_suite(folder, SuiteConfig(robot.name, TASKS, real_source="made up"), starts, robot)
    return folder
