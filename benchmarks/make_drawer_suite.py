"""Makes the drawer suite's start frames and the recordings of its scripted controllers (extra 'physics').

    python -m benchmarks.make_drawer_suite --out real2sim/assets/drawer
    python -m benchmarks.make_drawer_suite --out real2sim/assets/drawer --recorded data/world-heldout

The starts are drawn from seeds that no dataset uses.  The controllers act on the physics state; what they did is
replayed open loop, in physics and in the world model, from the same starts.  The second command picks the suite's
recorded episodes from held-out ones; physics is not needed for it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from real2sim.drawer.experts import FlawedExpert, Flaws
from real2sim.drawer.physics import (
    HORIZON,
    STATE_NAMES,
    STEP_METRES,
    TASKS,
    DrawerPhysics,
    DrawerStart,
    draw_starts,
)
from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.episodes.npz import dataset_files, dataset_robot
from real2sim.simulation.suite import REPLAYS_FILE, Start, Suite, SuiteConfig, Task, write_suite

START_SEED = 20_260
SAME_FRAME = 1.0
"""Mean difference in grey levels up to which two drawings of a scene count as the same; drivers differ a little."""
CONTROLLERS: dict[str, dict[str, Flaws]] = {
    "close_drawer": {
        "clean": Flaws(noise=0.05),
        "noisy": Flaws(noise=1.0),
        "random-steps": Flaws(noise=0.1, random=0.7),
        "small-steps": Flaws(noise=0.05, scale=0.3),
        "stops-early": Flaws(noise=0.05, stop=4),
        "beside-near": Flaws(noise=0.05, aim=(0.11, 0.0, 0.0)),
        "beside-far": Flaws(noise=0.05, aim=(-0.14, 0.0, 0.0)),
        "too-high": Flaws(noise=0.05, aim=(0.0, 0.0, 0.09)),
    },
    "open_drawer": {
        "clean": Flaws(noise=0.05),
        "noisy": Flaws(noise=0.35),
        "very-noisy": Flaws(noise=0.6),
        "random-steps": Flaws(noise=0.1, random=0.3),
        "small-steps": Flaws(noise=0.05, scale=0.6),
        "stops-early": Flaws(noise=0.05, stop=8),
        "beside-near": Flaws(noise=0.05, aim=(0.05, 0.0, 0.0)),
        "beside-far": Flaws(noise=0.05, aim=(-0.10, 0.0, 0.0)),
        "on-the-bar": Flaws(noise=0.05, aim=(0.0, 0.035, 0.0)),
    },
}
"""Ways to do each task worse than the expert."""
RECORDED = "recorded"
RECORDED_BY = ("expert", "scaled", "hesitant")
"""Controllers of the recorded episodes: those that do nothing but their task, well or slowly."""
RECORDED_PER_TASK = 8
KEPT = ("image", "action", "state", "state_names", "instruction", "task", "success", "controller")
"""Arrays of a recorded episode that the suite keeps."""


def main() -> None:
    """Write suite.json, start_frames.npz and replays.npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument(
        "--measure", action="store_true", help="only measure the states of the suite's starts"
    )
    parser.add_argument("--recorded", type=Path, help="only copy recorded episodes from this dataset folder")
    arguments = parser.parse_args()
    if arguments.recorded:
        copy_recorded(arguments.recorded, arguments.out / RECORDED)
        return
    if arguments.measure:
        measure_starts(arguments.out)
        return
    config = SuiteConfig(
        name="drawer",
        tasks=tuple(Task(name, instruction, HORIZON) for name, instruction in TASKS.items()),
        used_fields=("gripper_closedness_action", "terminate_episode", "world_vector"),
        limits={"world_vector": (-STEP_METRES, STEP_METRES)},
        real_source="MuJoCo physics",
    )
    physics = DrawerPhysics()
    starts: dict[str, list[Start]] = {}
    recordings: dict[str, np.ndarray] = {}
    for number, task in enumerate(config.tasks):
        drawn = draw_starts(task.name, arguments.starts, [START_SEED, number])
        starts[task.name] = [
            Start(
                task,
                f"{task.name}-{index:03d}",
                physics.reset(start),
                start.as_array(),
                measured=dict(zip(STATE_NAMES, map(float, physics.state), strict=True)),
            )
            for index, start in enumerate(drawn)
        ]
        for place, (name, flaws) in enumerate(CONTROLLERS[task.name].items()):
            actions = []
            for index, start in enumerate(tqdm(drawn, desc=f"{task.name} {name}")):
                controller = FlawedExpert(
                    task.name, flaws, np.random.default_rng([START_SEED, number, place, index])
                )
                physics.reset(start)
                for step in range(HORIZON):
                    actions.append(controller.act(step, physics.hand, physics.handle))
                    physics.act(actions[-1])
            recordings[f"{task.name}/{name}/actions"] = np.stack(actions).reshape(len(drawn), HORIZON, -1)
    write_suite(arguments.out, config, starts)
    write_arrays(arguments.out / REPLAYS_FILE, recordings)


def measure_starts(folder: Path) -> None:
    """Write the measured state of each start of a suite into it; ids, frames and physics states stay as they are.

    Raises ValueError if physics does not come to rest where a start frame shows it.
    """
    suite = Suite.from_folder(folder)
    physics = DrawerPhysics()
    starts: dict[str, list[Start]] = {}
    for task in suite.tasks:
        starts[task.name] = []
        for start in tqdm(suite.starts(task.name), desc=task.name):
            assert start.state is not None
            frame = physics.reset(DrawerStart.from_array(start.state))
            apart = np.abs(frame.astype(int) - start.frame).mean()
            if apart > SAME_FRAME:
                raise ValueError(
                    f"start {start.id}: physics shows another frame, {apart:.2f} levels apart on average"
                )
            measured = dict(zip(STATE_NAMES, map(float, physics.state), strict=True))
            starts[task.name].append(replace(start, measured=measured))
    write_suite(folder, suite.config, starts)


def copy_recorded(heldout: Path, out: Path) -> None:
    """Copy the first episodes of each task by the controllers ``RECORDED_BY``, without the experts' labels."""
    counts = dict.fromkeys(TASKS, 0)
    for path in dataset_files(heldout):
        episode = read_arrays(path, KEPT)
        task = str(episode["task"])
        if str(episode["controller"]) in RECORDED_BY and counts[task] < RECORDED_PER_TASK:
            counts[task] += 1
            write_arrays(out / path.name, episode)
    if set(counts.values()) != {RECORDED_PER_TASK}:
        raise ValueError(f"{heldout} has {counts} such episodes, expected {RECORDED_PER_TASK} of each task")
    dataset_robot(heldout).save(out)


if __name__ == "__main__":
    main()
