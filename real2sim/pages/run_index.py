"""A run as a page browses it: filtered, a part at a time, and what else was recorded from the same start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from real2sim.episodes.run_folder import ROWS, RUN_FILE, SCORES, load_run
from real2sim.episodes.run_folder import VALIDITY as VALIDITY_FILE
from real2sim.pages.episode_files import NotHereError

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = ("success", "failure", "no verdict", "not scored")
VALIDITY = ("valid", "invalid", "not checked")
REALITY = ("as in reality", "unlike reality", "not known")
"""Whether any real episode of the same policy and start ended as the judge says of the simulated one."""
SHOWN = ("episode", "policy", "task", "start", "seed", "instruction", "steps", "world", "kind", "set")


@dataclass(frozen=True)
class Filter:
    """Which episodes are wanted; an empty text stands for all."""

    policy: str = ""
    task: str = ""
    verdict: str = ""
    validity: str = ""
    reality: str = ""
    judge: str = ""
    start: str = ""


def run_signature(folder: Path) -> tuple[Any, ...]:
    """Changes when a run grows, is scored or is checked."""
    paths = [folder / RUN_FILE, folder / VALIDITY_FILE]
    paths += [path for pattern in (ROWS, SCORES) for path in sorted(folder.glob(pattern))]
    stats = [(path.name, path.stat()) for path in paths if path.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


class RunIndex:
    """The table of a run as it was when it was read; nothing in it changes, so that any thread may ask it."""

    def __init__(
        self, folder: Path, real: Mapping[tuple[str, str, str], Sequence[bool]] | None = None
    ) -> None:
        """``real`` holds the outcomes of real episodes by (policy, task, start)."""
        self.folder, self._real, self.signature = folder, real or {}, run_signature(folder)
        table = load_run(folder)
        if not len(table):
            raise FileNotFoundError(f"{folder} holds no episodes; make some with real2sim rollout")
        for column in ("judge", "success", "probability"):
            if column not in table:
                table[column] = None
        self._episodes = table.drop_duplicates("episode").reset_index(drop=True)
        names = self._episodes["episode"].astype(str)
        self._place = {name: place for place, name in enumerate(names)}
        self.judges = sorted(map(str, table["judge"].dropna().unique()))
        self._verdicts = {judge: self._verdicts_of(table[table["judge"] == judge]) for judge in self.judges}
        self.checked = "valid" in table and bool(table["valid"].notna().any())
        self._validity = np.full(len(names), VALIDITY[2], dtype=object)
        if self.checked:
            known = self._episodes["valid"].notna().to_numpy()
            self._validity[known] = np.where(self._episodes["valid"][known].astype(bool), *VALIDITY[:2])
        cells = zip(*(self._episodes[name].astype(str) for name in ("policy", "task", "start")), strict=True)
        outcomes = [self._real.get(cell, ()) for cell in cells] if self._real else [()] * len(names)
        self._outcomes = np.array([[any(ends), not all(ends)] for ends in outcomes])

    def _verdicts_of(self, scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Verdict and probability of every episode, by one judge."""
        verdicts = np.full(len(self._episodes), VERDICTS[3], dtype=object)
        probability = np.full(len(self._episodes), np.nan)
        places = scores["episode"].astype(str).map(self._place).to_numpy()
        success = scores["success"].to_numpy(dtype=object)
        verdicts[places] = [
            VERDICTS[2] if value is None or value != value else VERDICTS[0] if value else VERDICTS[1]
            for value in success
        ]
        probability[places] = scores["probability"].astype(float).to_numpy()
        return verdicts, probability

    def facts(self) -> dict[str, Any]:
        """What can be chosen."""
        return {
            "episodes": len(self._episodes),
            "policies": list(map(str, self._episodes["policy"].unique())),
            "tasks": sorted(map(str, self._episodes["task"].unique())),
            "worlds": sorted(map(str, self._episodes["world"].dropna().unique())),
            "judges": self.judges,
            "verdicts": VERDICTS,
            "validity": VALIDITY if self.checked else (),
            "reality": REALITY if self._outcomes.any() and self.judges else (),
        }

    def part(self, wanted: Filter, offset: int, limit: int) -> dict[str, Any]:
        """``limit`` of the wanted episodes from ``offset`` on, and how many there are in all."""
        places = self._places(wanted)
        return {
            "total": len(places),
            "successes": int((self._verdict(wanted.judge)[0][places] == VERDICTS[0]).sum()),
            "verdicts": int(np.isin(self._verdict(wanted.judge)[0][places], VERDICTS[:2]).sum()),
            "rows": [self._row(place, wanted.judge) for place in places[offset : offset + limit].tolist()],
        }

    def _places(self, wanted: Filter) -> np.ndarray:
        keep = np.ones(len(self._episodes), bool)
        for column in ("policy", "task", "start"):
            value = getattr(wanted, column)
            if value:
                keep &= (self._episodes[column].astype(str) == value).to_numpy()
        for name, value, allowed, found in (
            ("verdict", wanted.verdict, VERDICTS, self._verdict(wanted.judge)[0]),
            ("validity", wanted.validity, VALIDITY, self._validity),
            ("reality", wanted.reality, REALITY, self._reality(wanted.judge)),
        ):
            if value and value not in allowed:
                raise ValueError(f"{name} is {value[:40]!r}, expected {', '.join(allowed)}")
            if value:
                keep &= found == value
        return np.flatnonzero(keep)

    def _verdict(self, judge: str) -> tuple[np.ndarray, np.ndarray]:
        if not self.judges:
            return np.full(len(self._episodes), VERDICTS[3], dtype=object), np.full(
                len(self._episodes), np.nan
            )
        chosen = judge or self.judges[0]
        if chosen not in self.judges:
            raise ValueError(f"judge is {judge[:40]!r}, expected {', '.join(self.judges)}")
        return self._verdicts[chosen]

    def _reality(self, judge: str) -> np.ndarray:
        """One of `REALITY` for every episode."""
        said = self._verdict(judge)[0]
        alike = self._outcomes & np.stack([said == VERDICTS[0], said == VERDICTS[1]], axis=1)
        known = self._outcomes.any(axis=1) & np.isin(said, VERDICTS[:2])
        return np.where(~known, REALITY[2], np.where(alike.any(axis=1), *REALITY[:2]))

    def row(self, episode: str, judge: str = "") -> dict[str, Any]:
        """What is known of an episode; `NotHereError` where there is none of that name."""
        if episode not in self._place:
            raise NotHereError("the run has no such episode")
        return self._row(self._place[episode], judge)

    def holds(self, episode: str) -> bool:
        """Whether the run has an episode of that name."""
        return episode in self._place

    def _row(self, place: int, judge: str) -> dict[str, Any]:
        values = self._episodes.iloc[place]
        verdicts, probabilities = self._verdict(judge if judge in self.judges else "")
        row = {name: _plain(values[name]) for name in SHOWN}
        row |= {"verdict": verdicts[place], "probability": _plain(probabilities[place])}
        if self.checked:
            row |= {"validity": self._validity[place], "invalid_from": _plain(values.get("invalid_from"))}
        return row

    def companions(self, task: str, start: str, limit: int) -> list[dict[str, Any]]:
        """Episodes of all policies on one start of a task, at most ``limit``."""
        same = (self._episodes["task"].astype(str) == task) & (self._episodes["start"].astype(str) == start)
        return [self._row(place, "") for place in np.flatnonzero(same.to_numpy())[:limit].tolist()]


def _plain(value: Any) -> Any:
    """A value of a table as JSON knows it; what is missing is None."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # Seeds are larger than the whole numbers that JavaScript knows exactly.
    return str(value) if isinstance(value, int) and abs(value) > 2**53 else value
