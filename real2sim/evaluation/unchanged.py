"""Whether the rows of a run still say what was drawn: an edited task, instruction, seed or robot is noticed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real2sim.episodes.rows import is_whole
from real2sim.episodes.run_folder import COLUMNS, ROWS, RUN_FILE, RunFolder, file_name
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.files import read_bytes
from real2sim.model_folder import config_from_dict
from real2sim.robot import ROBOT_FILE, read_robot
from real2sim.simulation.loop import episode_seed
from real2sim.simulation.suite import STARTS_FILE, SUITE_FILE, Suite, load_suite


def suite_fingerprint(suite: Suite) -> str:
    """Name and hash of what gives the rows of a run their meaning: tasks, start frames, robot."""
    digest = hashlib.sha256()
    for name in (SUITE_FILE, STARTS_FILE, ROBOT_FILE):
        if name != ROBOT_FILE or (suite.folder / name).is_file():
            digest.update(read_bytes(suite.folder / name))
    return f"{suite.name} {digest.hexdigest()[:16]}"


def episode_name(policy: str, task: str, start: str) -> str:
    """A name for an episode that is unique in its run and can be a file name; its end is a hash of the three."""
    parts = (policy, task, start)
    return "-".join([*(file_name(part)[:60] for part in parts), _digest(*parts)])


def _digest(policy: str, task: str, start: str) -> str:
    return hashlib.sha256(f"{policy}\n{task}\n{start}".encode()).hexdigest()[:8]


def check_rows(folder: RunFolder, rows: Iterable[Mapping[str, Any]], suite: Suite | None = None) -> None:
    """ValueError, naming file and line, where a row contradicts ``run.json``, its own name or its suite.

    ``suite`` is that of the run, by default looked up; it is asked only where it is as it was when the run was made.
    """
    rows = list(rows)
    settings = folder.settings()
    if "versions" in settings:
        _check_config(settings.get("config", {}), folder)
    if not rows:
        return
    identity: Mapping[str, Any] = settings["identity"]
    suite = _same_suite(folder, identity) if suite is None else suite
    known = None if suite is None else _starts(suite, identity.get("seed"))
    kinds = {policy: source.split(" ")[0] for policy, source in (identity.get("policies") or {}).items()}
    name = str(identity.get("suite", "")).rpartition(" ")[0]
    world = str(identity.get("world", "")).split(" ")[0]
    # Rows that were made by other programs may have fewer fields, and other names.
    ours = "versions" in settings
    needed = frozenset(COLUMNS) if ours else frozenset()
    families: Mapping[str, str] = settings.get("families", {})
    for row in rows:
        lacking = sorted(needed - row.keys())
        complaint = (
            f"has no field {lacking[0]}"
            if lacking
            else _contradiction(row, kinds, name, world)
            or _misnamed(row, ours)
            or _unrelated(row, families)
            or (known is not None and _foreign(row, known))
        )
        if complaint:
            raise ValueError(
                f"{_place(folder, row['episode'])}: episode {row['episode']!r} {complaint}; was it or run.json edited? "
                "Put it back, or remove the line and run the same rollout again"
            )
    if suite is not None:
        check_robot_file(folder.path, suite)


def keep_families(folder: RunFolder, families: Mapping[str, str], note: bool) -> None:
    """Write into ``run.json`` which training run each policy comes from, or compare with what it says.

    Raises ValueError where a policy came from another one before: its rows could not be counted once.
    """
    begun = folder.has_rows()
    noted: dict[str, str] = folder.settings().get("families", {}) if begun else {}
    rows = folder.rows() if begun else []
    # Runs of older versions have them in their rows alone.
    known = {str(row["policy"]): str(row["family"]) for row in rows if "family" in row} | noted
    for policy, family in families.items():
        if known.get(policy, family) != family:
            raise ValueError(
                f"{folder.path / RUN_FILE} says that policy {policy!r} comes from training run {known[policy]!r}, "
                f"now it is {family!r}; write {known[policy]}:{policy}=place as then, or choose another folder"
            )
    if note and not families.keys() <= noted.keys():
        folder.note("families", {**known, **families})


def _check_config(config: Mapping[str, Any], folder: RunFolder) -> None:
    """ValueError unless the command in ``run.json`` could have been given; fields of other versions are left alone."""
    known = {field.name for field in dataclasses.fields(RolloutConfig)}
    mine = {name: value for name, value in config.items() if name in known}
    config_from_dict(RolloutConfig, mine, f"{folder.path / RUN_FILE}, field config")


def check_robot_file(run: Path, suite: Suite) -> None:
    """ValueError unless the ``robot.json`` of a run, where it has one, is its suite's."""
    robot = read_robot(run)
    if robot is not None and robot != suite.robot:
        raise ValueError(
            f"{run / ROBOT_FILE} is not the robot of suite {suite.name!r}, in which the run was made; was the file "
            "edited? Remove it, and the same rollout writes it again"
        )


def _same_suite(folder: RunFolder, identity: Mapping[str, Any]) -> Suite | None:
    """The suite of a run, if it is here and as it was."""
    if "suite" not in identity or not isinstance(folder.settings().get("config", {}).get("suite"), str):
        return None
    try:
        suite = load_suite(folder.suite())
        return suite if suite_fingerprint(suite) == identity["suite"] else None
    except (ValueError, OSError):
        # What a suite lacks is for those to say who need it.
        return None


@dataclass(frozen=True)
class _Known:
    """What a suite and the seed of a run say of the episodes from one start."""

    instruction: str
    seed: int | None
    horizon: int


def _starts(suite: Suite, seed: int | None) -> dict[tuple[str, str], _Known]:
    """What is known of each (task, start)."""
    return {
        (task.name, start.id): _Known(
            start.instruction,
            None if seed is None else episode_seed(seed, suite.name, task.name, start.id),
            task.horizon,
        )
        for task in suite.tasks
        for start in suite.starts(task.name)
    }


def _contradiction(row: Mapping[str, Any], kinds: Mapping[str, str], suite: str, world: str) -> str:
    """What of a row does not fit the settings of the run."""
    policy = row["policy"]
    if kinds and policy not in kinds:
        return f"is of policy {policy!r}, run.json lists {', '.join(kinds)}"
    if kinds and row.get("kind", kinds[policy]) != kinds[policy]:
        return f"has kind {row['kind']!r}, run.json says {kinds[policy]!r} of policy {policy!r}"
    if suite and row.get("suite", suite) != suite:
        return f"has suite {row['suite']!r}, run.json says {suite!r}"
    if world and row.get("world", world) != world:
        return f"was drawn in world {row['world']!r}, run.json says {world!r}"
    ends = (row.get("terminated"), row.get("truncated"))
    if None not in ends and ends[0] == ends[1]:
        both, nor = ("both", "and") if ends[0] else ("neither", "nor")
        return f"says {both} that the policy ended it {nor} that the horizon cut it"
    usual = "scripted" if row.get("kind") == "replay" else "policies"
    if kinds and row.get("set", usual) != usual:
        return f"is of set {row['set']!r}, a policy of kind {row.get('kind')!r} of set {usual!r}"
    return ""


def _misnamed(row: Mapping[str, Any], ours: bool) -> str:
    """Whether a row has the name of another episode; in runs of other programs names may have other endings."""
    name, policy, start = str(row["episode"]), row["policy"], row.get("start")
    if start is None or name[-9:] == f"-{_digest(policy, row['task'], start)}":
        return ""
    if not ours and not re.fullmatch("-[0-9a-f]{8}", name[-9:]):
        return ""
    expected = episode_name(policy, row["task"], start)
    return f"says task {row['task']!r} and start {start!r}, whose episode is called {expected!r}"


def _unrelated(row: Mapping[str, Any], families: Mapping[str, str]) -> str:
    """Whether a row says another training run than ``run.json`` does of its policy."""
    known = families.get(row["policy"])
    if known is None or row.get("family", known) == known:
        return ""
    return f"has family {row['family']!r}, run.json says {known!r} of policy {row['policy']!r}"


def _foreign(row: Mapping[str, Any], known: Mapping[tuple[str, str], _Known]) -> str:
    """What of a row does not fit the suite."""
    task, start = row["task"], row.get("start")
    if start is None:
        return ""
    if (task, start) not in known:
        return f"says task {task!r} and start {start!r}, which the suite does not have"
    here = known[task, start]
    if row.get("instruction", here.instruction) != here.instruction:
        return f"says instruction {row['instruction']!r}, its start has {here.instruction!r}"
    if here.seed is not None and row.get("seed", here.seed) != here.seed:
        return f"says seed {row['seed']}, the run's seed gives {here.seed}"
    steps = row.get("steps", here.horizon)
    # Recordings have lengths of their own.
    if row.get("kind") != "replay" and (
        steps > here.horizon or (steps < here.horizon and row.get("terminated") is False)
    ):
        ended = "without being terminated " if steps < here.horizon else ""
        return f"ended {ended}after {steps} steps, its task has {here.horizon}"
    return ""


def _place(folder: RunFolder, episode: str) -> str:
    """File and line of the last row of an episode."""
    found = str(folder.path / ROWS)
    for path in sorted(folder.path.glob(ROWS)):
        for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
            if is_whole(line) and json.loads(line)["episode"] == episode:
                found = f"{path}, line {number}"
    return found
