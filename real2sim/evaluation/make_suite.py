"""A suite out of recorded episodes: starts, replays, outcomes, and the list of what trainings must not see."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.built_in import PHYSICS
from real2sim.checks import check_kinds
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.failed_start import undone_where_it_fails
from real2sim.episodes.keep_out import KEEP_OUT_FILE, note_in_dataset, write_keep_out
from real2sim.episodes.run_folder import file_name
from real2sim.episodes.selection import instruction_pattern
from real2sim.evaluation.contact_sheet import write_contact_sheet
from real2sim.evaluation.report_runs import EPISODES_FILE, RATES_FILE
from real2sim.evaluation.suite_sources import (
    FolderSource,
    Reading,
    RecordedEpisode,
    Source,
    bounded_robot,
    open_source,
)
from real2sim.evaluation.suite_tables import (
    Chosen,
    csv_text,
    instruction_embeddings,
    outcome_rows,
    rate_rows,
    replay_arrays,
)
from real2sim.files import write_text
from real2sim.robot import ROBOT_FILE, Robot, read_robot
from real2sim.robot_match import check_same_robot
from real2sim.simulation.suite import (
    REPLAYS_FILE,
    STARTS_FILE,
    SUITE_FILE,
    Start,
    SuiteConfig,
    Task,
    write_suite,
)

LOG = logging.getLogger(__name__)
EMBEDDINGS_FILE = "embeddings.npz"
SHEET_FILE = "contact_sheet.png"
WRITTEN = (
    SUITE_FILE, STARTS_FILE, ROBOT_FILE, REPLAYS_FILE, EMBEDDINGS_FILE,
    RATES_FILE, EPISODES_FILE, KEEP_OUT_FILE, SHEET_FILE,
)  # fmt: skip
"""What is removed again where not all of it can be written."""
ENOUGH_FOR_BOUNDS = 500
"""Episodes whose actions are looked at for the bounds of a dataset that was not converted."""


@dataclass(frozen=True)
class MakeSuite:
    """Make a suite from recorded episodes: their first frames become starts, their actions replays."""

    source: Annotated[Path, tyro.conf.Positional]
    """A dataset folder, a LeRobot dataset, or one version of an RLDS dataset."""
    out: Path
    """Suite folder to make; its name is the suite's."""
    task: tuple[str, ...] = ()
    """`NAME=REGEX` for each task: episodes with an instruction in which the expression is found.  If left out, each
    instruction is a task of its own."""
    starts: int = 50
    """Starts per task, drawn from all episodes of the task."""
    horizon: int | None = None
    """Steps (frames) after which an episode is cut off; by default those of the task's longest start episode."""
    seed: int = 0
    """Seed of the draw."""
    real: str | None = None
    """Real rates: `simpler:google_robot` or `simpler:widowx` for SIMPLER's, a CSV of rates or of single trials, or a
    run in physics."""
    match: tuple[str, ...] = ()
    """`OURS=THEIRS` for tasks or policies that the real table calls otherwise."""
    robot: Path | None = None
    """Folder with the robot.json that the suite is to have, e.g. of the training data, where the source is no dataset
    folder itself."""
    physics: str | None = None
    """Physics that can play the robot from these starts, e.g. `so101`; needs a source that knows the objects
    (`observation.environment_state`)."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = Reading()
    """How a LeRobot or RLDS dataset is read."""

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.physics is not None and self.physics not in PHYSICS:
            raise ValueError(f"physics is {self.physics!r}; there are {', '.join(PHYSICS)}")
        for name in ("starts", "horizon"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


def make_suite(config: MakeSuite, progress: bool = True) -> dict[str, int]:
    """Write the suite folder and give the number of starts of each task.

    Raises ValueError if the folder holds a suite already, a task has too few episodes, an instruction belongs to two
    tasks, or the real table does not fit; FileNotFoundError for a source that is none.  Nothing is written then.
    """
    if (config.out / SUITE_FILE).exists():
        raise ValueError(
            f"{config.out} holds a suite already, which runs may refer to; choose another folder"
        )
    source = open_source(config.source, config.reading)
    matching = episodes_of_tasks(config, source, progress)
    numbers = sorted(number for found in matching.values() for number in found)
    robot = suite_robot(config, source, numbers)
    chosen: dict[str, list[Chosen]] = {}
    tasks = []
    for name, found in matching.items():
        task, items = _starts_of(config, source, robot, name, found, progress)
        tasks.append(task)
        chosen[name] = items
    rates = rate_rows(config.real, config.match, chosen)
    settings = SuiteConfig(
        name=config.out.resolve().name,
        tasks=tuple(tasks),
        real_source=config.real or "recorded episodes",
        physics=config.physics,
    )
    with undone_where_it_fails(config.out, WRITTEN, ()):
        _write(config, settings, chosen, robot, rates, source)
    return {name: len(items) for name, items in chosen.items()}


def _write(
    config: MakeSuite,
    settings: SuiteConfig,
    chosen: dict[str, list[Chosen]],
    robot: Robot,
    rates: list[dict[str, Any]],
    source: Source,
) -> None:
    write_suite(
        config.out, settings, {name: [item.start for item in items] for name, items in chosen.items()}, robot
    )
    write_arrays(config.out / REPLAYS_FILE, replay_arrays(chosen))
    embeddings = instruction_embeddings(chosen)
    if embeddings:
        write_arrays(config.out / EMBEDDINGS_FILE, embeddings)
    if rates:
        write_text(config.out / RATES_FILE, csv_text(rates))
    outcomes = outcome_rows(chosen)
    if outcomes:
        write_text(config.out / EPISODES_FILE, csv_text(outcomes))
    else:
        LOG.info("the dataset does not say which episodes succeeded, so replays have no real outcome")
    used = [item.number for items in chosen.values() for item in items]
    write_keep_out(config.out, (source.label(number) for number in used))
    write_contact_sheet(
        config.out / SHEET_FILE, {name: [i.start for i in items] for name, items in chosen.items()}
    )
    if isinstance(source, FolderSource):
        note_in_dataset(source.folder, settings.name, (source.files[number].name for number in used))


def episodes_of_tasks(config: MakeSuite, source: Source, progress: bool = True) -> dict[str, list[int]]:
    """Task -> numbers of its episodes of two frames or more; only instructions are read.

    Raises ValueError if an instruction belongs to two tasks, or a task has fewer episodes than starts are wanted.
    """
    patterns = _patterns(config.task)
    found: dict[str, list[int]] = {name: [] for name in patterns}
    texts: Counter[str] = Counter()
    for number in tqdm(range(len(source)), unit="episode", desc="instructions", disable=not progress):
        text = source.instruction(number)
        texts[text] += 1
        names = [name for name, pattern in patterns.items() if pattern.search(text)]
        if len(names) > 1:
            raise ValueError(
                f"the instruction {text!r} belongs to tasks {' and '.join(names)}; make their expressions exclusive, "
                "e.g. with ^ and $"
            )
        if not patterns and text:
            names = [file_name(text.lower()).replace("-", "_").replace(".", "_")]
        for name in names:
            found.setdefault(name, []).append(number)
    if not found:
        raise ValueError(f"{config.source}: no episode has an instruction; name tasks with --task NAME=REGEX")
    for name, numbers in found.items():
        long_enough = [number for number in numbers if source.frames(number) > 1]
        if len(long_enough) < config.starts:
            often = ", ".join(repr(text) for text, _ in texts.most_common(8))
            raise ValueError(
                f"task {name!r} has {len(long_enough)} episodes of two frames or more, {config.starts} starts were "
                f"asked for; ask for fewer, or change its expression; frequent instructions are {often}"
            )
        found[name] = long_enough
    return found


def suite_robot(config: MakeSuite, source: Source, numbers: Sequence[int]) -> Robot:
    """The robot of the suite: that of ``config.robot``, which must fit the source, or the source's."""
    if config.robot is None:
        few = np.random.default_rng([config.seed, 1]).permutation(len(numbers))[:ENOUGH_FOR_BOUNDS]
        return bounded_robot(source, [numbers[i] for i in few])
    robot = read_robot(config.robot)
    if robot is None:
        raise FileNotFoundError(f"{config.robot} has no robot.json; name a dataset folder or a world model")
    check_same_robot(robot, str(config.robot), source.robot, str(config.source))
    return robot


def _patterns(tasks: Sequence[str]) -> dict[str, re.Pattern[str]]:
    patterns = {}
    for written in tasks:
        name, equals, pattern = written.partition("=")
        if not equals or not name.strip() or not pattern:
            raise ValueError(
                f'--task is {written!r}, expected NAME=REGEX, e.g. close_drawer="close .* drawer"'
            )
        if name.strip() in patterns:
            raise ValueError(f"--task names {name.strip()!r} twice; join its expressions with |")
        patterns[name.strip()] = instruction_pattern(pattern, "--task")
    return patterns


def _starts_of(
    config: MakeSuite, source: Source, robot: Robot, name: str, numbers: Sequence[int], progress: bool
) -> tuple[Task, list[Chosen]]:
    drawn = np.random.default_rng([config.seed, 0, *name.encode()]).permutation(len(numbers))
    taken: list[tuple[int, RecordedEpisode]] = []
    outside = 0
    with tqdm(total=config.starts, unit="start", desc=name, disable=not progress) as bar:
        for number in (numbers[i] for i in drawn):
            recorded = source.episode(number)
            flat = recorded.action.reshape(-1, robot.action_width)
            if ((flat < robot.low) | (flat > robot.high)).any():
                outside += 1
                continue
            taken.append((number, recorded))
            bar.update()
            if len(taken) == config.starts:
                break
    if outside:
        LOG.info(
            "task %s: %d episodes command more than the robot's bounds allow and are left out", name, outside
        )
    if len(taken) < config.starts:
        raise ValueError(
            f"task {name!r}: only {len(taken)} episodes keep within the robot's bounds, {config.starts} starts were "
            "asked for; ask for fewer"
        )
    taken.sort(key=lambda item: item[0])
    told = [source.instruction(number) for number, _ in taken]
    longest = max(len(recorded.action) - 1 for _, recorded in taken)
    task = Task(name, Counter(told).most_common(1)[0][0], config.horizon or longest)
    chosen = []
    for (number, recorded), instruction in zip(taken, told, strict=True):
        state = None if recorded.state is None or not robot.state else recorded.state[0]
        scene = None if config.physics is None else _scene(config, number, recorded)
        start = Start(
            task,
            f"{number:06d}",
            source.first_frame(number),
            scene,
            measured=_measured(source, recorded),
            robot_state=state,
            instruction=instruction,
        )
        chosen.append(Chosen(number, start, recorded))
    return task, chosen


def _measured(source: Source, recorded: RecordedEpisode) -> dict[str, float]:
    """What is known at the first frame, by name, for world models that are told: a state of the robot that policies
    are not given, and where objects are."""
    found: dict[str, float] = {}
    if recorded.state is not None and recorded.state_names:
        found |= dict(zip(recorded.state_names, map(float, recorded.state[0]), strict=True))
    if recorded.environment is not None and source.object_names:
        found |= dict(zip(source.object_names, map(float, recorded.environment), strict=True))
    return found


def _scene(config: MakeSuite, number: int, recorded: RecordedEpisode) -> np.ndarray:
    """What physics builds the first frame's scene from: the robot's state, then the objects'."""
    if recorded.state is None or recorded.environment is None:
        missing = "state of the robot" if recorded.state is None else "observation.environment_state"
        raise ValueError(
            f"{config.source}: episode {number} has no {missing}, from which physics {config.physics!r} would begin; "
            "leave out --physics"
        )
    return np.concatenate([recorded.state[0], recorded.environment])
