"""What a world model is worth before any policy is evaluated: the verdict on replays of recordings, and its rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from real2sim.report.gaps import LengthTrust
from real2sim.report.metrics import plain
from real2sim.report.rates import wilson
from real2sim.report.wording import NOT_MEASURED, percent, percent_interval

GOOD, USABLE = 0.9, 0.75
"""Least share of equal outcomes that must be shown for a good and for a usable world model."""
FEWEST_OF_EACH = 5
"""Fewest recorded successes, and failures, with which the agreement says something."""
Grade = Literal["good", "mixed", "bad", "unknown"]


@dataclass(frozen=True)
class Outcomes:
    """Verdicts on replayed episodes against what was recorded."""

    replays: pd.DataFrame
    """One row per replay with a known outcome: ``episode``, ``instruction``, ``steps``, ``recorded`` (0/1), and the
    judge's verdicts (0/1 or missing) ``success`` on the drawn video and ``on_recorded`` on the recording."""

    def _share(self, column: str) -> dict[str, float]:
        known = self.replays[self.replays[column].notna()]
        same, n = int((known[column] == known["recorded"]).sum()), len(known)
        low, high = wilson(np.array(same), np.array(n))
        return {
            "same": same,
            "n": n,
            "rate": same / n if n else math.nan,
            "low": float(low),
            "high": float(high),
        }

    @property
    def agreement(self) -> dict[str, float]:
        """Equal outcomes of drawn and recorded episodes: ``same``, ``n``, ``rate``, ``low``, ``high``."""
        return self._share("success")

    @property
    def judge_alone(self) -> dict[str, float]:
        """The same of the judge on the recordings themselves: what is not the world model's fault."""
        return self._share("on_recorded")

    @property
    def chance(self) -> float:
        """Agreement expected from both success rates alone."""
        known = self.replays[self.replays["success"].notna()]
        drawn, recorded = known["success"].mean(), known["recorded"].mean()
        return float(drawn * recorded + (1 - drawn) * (1 - recorded))

    @property
    def counts(self) -> dict[str, int]:
        """Recorded successes and failures that were judged, wrong verdicts of both kinds, and replays without one."""
        known = self.replays[self.replays["success"].notna()]
        drawn, recorded = known["success"] == 1, known["recorded"] == 1
        return {
            "successes": int(recorded.sum()),
            "failures": int((~recorded).sum()),
            "only_drawn": int((drawn & ~recorded).sum()),
            "only_recorded": int((~drawn & recorded).sum()),
            "no_verdict": int(self.replays["success"].isna().sum()),
        }


@dataclass(frozen=True)
class Validation:
    """Everything that `real2sim validate` found; a part that could not be measured is None, and ``why`` says so."""

    world: str
    data: str
    episodes: int
    longest: int
    """Steps of the longest replay."""
    error: pd.DataFrame
    """Per step: ``step``, ``episodes``, ``drawn`` and ``still``, mean PSNR in dB of the drawn frame and of the start
    frame against the recorded one, and ``low``, ``high`` of their mean difference."""
    outcomes: Outcomes | None = None
    horizon: LengthTrust | None = None
    following: dict[str, Any] | None = None
    """Of drawn and of recorded episodes: valid ones, their number, and the median of the recovered action's error."""
    consistency: pd.DataFrame | None = None
    why: dict[str, str] = field(default_factory=dict)
    """Part -> why it was not measured."""

    @property
    def beats_still(self) -> int | None:
        """Steps up to which drawn frames are shown to be closer to the recording than the start frame is."""
        held = (self.error["low"] > 0).cummin()
        return int(self.error["step"][held].max()) if held.any() else None

    @property
    def verdict(self) -> tuple[Grade, str, str]:
        """Grade, headline, and a paragraph that says why."""
        frames = self._frames()
        if self.outcomes is None:
            words = f"Agreement of outcomes is {NOT_MEASURED}: {self.why['outcomes']}. {frames}{self._following()}"
            return "unknown", "Whether policies can be evaluated in this world model cannot be said.", words
        share, counts = self.outcomes.agreement, self.outcomes.counts
        said = (
            f"{share['same']:.0f} of {share['n']:.0f} replays end as recorded ({percent(share['rate'])}, "
            f"{percent_interval(share['low'], share['high'])}; by chance {percent(self.outcomes.chance)})"
        )
        if min(counts["successes"], counts["failures"]) < FEWEST_OF_EACH:
            words = (
                f"{said}, but only {counts['successes']} recorded successes and {counts['failures']} failures have a "
                f"verdict, fewer than {FEWEST_OF_EACH} of one kind. {frames}{self._following()}"
            )
            return (
                "unknown",
                "Too few outcomes of both kinds to say whether this world model is good enough.",
                words,
            )
        until = "" if self.horizon is None else f" {self.horizon.statement}"
        words = f"{said}.{until} {frames}{self._following()}{self._policies()}"
        if share["low"] >= GOOD:
            return "good", "Good enough to evaluate policies in.", words
        if share["low"] >= USABLE:
            return "mixed", "Usable for large differences between policies, not for small ones.", words
        return "bad", "Not good enough to evaluate policies in.", words

    def _frames(self) -> str:
        until = self.beats_still
        if until is None:
            return (
                "Drawn frames are not shown to be closer to the recording than the start frame, repeated, is."
            )
        if until >= self.longest:
            return f"Drawn frames beat the repeated start frame at every step up to {self.longest}."
        return f"Drawn frames beat the repeated start frame up to step {until} of {self.longest}."

    def _following(self) -> str:
        if self.following is None:
            return f" Action following is {NOT_MEASURED}: {self.why['following']}."
        drawn, recorded = self.following["drawn"], self.following["recorded"]
        return (
            f" The gate finds {drawn['valid']} of {drawn['episodes']} drawn and {recorded['valid']} of "
            f"{recorded['episodes']} recorded episodes valid; actions recovered from drawn frames are "
            f"{drawn['error'] / recorded['error']:.1f} times as far off as from recorded ones."
        )

    def _policies(self) -> str:
        if self.consistency is None or self.consistency.empty:
            return ""
        worst = self.consistency.sort_values("distance").iloc[-1]
        return (
            f" Of {len(self.consistency)} policies, {worst['policy']} acts most differently on drawn frames (distance "
            f"{worst['distance']:.2f}; 0 is not at all, 1 as much as everything else it reacts to)."
        )

    def metrics(self) -> dict[str, Any]:
        """The content of ``validation.json``."""
        grade, headline, words = self.verdict
        outcomes, horizon = self.outcomes, self.horizon
        found: dict[str, Any] = plain(
            {
                "verdict": {"grade": grade, "headline": headline, "text": words},
                "world": self.world,
                "data": self.data,
                "episodes": self.episodes,
                "frame_error": self.error.to_dict("records"),
                "beats_still_until": self.beats_still,
                "outcomes": None
                if outcomes is None
                else {
                    **outcomes.agreement,
                    "chance": outcomes.chance,
                    **outcomes.counts,
                    "judge_on_recordings": outcomes.judge_alone,
                },
                "horizon": None if horizon is None else horizon.horizon,
                "horizon_text": None if horizon is None else horizon.statement,
                "agreement_by_steps": None if horizon is None else horizon.table.to_dict("records"),
                "action_following": self.following,
                "consistency": None if self.consistency is None else self.consistency.to_dict("records"),
                "not_measured": self.why,
            }
        )
        return found
