"""One rater's way through the episodes of a folder: blind, in a random order, continued where she stopped."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from real2sim.checks import check_kinds, check_seed, check_whole
from real2sim.failures import one_line
from real2sim.pages.episode_files import NotHereError, find_episodes, frames_per_second
from real2sim.pages.frame_sheets import FrameSheets
from real2sim.success.label_key import KEY_FILE, make_key, read_key
from real2sim.success.labels import LABELS
from real2sim.success.rater_agreement import compare_raters
from real2sim.success.rater_file import RaterFile, Rating, check_rater

logger = logging.getLogger(__name__)

LABELS_FILE = "labels.csv"


@dataclass(frozen=True)
class LabelConfig:
    """Label the episodes of a run or dataset folder by eye, on a local page."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Run folder, or dataset folder."""
    out: Path | None = None
    """CSV file for the labels of all raters; by default `labels.csv` in the folder."""
    rater: str = "rater-1"
    """Name of the person who labels."""
    episodes: int | None = None
    """How many episodes, the first ones of the random order; by default all. Raters with the same number and seed get
    the same ones."""
    seed: int = 0
    """Seed of the random order."""
    agreement: bool = False
    """Say how far the raters agree, and show no page."""
    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine alone."""
    port: int = 8765
    """Port to listen on; 0 is any free one."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_rater(self.rater)
        check_seed("seed", self.seed)
        check_whole("port", self.port, 0, 65_535)
        if self.episodes is not None:
            check_whole("episodes", self.episodes)
        if self.labels.name == KEY_FILE:
            raise ValueError(
                f"out is {self.labels}, the name of the file that says which clip is which episode; choose another"
            )

    @property
    def labels(self) -> Path:
        """Where the labels are."""
        return self.out or self.folder / LABELS_FILE


class LabelSession:
    """The clips that a rater is shown, and her answers; knows no policy and tells no episode's name."""

    def __init__(self, config: LabelConfig) -> None:
        self._episodes = find_episodes(config.folder)
        self._file, self._rater = RaterFile(config.labels), config.rater
        self._file.check_place(config.rater)
        self._check_key(config)
        key = make_key(config.folder, self._episodes.names)
        self._order = shuffled(key, self._episodes.names, config.seed, config.episodes)
        self._sheets = FrameSheets(lambda clip: self._episodes.frames(self._order[clip]))
        self._hz = frames_per_second(config.folder)
        self._unreadable: set[str] = set()
        self._ratings = self._file.ratings()

    def _check_key(self, config: LabelConfig) -> None:
        """Refuse to go on where the folder has labels of clips and no longer says which episodes they are."""
        if config.out is not None:
            return
        key = read_key(config.folder)
        lost = sorted({rating.clip for rating in self._file.ratings()} - key.keys())
        if lost:
            raise ValueError(
                f"{config.labels} has labels of clips that {KEY_FILE} beside it does not name ({lost[0]!r}"
                f"{f' and {len(lost) - 1} more' if len(lost) > 1 else ''}); restore {KEY_FILE}, or move the labels away"
            )

    def state(self) -> dict[str, Any]:
        """What the page shows: progress, the clip to label and the one to load next, or the end."""
        self._ratings = self._file.ratings()
        mine = {rating.clip: rating.label for rating in self._ratings if rating.rater == self._rater}
        done = len(mine.keys() & self._order.keys())
        waiting = (clip for clip in self._order if clip not in mine and clip not in self._unreadable)
        shown = next((view for clip in waiting if (view := self._view(clip))), None)
        following = next(waiting, None)
        return {
            "rater": self._rater,
            "total": len(self._order) - len(self._unreadable),
            "done": done,
            "unreadable": len(self._unreadable),
            "clip": shown,
            "next": following,
            "undo": bool(mine),
            "counts": None if shown else self.counts(),
            "agreement": [] if shown else self.agreement(),
        }

    def label(self, values: dict[str, Any]) -> dict[str, Any]:
        """Write down the answer ``{"clip": ..., "label": ...}`` and give the new state."""
        clip, label = values.get("clip"), values.get("label")
        if not isinstance(clip, str) or clip not in self._order:
            raise NotHereError("there is no such clip")
        if not isinstance(label, str) or label not in LABELS:
            raise NotHereError(f"a label is one of {', '.join(LABELS)}")
        self._file.add(Rating(clip, self._rater, label))
        return self.state()

    def undo(self, _: dict[str, Any]) -> dict[str, Any]:
        """Take the last answer back and give the state, in which its clip is shown again."""
        last = self._file.undo(self._rater)
        state = self.state()
        if last is not None and last.clip in self._order and (view := self._view(last.clip)):
            state |= {"clip": view, "counts": None, "agreement": []}
        return state

    def sheet(self, clip: str, number: int) -> bytes:
        """Frames of a clip as PNG; NotHereError where there are none."""
        if clip not in self._order:
            raise NotHereError("there is no such clip")
        return self._sheets.png(clip, number)

    def counts(self) -> dict[str, int]:
        """How often the rater gave each label."""
        given = Counter(rating.label for rating in self._ratings if rating.rater == self._rater)
        return {label: given[label] for label in LABELS}

    def agreement(self) -> list[str]:
        """How far the raters of the file agree, as sentences."""
        return [pair.line() for pair in compare_raters(self._ratings)]

    def summary(self) -> str:
        """What has been labelled so far, for the end."""
        self._ratings = self._file.ratings()
        counts = self.counts()
        said = ", ".join(f"{count} {label}" for label, count in counts.items())
        left = len(
            self._order.keys() - {rating.clip for rating in self._ratings if rating.rater == self._rater}
        )
        lines = [
            f"{sum(counts.values())} labels of {self._rater} in {self._file.path} ({said}); {left} to go"
        ]
        return "\n".join([*lines, *self.agreement()])

    def _view(self, clip: str) -> dict[str, Any] | None:
        """What the page needs to play a clip; None, and a line on the terminal, where its file is damaged."""
        if clip in self._unreadable:
            return None
        try:
            return {
                "id": clip,
                "instruction": self._episodes.instruction(self._order[clip]),
                "hz": self._hz,
                **self._sheets.layout(clip),
            }
        except (ValueError, OSError) as error:
            logger.warning("left out: %s", one_line(error))
            self._unreadable.add(clip)
            return None


def shuffled(key: dict[str, str], names: list[str], seed: int, count: int | None) -> dict[str, str]:
    """Clip -> episode in a random order that depends on the seed and the names alone, the first ``count`` of them."""
    clips = {episode: clip for clip, episode in key.items()}
    order = np.random.default_rng(seed).permutation(len(names))[:count].tolist()
    return {clips[names[place]]: names[place] for place in order}
