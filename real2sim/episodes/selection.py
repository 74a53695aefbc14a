"""Which episodes of a dataset are meant: ranges of numbers, and a pattern for instructions."""

from __future__ import annotations

import re

from real2sim.robot_parts import LARGEST_SIDE


def episode_numbers(ranges: str, count: int) -> list[int]:
    """The numbers that text such as ``"0:500"`` or ``"0:10,42"`` stands for, rising; all for an empty one.

    A range includes its first number and not its last, which may be left out.  Raises ValueError for text that is no
    range, and for numbers that a dataset of ``count`` episodes does not have.
    """
    if not ranges.strip():
        return list(range(count))
    chosen: set[int] = set()
    for part in ranges.split(","):
        match = re.fullmatch(r"\s*(\d{0,18})\s*(:?)\s*(\d{0,18})\s*", part)
        if match is None or not part.strip():
            raise ValueError(
                f"--episodes has {part.strip()[:60]!r}, expected ranges such as 0:500 or 0:10,42"
            )
        first, colon, last = match.groups()
        begin = int(first or 0)
        end = (int(last) if last else count) if colon else begin + 1
        if end > count:
            raise ValueError(f"--episodes asks for {part.strip()}, the dataset has episodes 0 to {count - 1}")
        if begin >= end:
            raise ValueError(f"--episodes asks for {part.strip()}, which holds no episode")
        chosen.update(range(begin, end))
    return sorted(chosen)


def instruction_pattern(pattern: str, option: str) -> re.Pattern[str]:
    """A pattern that is looked for in instructions, whatever their case; ValueError naming the option if it is none."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{option} has {pattern[:60]!r}, which is not a regular expression ({error}); put a backslash before signs "
            "that stand for themselves"
        ) from error


def check_frame_size(size: tuple[int, int] | None) -> None:
    """Whether ``--size`` (height, width) can be that of frames."""
    if size is not None and not all(1 <= side <= LARGEST_SIDE for side in size):
        raise ValueError(
            f"--size is {size[0]} x {size[1]}, expected between 1 and {LARGEST_SIDE} pixels for height and width"
        )
