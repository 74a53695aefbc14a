"""The lines and settings of a run folder, read strictly: each has the fields and types that it is documented with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MinLen
from typing_extensions import NotRequired, TypedDict

from real2sim.files import read_bytes, read_json
from real2sim.strict import check_fields, check_line

FORMAT = 1
"""Of ``run.json``; raised when older versions could no longer read what is written."""
Count = Annotated[int, Ge(0)]
Name = Annotated[str, MinLen(1)]


class Row(TypedDict):
    """One finished episode; further fields may stand beside these."""

    episode: Name
    policy: Name
    task: Name
    start: NotRequired[str]
    suite: NotRequired[str]
    family: NotRequired[Name]
    kind: NotRequired[str]
    set: NotRequired[Name]
    seed: NotRequired[Count]
    world: NotRequired[str]
    instruction: NotRequired[str]
    steps: NotRequired[Annotated[int, Ge(1)]]
    terminated: NotRequired[bool]
    truncated: NotRequired[bool]
    frame_passes: NotRequired[Count]
    seconds: NotRequired[Annotated[float, Ge(0)]]
    seeded: NotRequired[bool]
    """Whether the policy was told the episode's seed; recordings need none."""
    bytes: NotRequired[Count]
    """Size of the episode's file."""
    checksum: NotRequired[str]
    """CRC-32 of its frames and of its actions, in hexadecimal digits."""
    success: NotRequired[bool]
    probability: NotRequired[Annotated[float, Ge(0), Le(1)]]
    judge: NotRequired[Name]


class ScoreRow(TypedDict):
    """One verdict of a judge."""

    episode: Name
    success: bool | None
    """None where the judge gives no verdict."""
    probability: Annotated[float, Ge(0), Le(1)] | None
    judge: NotRequired[Name]
    judge_digest: NotRequired[str]


class ValidityRow(TypedDict):
    """What a validity gate says of one episode."""

    episode: Name
    valid: bool
    invalid_from: Annotated[int, Ge(1)] | None
    """First frame that is unlike real video under the actions; None where none is."""
    validity_score: Annotated[float, Ge(0)]
    """Above 1 is invalid."""
    gate: Name
    gate_digest: str


class Identity(TypedDict):
    """What gives the rows of a run their meaning."""

    suite: NotRequired[str]
    world: NotRequired[str]
    seed: NotRequired[Count]
    policies: NotRequired[dict[str, str]]


class Settings(TypedDict):
    """``run.json``."""

    format: Literal[1]
    identity: Identity
    config: NotRequired[dict[str, Any]]
    versions: NotRequired[dict[str, str]]
    created: NotRequired[str]
    lanes: NotRequired[Annotated[int, Ge(1)]]
    state: NotRequired[Literal["action", "model", "mujoco", "none"]]
    """Where policies got the robot's state from."""
    unseeded: NotRequired[list[str]]
    """Policies that are not told seeds."""
    families: NotRequired[dict[str, str]]
    """Policy -> the training run that it comes from."""


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a run."""
    values = read_json(path, "the settings of a run")
    found: dict[str, Any] = check_fields(Settings, values, str(path))
    missing = [name for name in Identity.__annotations__ if name not in found["identity"]]
    if "versions" in found and missing:
        raise ValueError(
            f"{path}: field identity.{missing[0]} is missing, which every rollout writes; was the file edited?"
        )
    return found


def suite_of(settings: dict[str, Any], path: Path) -> str:
    """Name or folder of the suite that a run was made in."""
    suite = settings.get("config", {}).get("suite")
    if not isinstance(suite, str) or not suite:
        raise ValueError(
            f"{path}: field config.suite is {suite!r}, expected the name of a suite; was the file edited?"
        )
    return suite


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The finished episodes of a file of rows; a last line that was torn by a kill is left out."""
    for where, row in _lines(path, Row):
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", row["episode"]):
            raise ValueError(f"{where}: episode is {row['episode'][:60]!r}, which is no name of a file")
        yield row


def check_same(first: Mapping[str, Any], again: Mapping[str, Any], path: Path) -> None:
    """ValueError where two rows give one episode to different policies, tasks or starts."""
    for name in ("policy", "task", "start"):
        if first.get(name) != again.get(name):
            raise ValueError(
                f"{path}: episode {again['episode']!r} is of {name} {again.get(name)!r}, another row says "
                f"{first.get(name)!r}; was the file edited?"
            )


def read_scores(path: Path) -> Iterator[dict[str, Any]]:
    """The verdicts of a file of scores."""
    for where, row in _lines(path, ScoreRow):
        success, probability = row["success"], row["probability"]
        # A probability that was rounded to 0.5 may be on either side.
        if success is not None and probability not in (None, 0.5) and success != (probability > 0.5):
            raise ValueError(
                f"{where}: success is {str(success).lower()} and probability {probability:g}, which is a "
                f"{'success' if probability > 0.5 else 'failure'}; score the run again"
            )
        yield row


def read_validity(path: Path) -> Iterator[dict[str, Any]]:
    """What a gate says of the episodes of a run."""
    for _, row in _lines(path, ValidityRow):
        yield row


def _lines(path: Path, kind: type) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = read_bytes(path, "a file of a run").split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if line.strip() and (number < len(lines) or is_whole(line)):
            yield where, check_line(kind, line, where)


def is_whole(line: bytes) -> bool:
    """Whether a last line without an end is one to which an editor gave none; a kill tears it before its brace."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def merged(found: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings of a run with what is asked for now; ValueError where both say something else."""
    both = dict(found)
    for key, value in asked.items():
        if key not in found:
            both[key] = value
        elif isinstance(value, dict) and isinstance(found[key], dict):
            both[key] = merged(found[key], value, f"{where}: {key}")
        elif found[key] != value:
            raise ValueError(
                f"{where} was made with {key} = {json.dumps(found[key])}, now "
                f"{json.dumps(value)} is asked for; "
                "rows of both cannot stand in one run: choose another folder"
            )
    return both
