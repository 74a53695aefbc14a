"""The model card of a trained judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from real2sim.success.classifier import ClassifierConfig, OutcomeNetwork
from real2sim.success.goals import Goal

if TYPE_CHECKING:
    from real2sim.success.train_classifier import ClassifierTraining


def classifier_card(
    training: ClassifierTraining,
    config: ClassifierConfig,
    network: OutcomeNetwork,
    counts: tuple[int, int],
    seconds: float,
) -> str:
    """What the weights are and how they came about; measured quality is added by ``evaluate_judge``."""
    parameters = sum(weight.numel() for weight in network.parameters())
    scaling = config.calibration
    goals = "\n".join(f"- {_goal(goal)}" for goal in config.goals)
    folders = ", ".join(folder.name for folder in training.data)
    return f"""# Success classifier

Judges an episode from its first frame, its last {config.recent} frames and its instruction.
A convolutional network with {parameters:,} parameters estimates the joint position on the final frame
and a verdict; near the threshold the joint decides.

## What it judges

{goals}

Frames are {config.image_size[0]} x {config.image_size[1]} pixels, uint8 RGB. An episode counts as a success
when the probability is at least 0.5.

It has no verdict on episodes whose frames are unlike the real ones it was taught on (`unlikeness.safetensors`).

## How it was trained

- Data: dataset folder `{folders}`: {counts[0]} episodes for the weights, {counts[1]} others for the
  calibration. Every frame of an episode serves as a final frame; its label comes from the joint position.
- {training.steps} steps of {training.batch} clips, AdamW at {training.learning_rate:g}, seed {training.seed},
  {seconds / 60:.1f} minutes on the machine it was trained on.
- Frames are degraded (blur, noise, ghosts, smears, resampling, colour, shifts), because physics frames are
  sharper than the generated ones it is meant for.
- Calibration: Platt scaling on degraded clips, scale {scaling.scale:.3f}, offset {scaling.offset:+.3f}.
"""


def _goal(goal: Goal) -> str:
    if goal.threshold is None:
        return f"`{goal.instruction}`: the recorded outcome"
    side = "above" if goal.above else "below"
    return f"`{goal.instruction}`: joint {side} {goal.threshold:g} m on the final frame"
