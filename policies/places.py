"""From a place as people write it, a folder or ``module.py:Class``, to the policy that is there."""

from __future__ import annotations

from pathlib import Path

from real2sim.actions import rt1_robot
from real2sim.checks import expanded
from real2sim.model_folder import folder_fingerprint
from real2sim.policies.policy import Policy, PolicyWithRequirements, Requirements
from real2sim.policies.python_policy import GuardedPolicy, find_python, is_python
from real2sim.policies.trained import load_policy
from real2sim.robot import Robot, read_robot
from real2sim.robot_match import check_same_robot
from real2sim.simulation.contracts import check_requirements


def place_fingerprint(place: str) -> str:
    """Changes when the weights in a folder, or the source of a Python policy, do."""
    return find_python(place).fingerprint if is_python(place) else folder_fingerprint(_folder(place))


def check_place(place: str, robot: Robot, where: str) -> None:
    """Raise a ValueError that names both sides unless the policy says nothing that keeps it from acting for ``robot``
    of ``where``; weights are not read."""
    if is_python(place):
        needs, made_for = find_python(place).requires, None
    else:
        made_for = read_robot(_folder(place))
        needs = Requirements(action=rt1_robot().action) if made_for is None else None
    if made_for is not None:
        check_same_robot(made_for, f"policy {place!r}", robot, where)
    if needs is not None:
        check_requirements(needs, robot, place, where)


def policy_at(place: str, robot: Robot, where: str, device: str = "cpu") -> Policy:
    """The policy that acts for ``robot`` of ``where``; exceptions of a Python policy become one sentence."""
    check_place(place, robot, where)
    if not is_python(place):
        return load_policy(_folder(place), device)
    policy: GuardedPolicy = find_python(place).make(robot, device, place)
    if isinstance(policy.policy, PolicyWithRequirements):
        check_requirements(policy.policy.requires, robot, place, where)
    return policy


def _folder(place: str) -> Path:
    return expanded(place)
