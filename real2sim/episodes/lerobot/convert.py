"""LeRobot datasets become dataset folders: frames on one canvas, all actions between two frames, the state."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.episodes.bounds import action_bounds
from real2sim.episodes.conversion import (
    episode_file,
    episode_path,
    missing_episodes,
    open_record,
    undone_conversion,
)
from real2sim.episodes.keep_out import read_keep_out
from real2sim.episodes.lerobot.dataset import LeRobotDataset
from real2sim.episodes.lerobot.layout import INFO_FILE
from real2sim.episodes.lerobot.robot import describe_robot
from real2sim.episodes.outcomes_file import read_outcomes
from real2sim.episodes.parallel import write_in_processes
from real2sim.episodes.selection import check_frame_size, episode_numbers, instruction_pattern
from real2sim.episodes.states import BETWEEN
from real2sim.episodes.subsampling import frame_actions, frame_stride
from real2sim.robot import Robot, read_robot

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConvertLeRobot:
    """Turn a LeRobot dataset (v2.0, v2.1 or v3.0) into a dataset folder: one npz per episode and ``robot.json``."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset, with meta/, data/ and videos/."""
    out: Path
    """Dataset folder; episodes that are there already are kept, so a stopped conversion continues."""
    cameras: tuple[str, ...] = ()
    """Cameras, left to right on the canvas, e.g. `front wrist`; all that are no depth maps if empty."""
    size: tuple[int, int] | None = None
    """Height and width to which every camera's frames are resized; as recorded if left out."""
    hz: float | None = None
    """Frames kept per second; must divide the dataset's rate.  All actions between two frames are kept."""
    episodes: str = ""
    """Which ones, e.g. `0:500` or `0:10,42`; all if empty."""
    instructions: str = ""
    """Only episodes with an instruction in which this regular expression is found."""
    keep_out: tuple[Path, ...] = ()
    """Suite folders; the episodes that their starts come from are left out."""
    success_at_every_frame: bool = False
    """The dataset's `next.success` is right at every frame, not at the last one alone; a judge then learns from all."""
    outcomes: Path | None = None
    """CSV with the columns episode and success, for datasets that do not know which episodes succeeded."""
    action: str | None = None
    """Feature that holds the actions; `action` or `actions` if left out."""
    state: str | None = None
    """Feature that holds the state; `observation.state` or `state` if left out, `none` for no state."""
    state_from: Literal["action", "model"] | None = None
    """Where policies get the state from in a world model: the last commanded targets, or the model's prediction, which
    also knows what blocks a joint; by default the targets, where actions are targets of the state's numbers."""
    action_kind: Literal["absolute", "delta"] = "absolute"
    """Whether actions are targets or changes; the dataset does not say, targets are LeRobot's convention."""
    world_action: Literal["stack", "last", "sum"] = "stack"
    """What the world model is given of the actions of a frame."""
    units: tuple[str, ...] = ()
    """Unit of each action number, e.g. `deg deg deg deg deg percent`, or one for all; the dataset does not say."""
    robot: str | None = None
    """Name of the robot; the dataset's `robot_type` if left out."""
    processes: int | None = None
    """Worker processes; one per processor core if left out."""

    def __post_init__(self) -> None:
        check_frame_size(self.size)
        if self.hz is not None and not self.hz > 0:
            raise ValueError(f"hz must be above 0, got {self.hz}")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")


@dataclass(frozen=True)
class Plan:
    """What is made of each episode."""

    cameras: tuple[str, ...]
    """Feature names, left to right."""
    size: tuple[int, int] | None
    stride: int
    """Source frames per frame kept, and actions per frame."""
    robot: Robot
    every_frame: bool = False
    """Whether outcomes at every frame are kept."""


def convert_lerobot(config: ConvertLeRobot, progress: bool = True) -> int:
    """Write the episodes that are missing in ``config.out`` and give the number of all that were asked for.

    Everything that the tables tell is checked for all episodes before the first frame is decoded.  Episodes of
    which fewer than two frames would be kept are dropped, and said.

    Raises FileNotFoundError and ValueError with the file, the episode and the frame at fault.
    """
    with undone_conversion(config.out):
        return _convert(config, progress)


def _convert(config: ConvertLeRobot, progress: bool) -> int:
    dataset = open_dataset(config)
    numbers, short = chosen_episodes(dataset, config)
    outcomes = {} if config.outcomes is None else read_outcomes(config.outcomes, len(dataset))
    plan = make_plan(dataset, config)
    open_record(config.out, _asked(dataset, config, outcomes))
    dataset.check(numbers, [dataset.layout.camera(key) for key in plan.cameras])
    low, high = check_tables(dataset, numbers, progress)
    robot = replace(
        plan.robot,
        action=action_bounds(plan.robot.action, low, high, read_robot(config.out), str(config.data)),
    )
    robot.save(config.out)
    missing = missing_episodes(config.out, numbers)
    total = sum(dataset.entries[number].length for number in numbers)
    done = total - sum(dataset.entries[number].length for number in missing)
    with tqdm(total=total, initial=done, unit="frame", disable=not progress) as bar:
        for count in _written(config, plan, missing, outcomes):
            bar.update(count)
    if short:
        LOG.info("%d episodes have fewer than two frames at this rate and are left out", short)
    return len(numbers)


def open_dataset(config: ConvertLeRobot) -> LeRobotDataset:
    """The dataset, with the features that were chosen."""
    return LeRobotDataset(config.data, config.action, config.state)


def chosen_episodes(dataset: LeRobotDataset, config: ConvertLeRobot) -> tuple[list[int], int]:
    """Numbers of the episodes that are asked for and long enough, and how many are too short."""
    out = {source for suite in config.keep_out for source in read_keep_out(suite)}
    numbers = [
        number
        for number in episode_numbers(config.episodes, len(dataset))
        if not out or dataset.source(number) not in out
    ]
    if config.instructions:
        pattern = instruction_pattern(config.instructions, "--instructions")
        numbers = [number for number in numbers if any(map(pattern.search, dataset.instructions(number)))]
        if not numbers:
            texts = sorted(set(dataset.tasks.values()))
            raise ValueError(
                f"{config.data}: no instruction of these episodes matches {config.instructions!r}; the dataset's are "
                f"{', '.join(map(repr, texts[:8]))}{' ...' if len(texts) > 8 else ''}"
            )
    if not len(dataset):
        raise ValueError(
            f"{config.data} has no episodes ({INFO_FILE} counts 0); record or download some first"
        )
    stride = frame_stride(str(config.data), dataset.layout.fps, config.hz)
    kept = [number for number in numbers if dataset.entries[number].length > stride]
    if not kept:
        rate = config.hz or dataset.layout.fps
        raise ValueError(
            f"{config.data}: none of the {len(numbers)} episodes has two frames at {rate:g} Hz"
            "; choose a higher --hz or other --episodes"
        )
    return kept, len(numbers) - len(kept)


def make_plan(dataset: LeRobotDataset, config: ConvertLeRobot) -> Plan:
    """Cameras, rate and robot of a conversion; the robot's bounds are still open."""
    layout = dataset.layout
    cameras = tuple(map(layout.camera, config.cameras or [camera.key for camera in layout.cameras]))
    if not cameras:
        raise ValueError(
            f"{config.data} has no camera that can be used; expected features of dtype video or image"
        )
    for place, camera in enumerate(cameras):
        same = next((c for c in cameras[:place] if c.name == camera.name), None)
        if same is not None:
            raise ValueError(
                f"{config.data / INFO_FILE}: {same.key} and {camera.key} are both called {camera.name!r} on the "
                "canvas; choose one of them with --cameras"
            )
    stride = frame_stride(str(config.data), layout.fps, config.hz)
    for camera in cameras:
        if config.size and abs(config.size[1] * camera.height / (config.size[0] * camera.width) - 1) > 0.05:
            LOG.info(
                "frames of %s are %d x %d and will be stretched to %d x %d",
                camera.name, camera.height, camera.width, *config.size,
            )  # fmt: skip
    robot = describe_robot(
        dataset,
        cameras=cameras,
        size=config.size,
        stride=stride,
        action_kind=config.action_kind,
        world_action=config.world_action,
        units=config.units,
        name=config.robot,
        state_from=config.state_from,
    )
    keys = tuple(camera.key for camera in cameras)
    return Plan(keys, config.size, stride, robot, config.success_at_every_frame)


def check_tables(
    dataset: LeRobotDataset, numbers: Sequence[int], progress: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest action (n,) of some episodes, whose rows are all checked on the way."""
    low = np.full(len(dataset.action.names), np.inf, np.float32)
    high, several = -low, 0
    for number in tqdm(numbers, unit="episode", desc="checking", disable=not progress):
        rows = dataset.rows(number)
        low, high = np.minimum(low, rows.action.min(0)), np.maximum(high, rows.action.max(0))
        several += rows.tasks > 1
    if several:
        LOG.info(
            "%d episodes change their task on the way; the first one is kept as their instruction", several
        )
    return low, high


def write_episode(
    dataset: LeRobotDataset, plan: Plan, number: int, path: Path, success: bool | None = None
) -> int:
    """Write one episode and give the number of source frames that it has."""
    entry, rows = dataset.entries[number], dataset.rows(number)
    kept = range(0, entry.length, plan.stride)
    robot = plan.robot
    with episode_file(path) as file:
        file.array("action", frame_actions(rows.action, plan.stride))
        if robot.state and rows.state is not None:
            file.array("state", rows.state[kept])
            if plan.stride > 1:
                file.array(BETWEEN + "state", frame_actions(rows.state, plan.stride))
        if rows.environment is not None:
            file.array("environment_state", rows.environment[kept])
            file.array("environment_names", np.array(dataset.environment_names))
            if plan.stride > 1:
                file.array(BETWEEN + "environment_state", frame_actions(rows.environment, plan.stride))
        if plan.every_frame and rows.reached is not None:
            file.array("reached", rows.reached[kept])
        file.array("instruction", np.array(rows.instruction))
        success = rows.success if success is None else success
        if success is not None:
            file.array("success", np.array(success))
        file.array("source", np.array(dataset.source(number)))
        height, width = robot.canvas_size
        file.frames("image", (len(kept), height, width, 3), canvases(dataset, plan, number, kept))
    return entry.length


def canvases(dataset: LeRobotDataset, plan: Plan, number: int, kept: Sequence[int]) -> Iterator[np.ndarray]:
    """The cameras' frames side by side, uint8 (h w 3), one after the other."""
    cameras = [dataset.layout.camera(key) for key in plan.cameras]
    films = [dataset.frames(number, camera, kept, plan.size) for camera in cameras]
    for pictures in zip(*films, strict=True):
        yield plan.robot.canvas({c.name: picture for c, picture in zip(cameras, pictures, strict=True)})


def _asked(dataset: LeRobotDataset, config: ConvertLeRobot, outcomes: dict[int, bool]) -> dict[str, Any]:
    """What all episodes of a folder must have in common; which ones they are may change."""
    layout = dataset.layout
    return {
        "format": f"LeRobot {layout.version}",
        "dataset": layout.folder.resolve().name,
        "episodes": layout.total_episodes,
        "frames": layout.total_frames,
        "cameras": list(config.cameras or layout.camera_names),
        "size": config.size,
        "hz": config.hz or layout.fps,
        "action": dataset.action.key,
        "state": None if dataset.state is None else dataset.state.key,
        "outcomes": sorted(json.loads(json.dumps(outcomes)).items()),
        # Only where it is asked for: folders that were begun without the option go on.
        **({"every_frame": True} if config.success_at_every_frame else {}),
    }


def _written(
    config: ConvertLeRobot, plan: Plan, numbers: Sequence[int], outcomes: dict[int, bool]
) -> Iterator[int]:
    jobs = [(plan, number, episode_path(config.out, number), outcomes.get(number)) for number in numbers]
    return write_in_processes(open_dataset, config, write_episode, jobs, config.processes)
