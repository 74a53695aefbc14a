"""A judge's verdicts on a run compared with labels of its episodes, kept beside the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from typing_extensions import NotRequired, TypedDict

from real2sim.episodes.rows import read_scores
from real2sim.episodes.run_folder import RunFolder, file_name
from real2sim.files import read_json, write_text
from real2sim.strict import check_fields
from real2sim.success.judge import Judge
from real2sim.success.labels import LABELS, UNCLEAR
from real2sim.success.quality import JudgeQuality

ENOUGH_LABELS = 100
"""Labelled generated episodes below which nothing is known of a judge that nobody trained on the task."""
VISION_LANGUAGE_MODEL = "vision-language model"


def comparison_file(run: Path, judge: str) -> Path:
    """Where what is known of a judge's verdicts on a run is kept."""
    return run / f"judge-{file_name(judge)}.json"


def compare_with_labels(run: Path, scores: Path, judge: Judge, labels: dict[str, str]) -> dict[str, Any]:
    """Confusion of a judge's scores with labels of a run's episodes, over all (``all``) and by task, with counts.

    Raises ValueError where no clearly labelled episode of the run has a verdict.
    """
    rows = {str(row["episode"]): row for row in RunFolder(run).rows()}
    verdicts = {
        str(row["episode"]): row["probability"] for row in read_scores(scores) if row["success"] is not None
    }
    own = {episode: label for episode, label in labels.items() if episode in rows}
    clear = [episode for episode, label in own.items() if label != UNCLEAR]
    judged = [episode for episode in clear if episode in verdicts]
    if not judged:
        raise ValueError(
            f"of the {len(labels)} labels, {len(own)} are of episodes of {run} and {len(clear)} of those are clear, "
            f"but {judge.name} has a verdict on none of them; label episodes of this run"
        )
    probabilities = np.array([verdicts[episode] for episode in judged])
    truth = np.array([LABELS[own[episode]] > 0.5 for episode in judged])
    tasks = np.array([str(rows[episode]["task"]) for episode in judged])
    facts = {"all": JudgeQuality.measure(probabilities, truth).facts()}
    for task in sorted(set(tasks)):
        facts[task] = JudgeQuality.measure(probabilities[tasks == task], truth[tasks == task]).facts()
    facts["all"] |= {"unclear": len(own) - len(clear), "no_verdict": len(clear) - len(judged)}
    return facts


def write_comparison(run: Path, judge: Judge, kind: str, labelled: dict[str, Any] | None) -> Path:
    """Keep what kind of judge scored a run, and how it compares with labels; an earlier comparison stays."""
    path = comparison_file(run, judge.name)
    earlier = read_comparison(run, judge.name)
    if labelled is None and earlier.get("judge_digest") == judge.digest:
        labelled = earlier.get("labelled")
    values = {"judge": judge.name, "judge_digest": judge.digest, "kind": kind, "labelled": labelled}
    write_text(path, json.dumps(values, indent=2) + "\n")
    return path


Count = Annotated[int, Ge(0), Le(10**7)]


class CellCounts(TypedDict):
    """How often a judge agreed with what happened, and how often not."""

    true_success: Count
    false_failure: Count
    false_success: Count
    true_failure: Count
    episodes: NotRequired[Count]


class Comparison(TypedDict):
    """What `write_comparison` keeps about a judge."""

    judge_digest: str
    kind: NotRequired[str]
    labelled: NotRequired[dict[str, CellCounts] | None]


def read_comparison(run: Path, judge: str) -> dict[str, Any]:
    """What is kept about a judge in a run; empty where nothing is."""
    path = comparison_file(run, judge)
    values = read_json(path) if path.is_file() else {}
    if not isinstance(values, dict) or (values and "judge_digest" not in values):
        raise ValueError(f"{path} is not what `real2sim score` writes; delete it and score again")
    if isinstance(values.get("labelled"), dict) and "all" not in values["labelled"]:
        raise ValueError(
            f"{path}: field labelled has no counts of all episodes; delete the file and score again"
        )
    return check_fields(Comparison, values, str(path)) if values else values  # type: ignore[no-any-return]


def comparison_line(name: str, facts: dict[str, Any]) -> str:
    """One line on how a judge compares with labels."""
    counts = facts["all"]
    return (
        f"{name} on {counts['episodes']} labelled episodes: {counts['true_success']} successes seen and "
        f"{counts['false_failure']} missed, {counts['true_failure']} failures seen and {counts['false_success']} taken "
        f"for successes ({counts['unclear']} unclear and {counts['no_verdict']} without a verdict left out)"
    )


def unproven(run: Path, judge: str, digests: set[str]) -> str:
    """What a reader has to know of a vision-language model's verdicts on a run; empty where enough labels back them."""
    known = read_comparison(run, judge)
    if known.get("kind") != VISION_LANGUAGE_MODEL:
        return ""
    labelled = known.get("labelled") if {known["judge_digest"]} == digests else None
    count = labelled["all"]["episodes"] if labelled else 0
    if count >= ENOUGH_LABELS:
        return ""
    compared = (
        f"was compared with {count} labelled episodes" if count else "was compared with no labelled episode"
    )
    return (
        f"The verdicts on {run} are those of the vision-language model {judge}, which {compared} of this run, fewer "
        f"than {ENOUGH_LABELS}: how often it is wrong is not known, and its rates may be far from the truth. Label "
        "episodes and score again with --labels."
    )
