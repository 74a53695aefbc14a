"""Outcomes along the way: a run's episodes cut at several lengths, judged, beside what physics makes of the actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.checks import check_kinds, check_whole
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.score_runs import open_judge_of
from real2sim.evaluation.unchanged import check_rows
from real2sim.files import write_text
from real2sim.simulation.contracts import World
from real2sim.simulation.suite import Suite, load_suite

HORIZON_FILE = "horizon.csv"
COLUMNS = ("episode", "set", "world", "policy", "task", "start", "steps", "success", "real_success")


@dataclass(frozen=True)
class HorizonConfig:
    """Find out up to how many steps a run's judged outcomes agree with physics under the same actions."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of a world model, in a suite that has physics."""
    lengths: tuple[int, ...] = ()
    """Steps after which episodes are cut; by default fifths of the longest episode."""
    episodes: int = 400
    """Most episodes that are cut, evenly spread over the run."""
    judge: str | None = None
    """Model folder of a judge, or ``openai:URL#model=NAME`` as for `real2sim score`; by default the judge of the run's
    suite."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("episodes", self.episodes)
        for length in self.lengths:
            check_whole("lengths", length)


def outcomes_along_the_way(config: HorizonConfig) -> Path:
    """Write ``horizon.csv`` into the run folder, where `real2sim report` finds it; gives its path.

    Every row is one episode at one length: the judge's verdict on the frames up to there (empty where it has none),
    and whether the task is done in physics after the same actions from the same start.
    """
    import pandas as pd

    from real2sim.worlds import open_physics

    folder = RunFolder(config.run)
    suite = load_suite(folder.suite())
    rows = sorted(folder.rows(), key=lambda row: str(row["episode"]))
    if not rows:
        raise ValueError(f"{config.run} holds no episodes; make some with `real2sim rollout`")
    picked = np.unique(np.linspace(0, len(rows) - 1, min(config.episodes, len(rows))).round().astype(int))
    rows = [rows[i] for i in picked]
    check_rows(folder, rows, suite)
    longest = max(int(row["steps"]) for row in rows)
    lengths = sorted({*config.lengths} or {max(1, round(longest * fifth / 5)) for fifth in range(1, 6)})
    judge = open_judge_of(config.run, config.judge)
    world = open_physics(suite)
    out: list[dict[str, Any]] = []
    for row in tqdm(rows, desc="horizon", unit="episode"):
        frames, actions = folder.episode(str(row["episode"]), row)
        done = list(_done(world, suite, row, actions))
        reached = [length for length in lengths if length <= len(done)]
        if not reached:
            continue
        names = [str(row["episode"])] * len(reached)
        verdicts = judge.judge(
            names, [frames[: n + 1] for n in reached], [str(row["instruction"])] * len(reached)
        )
        for length, verdict in zip(reached, verdicts.tolist(), strict=True):
            said = None if np.isnan(verdict) else verdict >= 0.5
            kept = {name: row.get(name) for name in COLUMNS[:6]}
            out.append(kept | {"steps": length, "success": said, "real_success": done[length - 1]})
    path = folder.path / HORIZON_FILE
    write_text(path, pd.DataFrame(out, columns=list(COLUMNS)).to_csv(index=False))
    return path


def _done(world: World, suite: Suite, row: dict[str, Any], actions: np.ndarray) -> Iterator[bool]:
    """Whether the task is done in physics after each of an episode's actions."""
    start = next(start for start in suite.starts(str(row["task"])) if start.id == row["start"])
    state = world.reset([start], [int(row["seed"])])
    for action in _per_frame(suite, actions):
        _, state = world.step(state, action[None])
        outcomes = world.outcomes(state)
        assert outcomes is not None
        yield bool(outcomes[0])


def _per_frame(suite: Suite, actions: np.ndarray) -> Sequence[np.ndarray]:
    """Actions (t K n), as a world takes them, of recorded ones."""
    kept: np.ndarray = actions[:, None] if suite.robot.actions_per_frame == 1 else actions
    return list(kept)


def horizon_lines(path: Path) -> str:
    """What ``horizon.csv`` says, as text: agreement per length, and H*."""
    from real2sim.report.horizon import agreement_by_horizon, read_cut_outcomes
    from real2sim.report.tables import read_file

    found = agreement_by_horizon(read_cut_outcomes(read_file(path, "outcomes along the way")))
    lines = [
        f"{row['steps']:>4} steps: {row['same']:.0f} of {row['episodes']} outcomes agree ({row['rate']:.0%})"
        for row in found.table.to_dict("records")
    ]
    return "\n".join([*lines, found.statement, f"outcomes: {path}"])
