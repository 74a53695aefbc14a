"""Ranking by a race: rounds of rollouts into one run folder, judged as they end, until the question is decided."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from real2sim.episodes.run_folder import EPISODES, RunFolder
from real2sim.episodes.sound import unsound_episodes
from real2sim.evaluation.batches import chosen_starts, episode_id
from real2sim.evaluation.launch import launched_as, most_processes
from real2sim.evaluation.policy_sources import PolicySource, find_policies
from real2sim.evaluation.rank_config import RACE, RESULT_FILE, RankConfig
from real2sim.evaluation.rank_result import RankResult, facts, open_questions, why_ended
from real2sim.evaluation.run import rollout
from real2sim.evaluation.score_runs import judge_of_starts, note_model_judge, open_judge_of
from real2sim.evaluation.workers import Workers
from real2sim.files import write_json
from real2sim.report.racing import Question, Race, Round, Schedule
from real2sim.simulation.contracts import Policy
from real2sim.simulation.loop import Job, episode_seed
from real2sim.simulation.suite import Suite, load_suite
from real2sim.worlds import PHYSICS_WORLD

if TYPE_CHECKING:
    from real2sim.success.judge import Judge

LOG = logging.getLogger(__name__)
PATIENCE = 600.0
"""Seconds without a new episode after which the other processes of a launcher are given up."""


def rank(
    config: RankConfig, policies: Mapping[str, Policy] | None = None, progress: bool = True
) -> RankResult:
    """Run the race that ``config`` asks for, as far as it is not in the folder yet, and say what it found.

    The rounds follow from the outcomes alone: they are gone through from the first one, and a round whose episodes are
    there is not run again.  So a race that was killed goes on as if it had not been, and one that is asked another
    question uses what is there.  ``policies`` are own policy objects, as in `rollout`.
    """
    suite = load_suite(config.suite)
    sources = find_policies(config.policies, suite, policies)
    tasks = _tasks(config, suite, sources)
    most = min(len(suite.starts(task)) for task in tasks)
    starts = most if config.starts is None else config.starts
    if not 1 <= starts <= most:
        raise ValueError(f"{starts} starts were asked for, suite {suite.name!r} has {most} of every task")
    # The default is larger than some suites.
    if config.first > starts and config.first != RankConfig.first:
        raise ValueError(
            f"--first asks for {config.first} starts of each task in the first round, there are {starts}; give "
            "--first a smaller number"
        )
    question = Question(config.until, config.alpha, config.margin)
    schedule = Schedule(starts, min(config.first, starts), config.step, config.budget)
    race = Race(len(sources), len(tasks), question, schedule)
    names = tuple(source.name for source in sources)
    judged = bool(config.judge) or config.world != PHYSICS_WORLD
    judge = judge_of_starts(config.out, config.judge, suite, tasks) if judged else None
    with ExitStack() as stack:
        rounds = Rounds(config, suite, sources, tasks, policies, progress, stack, judge)
        while (asked := race.next_round()) is not None:
            race.add(rounds.outcomes(asked))
            if rounds.rank == 0:
                LOG.info("%d episodes; open: %s", race.episodes, open_questions(race, names))
    result = RankResult(race, names, why_ended(race))
    if rounds.rank == 0:
        write_json(config.out / RESULT_FILE, facts(result))
    return result


class Rounds:
    """Gives the outcomes of rounds, from the folder or by rolling out and judging."""

    def __init__(
        self,
        config: RankConfig,
        suite: Suite,
        sources: list[PolicySource],
        tasks: tuple[str, ...],
        own: Mapping[str, Policy] | None,
        progress: bool,
        stack: ExitStack,
        judge: Judge | None = None,
    ) -> None:
        self.rank, self._world_size = launched_as(os.environ)
        self._config, self._suite, self._tasks = config, suite, tasks
        self._sources, self._own, self._progress = sources, own, progress
        self._folder = RunFolder(config.out)
        self._judge, self._noted = judge, False
        self._damaged: set[str] | None = None
        self._workers = None
        processes = 1 if self._world_size > 1 else most_processes(config.rollout((), 0, 1))
        if processes > 1:
            self._workers = stack.enter_context(Workers(processes, config.threads))

    def outcomes(self, asked: Round) -> np.ndarray:
        """Outcomes (turns tasks policies) of a round, 0 or 1, and NaN where the judge has no verdict."""
        episodes = self._episodes(asked)
        rows = self._rows()
        # The first rollout also sees whether the folder belongs to these options, and which files are damaged.
        if asked.begin == 0 or not set(episodes.ravel()) <= set(rows) - self._unsound():
            self._roll_out(asked)
            rows = self._wait(set(episodes.ravel()))
        verdicts = self._verdicts(rows, set(episodes.ravel()))
        found = np.vectorize(verdicts.__getitem__, otypes=[float])(episodes)
        if asked.begin == 0:
            self._check_judged(asked, np.isnan(found))
        return found

    def _unsound(self) -> set[str]:
        """Episodes of an earlier call whose files are missing or damaged."""
        if self._damaged is None:
            folder, size = self._folder.path / EPISODES, self._suite.robot.canvas_size
            self._damaged = set(unsound_episodes(folder, self._rows().values(), size))
        return self._damaged

    def _check_judged(self, asked: Round, silent: np.ndarray) -> None:
        """Raise a ValueError if a policy has no verdict on any episode of a task in its first round."""
        unjudged = np.argwhere(silent.all(axis=0))
        if len(unjudged):
            t, p = unjudged[0]
            assert self._judge is not None
            raise ValueError(
                f"{self._judge.name} has no verdict on any of the {len(silent)} episodes of policy "
                f"{self._sources[asked.policies[p]].name!r} on task {self._tasks[t]!r}; look at them with real2sim "
                f"view {self._config.out}, then rank without it or give --judge another judge"
            )

    def _episodes(self, asked: Round) -> np.ndarray:
        """Names (turns tasks policies) of a round's episodes."""
        config = self._config.rollout((), asked.begin, asked.end)
        names = np.empty((asked.end - asked.begin, len(self._tasks), len(asked.policies)), dtype=object)
        for t, task in enumerate(self._tasks):
            for turn, start in enumerate(chosen_starts(self._suite, task, config)):
                seed = episode_seed(config.seed, self._suite.name, task, start.id)
                for p, policy in enumerate(asked.policies):
                    names[turn, t, p] = episode_id(Job(self._sources[policy].name, start, seed), config)
        return names

    def _roll_out(self, asked: Round) -> None:
        whole = {source.name: name for name, source in self._written()}
        policies = tuple(whole[self._sources[policy].name] for policy in asked.policies)
        config = self._config.rollout(policies, asked.begin, asked.end)
        rollout(config, self._own, self._progress, self._workers)
        if self.rank == 0 and RACE not in self._folder.settings():
            self._folder.note(RACE, {"until": self._config.until, "alpha": self._config.alpha})

    def _written(self) -> list[tuple[str, PolicySource]]:
        """A name for each source that stands for it alone."""
        found = []
        for name in self._config.policies:
            here = find_policies([name], self._suite, self._own)
            found += [(name if len(here) == 1 else source.name, source) for source in here]
        return found

    def _rows(self) -> dict[str, dict[str, Any]]:
        return {str(row["episode"]): row for row in self._folder.rows()} if self._folder.path.is_dir() else {}

    def _wait(self, episodes: set[str]) -> dict[str, dict[str, Any]]:
        """The rows, when all processes of a launcher have made theirs."""
        rows, last = self._rows(), time.monotonic()
        while not episodes <= set(rows):
            if self._world_size == 1 or time.monotonic() - last > PATIENCE:
                raise ValueError(
                    f"{self._config.out} lacks {len(episodes - set(rows))} episodes of this round; did another process "
                    "end? The same command continues"
                )
            time.sleep(0.5)
            now = self._rows()
            last = time.monotonic() if len(now) > len(rows) else last
            rows = now
        return rows

    def _verdicts(self, rows: dict[str, dict[str, Any]], episodes: set[str]) -> dict[str, float]:
        """Success of each episode, 0 or 1: what the world knows, or else what the judge says, NaN for no verdict."""
        if all(rows[name].get("success") is not None for name in episodes):
            return {name: float(rows[name]["success"]) for name in episodes}
        from real2sim.success.score import score, scores_by
        from real2sim.success.vlm_judge import VLMJudge

        if self._judge is None:
            self._judge = open_judge_of(self._folder.path, self._config.judge)
        if self.rank == 0 and isinstance(self._judge, VLMJudge) and not self._noted:
            self._noted = True
            note_model_judge(self._folder.path, self._judge)
        until = time.monotonic() + PATIENCE
        while not episodes <= set(scores := scores_by(self._judge, self._folder.path)):
            if self.rank == 0:
                score(self._folder.path, self._judge, progress=False)
            elif time.monotonic() > until:
                raise ValueError(
                    f"no process judged the episodes of {self._config.out}; did the first one end?"
                )
            else:
                time.sleep(0.5)
        said = {name: scores[name]["success"] for name in episodes}
        return {name: float("nan") if success is None else float(success) for name, success in said.items()}


def _tasks(config: RankConfig, suite: Suite, sources: list[PolicySource]) -> tuple[str, ...]:
    tasks = tuple(suite.task(name).name for name in config.tasks) or tuple(task.name for task in suite.tasks)
    for source in sources:
        lacking = [task for task in tasks if task not in source.tasks]
        if lacking:
            raise ValueError(
                f"policy {source.name!r} cannot be asked for task {lacking[0]!r}; policies are ranked by tasks that "
                "all of them have, name those with --tasks"
            )
    return tasks
