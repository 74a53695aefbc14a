"""A policy's actions beside recorded ones: per number, and warnings where sign, scale, gripper or frame look wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import pearsonr

from real2sim.evaluation.exchanged_numbers import SURE, find_exchanged
from real2sim.robot import ActionNumber, Robot

LEAST = 5
"""Moments below which nothing is said about signs and frames."""
UNITS = {
    math.degrees(1): "degrees where radians are expected",
    math.radians(1): "radians where degrees are expected",
    1000.0: "millimetres where metres are expected",
    0.001: "metres where millimetres are expected",
    100.0: "per cent or centimetres where shares or metres are expected",
    0.01: "shares or metres where per cent or centimetres are expected",
}
"""How many times as large numbers are in another unit."""
NEAR = 2.5
"""Factor within which a ratio counts as one of these."""
FAR = 6.0
"""Ratio of spreads, either way, that is worth a warning whatever the unit."""


@dataclass(frozen=True)
class NumberAnswers:
    """One action number over all moments and actions of a frame."""

    name: str
    unit: str
    mean: float
    low: float
    high: float
    recorded_mean: float | None
    recorded_low: float | None
    recorded_high: float | None
    correlation: float | None
    """Pearson's, of one value per moment; None where it is not measured."""
    used: bool = True
    """False for a number that the robot ignores."""


def number_answers(answered: np.ndarray, recorded: np.ndarray | None, robot: Robot) -> list[NumberAnswers]:
    """Mean, range and correlation of each number of actions (m K n); recorded is None where nothing is known."""
    rows = []
    for place, number in enumerate(robot.action):
        ours, theirs = answered[..., place], None if recorded is None else recorded[..., place]
        rows.append(
            NumberAnswers(
                number.name, number.unit, float(ours.mean()), float(ours.min()), float(ours.max()),
                None if theirs is None else float(theirs.mean()),
                None if theirs is None else float(theirs.min()),
                None if theirs is None else float(theirs.max()),
                None if theirs is None else _correlation(ours, theirs)[0],
                number.used,
            )
        )  # fmt: skip
    return rows


def find_warnings(answered: np.ndarray, recorded: np.ndarray | None, robot: Robot) -> list[str]:
    """What looks wrong in actions (m K n) beside recorded ones, one sentence each.

    Numbers that the robot ignores and those that end episodes are left out.
    """
    found = list(_outside(answered, robot))
    if recorded is None:
        return found
    used = [
        place
        for place, number in enumerate(robot.action)
        if number.used and number.name not in (robot.terminate or ())
        if recorded[..., place].any() or is_gripper(number.name)
    ]
    scales = list(_scales(answered, recorded, robot, used))
    found += scales
    if len(answered) < LEAST:
        return [*found, f"{len(answered)} moments are too few to say whether signs and frames are right"]
    grippers = [place for place in used if is_gripper(robot.action[place].name)]
    frame, swapped = _frame(answered, recorded, robot, [place for place in used if place not in grippers])
    found += frame
    for place in grippers:
        found += _gripper(answered[..., place], recorded[..., place], robot.action[place])
    for place in used:
        value, chance = _correlation(answered[..., place], recorded[..., place])
        if place in grippers or place in swapped or value is None:
            continue
        if value < 0 and chance < SURE:
            found.append(
                f"{robot.action[place].name} runs against what was recorded (correlation {value:.2f}, "
                f"{len(answered)} moments): is its sign the other way round?"
            )
    values = [_correlation(answered[..., place], recorded[..., place])[0] for place in used]
    measured = [value for value in values if value is not None]
    if measured and not found and max(measured) < 0.3:
        found.append(
            f"nothing that it answers follows what was recorded (largest correlation {max(measured):.2f}): is it a "
            "policy for this robot and these instructions?"
        )
    return found


def too_weak(answered: np.ndarray, recorded: np.ndarray | None, robot: Robot) -> list[str]:
    """Numbers whose sign and order the correlation with recorded actions (m K n) cannot tell, grippers aside."""
    if recorded is None:
        return []
    return [
        number.name
        for place, number in enumerate(robot.action)
        if number.used and number.name not in (robot.terminate or ()) and not is_gripper(number.name)
        if recorded[..., place].any()
        if _correlation(answered[..., place], recorded[..., place])[1] >= SURE
    ]


def is_gripper(name: str) -> bool:
    """Whether an action number is a gripper's, by its name."""
    return any(word in name.lower() for word in ("grip", "opening", "closed", "jaw"))


def _correlation(ours: np.ndarray, theirs: np.ndarray) -> tuple[float | None, float]:
    """Pearson's correlation of the moments' means (m K), and the chance of one as large; None if one is constant."""
    a, b = ours.reshape(len(ours), -1).mean(axis=1), theirs.reshape(len(theirs), -1).mean(axis=1)
    if (
        len(a) < 3
        or np.ptp(a) <= 1e-6 * max(1e-9, np.abs(a).max())
        or np.ptp(b) <= 1e-6 * max(1e-9, np.abs(b).max())
    ):
        return None, 1.0
    value, chance = pearsonr(a.astype(np.float64), b.astype(np.float64))
    return float(value), float(chance)


def _outside(answered: np.ndarray, robot: Robot) -> Iterator[str]:
    slack = 1e-6 * (robot.high - robot.low)
    outside = ((answered < robot.low - slack) | (answered > robot.high + slack)).any(axis=1)
    places = np.flatnonzero(outside.any(axis=0))
    if not places.size:
        return
    said = [
        f"{robot.action[place].name} {answered[..., place].min():.4g} to {answered[..., place].max():.4g} (allowed is "
        f"{robot.action[place].low:g} to {robot.action[place].high:g})"
        for place in places
    ]
    yield (
        f"{int(outside.any(axis=1).sum())} of {len(answered)} answers are outside the robot's bounds, where a rollout "
        f"would stop: {', '.join(said)}"
    )


def _scales(answered: np.ndarray, recorded: np.ndarray, robot: Robot, used: Sequence[int]) -> Iterator[str]:
    """Numbers that are many times as large or as small as recorded ones, those with one reason together."""
    ratios = {
        place: _size(answered[..., place]) / size
        for place in used
        if not robot.action[place].binary and (size := _size(recorded[..., place]))
    }
    reasons: dict[str, list[tuple[str, float]]] = {}
    for place, ratio in ratios.items():
        if not ratio:
            reasons.setdefault("is always 0", []).append((robot.action[place].name, 0.0))
            continue
        unit = robot.action[place].unit
        # A wrong unit makes all numbers of that unit small; one alone, that follows nothing, is hardly moved.
        alone = max(ratios[other] for other in ratios if robot.action[other].unit == unit) > 1 / FAR
        value, chance = _correlation(answered[..., place], recorded[..., place])
        if ratio < 1 and alone and (value is None or chance >= SURE):
            continue
        near = min(_units(unit), key=lambda factor: abs(math.log(ratio / factor)))
        angle = unit in ("rad", "deg")  # 57 and 100 lie close together
        for factor in (math.degrees(1), math.radians(1)) if angle else ():
            near = factor if abs(math.log(ratio / factor)) < math.log(2 * NEAR) else near
        if abs(math.log(ratio / near)) < math.log(2 * NEAR if angle else NEAR):
            reasons.setdefault(UNITS[near], []).append((robot.action[place].name, ratio))
        elif not 1 / FAR < ratio < FAR:
            reasons.setdefault("another scale", []).append((robot.action[place].name, ratio))
    for reason, items in reasons.items():
        names, sizes = ", ".join(name for name, _ in items), [ratio for _, ratio in items]
        if reason == "is always 0":
            yield f"{names} {'is' if len(items) == 1 else 'are'} always 0, and not in what was recorded"
        else:
            many = f"{min(sizes):.3g}" if len(items) == 1 else f"{min(sizes):.3g} to {max(sizes):.3g}"
            yield f"{names}: {many} times as large as recorded: {reason}?"


def _size(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _units(unit: str) -> list[float]:
    """Which of ``UNITS`` come into question for a number: angles are neither lengths nor the other way round."""
    angles, lengths = ("degrees", "radians"), ("metres",)
    strange = lengths if unit in ("rad", "deg") else angles if unit == "m" else ()
    return [factor for factor, said in UNITS.items() if not said.startswith(strange)]


def _frame(
    answered: np.ndarray, recorded: np.ndarray, robot: Robot, used: Sequence[int]
) -> tuple[list[str], set[int]]:
    """Sentences on numbers of one unit that follow each other's recordings, and which numbers these are."""
    found: list[str] = []
    taken: set[int] = set()
    units = dict.fromkeys(robot.action[place].unit for place in used)
    for places in ([place for place in used if robot.action[place].unit == unit] for unit in units):
        for exchanged in find_exchanged(answered[..., places], recorded[..., places]):
            names = [robot.action[places[place]].name for place in exchanged.numbers]
            signs = ", with signs turned" if min(exchanged.correlations) < 0 else ""
            said = [f"{value:.2f}" for value in exchanged.correlations]
            if len(names) == 2:
                follow = f"each follows what was recorded of the other (correlations {' and '.join(said)})"
            else:
                pairs = zip(names, [*names[1:], names[0]], said, strict=True)
                follow = ", ".join(
                    f"{name} follows what was recorded of {other} ({value})" for name, other, value in pairs
                )
            found.append(
                f"{', '.join(names[:-1])} and {names[-1]} look swapped{signs}: {follow}; another frame or order?"
            )
            taken |= {places[place] for place in exchanged.numbers}
    return found, taken


def _gripper(answered: np.ndarray, recorded: np.ndarray, number: ActionNumber) -> Iterator[str]:
    """Whether a gripper does the opposite: mirrored in the recorded range it would be much closer."""
    low, high, name = float(recorded.min()), float(recorded.max()), number.name
    turned_round = "is 1 open for the policy and closed for the robot, or the other way round?"
    value, chance = _correlation(answered, recorded)
    if value is not None and value < 0 and chance < SURE:
        yield f"{name} does the opposite of what was recorded (correlation {value:.2f}): {turned_round}"
        return
    reach = number.high - number.low
    if high - low < 0.05 * reach:
        # One command was recorded, and its opposite lies on the other side of the robot's range.
        low, high = number.low, number.high
    mirrored = low + high - answered
    distance, other = (float(np.abs(x - recorded).mean()) for x in (answered, mirrored))
    if distance > 4 * other and distance > 0.25 * (high - low):
        yield (
            f"{name} is {answered.mean():.2f} on average where {recorded.mean():.2f} was recorded, and would agree if "
            f"it were turned round: {turned_round}"
        )
    elif answered.min() > high + 0.5 * (high - low) or answered.max() < low - 0.5 * (high - low):
        yield (
            f"{name} is {answered.min():.2f} to {answered.max():.2f} where {recorded.min():.2f} to "
            f"{recorded.max():.2f} was recorded: another range?"
        )
