"""Outcomes and rewards of the episodes of an environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from real2sim.checks import check_choice
from real2sim.simulation.contracts import Judge
from real2sim.simulation.judged import probabilities
from real2sim.simulation.lanes import StepResult
from real2sim.simulation.suite import Start

Reward = Literal["success", "progress"]
REWARDS: tuple[str, ...] = get_args(Reward)


class Verdicts:
    """Rewards and infos of every lane after a step, from what the world knows or a judge says.

    With ``success`` the reward is 0 until the episode ends, then 1 for a success, else 0.  With ``progress`` it is the
    change of the judge's probability of success by the step, so that the rewards of an episode add up to its last
    probability minus its first one; a frame of which the judge says nothing changes nothing.  Without a judge the
    probability is 1 where the world knows that the task is done, else 0.

    As a potential-based reward (Ng, Harada and Russell 1999) it favours the same policies as the last probability.
    """

    def __init__(self, judge: Judge | None, reward: Reward, lanes: int) -> None:
        check_choice("reward", reward, REWARDS)
        self._judge, self._progress = judge, reward == "progress"
        self._starts: list[Start | None] = [None] * lanes
        self._seen: list[list[np.ndarray]] = [[] for _ in range(lanes)]
        self._last = np.zeros(lanes)

    def begin(self, lanes: Sequence[int], starts: Sequence[Start]) -> None:
        """New episodes in some lanes."""
        for lane, start in zip(lanes, starts, strict=True):
            self._starts[lane], self._seen[lane] = start, [start.frame.copy()]
        if self._progress:
            self._last[list(lanes)] = 0.0
            for lane, probability in self._judged(lanes).items():
                self._last[lane] = np.nan_to_num(probability)

    def after(self, result: StepResult) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Rewards (lanes,), and per lane what its info says of success."""
        ended = result.terminated | result.truncated
        for lane in np.flatnonzero(result.stepped).tolist():
            self._seen[lane].append(result.frames[lane].copy())
        judged = self._judged(np.flatnonzero(result.stepped if self._progress else ended).tolist())
        rewards = np.zeros(len(ended))
        infos: list[dict[str, Any]] = []
        for lane in range(len(ended)):
            known = None if result.success is None else bool(result.success[lane])
            if not result.stepped[lane] or (known is None and self._judge is None):
                infos.append({})
                continue
            probability = judged.get(lane, np.nan if known is None else float(known))
            said = {} if np.isnan(probability) else {"success_probability": probability}
            if ended[lane]:
                success = known if known is not None else probability >= 0.5
                info = {"success": success, "is_success": success, **(said or {"no_verdict": True})}
            else:
                info = {"is_success": False, **(said if self._progress else {})}
            if not self._progress:
                rewards[lane] = float(info["is_success"])
            elif said:
                rewards[lane], self._last[lane] = probability - self._last[lane], probability
            infos.append(info)
        return rewards, infos

    def _judged(self, lanes: Sequence[int]) -> dict[int, float]:
        """Lane -> probability that its episode so far is a success; NaN where the judge gives no verdict."""
        if self._judge is None or not len(lanes):
            return {}
        starts = [start for lane in lanes if (start := self._starts[lane]) is not None]
        videos = [np.stack(self._seen[lane]) for lane in lanes]
        names, instructions = [start.id for start in starts], [start.instruction for start in starts]
        found = probabilities(self._judge, names, videos, instructions).tolist()
        return dict(zip(lanes, found, strict=True))
