"""What a policy is given and what it answers, beside recorded actions, before any rollout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from real2sim.checks import check_device, check_kinds, check_whole
from real2sim.evaluation.policy_answers import NumberAnswers, find_warnings, number_answers, too_weak
from real2sim.evaluation.policy_sources import find_policies
from real2sim.evaluation.recorded_moments import Moments, find_moments
from real2sim.policies.observation_mapping import leaves
from real2sim.robot import Robot
from real2sim.simulation.action_checks import as_numbers
from real2sim.simulation.contracts import Policy, StochasticPolicy
from real2sim.simulation.observation import Observation
from real2sim.simulation.suite import load_suite


@dataclass(frozen=True)
class CheckPolicy:
    """Show what a policy is given and what it answers on recorded observations, before any rollout."""

    policy: Annotated[str, tyro.conf.Positional]
    """Policy, written as for `real2sim rollout`; a server is asked."""
    suite: str = "drawer"
    """Name of a shipped suite, or a suite folder."""
    data: Path | None = None
    """Dataset folder with recorded episodes of the suite's robot; by default the suite's own (`recorded`), else its
    first frames and the first actions of its replays."""
    observations: int = 10
    """Recorded observations that it answers."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("observations", self.observations, 1, 10_000)
        check_device(self.device)

    def run(self) -> str:
        """The check as text."""
        return check_lines(check_policy(self))


@dataclass(frozen=True)
class PolicyCheck:
    """What a policy is given and what it answers."""

    given: tuple[str, ...]
    """One line for each camera, the state, the instructions, the action; for a server, for each value it is sent."""
    source: str
    """Where the observations come from."""
    numbers: tuple[NumberAnswers, ...]
    answered: np.ndarray
    """float32 (m K n)."""
    recorded: np.ndarray | None
    """float32 (m K n); None where nothing was recorded."""
    warnings: tuple[str, ...]
    too_weak: tuple[str, ...] = ()
    """Numbers whose sign and order these observations cannot tell."""


def check_policy(config: CheckPolicy, own: Mapping[str, Policy] | None = None) -> PolicyCheck:
    """Ask a policy for actions on recorded observations.

    Raises ValueError for a policy that does not fit the suite's robot, does not know an instruction or answers with
    something else than finite numbers of the robot's shape.
    """
    suite = load_suite(config.suite)
    sources = find_policies((config.policy,), suite, own)
    if len(sources) > 1:
        raise ValueError(f"{config.policy!r} stands for {len(sources)} policies; check one at a time")
    (source,) = sources
    if source.kind == "replay":
        raise ValueError(
            f"{config.policy!r} plays recorded actions and looks at nothing; check a policy that acts"
        )
    moments = find_moments(suite, config.observations, config.data)
    policy = source.load(config.device)([])
    try:
        answered = ask(policy, moments, suite.robot, source.name)
        given = [*_given(moments, suite.robot), *_sent(policy, moments)]
    except ConnectionError as error:
        # A rollout would keep what has ended; nothing is drawn here.
        raise ConnectionError(str(error).replace("finished episodes are kept, start", "start")) from error
    recorded = moments.actions
    close = getattr(policy, "close", None)
    if close is not None:
        close()
    return PolicyCheck(
        tuple(given),
        moments.source,
        tuple(number_answers(answered, recorded, suite.robot)),
        answered,
        recorded,
        tuple(find_warnings(answered, recorded, suite.robot)),
        tuple(too_weak(answered, recorded, suite.robot)),
    )


def ask(policy: Policy, moments: Moments, robot: Robot, name: str) -> np.ndarray:
    """A policy's actions float32 (m K n) at each moment, after the frames before it; a new episode each."""
    answers = []
    for number, moment in enumerate(moments.moments):
        if isinstance(policy, StochasticPolicy):
            policy.seed([number])
        policy.reset([moment.instruction])
        for seen in moment.seen:
            actions = policy.act(seen)
        found = as_numbers(actions, f"policy {name!r}")
        if found.shape != (1, *robot.action_shape) or found.dtype.kind not in "fiu":
            raise ValueError(
                f"policy {name!r} answers with {found.dtype} {found.shape}, expected numbers (1, "
                f"{', '.join(map(str, robot.action_shape))}): one lane of robot {robot.name!r}"
            )
        answers.append(robot.per_frame(found.astype(np.float32))[0])
    answered = np.stack(answers)
    if not np.isfinite(answered).all():
        raise ValueError(
            f"policy {name!r} answers with numbers that are not finite; a rollout would stop there"
        )
    return answered


def check_lines(check: PolicyCheck) -> str:
    """The whole check as text."""
    lines = ["The policy is given:", *(f"  {line}" for line in check.given), ""]
    beside = ", beside what was done then" if check.recorded is not None else ""
    lines += [f"It answers on {check.source}{beside}:", *_table(check), ""]
    if check.recorded is None:
        lines += [
            "The suite has no recorded actions to compare these with; name a dataset folder of its robot with --data.",
            "",
        ]
    lines += [f"warning: {warning}" for warning in check.warnings]
    if not check.warnings and check.recorded is not None:
        lines.append("No sign, scale, gripper or frame looks wrong on these observations.")
    if check.too_weak:
        lines.append(
            f"{len(check.answered)} observations do not tell sign and order of {', '.join(check.too_weak)}: the "
            "correlation could be an accident. Ask for more with --observations."
        )
    return "\n".join(lines).rstrip()


def _given(moments: Moments, robot: Robot) -> Iterator[str]:
    last = [moment.seen[-1] for moment in moments.moments]
    for camera in robot.cameras:
        pictures = np.concatenate([seen.images[camera.name] for seen in last])
        yield f"camera {camera.name!r}: {camera.height} x {camera.width}, {_range(pictures)}"
    states = [seen.state for seen in last if seen.state is not None]
    if not states:
        yield "state: none"
    else:
        for number, values in zip(robot.state, np.concatenate(states).T, strict=True):
            yield f"state {number.name}{_unit(number.unit)}: {values.min():.3g} to {values.max():.3g}"
    told = sorted({moment.instruction for moment in moments.moments})
    yield f"instruction: {', '.join(map(repr, told[:5]))}{f' and {len(told) - 5} others' if len(told) > 5 else ''}"
    yield (
        f"it is to answer {robot.actions_per_frame} x {robot.action_width} numbers per frame ({robot.action_kind}, "
        f"{robot.control_hz:g} per second): {', '.join(robot.action_names)}"
    )


def _sent(policy: Policy, moments: Moments) -> Iterator[str]:
    """What a server is sent, name by name."""
    given: Any = getattr(policy, "given", None)
    if given is None:
        return
    last: Observation = moments.moments[-1].seen[-1]
    yield "the server is sent:"
    for key, value in leaves(given(last)).items():
        if isinstance(value, np.ndarray):
            yield f"  {key}: {value.dtype} {'x'.join(map(str, value.shape))}, {_range(value)}"
        else:
            yield f"  {key}: {value!r}"


def _range(values: np.ndarray) -> str:
    if values.dtype == np.uint8:
        return f"{values.min()} to {values.max()}, mean {values.mean():.0f}"
    return f"{values.min():.3g} to {values.max():.3g}"


def _unit(unit: str) -> str:
    return f" [{unit}]" if unit else ""


def _table(check: PolicyCheck) -> Iterator[str]:
    width = max(len(_called(number)) for number in check.numbers)
    header = f"  {'':<{width}}  {'mean':>9}  {'range':>20}"
    if check.recorded is not None:
        header += f"  {'recorded mean':>13}  {'range':>20}  correlation ({len(check.answered)} moments)"
    yield header
    for number in check.numbers:
        span = _span(number.low, number.high)
        line = f"  {_called(number):<{width}}  {number.mean:>9.4g}  {span:>20}"
        if number.recorded_mean is not None:
            assert number.recorded_low is not None
            assert number.recorded_high is not None
            said = "not measured" if number.correlation is None else f"{number.correlation:.2f}"
            line += f"  {number.recorded_mean:>13.4g}  {_span(number.recorded_low, number.recorded_high):>20}  {said}"
        yield line


def _called(number: NumberAnswers) -> str:
    return number.name + _unit(number.unit) + ("" if number.used else " (not used)")


def _span(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
