"""Does the drawer stay where it is when the robot does nothing?

    python -m benchmarks.still_robot --suite drawer

Every start of every task is rolled out with actions of zero.  The judge's joint regression says where the drawer
stands in the first and in the last frame; it stayed if the two differ by less than a tolerance.  Prints counts with
Wilson intervals.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from real2sim.actions import WIDTH
from real2sim.report.rates import wilson
from real2sim.simulation.suite import load_suite
from real2sim.success.classifier import SuccessClassifier
from real2sim.vid2world.load import MODEL
from real2sim.worlds import open_world

TOLERANCE = 0.02
"""Metres; the judge's own error on physics frames is a few millimetres."""


def main() -> None:
    """Print, per task, in how many episodes the drawer stayed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="drawer")
    parser.add_argument("--world", default=MODEL)
    parser.add_argument("--starts", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    suite = load_suite(arguments.suite)
    world = open_world(arguments.world, suite)
    judge = SuccessClassifier.from_folder(suite.folder / "judge")
    for task in suite.tasks:
        starts = suite.starts(task.name, arguments.starts)
        state = world.reset(starts, range(len(starts)))
        films = [np.stack([start.frame for start in starts])]
        for _ in range(task.horizon):
            frames, state = world.step(state, np.zeros((len(starts), 1, WIDTH), np.float32))
            films.append(frames)
        film = np.stack(films, axis=1)
        instructions = [task.instruction] * len(starts)
        moved = np.abs(judge.joint(film, instructions) - judge.joint(film[:, :1], instructions))
        stayed, false_success = (
            int((moved < TOLERANCE).sum()),
            int((judge.probability(film, instructions) >= 0.5).sum()),
        )
        low, high = (float(bound) for bound in wilson(np.array(stayed), np.array(len(starts))))
        print(
            f"{task.name}: the drawer stayed within {TOLERANCE * 1000:.0f} mm in {stayed}/{len(starts)} "
            f"episodes (95 % {low:.3f} to {high:.3f}); largest motion {moved.max() * 1000:.0f} mm; "
            f"called a success: {false_success}"
        )


if __name__ == "__main__":
    main()
