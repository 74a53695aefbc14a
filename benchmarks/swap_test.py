"""What of a drawn frame misleads policies: they act in physics, on frames of which parts are drawn by a world model.

    python -m benchmarks.swap_test --policies development/recurrent development/pixels development/pixels-slow

For a world model that draws frames from states, here the drawer's.  Each policy is shown real frames, frames drawn
from the states that the model predicts from the executed actions, and frames drawn from the states of physics: whole
ones, and ones of which the arm, all but the arm, or only the fingers are drawn.  What it then achieves in physics says
where the damage lies: in the prediction of states, on the arm, or on drawer and handle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
import tyro
from scipy.ndimage import binary_dilation

from benchmarks.development_policies.members import load_member
from real2sim.drawer.physics import DrawerPhysics, DrawerStart, PhysicsState, is_success
from real2sim.files import write_text
from real2sim.simulation.loop import Job, episode_seed, play
from real2sim.simulation.suite import Start, load_suite
from real2sim.vid2world.lane_state import WorldState
from real2sim.vid2world.load import MODEL
from real2sim.vid2world.world_model import WorldModel
from real2sim.worlds import model_folder

View = Literal[
    "real frames", "drawn from predicted states", "drawn from real states", "real arm, the rest drawn",
    "drawn arm, the rest real", "only the fingers drawn",
]  # fmt: skip
VIEWS: tuple[View, ...] = get_args(View)
FINGERS = ("rightclaw", "rightpad", "leftclaw", "leftpad")


@dataclass(frozen=True)
class SwapTest:
    """Let policies act in physics on frames of which parts are drawn."""

    policies: tuple[Path, ...]
    """Folders of members of the development set."""
    starts: int = 20
    """Start frames per task."""
    views: tuple[View, ...] = VIEWS
    """What is shown."""
    world: str = MODEL
    """World model folder; by default the built-in suite's."""
    out: Path | None = None
    """CSV file of the rates."""


@dataclass(frozen=True)
class SwappedLanes:
    """Physics and world model of the same lanes."""

    physics: tuple[PhysicsState, ...]
    done: tuple[bool, ...]
    tasks: tuple[str, ...]
    drawn: WorldState

    def select(self, indices: Sequence[int]) -> SwappedLanes:
        """The state of some lanes only, in the given order."""
        return SwappedLanes(
            tuple(self.physics[i] for i in indices),
            tuple(self.done[i] for i in indices),
            tuple(self.tasks[i] for i in indices),
            self.drawn.select(indices),
        )

    def join(self, other: SwappedLanes) -> None:
        """Lanes are never added later here."""


class SwappedWorld:
    """Physics that shows one of the ``VIEWS`` of itself."""

    name = "mujoco"
    frame_passes_per_frame = 1

    def __init__(self, physics: DrawerPhysics, model: WorldModel, view: View) -> None:
        self.physics, self.model, self.view = physics, model, view

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> SwappedLanes:
        """Lanes that stand at their starts."""
        snapshots = []
        for start in starts:
            assert start.state is not None
            self.physics.reset(DrawerStart.from_array(start.state))
            snapshots.append(self.physics.snapshot())
        states = np.array([[start.measured[name] for name in self.model.state_names] for start in starts])
        drawn = self.model.reset(
            np.stack([start.frame for start in starts]), seeds, states.astype(np.float32)
        )
        tasks = tuple(start.task.name for start in starts)
        return SwappedLanes(tuple(snapshots), (False,) * len(starts), tasks, drawn)

    def step(self, state: SwappedLanes, actions: np.ndarray) -> tuple[np.ndarray, SwappedLanes]:
        """What is shown, uint8 (b 64 64 3), and the state, after actions (b 1 13)."""
        shown, snapshots, done, states, masks = [], [], [], [], []
        for snapshot, task, action in zip(state.physics, state.tasks, actions, strict=True):
            self.physics.restore(snapshot)
            shown.append(self.physics.step(action[0]))
            snapshots.append(self.physics.snapshot())
            done.append(bool(is_success(task, self.physics.drawer)))
            states.append(self.physics.state)
            masks.append(self.drawn_pixels())
        drawn, after = self.model.step(state.drawn, actions[:, 0])
        if self.view != VIEWS[1]:
            drawn = draw(self.model, state.drawn, np.stack(states))
        frames = np.where(np.stack(masks)[..., None], drawn, np.stack(shown))
        return frames, SwappedLanes(tuple(snapshots), tuple(done), state.tasks, after)

    def drawn_pixels(self) -> np.ndarray:
        """Which pixels of the present frame are drawn, bool (64 64)."""
        if self.view in VIEWS[:3]:
            return np.full((64, 64), self.view != VIEWS[0])
        of_arm = self.physics.shows(FINGERS if self.view == VIEWS[5] else self.physics.arm)
        near: np.ndarray = binary_dilation(of_arm)
        return ~near if self.view == VIEWS[3] else near

    def robot_state(self, state: SwappedLanes) -> None:
        """The drawer robot's policies are given no state."""

    def outcomes(self, state: SwappedLanes) -> np.ndarray:
        """Whether each lane's task is done in physics, bool (b,)."""
        return np.array(state.done)


@torch.inference_mode()
def draw(model: WorldModel, lanes: WorldState, states: np.ndarray) -> np.ndarray:
    """Frames uint8 (b h w 3) in which the robot has ``states`` (b numbers)."""
    latents = model.rendered(model.unet, lanes.condition, torch.from_numpy(states)[:, None])[0]
    frames: np.ndarray = model.first_stage.decode(model.first_stage.clamp(latents))[:, 0].numpy()
    return frames


def swap_test(config: SwapTest) -> pd.DataFrame:
    """Success rates in physics: one row per view, policy and task."""
    suite = load_suite("drawer")
    model = WorldModel.from_folder(model_folder(config.world, suite))
    physics, rows = DrawerPhysics(), []
    for folder in config.policies:
        for view in config.views:
            for task in suite.tasks:
                starts = list(suite.starts(task.name))[: config.starts]
                jobs = [Job(folder.name, s, episode_seed(0, suite.name, task.name, s.id)) for s in starts]
                world = SwappedWorld(physics, model, view)
                ended = list(play(world, load_member(folder), suite, jobs))
                rate = float(np.mean([bool(episode.success) for episode in ended]))
                rows.append(
                    {"view": view, "policy": folder.name, "task": task.name, "rate": rate, "n": len(ended)}
                )
            print(
                *(f"{row['view']}: {row['policy']} {row['task']} {row['rate']:.2f}" for row in rows[-2:]),
                sep="\n",
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = tyro.cli(SwapTest, description=__doc__)
    found = swap_test(asked)
    if asked.out is not None:
        write_text(asked.out, found.to_csv(index=False))
    print(found.pivot_table(index="view", columns=["policy", "task"], values="rate", sort=False).to_string())
