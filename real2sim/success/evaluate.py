"""Evaluation of a judge against physics and manual labels; the result is stored beside its weights."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.episodes.run_folder import RunFolder
from real2sim.files import read_json, write_text
from real2sim.model_folder import CARD_FILE
from real2sim.success.classifier import SuccessClassifier
from real2sim.success.judge import Judge
from real2sim.success.labels import UNCLEAR, episode_labels
from real2sim.success.outcomes import Outcomes
from real2sim.success.quality import JudgeQuality
from real2sim.success.strips import read_sheets

logger = logging.getLogger(__name__)

QUALITY_FILE = "quality.json"
CARD_SECTION = "\n## Measured quality\n"


@dataclass(frozen=True)
class JudgeEvaluation:
    """Evaluate a success classifier on held-out episodes."""

    judge: Path
    """Model folder of the classifier."""
    physics: tuple[Path, ...] = ()
    """Dataset folders with known outcomes."""
    joint: str = "joint"
    """Array of their episodes that holds the joint position, where a goal of the classifier has a threshold."""
    sheets: Path | None = None
    """Folder with labelled sheets of generated episodes."""

    def __post_init__(self) -> None:
        if not self.physics and self.sheets is None:
            raise ValueError("nothing to measure on; give physics datasets, or sheets with labels")


def evaluate_judge(config: JudgeEvaluation) -> dict[str, Any]:
    """Evaluate, write ``quality.json`` and a section of the model card, and return the numbers.

    Earlier results on other kinds of episodes are kept as long as the weights are the same.
    """
    judge = SuccessClassifier.from_folder(config.judge)
    quality: dict[str, Any] = {}
    if config.physics:
        outcomes = Outcomes(config.physics, judge.config, config.joint)
        quality["physics"] = _facts_by_goal(judge, *_on_final_frames(judge, outcomes))
        quality["physics_every_frame"] = _on_every_frame(judge, outcomes).facts()
    if config.sheets is not None:
        quality["generated"] = quality_on_sheets(judge, config.sheets)
    return store_quality(config.judge, quality)


def store_quality(folder: Path, measured: dict[str, Any]) -> dict[str, Any]:
    """Add measurements to ``quality.json`` and the card of a judge's folder, and return all that are there.

    Earlier ones on other kinds of episodes are kept as long as the weights are the same.
    """
    digest = SuccessClassifier.from_folder(folder).digest
    path = folder / QUALITY_FILE
    quality: dict[str, Any] = read_json(path) if path.is_file() else {}
    if quality.get("judge_digest") != digest:
        quality = {"judge_digest": digest}
    quality.update(measured)
    write_text(path, json.dumps(quality, indent=2) + "\n")
    card = folder / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else "# Success classifier\n"
    write_text(card, text.split(CARD_SECTION)[0].rstrip() + "\n" + CARD_SECTION + "\n" + describe(quality))
    return quality


def held_out_quality(
    judge: SuccessClassifier, outcomes: Outcomes, episodes: np.ndarray
) -> dict[str, Any] | None:
    """Confusion matrix and calibration on the final frames of some episodes; None unless both outcomes are known.

    Outcomes count where somebody recorded or labelled them, not where a demonstration was taken as a success.
    """
    chosen = episodes[outcomes.recorded[episodes]]
    if not outcomes.success[chosen].any() or outcomes.success[chosen].all():
        return None
    probabilities, truth, errors, goals = _on_final_frames(judge, outcomes)
    return _facts_by_goal(judge, probabilities[chosen], truth[chosen], errors[chosen], goals[chosen])


def quality_on_physics(
    judge: SuccessClassifier, folders: Sequence[Path | str], joint: str = "joint"
) -> dict[str, Any]:
    """Confusion matrix and calibration on dataset episodes, over all and per instruction."""
    return _facts_by_goal(judge, *_on_final_frames(judge, Outcomes(folders, judge.config, joint)))


def quality_on_labels(judge: Judge, folder: RunFolder, labels: Path) -> dict[str, Any]:
    """The same on labelled episodes of a run; unclear and unlabelled ones are counted and left out."""
    rows = {str(row["episode"]): row for row in folder.rows()}
    given = episode_labels([labels], [folder.path])
    foreign = [episode for episode in given if episode not in rows]
    if foreign:
        raise ValueError(f"{labels} names the episode {foreign[0]!r}, which {folder.path} does not hold")
    names = [episode for episode, label in given.items() if label != UNCLEAR]
    if not names:
        raise ValueError(
            f"{labels} holds no clear label; write success, failure or unclear into its column label"
        )
    instructions = [str(rows[name]["instruction"]) for name in names]
    frames = [folder.episode(name, rows[name])[0] for name in names]
    truth = np.array([given[name] == "success" for name in names])
    facts = _by_instruction(judge.judge(names, frames, instructions), truth, instructions)
    facts["all"]["unclear"] = len(given) - len(names)
    return facts


def quality_on_sheets(judge: Judge, folder: Path) -> dict[str, Any]:
    """The same on the frames that the sheets show, which include the first and the last ones."""
    rows, frames = read_sheets(folder)
    clear = [index for index, row in enumerate(rows) if row["label"] in ("success", "failure")]
    if not clear:
        raise ValueError(f"{folder} holds no clear label; write success, failure or unclear into labels.csv")
    instructions = [rows[index]["instruction"] for index in clear]
    names = [rows[index]["episode"] for index in clear]
    truth = np.array([rows[index]["label"] == "success" for index in clear])
    facts = _by_instruction(judge.judge(names, [frames[i] for i in clear], instructions), truth, instructions)
    facts["all"]["unclear"] = sum(row["label"] == "unclear" for row in rows)
    return facts


def describe(quality: dict[str, Any]) -> str:
    """The numbers as Markdown tables."""
    titles = {
        "held_out": "Episodes kept from the weights (the two numbers of the calibration come from them)",
        "heldout_folders": "Other held-out episodes",
        "physics": "Held-out physics episodes, final frames",
        "physics_every_frame": "Held-out physics episodes, every frame as a final one",
        "generated": "Generated episodes labelled by eye",
    }
    parts = []
    for key, title in titles.items():
        if key in quality and quality[key] is None:
            parts.append(f"### {title}\n\nNot measured: no success or no failure is known among them.\n")
        elif key in quality:
            tables = quality[key] if "all" in quality[key] else {"all": quality[key]}
            parts.append(f"### {title}\n\n{_table(tables)}\n")
    return "\n".join(parts)


def _on_final_frames(
    judge: SuccessClassifier, outcomes: Outcomes
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, truth, joint errors and goal numbers of all episodes."""
    episode, frame = outcomes.final_frames()
    probabilities, joint = _judge_clips(judge, outcomes, episode, frame, outcomes.goals)
    errors = joint - outcomes.joint[outcomes.starts + frame]
    return probabilities, outcomes.success, errors, outcomes.goals


def _on_every_frame(judge: SuccessClassifier, outcomes: Outcomes) -> JudgeQuality:
    episode, frame = outcomes.all_frames()
    goals = outcomes.goals[episode]
    probabilities, joint = _judge_clips(judge, outcomes, episode, frame, goals)
    clips_truth = np.concatenate(
        [
            outcomes.clips(episode[part], frame[part]).reached[np.arange(len(part)), goals[part]]
            for part in _chunks(len(episode))
        ]
    )
    return JudgeQuality.measure(
        probabilities, clips_truth, joint - outcomes.joint[outcomes.starts[episode] + frame]
    )


def _judge_clips(
    judge: SuccessClassifier, outcomes: Outcomes, episode: np.ndarray, frame: np.ndarray, goals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    logits, joints = [], []
    for part in _chunks(len(episode)):
        clips = outcomes.clips(episode[part], frame[part])
        logit, joint = judge.clip_logits(clips.frames, goals[part])
        logits.append(logit)
        joints.append(joint)
    return judge.config.calibration.probability(np.concatenate(logits)), np.concatenate(joints)


def _chunks(count: int, size: int = 256) -> list[np.ndarray]:
    return np.array_split(np.arange(count), max(1, math.ceil(count / size)))


def _facts_by_goal(
    judge: SuccessClassifier,
    probabilities: np.ndarray,
    truth: np.ndarray,
    errors: np.ndarray,
    goals: np.ndarray,
) -> dict[str, Any]:
    instructions = [judge.config.goals[number].instruction for number in goals]
    return _by_instruction(probabilities, truth, instructions, errors)


def _by_instruction(
    probabilities: np.ndarray,
    truth: np.ndarray,
    instructions: Sequence[str],
    errors: np.ndarray | None = None,
) -> dict[str, Any]:
    facts = {"all": JudgeQuality.measure(probabilities, truth, errors).facts()}
    names = np.array(instructions)
    for instruction in sorted(set(instructions)):
        own = names == instruction
        part = None if errors is None else errors[own]
        facts[instruction] = JudgeQuality.measure(probabilities[own], truth[own], part).facts()
    return facts


def _table(tables: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| episodes | n | success seen as success / failure | failure seen as failure / success "
        "| balanced accuracy | sensitivity (95 %) | specificity (95 %) | ECE | joint error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, facts in tables.items():
        unclear = f" ({facts['unclear']} unclear left out)" if facts.get("unclear") else ""
        joint = f"{facts['joint_error_mm']:.1f} mm" if "joint_error_mm" in facts else "-"
        lines.append(
            f"| {name}{unclear} | {facts['episodes']} | {facts['true_success']} / {facts['false_failure']} "
            f"| {facts['true_failure']} / {facts['false_success']} | {_percent(facts['balanced_accuracy'])} "
            f"| {_interval(facts, 'sensitivity')} | {_interval(facts, 'specificity')} "
            f"| {facts['expected_calibration_error']:.3f} | {joint} |"
        )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _interval(facts: dict[str, Any], name: str) -> str:
    low, high = facts[f"{name}_interval"]
    return f"{_percent(facts[name])} ({100 * low:.1f} to {100 * high:.1f})"
