"""RLDS datasets become dataset folders, without TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.episodes.bounds import action_bounds, beyond_bounds
from real2sim.episodes.conversion import (
    episode_file,
    episode_path,
    missing_episodes,
    open_record,
    undone_conversion,
)
from real2sim.episodes.images import resized
from real2sim.episodes.keep_out import read_keep_out
from real2sim.episodes.outcomes_file import read_outcomes
from real2sim.episodes.parallel import write_in_processes
from real2sim.episodes.rlds.dataset import RLDSDataset
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.episodes.rlds.layout import choose_layout
from real2sim.episodes.rlds.robot import control_rate, describe_robot, is_rt1
from real2sim.episodes.selection import check_frame_size, episode_numbers, instruction_pattern
from real2sim.episodes.subsampling import frame_actions, frame_stride
from real2sim.robot import Robot, read_robot

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConvertRLDS:
    """Turn an RLDS dataset such as those of Open X-Embodiment into a dataset folder: one npz per episode."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of one version of the dataset, with features.json, e.g. fractal20220817_data/0.1.0."""
    out: Path
    """Dataset folder; episodes that are there already are kept, so a stopped conversion continues."""
    split: str = "train"
    """Which episodes, in TensorFlow Datasets' own words, e.g. train[:1000]."""
    instructions: str = ""
    """Only episodes with an instruction in which this regular expression is found; frames of others are not read."""
    episodes: str = ""
    """Which ones of the split, e.g. `0:500` or `0:10,42`; all if empty."""
    image: tuple[str, ...] = ()
    """Cameras, left to right on the canvas, e.g. `image` or `exterior_image_1_left wrist_image_left`."""
    size: tuple[int, int] | None = None
    """Height and width to which every camera's frames are resized; as recorded if left out."""
    action: tuple[str, ...] = ()
    """Features that hold the actions, joined in this order (a group of features: in alphabetical order of its
    fields), or names for the numbers of a flat action, e.g. `x y z roll pitch yaw gripper`."""
    state: tuple[str, ...] = ()
    """Features that hold the state, e.g. `joint_position gripper_position`; none if left out."""
    instruction: str | None = None
    """Feature that holds the instruction, where it is not under one of the usual names."""
    control_hz: float | None = None
    """Actions per second, which an RLDS dataset does not say."""
    hz: float | None = None
    """Frames kept per second; must divide the control rate.  All actions between two frames are kept."""
    keep_out: tuple[Path, ...] = ()
    """Suite folders; the episodes that their starts come from are left out."""
    outcomes: Path | None = None
    """CSV with the columns episode and success, for datasets that do not know which episodes succeeded."""
    action_kind: Literal["absolute", "delta"] = "delta"
    """Whether actions are targets or changes."""
    world_action: Literal["stack", "last", "sum"] = "stack"
    """What the world model is given of the actions of a frame."""
    units: tuple[str, ...] = ()
    """Unit of each action number, or one for all."""
    robot: str | None = None
    """Name of the robot; the dataset's if left out."""
    processes: int | None = None
    """Worker processes; one per processor core if left out."""

    def __post_init__(self) -> None:
        check_frame_size(self.size)
        for name in ("hz", "control_hz"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")


@dataclass(frozen=True)
class Plan:
    """What is made of each episode."""

    size: tuple[int, int]
    stride: int
    robot: Robot
    resize: bool = False
    """Whether frames of other sizes are resized, as the user asked; they are refused otherwise."""


def convert_rlds(config: ConvertRLDS, progress: bool = True) -> int:
    """Write the episodes that are missing in ``config.out`` and give the number of all that were asked for.

    Actions, sizes and instructions of all of them are checked before the first frame is decoded.  Episodes of which
    fewer than two frames would be kept are dropped, and said.

    Raises FileNotFoundError and ValueError with the file, the episode and the step at fault.
    """
    with undone_conversion(config.out):
        return _convert(config, progress)


def _convert(config: ConvertRLDS, progress: bool) -> int:
    episodes = open_episodes(config)
    rate = control_rate(episodes.dataset.name, episodes.layout, config.control_hz)
    stride = frame_stride(f"{config.data}", rate, config.hz)
    numbers, short = chosen_episodes(episodes, config, stride)
    plan = make_plan(episodes, config, numbers, rate, stride)
    outcomes = {} if config.outcomes is None else read_outcomes(config.outcomes, len(episodes))
    open_record(config.out, _asked(episodes, config, plan, outcomes))
    low, high = check_tables(episodes, numbers, progress)
    if not is_rt1(episodes.layout):
        bounds = action_bounds(plan.robot.action, low, high, read_robot(config.out), str(config.data))
        plan = replace(plan, robot=replace(plan.robot, action=bounds))
    elif beyond := beyond_bounds(plan.robot.action, low, high):
        LOG.warning("%s: %s; are the actions RT-1's, in its units?", config.data, beyond)
    plan.robot.save(config.out)
    missing = missing_episodes(config.out, numbers)
    with tqdm(
        total=len(numbers), initial=len(numbers) - len(missing), unit="episode", disable=not progress
    ) as bar:
        for _ in _written(config, plan, missing, outcomes):
            bar.update()
    if short:
        LOG.info("%d episodes have fewer than two frames and are left out", short)
    return len(numbers)


def open_episodes(config: ConvertRLDS) -> RLDSEpisodes:
    """The episodes of the split, with the features that were chosen."""
    dataset = RLDSDataset(config.data, config.split)
    layout = choose_layout(dataset, config.image, config.action, config.state, config.instruction)
    return RLDSEpisodes(config.data, config.split, layout)


def chosen_episodes(episodes: RLDSEpisodes, config: ConvertRLDS, stride: int) -> tuple[list[int], int]:
    """Numbers of the episodes that are asked for and long enough, and how many are too short."""
    out = {source for suite in config.keep_out for source in read_keep_out(suite)}
    numbers = [
        number
        for number in episode_numbers(config.episodes, len(episodes))
        if not out or episodes.dataset.source(number) not in out
    ]
    if config.instructions:
        pattern = instruction_pattern(config.instructions, "--instructions")
        texts: dict[str, int] = {}
        found = []
        for number in numbers:
            text, _ = episodes.instruction(number)
            texts[text] = texts.get(text, 0) + 1
            if pattern.search(text):
                found.append(number)
        if not found:
            often = sorted(texts, key=lambda text: -texts[text])[:8]
            raise ValueError(
                f"{config.data}: no instruction of these {len(numbers)} episodes matches {config.instructions!r}; "
                f"frequent ones are {', '.join(map(repr, often))}"
            )
        numbers = found
    kept = [number for number in numbers if episodes.length(number) > stride]
    if not kept:
        raise ValueError(
            f"{config.data}: none of the {len(numbers)} episodes has two frames"
            "; choose a higher --hz or other --episodes"
        )
    return kept, len(numbers) - len(kept)


def make_plan(
    episodes: RLDSEpisodes, config: ConvertRLDS, numbers: Sequence[int], rate: float, stride: int
) -> Plan:
    """Frame size and robot of a conversion.

    Raises ValueError, naming the first two episodes that differ, if frames differ in size and none was asked for.
    """
    size = config.size or _recorded_size(episodes, numbers)
    robot = describe_robot(
        episodes.dataset.name,
        episodes.layout,
        size=size,
        control_hz=rate,
        stride=stride,
        action_kind=config.action_kind,
        world_action=config.world_action,
        units=config.units,
        name=config.robot,
    )
    return Plan(size, stride, robot, config.size is not None)


def check_tables(
    episodes: RLDSEpisodes, numbers: Sequence[int], progress: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest action (n,) of some episodes, all of whose numbers are checked on the way."""
    low = np.full(len(episodes.layout.action_names), np.inf, np.float32)
    high, several, silent = -low, 0, 0
    for number in tqdm(numbers, unit="episode", desc="checking", disable=not progress):
        tables = episodes.tables(number)
        low, high = np.minimum(low, tables.action.min(0)), np.maximum(high, tables.action.max(0))
        several += tables.several
        silent += not tables.instruction
    if several:
        LOG.info("%d episodes change their instruction on the way; the first one is kept", several)
    if silent:
        LOG.info("%d of %d episodes have no instruction", silent, len(numbers))
    return low, high


def write_episode(
    episodes: RLDSEpisodes, plan: Plan, number: int, path: Path, success: bool | None = None
) -> int:
    """Write one episode and give its number of steps."""
    tables = episodes.tables(number)
    kept = range(0, len(tables.action), plan.stride)
    with episode_file(path) as file:
        file.array("action", frame_actions(tables.action, plan.stride))
        if tables.state is not None:
            file.array("state", tables.state[kept])
        file.array("instruction", np.array(tables.instruction))
        if tables.embedding is not None:
            file.array("embedding", tables.embedding)
        success = tables.success if success is None else success
        if success is not None:
            file.array("success", np.array(success))
        file.array("source", np.array(episodes.dataset.source(number)))
        height, width = plan.robot.canvas_size
        file.frames("image", (len(kept), height, width, 3), canvases(episodes, plan, number, kept))
    return len(tables.action)


def canvases(episodes: RLDSEpisodes, plan: Plan, number: int, kept: Sequence[int]) -> Iterator[np.ndarray]:
    """The cameras' frames side by side, uint8 (h w 3), one after the other."""
    names = episodes.layout.camera_names
    films = [episodes.frames(number, camera, kept) for camera in episodes.layout.images]
    for step, pictures in zip(kept, zip(*films, strict=True), strict=True):
        for name, picture in zip(names, pictures, strict=True):
            if not plan.resize and picture.shape[:2] != plan.size:
                raise ValueError(
                    f"{episodes.where(number)}, step {step}: {name} has a frame of {picture.shape[0]} x "
                    f"{picture.shape[1]} pixels, the first frame of all has {plan.size[0]} x {plan.size[1]}; give "
                    "--size HEIGHT WIDTH to resize all of them"
                )
        tiles = {name: resized(picture, plan.size) for name, picture in zip(names, pictures, strict=True)}
        yield plan.robot.canvas(tiles)


def _recorded_size(episodes: RLDSEpisodes, numbers: Sequence[int]) -> tuple[int, int]:
    """The one size of all frames; where features.json does not say it, the first frame of each episode is looked at."""
    sizes: dict[tuple[int, int], str] = {}
    for camera in episodes.layout.images:
        shape = camera.shape[:2]
        looked_at = numbers[:1] if len(shape) == 2 and None not in shape else numbers
        for number in looked_at:
            size = episodes.frame_size(number, camera)
            sizes.setdefault(size, f"{episodes.where(number)}: {camera.path}")
            if len(sizes) > 1:
                (first, one), (second, other) = sizes.items()
                raise ValueError(
                    f"{other} has frames of {second[0]} x {second[1]} pixels, {one} of {first[0]} x {first[1]}; "
                    "give --size HEIGHT WIDTH to resize all of them"
                )
    return next(iter(sizes))


def _asked(
    episodes: RLDSEpisodes, config: ConvertRLDS, plan: Plan, outcomes: dict[int, bool]
) -> dict[str, Any]:
    """What all episodes of a folder must have in common; which ones they are may change."""
    layout = episodes.layout
    return {
        "format": "RLDS",
        "dataset": episodes.dataset.name,
        "split": config.split,
        "decoder": "Pillow",
        "cameras": [feature.path for feature in layout.images],
        "size": plan.size,
        "hz": config.hz or plan.robot.control_hz,
        "action": [feature.path for feature in layout.action],
        "names": list(layout.action_names),
        "state": [feature.path for feature in layout.state],
        "outcomes": sorted(outcomes.items()),
    }


def _written(
    config: ConvertRLDS, plan: Plan, numbers: Sequence[int], outcomes: dict[int, bool]
) -> Iterator[int]:
    jobs = [(plan, number, episode_path(config.out, number), outcomes.get(number)) for number in numbers]
    return write_in_processes(open_episodes, config, write_episode, jobs, config.processes)
