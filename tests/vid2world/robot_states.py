"""Made-up robots for tests: a cart, its world models and episodes; an arm with several commands per frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from real2sim.actions import WIDTH
from real2sim.episodes.arrays import write_arrays
from real2sim.robot import Robot
from real2sim.robot_parts import ActionNumber, StateNumber
from real2sim.robot_parts import Camera as RobotCamera
from real2sim.vid2world.network.unet_config import UNetConfig
from real2sim.vid2world.pose_map import Camera, Line, Link, PoseMapConfig
from real2sim.vid2world.state_config import Command, StateConfig
from real2sim.vid2world.world_model_config import WorldModelConfig

NAMES = ("place", "target", "size", "colour")
"""``place`` follows ``target``; ``size`` never changes; ``colour`` drifts with another action."""
SIZE = 16

ARM = Robot(
    "arm",
    (ActionNumber("pan", -90.0, 90.0, "deg"), ActionNumber("grip", 0.0, 100.0, "percent")),
    "absolute",
    control_hz=6.0,
    actions_per_frame=2,
    cameras=(RobotCamera("front", 16, 16), RobotCamera("wrist", 16, 16)),
    state=(StateNumber("pan", "deg"), StateNumber("grip", "percent")),
    state_from="model",
)


def state_config(*, drawn: bool = True) -> StateConfig:
    pose_map = PoseMapConfig(
        links=(Link("cart", None, (0, 0, 0), joint="place", moves="slide", axis=(1, 0, 0)),),
        lines=(Line(0, "cart", (0, -0.3, 0), (0, 0.3, 0), 0.2),),
        camera=Camera((0, 0, 2), (0, 0, -1), (0, 1, 0), 90),
    )
    return StateConfig(
        names=NAMES,
        commands=(Command("target", 10, -1.0, 1.0, "place", 0.5),),
        width=16,
        layers=1,
        frequencies=1,
        pose_map=pose_map if drawn else None,
    )


def model_config(
    draws_from: str, *, drawn: bool = True, gate: bool = True, learned: int = 0
) -> WorldModelConfig:
    """A tiny world model with a state."""
    tiny = WorldModelConfig.tiny()
    state = state_config(drawn=drawn)
    frames, maps = (6 if draws_from == "frames" else 3), (1 if drawn else 0)
    changes: dict[str, object] = {
        "in_channels": 16 * (frames + maps),
        "out_channels": 16 * (3 + gate),
        "state_dim": len(NAMES),
        "learned_map": learned,
    }
    if draws_from == "state":
        changes |= {"action_dim": None, "window": 1, "temporal_convs": 0, "temporal_attentions": 0}
    unet = replace(tiny.unet, **changes)  # type: ignore[arg-type]
    assert isinstance(unet, UNetConfig)
    return replace(tiny, unet=unet, state=state, draws_from=draws_from, copy_gate=gate)  # type: ignore[arg-type]


def episode(rng: np.random.Generator, steps: int = 8) -> dict[str, np.ndarray]:
    """A white bar that follows its target on a grey ground."""
    actions = np.zeros((steps, WIDTH), np.float32)
    actions[:, 10] = rng.uniform(-0.4, 0.4, steps)
    actions[:, 3] = rng.choice([-1.0, 1.0], steps)
    state = np.array([rng.uniform(-0.5, 0.5), 0.0, rng.uniform(0.5, 1.0), 0.0])
    state[1] = state[0]
    states = [state]
    for action in actions[:-1]:
        place, target, size, colour = states[-1]
        target = np.clip(target + action[10], -1, 1)
        place = place + 0.8 * (target - place)
        target = np.clip(target, place - 0.5, place + 0.5)
        states.append(np.array([place, target, size, colour + 0.05 * action[3]]))
    columns = np.arange(SIZE) + 0.5 - SIZE / 2
    bars = [np.abs(columns - 4 * state[0]) < 1.5 for state in states]
    image = np.stack([np.where(np.tile(bar, (SIZE, 1))[..., None], 255, 90) for bar in bars])
    return {
        "image": np.broadcast_to(image, (steps, SIZE, SIZE, 3)).astype(np.uint8),
        "action": actions,
        "state": np.stack(states).astype(np.float32),
        "state_names": np.array(NAMES),
    }


def write_episodes(folder: Path, count: int = 6, steps: int = 8) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        write_arrays(folder / f"episode_{index}.npz", episode(np.random.default_rng(index), steps))
    return folder
