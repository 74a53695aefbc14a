"""The model card of a validity gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from real2sim.success.validity import STATISTICS, WINDOW

if TYPE_CHECKING:
    from real2sim.success.train_gate import GateTraining
    from real2sim.success.validity import ValidityGate


def gate_card(training: GateTraining, gate: ValidityGate, counts: tuple[int, int], seconds: float) -> str:
    """What the weights are, how they came about, and what the limit promises."""
    config, limits = gate.config, gate.config.limits
    parameters = sum(weight.numel() for weight in gate.network.parameters())
    height, width = config.network.image_size
    folders = ", ".join(folder.name for folder in training.data)
    changing = int((gate.network.spread > 0).sum())
    named = (
        "distance of recovered from commanded action, in expected errors",
        f"its mean over {WINDOW} frames",
        "inverse change of three frames in a row when motion is asked for at each",
        "detail of the first frame divided by the frame's",
    )
    rows = "\n".join(
        f"| {words} | {getattr(limits, name):.3g} |" for words, name in zip(named, STATISTICS, strict=True)
    )
    return f"""# Validity gate

Says from which frame on a generated video is unlike real video under the same actions. A convolutional network with
{parameters:,} parameters recovers the action from two consecutive frames ({height} x {width} pixels); {changing} of
{config.network.numbers} numbers per frame change in the recordings and are compared with the commanded ones.

## Limits

| largest number of an episode | limit |
| --- | --- |
{rows}

A frame's score is the largest of the four, each divided by its limit; an episode is invalid from the first frame with a
score above 1. The limits are conformal quantiles of {limits.episodes} real episodes that the weights have not seen: at
most {100 * limits.refused:.3g} % of further real episodes are refused, on average.

## How it was trained

- Data: dataset folder `{folders}`: {counts[0]} episodes for the weights, {counts[1]} others for the
  limits.
- {training.steps} steps of {training.batch} pairs, AdamW at {training.learning_rate:g}, seed {training.seed},
  {seconds / 60:.1f} minutes on the machine it was trained on.
- Pairs are blurred, resampled, coloured and made noisy alike, since drawn frames are softer than real ones.
"""
