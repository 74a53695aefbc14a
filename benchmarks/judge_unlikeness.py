"""Teaches a trained judge which frames are unlike real ones, and says what it then refuses.

    python -m benchmarks.judge_unlikeness --judge JUDGE --data DATASET --heldout DATASET [--runs RUN ...]

Writes ``unlikeness.safetensors`` into the judge's folder.  Judges of ``real2sim train classifier`` have it already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from real2sim.episodes.run_folder import RunFolder
from real2sim.success.classifier import SuccessClassifier, judged_frames
from real2sim.success.degradation import DegradationConfig
from real2sim.success.fit import measure_unlikeness
from real2sim.success.outcomes import Outcomes


@dataclass(frozen=True)
class Options:
    """Fit and check the unlikeness of a judge."""

    judge: Path
    """Model folder of a classifier."""
    data: tuple[Path, ...]
    """Dataset folders of real episodes to fit on."""
    heldout: tuple[Path, ...] = ()
    """Dataset folders of other real episodes, to check on."""
    runs: tuple[Path, ...] = ()
    """Run folders of generated episodes, to check on."""
    joint: str = "drawer"
    """Array of the data that holds the joint position, where goals have thresholds."""


def main(options: Options) -> None:
    """Fit, write and print the shares of episodes without a verdict."""
    judge = SuccessClassifier.from_folder(options.judge)
    measure = measure_unlikeness(Outcomes(options.data, judge.config, options.joint), DegradationConfig())
    measure.save(options.judge)
    print(
        f"limits from {measure.episodes} episodes, which refuse {measure.refused:.1%} of real ones at the most"
    )
    if options.heldout:
        outcomes = Outcomes(options.heldout, judge.config, options.joint)
        unlike = measure.unlike(outcomes.clips(*outcomes.final_frames()).frames)
        print(f"held-out real episodes: no verdict on {unlike.sum()} of {len(unlike)}")
    for run in options.runs:
        folder = RunFolder(run)
        videos = [folder.episode(row["episode"])[0] for row in folder.rows()]
        seen = np.stack([video[judged_frames(len(video), judge.config.recent)] for video in videos])
        unlike = measure.unlike(seen)
        print(f"{run}: no verdict on {unlike.sum()} of {len(unlike)}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
