"""A suite on disk: tasks, start frames, action conventions and, where they were measured, real success
rates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from real2sim.actions import FIELDS, ActionBounds, rt1_robot
from real2sim.built_in import ASSETS, shipped_suites
from real2sim.checks import as_path, check_whole
from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.files import read_json, write_text
from real2sim.model_folder import config_from_dict, config_to_dict
from real2sim.robot import ROBOT_FILE, Robot, read_robot
from real2sim.simulation.past_frames import past_arrays, past_frames
from real2sim.simulation.suite_config import SuiteConfig, Task
from real2sim.wording import did_you_mean

SUITE_FILE = "suite.json"
STARTS_FILE = "start_frames.npz"
REPLAYS_FILE = "replays.npz"


@dataclass(frozen=True)
class Start:
    """How an episode begins."""

    task: Task
    id: str
    frame: np.ndarray
    """First camera frame, uint8 (h w 3)."""
    state: np.ndarray | None = None
    """What a physics world needs to build the same scene, where that is known."""
    robot_state: np.ndarray | None = None
    """Proprioceptive state of the robot, float32 (m,), where it has one."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """State of the robot, and of what it moves, at the first frame: number by name, as in datasets."""
    instruction: str = ""
    """What the robot is told in this episode; the task's instruction if it is empty."""
    past: np.ndarray | None = None
    """Frames before the first one that world models also begin from, uint8 (p h w 3), oldest first."""
    past_actions: np.ndarray | None = None
    """What led from each past frame to the next, float32 (p n), or (p K n) for K actions per frame."""

    def __post_init__(self) -> None:
        if not self.instruction:
            object.__setattr__(self, "instruction", self.task.instruction)


class Suite:
    """A suite folder, read when asked."""

    def __init__(self, config: SuiteConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder

    @classmethod
    def from_folder(cls, folder: Path | str) -> Suite:
        """The suite in a folder that holds ``suite.json`` and ``start_frames.npz``."""
        folder = Path(folder)
        path = folder / SUITE_FILE
        return cls(config_from_dict(SuiteConfig, read_json(path), str(path)), folder)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.config.tasks

    @cached_property
    def robot(self) -> Robot:
        """The robot of ``robot.json``, or one with RT-1's action as ``suite.json`` describes it."""
        config, robot = self.config, read_robot(self.folder)
        if robot is None:
            return rt1_robot(
                name=config.name,
                bounds=ActionBounds(**dict(config.limits)),
                used_fields=tuple(FIELDS) if config.used_fields is None else config.used_fields,
                control_hz=3.0 if config.control_hz is None else config.control_hz,
                image_size=(64, 64) if config.image_size is None else config.image_size,
            )
        for name in ("image_size", "control_hz", "used_fields", "limits"):
            if getattr(config, name):
                raise ValueError(
                    f"{self.folder / SUITE_FILE} has {name!r}, which {ROBOT_FILE} beside it says too; leave it out"
                )
        return robot

    def task(self, name: str) -> Task:
        """The task of that name; an unknown one lists those that exist."""
        if not isinstance(name, str):
            raise ValueError(f"a task is named by text, got {name!r}")
        for task in self.tasks:
            if task.name == name:
                return task
        raise ValueError(
            f"suite {self.name!r} has no task {name!r}{did_you_mean(name, [task.name for task in self.tasks])}; "
            f"it has {', '.join(task.name for task in self.tasks)}"
        )

    def starts(self, task: str, count: int | None = None) -> list[Start]:
        """The first ``count`` starts of a task (all of them for None)."""
        ids, frames, states, robot_states = self._starts_of(self.task(task))
        measured = self._measured(task, len(ids))
        told = self._start_arrays.get(f"{task}/instructions")
        past, past_actions = past_frames(
            self._start_arrays, task, len(ids), self.robot, self.folder / STARTS_FILE
        )
        wanted = len(ids) if count is None else check_whole("the number of starts", count, None)
        if not 1 <= wanted <= len(ids):
            raise ValueError(
                f"{wanted} starts were asked for, task {task!r} of suite {self.name!r} has {len(ids)}"
            )
        return [
            Start(
                self.task(task),
                str(ids[i]),
                frames[i],
                None if states is None else states[i],
                None if robot_states is None else robot_states[i],
                measured[i],
                "" if told is None else str(told[i]),
                None if past is None else past[i],
                None if past_actions is None else past_actions[i],
            )
            for i in range(wanted)
        ]

    def _measured(self, task: str, count: int) -> list[dict[str, float]]:
        """The measured state at each start of a task; empty ones where the suite has none."""
        values = self._start_arrays.get(f"{task}/measured")
        if values is None:
            return [{} for _ in range(count)]
        names = [str(name) for name in self._start_arrays.get("measured_names", ())]
        if values.shape != (count, len(names)):
            expected = (count, len(names))
            raise ValueError(
                f"{self.folder / STARTS_FILE}: {task}/measured has shape {values.shape}, expected {expected} "
                "for its starts and measured_names; record the states again"
            )
        return [dict(zip(names, map(float, row), strict=True)) for row in values]

    def _measured_robot_states(self, task: Task, count: int) -> np.ndarray:
        """The robot's state at each start (starts m), taken by name from what was measured there."""
        measured, names = self._measured(task.name, count), self.robot.state_names
        missing = [name for name in names if not measured or name not in measured[0]]
        if missing:
            raise ValueError(
                f"{self.folder / STARTS_FILE} has no array '{task.name}/robot_states'; robot {self.robot.name!r} has "
                f"a state of {len(names)} numbers, and each start needs one: '{task.name}/measured' would do, but has "
                f"no {missing[0]!r}"
            )
        return np.array([[values[name] for name in names] for values in measured], np.float32)

    def replays(self, task: str) -> dict[str, np.ndarray]:
        """Scripted action sequences (starts horizon n), or (starts horizon K n), by controller, aligned with the
        starts of the task."""
        self.task(task)
        if not (self.folder / REPLAYS_FILE).is_file():
            return {}
        prefix, suffix = f"{task}/", "/actions"
        count = len(self._starts_of(self.task(task))[0])
        found = {}
        for key, array in self._replay_arrays.items():
            if key.startswith(prefix) and key.endswith(suffix):
                controller = key[len(prefix) : -len(suffix)]
                if array.dtype.kind not in "fiu" or array.ndim not in (3, 4) or not all(array.shape[1:]):
                    raise ValueError(
                        f"{self.folder / REPLAYS_FILE}: {key} is {array.dtype} of shape {array.shape}, expected "
                        "numbers (starts, steps, n) or (starts, steps, K, n) with at least one step; make it again"
                    )
                if not np.isfinite(array).all():
                    raise ValueError(
                        f"{self.folder / REPLAYS_FILE}: {key} holds values that are not finite; make the file again"
                    )
                if len(array) > count:
                    raise ValueError(
                        f"{self.folder / REPLAYS_FILE}: {key} has {len(array)} episodes for {count} starts"
                    )
                found[controller] = array
        return found

    def replay_steps(self, task: str, controller: str) -> np.ndarray | None:
        """How many of a controller's actions belong to each start, (starts,), where recordings differ in length."""
        path, key = self.folder / REPLAYS_FILE, f"{task}/{controller}"
        lengths, actions = (self._replay_arrays.get(f"{key}/{name}") for name in ("lengths", "actions"))
        if lengths is None or actions is None:
            return None
        if lengths.shape != actions.shape[:1] or not ((lengths >= 1) & (lengths <= actions.shape[1])).all():
            raise ValueError(
                f"{path}: {key}/lengths should hold a number of steps from 1 to {actions.shape[1]} for each of the "
                f"{len(actions)} recordings"
            )
        return np.asarray(lengths, dtype=int)

    @cached_property
    def _replay_arrays(self) -> dict[str, np.ndarray]:
        return read_arrays(self.folder / REPLAYS_FILE)

    @cached_property
    def _start_arrays(self) -> dict[str, np.ndarray]:
        return read_arrays(self.folder / STARTS_FILE)

    def _starts_of(self, task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        path = self.folder / STARTS_FILE
        try:
            ids, frames = self._start_arrays[f"{task.name}/ids"], self._start_arrays[f"{task.name}/frames"]
        except KeyError as error:
            raise ValueError(f"{path} has no array {error}; the suite lists a task {task.name!r}") from error
        if ids.ndim != 1 or ids.dtype.kind != "U" or not all(ids.tolist()):
            raise ValueError(
                f"{path}: {task.name}/ids is {ids.dtype} {ids.shape}, expected a text for each start, none empty"
            )
        height, width = self.robot.canvas_size
        if frames.dtype != np.uint8 or frames.shape != (len(ids), height, width, 3):
            raise ValueError(
                f"{path}: {task.name}/frames has shape {frames.shape} and type {frames.dtype}, "
                f"expected uint8 ({len(ids)}, {height}, {width}, 3)"
            )
        told = self._start_arrays.get(f"{task.name}/instructions")
        if told is not None and (told.shape != ids.shape or told.dtype.kind != "U"):
            raise ValueError(
                f"{path}: {task.name}/instructions has shape {told.shape} and type {told.dtype}, expected "
                f"{len(ids)} texts"
            )
        if len(set(ids.tolist())) != len(ids):
            raise ValueError(f"{path}: the ids of task {task.name!r} are not all different")
        robot_states = self._start_arrays.get(f"{task.name}/robot_states")
        expected = (len(ids), len(self.robot.state))
        if self.robot.state_from is not None and robot_states is None:
            robot_states = self._measured_robot_states(task, len(ids))
        if robot_states is not None and (
            robot_states.shape != expected or not np.isfinite(robot_states).all()
        ):
            raise ValueError(
                f"{path}: {task.name}/robot_states has shape {robot_states.shape}, expected finite numbers {expected}"
            )
        return ids, frames, self._start_arrays.get(f"{task.name}/states"), robot_states


def load_suite(name: str | Path) -> Suite:
    """A shipped suite by its name, or any suite by its folder.

    A bare name of a shipped suite is always that suite, as for policies; ``./drawer`` is a folder.
    """
    folder = as_path("a suite", name)
    shipped = list(shipped_suites())
    if isinstance(name, str) and name in shipped:
        return Suite.from_folder(ASSETS / name)
    if str(name).strip() and (folder / SUITE_FILE).exists():
        return Suite.from_folder(folder)
    raise ValueError(
        f"{str(name)!r} is neither a shipped suite ({', '.join(shipped) or 'none'}) nor a "
        f"folder with a {SUITE_FILE}"
    )


def write_suite(
    folder: Path, config: SuiteConfig, starts: Mapping[str, Sequence[Start]], robot: Robot | None = None
) -> None:
    """Write ``suite.json``, ``start_frames.npz`` and, if one is given, ``robot.json`` so that `Suite.from_folder`
    reads them back."""
    arrays: dict[str, np.ndarray] = {}
    for task, items in starts.items():
        arrays[f"{task}/ids"] = np.array([start.id for start in items])
        arrays[f"{task}/frames"] = np.stack([start.frame for start in items])
        if all(start.state is not None for start in items):
            arrays[f"{task}/states"] = np.stack([start.state for start in items])  # type: ignore[misc]
        if any(start.instruction != start.task.instruction for start in items):
            arrays[f"{task}/instructions"] = np.array([start.instruction for start in items])
        if all(start.robot_state is not None for start in items):
            arrays[f"{task}/robot_states"] = np.stack([start.robot_state for start in items])  # type: ignore[misc]
        arrays |= past_arrays(task, items)
        if all(start.measured for start in items):
            names = list(items[0].measured)
            arrays["measured_names"] = np.array(names)
            arrays[f"{task}/measured"] = np.array(
                [[start.measured[name] for name in names] for start in items], np.float32
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / STARTS_FILE, arrays)
    if robot is not None:
        robot.save(folder)
    write_text(folder / SUITE_FILE, json.dumps(config_to_dict(config), indent=2) + "\n")
