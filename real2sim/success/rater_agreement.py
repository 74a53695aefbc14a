"""How far raters of the same episodes agree: shares and Cohen's kappa."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from real2sim.success.labels import LABELS
from real2sim.success.rater_file import Rating


@dataclass(frozen=True)
class RaterAgreement:
    """Two raters compared on the episodes that both have labelled."""

    raters: tuple[str, str]
    counts: np.ndarray
    """Episodes by label of the first and of the second rater, int (3 3); order of `LABELS`."""

    @property
    def episodes(self) -> int:
        """Episodes that both have labelled."""
        return int(self.counts.sum())

    @property
    def alike(self) -> int:
        """Episodes with the same label."""
        return int(np.trace(self.counts))

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None where there is no episode, or both gave all of them one and the same label."""
        return cohens_kappa(self.counts)[0]

    def line(self) -> str:
        """The comparison as a sentence."""
        first, second = self.raters
        if not self.episodes:
            return f"{first} and {second}: no episode labelled by both; agreement not measured"
        said = f"{first} and {second}: {self.alike} of {self.episodes} labelled alike"
        kappa, interval = cohens_kappa(self.counts)
        if kappa is None:
            return f"{said}; Cohen's kappa not measured, since both gave one and the same label throughout"
        if interval is None:
            return f"{said}, Cohen's kappa {kappa:.2f}"
        return f"{said}, Cohen's kappa {kappa:.2f} (95 % interval {interval[0]:.2f} to {interval[1]:.2f})"


def cohens_kappa(counts: np.ndarray) -> tuple[float | None, tuple[float, float] | None]:
    """Agreement beyond chance (Cohen 1960) of two raters' counts (k k), and its 95 % interval.

    The interval rests on the large-sample variance of Fleiss, Cohen and Everitt (1969), cut off at -1 and 1; it is
    None without a disagreement or an agreement, where that variance is 0.  Kappa is None where chance alone
    agrees always.
    """
    from statsmodels.stats.inter_rater import cohens_kappa as measured

    counts = np.asarray(counts, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError(f"expected square counts of at least 0, got {counts.shape}")
    total = counts.sum()
    if not total or counts.sum(0) @ counts.sum(1) == total**2:
        return None, None
    # It divides by a variance that may be 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        found = measured(counts)
    kappa = float(found.kappa)
    if not found.std_kappa > 0 or np.trace(counts) == total:
        return kappa, None
    return kappa, (max(-1.0, float(found.kappa_low)), min(1.0, float(found.kappa_upp)))


def compare_raters(ratings: Iterable[Rating]) -> list[RaterAgreement]:
    """Every pair of raters, in alphabetical order; empty with fewer than two raters."""
    by_rater: dict[str, dict[str, str]] = {}
    for rating in ratings:
        by_rater.setdefault(rating.rater, {})[rating.clip] = rating.label
    place = {label: number for number, label in enumerate(LABELS)}
    found = []
    for first, second in combinations(sorted(by_rater), 2):
        counts = np.zeros((len(place), len(place)), int)
        for clip in by_rater[first].keys() & by_rater[second].keys():
            counts[place[by_rater[first][clip]], place[by_rater[second][clip]]] += 1
        found.append(RaterAgreement((first, second), counts))
    return found
