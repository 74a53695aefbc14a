"""Where a suite's starts come from: a dataset folder, a LeRobot or an RLDS dataset, read as little as possible."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from real2sim.actions import rt1_robot
from real2sim.episodes.bounds import action_bounds
from real2sim.episodes.lerobot import convert as lerobot
from real2sim.episodes.lerobot.layout import INFO_FILE
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.rlds import convert as rlds
from real2sim.episodes.rlds.features import FEATURES_FILE
from real2sim.episodes.rlds.robot import control_rate, is_rt1
from real2sim.episodes.states import object_names
from real2sim.episodes.subsampling import frame_actions, frame_stride
from real2sim.files import reading
from real2sim.robot import Robot, read_robot


@dataclass(frozen=True)
class RecordedEpisode:
    """One recorded episode without its frames."""

    action: np.ndarray
    """float32 (t n), or (t K n): row i leads from frame i to frame i+1; the last one leads nowhere."""
    state: np.ndarray | None
    """float32 (t m)."""
    success: bool | None
    embedding: np.ndarray | None
    """Of the instruction, float32 (512,)."""
    environment: np.ndarray | None = None
    """What is known of objects at the first frame, float32 (e,)."""
    state_names: tuple[str, ...] = ()
    """Names of the state's numbers where the robot has no state of its own, because policies are not told it."""


class Source(Protocol):
    """Recorded episodes by number."""

    robot: Robot

    def __len__(self) -> int: ...

    @property
    def object_names(self) -> tuple[str, ...]:
        """Names of what is known of objects, in order; none where nothing is known."""

    def instruction(self, number: int) -> str:
        """What the robot was told; no frame is read."""

    def frames(self, number: int) -> int:
        """How many frames an episode has."""

    def label(self, number: int) -> str:
        """Dataset and number of an episode, as conversions write it into ``source``."""

    def first_frame(self, number: int) -> np.ndarray:
        """The first canvas, uint8 (h w 3)."""

    def episode(self, number: int) -> RecordedEpisode:
        """Actions, state and outcome."""


class FolderSource:
    """The episodes of a dataset folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = dataset_files(folder)
        robot = read_robot(folder)
        if robot is None:
            robot = rt1_robot(image_size=self.first_frame(0).shape[:2])
        self.robot = robot

    @cached_property
    def object_names(self) -> tuple[str, ...]:
        return tuple(object_names(self.files[0]))

    def __len__(self) -> int:
        return len(self.files)

    def instruction(self, number: int) -> str:
        return str(read_npz(self.files[number], ("instruction",))["instruction"])

    def frames(self, number: int) -> int:
        return _frames_shape(self.files[number])[0]

    def label(self, number: int) -> str:
        found = read_npz(self.files[number], (), ("source",))
        return (
            str(found["source"])
            if "source" in found
            else f"{self.folder.resolve().name}/{self.files[number].stem}"
        )

    def first_frame(self, number: int) -> np.ndarray:
        return first_frame(self.files[number])

    def episode(self, number: int) -> RecordedEpisode:
        optional = ("state", "state_names", "success", "embedding", "environment_state")
        found = read_npz(self.files[number], ("action",), optional)
        success, objects, state = found.get("success"), found.get("environment_state"), found.get("state")
        names = () if self.robot.state else tuple(map(str, found.get("state_names", ())))
        if state is not None and names and len(names) != state.shape[-1]:
            raise ValueError(
                f"{self.files[number]}: state_names holds {len(names)} names for a state of {state.shape[-1]} numbers; "
                "convert the episode again"
            )
        return RecordedEpisode(
            found["action"],
            state,
            None if success is None else bool(success),
            found.get("embedding"),
            None if objects is None else objects[0],
            names,
        )


class LeRobotSource:
    """The episodes of a LeRobot dataset."""

    def __init__(self, config: lerobot.ConvertLeRobot) -> None:
        self._dataset = lerobot.open_dataset(config)
        self._plan = lerobot.make_plan(self._dataset, config)
        self.robot = self._plan.robot

    @property
    def object_names(self) -> tuple[str, ...]:
        return self._dataset.environment_names

    def __len__(self) -> int:
        return len(self._dataset)

    def instruction(self, number: int) -> str:
        return self._dataset.instructions(number)[0]

    def frames(self, number: int) -> int:
        return -(-self._dataset.entries[number].length // self._plan.stride)

    def label(self, number: int) -> str:
        return self._dataset.source(number)

    def first_frame(self, number: int) -> np.ndarray:
        return next(lerobot.canvases(self._dataset, self._plan, number, [0]))

    def episode(self, number: int) -> RecordedEpisode:
        rows = self._dataset.rows(number)
        state = None if rows.state is None or not self.robot.state else rows.state[:: self._plan.stride]
        objects = None if rows.environment is None else rows.environment[0]
        return RecordedEpisode(
            frame_actions(rows.action, self._plan.stride), state, rows.success, None, objects
        )


class RLDSSource:
    """The episodes of an RLDS dataset."""

    object_names: tuple[str, ...] = ()
    """RLDS datasets name no objects."""

    def __init__(self, config: rlds.ConvertRLDS) -> None:
        self._episodes = rlds.open_episodes(config)
        rate = control_rate(self._episodes.dataset.name, self._episodes.layout, config.control_hz)
        stride = frame_stride(str(config.data), rate, config.hz)
        self._plan = rlds.make_plan(self._episodes, config, range(len(self._episodes)), rate, stride)
        self.robot = self._plan.robot

    def __len__(self) -> int:
        return len(self._episodes)

    def instruction(self, number: int) -> str:
        return self._episodes.instruction(number)[0]

    def frames(self, number: int) -> int:
        return -(-self._episodes.length(number) // self._plan.stride)

    def label(self, number: int) -> str:
        return self._episodes.dataset.source(number)

    def first_frame(self, number: int) -> np.ndarray:
        return next(rlds.canvases(self._episodes, self._plan, number, [0]))

    def episode(self, number: int) -> RecordedEpisode:
        tables = self._episodes.tables(number)
        state = None if tables.state is None else tables.state[:: self._plan.stride]
        actions = frame_actions(tables.action, self._plan.stride)
        return RecordedEpisode(actions, state, tables.success, tables.embedding)

    @property
    def has_own_bounds(self) -> bool:
        """Whether the robot's bounds are known without looking at the data."""
        return is_rt1(self._episodes.layout)


@dataclass(frozen=True)
class Reading:
    """How a LeRobot or RLDS dataset is read; a dataset folder has been read already."""

    cameras: tuple[str, ...] = ()
    """Cameras, left to right on the canvas."""
    size: tuple[int, int] | None = None
    """Height and width to which every camera's frames are resized."""
    hz: float | None = None
    """Frames kept per second."""
    control_hz: float | None = None
    """RLDS: actions per second."""
    split: str = "train"
    """RLDS: which episodes, e.g. train[:1000]."""
    action: tuple[str, ...] = ()
    """Feature that holds the actions; RLDS: features, or names for the numbers of a flat action."""
    state: tuple[str, ...] = ()
    """Feature that holds the state; RLDS: features."""
    action_kind: str | None = None
    """`absolute` or `delta`, where it is not the convention of the format (LeRobot: absolute, RLDS: delta)."""
    units: tuple[str, ...] = ()
    """Unit of each action number, or one for all."""


def open_source(folder: Path, reading: Reading) -> Source:
    """The episodes of a dataset of any of the three kinds.

    Raises FileNotFoundError for a folder of none of them, ValueError for options that a dataset folder cannot follow.
    """
    if (folder / INFO_FILE).is_file():
        return LeRobotSource(_lerobot_config(folder, reading))
    if (folder / FEATURES_FILE).is_file():
        return RLDSSource(_rlds_config(folder, reading))
    if not folder.is_dir() or not any(folder.glob("*.npz")):
        raise FileNotFoundError(
            f"{folder} is no dataset; expected a dataset folder with npz files, a LeRobot dataset ({INFO_FILE}) or "
            f"one version of an RLDS dataset ({FEATURES_FILE})"
        )
    if reading != Reading():
        raise ValueError(
            f"{folder} is a dataset folder, whose frames and actions are as they were converted; leave out the options "
            "that say how a dataset is read"
        )
    return FolderSource(folder)


def bounded_robot(source: Source, numbers: list[int]) -> Robot:
    """The source's robot; where bounds are not known yet, around the actions of some of its episodes."""
    if isinstance(source, FolderSource) or (isinstance(source, RLDSSource) and source.has_own_bounds):
        return source.robot
    width = source.robot.action_width
    actions = np.concatenate([source.episode(number).action.reshape(-1, width) for number in numbers])
    bounds = action_bounds(source.robot.action, actions.min(0), actions.max(0))
    return replace(source.robot, action=bounds)


def _lerobot_config(folder: Path, reading: Reading) -> lerobot.ConvertLeRobot:
    for name in ("action", "state"):
        if len(getattr(reading, name)) > 1:
            raise ValueError(
                f"{folder} is a LeRobot dataset; --{name} takes one feature, not {len(getattr(reading, name))}"
            )
    return lerobot.ConvertLeRobot(
        folder, folder, cameras=reading.cameras, size=reading.size, hz=reading.hz,
        action=next(iter(reading.action), None), state=next(iter(reading.state), None),
        action_kind="delta" if reading.action_kind == "delta" else "absolute", units=reading.units,
    )  # fmt: skip


def _rlds_config(folder: Path, reading: Reading) -> rlds.ConvertRLDS:
    return rlds.ConvertRLDS(
        folder, folder, split=reading.split, image=reading.cameras, size=reading.size, hz=reading.hz,
        control_hz=reading.control_hz, action=reading.action, state=reading.state,
        action_kind="absolute" if reading.action_kind == "absolute" else "delta", units=reading.units,
    )  # fmt: skip


def _frames_shape(path: Path) -> tuple[int, ...]:
    with zipfile.ZipFile(path) as archive, archive.open("image.npy") as file:
        return _read_header(path, file)


def first_frame(path: Path) -> np.ndarray:
    """The first frame of an episode's file, without unpacking the others."""
    with reading(path, "an npz file"):
        pass
    try:
        with zipfile.ZipFile(path) as archive, archive.open("image.npy") as file:
            shape = _read_header(path, file)
            data = file.read(int(np.prod(shape[1:])))
    except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as an episode ({error}); convert or record it again"
        ) from error
    return np.frombuffer(data, np.uint8).reshape(shape[1:]).copy()


def _read_header(path: Path, file: object) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)  # type: ignore[arg-type]
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or fortran or not shape[0]:
        raise ValueError(f"{path}: image is {dtype} {shape}, expected uint8 (t, h, w, 3)")
    return tuple(int(size) for size in shape)
