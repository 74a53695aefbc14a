"""Recordings of the SO-101 as a LeRobot dataset: scripted controllers of mixed quality, or demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from tqdm import tqdm

from real2sim.checks import check_kinds, check_seed, check_whole
from real2sim.episodes.lerobot.recording import Recording
from real2sim.episodes.lerobot.writer import LeRobotWriter
from real2sim.episodes.parallel import in_processes
from real2sim.episodes.recording_parts import open_recording
from real2sim.so101.experts import Drifter, FlawedExpert, Flaws, Wanderer
from real2sim.so101.physics import (
    ACTIONS_PER_FRAME,
    BLOCK_NAMES,
    DRAWN_SIZE,
    HORIZON,
    NUMBERS,
    TASKS,
    TIP_NAMES,
    SO101Physics,
    SO101Start,
    is_success,
)
from real2sim.so101.scene import CAMERAS, CONTROL_HZ

CODEC = "libx264"


@dataclass(frozen=True)
class RecordSO101:
    """Record physics episodes of the SO-101 as a LeRobot dataset of version 3.0 (extra 'so101')."""

    out: Path
    """Folder of the dataset; a recording that was stopped continues with the episodes that are missing."""
    episodes: int = 800
    """How many episodes the dataset shall hold."""
    seed: int = 1
    """Seed of the dataset; episode i depends on (seed, i) alone."""
    mix: Literal["all", "wide", "contact", "turned", "elsewhere", "demonstrations"] = "all"
    """Which controllers act: ``all``: experts, misses of every kind, interrupted and undecided ones, wandering;
    ``wide``: the same, and whole motions far from the block; ``contact``: mostly grasps and pushes that just succeed or
    just fail; ``turned``: mostly grasps that reach the block with jaws turned against its sides; ``elsewhere``: mostly
    whole motions far from the block; ``demonstrations``: experts with small errors, as a person teleoperates."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks that take turns."""
    processes: int = 1
    """Processes that simulate; one more writes."""
    codec: str = CODEC
    """Video encoder: `libx264`, which keeps small frames clean, or LeRobot's `libsvtav1`."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("episodes", self.episodes)
        check_whole("processes", self.processes, 1, 1024)
        check_seed("seed", self.seed)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks) or not set(self.tasks) <= set(TASKS):
            raise ValueError(f"tasks are {self.tasks}, expected different ones of {', '.join(TASKS)}")


class Controller(Protocol):
    """Acts on the physics state."""

    def act(self, step: int, tool: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Joint targets (6,)."""


ALL = {
    "expert": 0.16,
    "noisy": 0.14,
    "miss": 0.20,
    "fumble": 0.10,
    "stop": 0.08,
    "release": 0.06,
    "switch": 0.06,
    "slow": 0.07,
    "wander": 0.09,
    "drift": 0.03,
    "still": 0.01,
}
"""Share of each kind of controller; misses are the largest.  A model that has seen only success hallucinates it."""
WIDE = {
    "elsewhere": 0.22,
    "miss": 0.20,
    "expert": 0.13,
    "noisy": 0.12,
    "fumble": 0.09,
    "stop": 0.05,
    "release": 0.04,
    "switch": 0.04,
    "slow": 0.05,
    "wander": 0.05,
    "still": 0.01,
}
"""The same with whole motions where no block is.  Where an arm that has done its motion nearly always leaves the block
in the tray, a world model draws it there, too, when the arm never touched it."""
CONTACT = {"near": 0.6, "fumble": 0.15, "noisy": 0.1, "release": 0.05, "slow": 0.05, "expert": 0.05}
"""Grasps and pushes a few millimetres or degrees off.  Where recordings succeed or fail clearly, a world model learns
that jaws that close near the block hold it."""
TURNED = {"turned": 0.85, "fumble": 0.1, "expert": 0.05}
"""Jaws that close on the block's corners turn it, and often lose it seconds later; a policy that does not turn the
gripper to the block grasps so nearly every time."""
ELSEWHERE = {"elsewhere": 0.7, "miss": 0.2, "expert": 0.1}
"""Mostly whole motions where no block is, which end like those that succeed.  A frame must not follow from the arm's
pose alone."""
DEMONSTRATIONS = {"demonstration": 1.0}
MIXES = {
    "all": ALL,
    "wide": WIDE,
    "contact": CONTACT,
    "turned": TURNED,
    "elsewhere": ELSEWHERE,
    "demonstrations": DEMONSTRATIONS,
}


def draw_controller(
    task: str, kinds: dict[str, float], physics: SO101Physics, rng: np.random.Generator
) -> tuple[str, Controller]:
    """A kind's name and a controller of that kind."""
    kind = str(rng.choice(np.array(list(kinds)), p=list(kinds.values())))
    if kind == "wander":
        return kind, Wanderer(physics, rng)
    if kind == "drift":
        return kind, Drifter(physics, rng)
    slight, speed = float(rng.uniform(0.0, 0.002)), float(rng.uniform(0.7, 1.3))
    flaws = {
        "expert": lambda: Flaws(noise=slight, speed=speed),
        "demonstration": lambda: Flaws(noise=slight, speed=float(rng.uniform(0.85, 1.2))),
        "noisy": lambda: Flaws(noise=float(rng.uniform(0.003, 0.02)), speed=speed),
        "miss": lambda: Flaws(noise=slight, speed=speed, aim=_draw_miss(rng)),
        "near": lambda: Flaws(
            noise=float(rng.uniform(0.0, 0.006)),
            speed=speed,
            aim=_draw_near(rng),
            turn=float(rng.uniform(-45.0, 45.0)),
            grasp=float(rng.choice([5.0, rng.uniform(5.0, 30.0)])),
        ),
        "turned": lambda: Flaws(
            noise=float(rng.uniform(0.0, 0.004)),
            speed=speed,
            aim=_draw_near(rng, 0.012),
            turn=float(rng.uniform(-50.0, 50.0)),
            grasp=float(rng.choice([5.0, rng.uniform(0.0, 25.0)])),
        ),
        "elsewhere": lambda: Flaws(noise=slight, speed=speed, aim=_draw_elsewhere(physics, rng)),
        "fumble": lambda: Flaws(
            noise=slight,
            speed=speed,
            turn=float(rng.uniform(-50.0, 50.0)),
            height=float(rng.uniform(-0.008, 0.03)),
            grasp=float(rng.choice([5.0, rng.uniform(15.0, 45.0)])),
        ),
        "stop": lambda: Flaws(noise=slight, speed=speed, stop=float(rng.uniform(0.3, 5.0))),
        "release": lambda: Flaws(noise=slight, speed=speed, release=float(rng.uniform(1.5, 6.0))),
        "switch": lambda: Flaws(noise=slight, speed=speed, switch=float(rng.uniform(0.3, 5.0))),
        "slow": lambda: Flaws(
            noise=slight, speed=float(rng.uniform(0.3, 0.7)), memory=float(rng.uniform(0.0, 0.85))
        ),
        "still": lambda: Flaws(stop=float(rng.uniform(0.05, 0.5))),
    }[kind]()
    return kind, FlawedExpert(task, flaws, physics, rng)


def _draw_miss(rng: np.random.Generator) -> tuple[float, float, float]:
    """Beside the block, from grazing it to clearly past it; a quarter of them above it."""
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.008, 0.06)
    above = rng.uniform(0.01, 0.05) if rng.random() < 0.25 else rng.normal(0.0, 0.003)
    return float(away * np.cos(angle)), float(away * np.sin(angle)), float(above)


def _draw_near(rng: np.random.Generator, farthest: float = 0.03) -> tuple[float, float, float]:
    """At most ``farthest`` metres beside the block and 1 cm above or below the right height."""
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, farthest)
    return float(away * np.cos(angle)), float(away * np.sin(angle)), float(rng.uniform(-0.01, 0.01))


def _draw_elsewhere(physics: SO101Physics, rng: np.random.Generator) -> tuple[float, float, float]:
    """To a place within reach that is at least 6 cm from the block."""
    block = physics.block[:2]
    while True:
        place = np.array([rng.uniform(0.15, 0.29), rng.uniform(-0.17, 0.09)])
        if np.linalg.norm(place - block) > 0.06:
            return float(place[0] - block[0]), float(place[1] - block[1]), 0.0


@dataclass(frozen=True)
class RecordedSO101:
    """One episode, a row for each command and one for the end; the last command leads nowhere."""

    task: str
    kind: str
    images: dict[str, np.ndarray]
    """Camera -> uint8 (t h w 3)."""
    action: np.ndarray
    """float32 (t 6)."""
    state: np.ndarray
    """float32 (t 6)."""
    environment: np.ndarray
    """Block, tool and moving jaw, float32 (t 10)."""
    success: np.ndarray
    """Whether the task is done after each command, bool (t,)."""


def record_episode(
    physics: SO101Physics,
    seed: int,
    index: int,
    kinds: dict[str, float],
    tasks: tuple[str, ...] = tuple(TASKS),
) -> RecordedSO101:
    """Episode ``index`` of a recording; tasks take turns."""
    rng = np.random.default_rng([seed, index])
    task = tasks[index % len(tasks)]
    physics.reset(SO101Start.draw(rng))
    kind, controller = draw_controller(task, kinds, physics, rng)
    images: dict[str, list[np.ndarray]] = {camera: [] for camera in CAMERAS}
    actions, states, environment, done = [], [], [], []
    low, high = physics.low, physics.high
    for step in range(HORIZON * ACTIONS_PER_FRAME + 1):
        states.append(physics.state)
        environment.append(np.concatenate([physics.block, physics.tips]))
        for camera, frame in physics.render().items():
            images[camera].append(frame)
        if step < HORIZON * ACTIONS_PER_FRAME:
            actions.append(np.clip(controller.act(step, physics.tool, physics.block), low, high))
            physics.act(actions[-1].astype(np.float32))
        else:
            actions.append(actions[-1])
        done.append(bool(is_success(task, physics.block)))
    return RecordedSO101(
        task,
        kind,
        {camera: np.stack(frames) for camera, frames in images.items()},
        np.stack(actions).astype(np.float32),
        np.stack(states),
        np.stack(environment),
        np.array(done),
    )


def recording(codec: str = CODEC, episodes_per_file: int = 20) -> Recording:
    """What is recorded of the SO-101."""
    return Recording(
        CONTROL_HZ,
        NUMBERS,
        dict.fromkeys(CAMERAS, (DRAWN_SIZE, DRAWN_SIZE)),
        state_names=NUMBERS,
        environment_names=BLOCK_NAMES + TIP_NAMES,
        outcomes=True,
        robot_type="so101_follower",
        codec=codec,
        episodes_per_file=episodes_per_file,
    )


def record(config: RecordSO101) -> int:
    """Record what is missing of a dataset; gives the number of episodes recorded now.

    Raises ValueError if the folder holds episodes of another seed, or of another mix where none is missing.
    """
    with LeRobotWriter(config.out, recording(config.codec)) as writer:
        missing = range(writer.episodes, config.episodes)
        acting: dict[str, object] = {"mix": config.mix}
        if set(config.tasks) != set(TASKS):
            acting["tasks"] = list(config.tasks)
        open_recording(config.out, {"seed": config.seed}, acting, writer.episodes, config.episodes)
        for episode in tqdm(_recorded(config, missing), total=len(missing), unit="episode"):
            writer.add(
                TASKS[episode.task],
                episode.images,
                episode.action,
                episode.state,
                episode.environment,
                episode.success,
            )
    if _physics is not None:
        _physics.close()
    return len(missing)


def _recorded(config: RecordSO101, numbers: range) -> Iterator[RecordedSO101]:
    """The episodes in order; each worker is at most a few ahead, so memory stays small."""
    jobs = [(config.seed, number, MIXES[config.mix], config.tasks) for number in numbers]
    if config.processes == 1:
        yield from map(_record, jobs)
        return
    yield from in_processes(_record, jobs, config.processes)


_physics: SO101Physics | None = None


def _record(job: tuple[int, int, dict[str, float], tuple[str, ...]]) -> RecordedSO101:
    global _physics
    _physics = _physics or SO101Physics()
    return record_episode(_physics, *job)
