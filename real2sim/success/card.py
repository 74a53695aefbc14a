"""The model card of a trained judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from real2sim.success.classifier import ClassifierConfig, OutcomeNetwork
from real2sim.success.goals import Goal
from real2sim.success.outcomes import Outcomes

if TYPE_CHECKING:
    from real2sim.success.train_classifier import ClassifierTraining


def classifier_card(
    training: ClassifierTraining,
    config: ClassifierConfig,
    network: OutcomeNetwork,
    counts: tuple[int, int],
    seconds: float,
    outcomes: Outcomes,
) -> str:
    """What the weights are and how they came about; measured quality is added by ``evaluate_judge``."""
    parameters = sum(weight.numel() for weight in network.parameters())
    scaling = config.calibration
    goals = "\n".join(f"- {_goal(goal)}" for goal in config.goals)
    folders = ", ".join(f"`{folder.name}`" for folder in training.data)
    measured = all(goal.threshold is not None for goal in config.goals)
    how = (
        " estimates the joint position on the final frame\nand a verdict; near the threshold the joint decides."
        if measured
        else (" gives a verdict for each instruction.")
    )
    return f"""# Success classifier

Judges an episode from its first frame, its last {config.recent} frames and its instruction.
A convolutional network with {parameters:,} parameters{how}

## What it judges

{goals}

Frames are {config.image_size[0]} x {config.image_size[1]} pixels, uint8 RGB. An episode counts as a success
when the probability is at least 0.5.

It has no verdict on episodes whose frames are unlike the real ones it was taught on (`unlikeness.safetensors`).

## How it was trained

- Data: {folders}: {counts[0]} episodes for the weights, {counts[1]} others for the
  calibration. {_outcomes(training, outcomes, measured)}
- {training.steps} steps of {training.batch} clips, AdamW at {training.learning_rate:g}, seed {training.seed},
  {seconds / 60:.1f} minutes on the machine it was trained on.
- Frames are degraded (blur, noise, ghosts, smears, resampling, colour, shifts), because recorded frames are
  sharper than the generated ones it is meant for.
- Calibration: Platt scaling on degraded clips, scale {scaling.scale:.3f}, offset {scaling.offset:+.3f}.
{_cost(training)}"""


def _outcomes(training: ClassifierTraining, outcomes: Outcomes, measured: bool) -> str:
    generated = int(outcomes.generated.sum())
    successes = int(outcomes.success[outcomes.recorded].sum())
    failures = int(outcomes.recorded.sum()) - successes
    known = f"Known outcomes: {successes} successes and {failures} failures, {generated} of the episodes generated."
    if training.negatives == "early":
        others = " and the ends of other instructions" if training.other_tasks else ""
        return (
            f"{known}\n  {outcomes.assumed} further episodes were taken as successful demonstrations. Failures are "
            f"also the first {training.early:.0%} of each success{others}."
        )
    if measured:
        return f"Every frame of an episode serves as a final frame; its label comes from the joint position.\n  {known}"
    return f"The final frame of an episode carries its outcome.\n  {known}"


def _cost(training: ClassifierTraining) -> str:
    if training.negatives != "early":
        return ""
    return """
## What training on demonstrations costs

The judge has seen how tasks look when they are done and on the way there, not how they fail. It may take the posture
of the robot at the end of a demonstration for the success, and an attempt that ends close to it. Its
probabilities are calibrated on such examples, not on outcomes. How often it is right on episodes that really failed is
what stands under "Measured quality"; where nobody has said which failed, that is not measured. Label generated
episodes and train again with them, or measure on them.
"""


def _goal(goal: Goal) -> str:
    if goal.threshold is None:
        return f"`{goal.instruction}`: the recorded outcome"
    side = "above" if goal.above else "below"
    return f"`{goal.instruction}`: joint {side} {goal.threshold:g} m on the final frame"
