"""Whether two robots are the same one, compared by name."""

from __future__ import annotations

from collections.abc import Sequence

from real2sim.robot import Camera, Robot


def check_same_robot(first: Robot, first_where: str, second: Robot, second_where: str) -> None:
    """Raise a ValueError that names both sides unless two robots act alike and are seen alike.

    Compared are names, order and units of action numbers, what the actions are, rates and cameras: by name, never by
    width.  Bounds and the robots' own names may differ.
    """
    for what, a, b in differences(first, second):
        raise ValueError(
            f"{first_where} and {second_where} do not fit: {what} {a} in the one, {b} in the other"
        )


def differences(first: Robot, second: Robot) -> list[tuple[str, str, str]]:
    """What differs between two robots: (what, in the first, in the second), most telling first."""
    found = []
    names, others = first.action_names, second.action_names
    if names != others:
        found.append(_first_difference("action", names, others))
    else:
        for a, b in zip(first.action, second.action, strict=True):
            if a.unit != b.unit:
                found.append((f"the unit of action {a.name!r} is", repr(a.unit), repr(b.unit)))
                break
    for what in ("action_kind", "one_hot", "terminate", "control_hz", "actions_per_frame"):
        a, b = getattr(first, what), getattr(second, what)
        if a != b:
            found.append((f"{what} is", repr(a), repr(b)))
    if first.cameras != second.cameras:
        found.append(("cameras are", _cameras(first.cameras), _cameras(second.cameras)))
    if first.state != second.state:
        found.append(_first_difference("state", first.state_names, second.state_names))
    return found


def _first_difference(what: str, first: Sequence[str], second: Sequence[str]) -> tuple[str, str, str]:
    if len(first) != len(second):
        return f"{what} has", f"{len(first)} numbers ({_some(first)})", f"{len(second)} ({_some(second)})"
    place = next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), 0)
    return f"{what} number {place} is", repr(first[place]), repr(second[place])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "") if names else "none"


def _cameras(cameras: Sequence[Camera]) -> str:
    return ", ".join(f"{camera.name} {camera.height} x {camera.width}" for camera in cameras)
