"""What of a suite, a world model, a judge and policies would fail later, found in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from real2sim.built_in import PHYSICS
from real2sim.evaluation.check_parts import (
    data_findings,
    family_findings,
    judge_findings,
    policy_findings,
    world_findings,
)
from real2sim.evaluation.findings import Finding, attempt
from real2sim.evaluation.policy_sources import (
    PolicySource,
    find_policies,
)
from real2sim.evaluation.report_runs import EPISODES_FILE, RATES_FILE
from real2sim.evaluation.score_runs import JUDGE_FOLDER
from real2sim.evaluation.suite_policies import replay_controllers, shipped_policies
from real2sim.simulation.suite import Start, Suite, load_suite
from real2sim.vid2world.load import MODEL
from real2sim.wording import did_you_mean


@dataclass(frozen=True)
class CheckSuite:
    """Find in seconds what would fail later."""

    suite: Annotated[str, tyro.conf.Positional]
    """Name of a shipped suite, or a suite folder."""
    world: str | None = None
    """World model to check with it; by default the suite's own, where it has one."""
    judge: Path | None = None
    """Classifier to check with it; by default the suite's own, where it has one."""
    policies: tuple[str, ...] = ()
    """Policies to check with it, written as for `real2sim rollout`; servers are not called."""
    data: tuple[Path, ...] = ()
    """Dataset folders that the world model, the judge or policies are trained on."""


def check_suite(config: CheckSuite) -> list[Finding]:
    """The results of all checks, in the order of an evaluation; no weights of a world model are loaded.

    Raises what `load_suite` raises for a folder that is no suite.
    """
    suite = load_suite(config.suite)
    findings = list(_suite_findings(suite))
    if any(finding.is_problem for finding in findings):
        return findings
    starts = {task.name: suite.starts(task.name) for task in suite.tasks}
    sources, missing = _sources(config.policies, suite)
    findings += missing
    findings += _rate_findings(suite, starts, sources)
    world = config.world or (MODEL if (suite.folder / MODEL).is_dir() else None)
    findings += attempt(lambda: world_findings(world, suite))
    judge = config.judge or (suite.folder / JUDGE_FOLDER if (suite.folder / JUDGE_FOLDER).is_dir() else None)
    findings += attempt(lambda: judge_findings(judge, suite, starts))
    for source in sources:
        findings += attempt(lambda source=source: policy_findings(source, suite, starts))  # type: ignore[misc]
    findings += family_findings(sources)
    for folder in config.data:
        findings += attempt(lambda folder=folder: data_findings(folder, suite, starts))  # type: ignore[misc]
    return findings


def _suite_findings(suite: Suite) -> Iterator[Finding]:
    def whole(task: str) -> Iterator[Finding]:
        starts = suite.starts(task)
        told = {start.instruction for start in starts}
        yield Finding(
            False, f"task {task}: {len(starts)} starts, {len(told)} instruction{'s' * (len(told) > 1)}"
        )
        frames = np.stack([start.frame for start in starts]).reshape(len(starts), -1)
        flat = [start.id for start, frame in zip(starts, frames, strict=True) if frame.min() == frame.max()]
        if flat:
            yield Finding(
                True, f"task {task}: the frame of start {flat[0]} has one colour only; is it a camera's?"
            )
        same = len(starts) - len({frame.tobytes() for frame in frames})
        if same:
            yield Finding(
                True, f"task {task}: {same} starts have the same frame as another one; draw other episodes"
            )

    def robot() -> Iterator[Finding]:
        height, width = suite.robot.canvas_size
        yield Finding(
            False,
            f"robot {suite.robot.name}: {suite.robot.action_width} action numbers at {suite.robot.control_hz:g} Hz, "
            f"{suite.robot.actions_per_frame} per frame, frames of {height} x {width} pixels",
        )
        physics = suite.config.physics
        if physics is not None and physics not in PHYSICS:
            yield Finding(
                True,
                f"the suite's physics is {physics!r}, which does not exist; known are {', '.join(PHYSICS)}",
            )

    def replays() -> Iterator[Finding]:
        low, high = suite.robot.low, suite.robot.high
        for controller, recordings in replay_controllers(suite).items():
            for task, actions in recordings.items():
                horizon, lengths = suite.task(task).horizon, suite.replay_steps(task, controller)
                if actions.shape[-1] != suite.robot.action_width:
                    yield Finding(
                        True,
                        f"replay:{controller} on {task} has actions of {actions.shape[-1]} numbers, the robot "
                        f"{suite.robot.action_width}",
                    )
                elif not ((actions >= low) & (actions <= high)).all():
                    yield Finding(
                        True, f"replay:{controller} on {task} has actions outside the robot's bounds"
                    )
                elif lengths is None and actions.shape[1] < horizon:
                    yield Finding(
                        True,
                        f"replay:{controller} on {task} has {actions.shape[1]} steps, the task {horizon}",
                    )
                else:
                    yield Finding(False, f"replay:{controller} on {task}: {len(actions)} recordings")

    yield from attempt(robot)
    for task in suite.tasks:
        yield from attempt(lambda task=task: whole(task.name))  # type: ignore[misc]
    yield from attempt(replays)


def _rate_findings(
    suite: Suite, starts: dict[str, list[Start]], sources: Sequence[PolicySource]
) -> Iterator[Finding]:
    from real2sim.report.inputs import read_rates, read_real_episodes

    path = suite.folder / RATES_FILE
    if not path.is_file():
        yield Finding(
            False, "no real rates: a report will rank, and compare with nothing unless it is given --real"
        )
    else:
        try:
            rates, _ = read_rates(path)
        except ValueError as error:
            yield Finding(True, str(error))
            return
        tasks, policies = sorted(set(rates["task"])), sorted(set(rates["policy"]))
        for task in starts:
            if task not in tasks:
                yield Finding(
                    True,
                    f"task {task} has no real rate{did_you_mean(task, tasks)}; rates are of {', '.join(tasks)}",
                )
        for source in sources:
            if source.kind not in ("random", "replay") and source.name not in policies:
                yield Finding(
                    True,
                    f"policy {source.name} has no real rate{did_you_mean(source.name, policies)}; measured are "
                    f"{', '.join(policies)}; name it with NAME=PLACE",
                )
        yield Finding(False, f"real rates of {len(policies)} policies on {len(tasks)} tasks")
    path = suite.folder / EPISODES_FILE
    if path.is_file():
        try:
            episodes, _ = read_real_episodes(path)
        except ValueError as error:
            yield Finding(True, str(error))
            return
        ids = {(task, start.id) for task, items in starts.items() for start in items}
        unknown = [
            (task, start)
            for task, start in zip(episodes["task"], episodes["start"], strict=True)
            if (task, start) not in ids
        ]
        if unknown:
            yield Finding(
                True,
                f"{path} has an outcome of {unknown[0][0]}, start {unknown[0][1]!r}, which is no start",
            )
        else:
            yield Finding(False, f"outcomes of {len(episodes)} real episodes")


def _sources(names: Sequence[str], suite: Suite) -> tuple[list[PolicySource], list[Finding]]:
    asked = list(names) or list(shipped_policies(suite))
    sources, findings = [], []
    for name in asked:
        try:
            sources += find_policies([name], suite)
        except (ValueError, OSError, ImportError) as error:
            findings.append(Finding(True, str(error)))
    return sources, findings
