"""What a recording of simulated episodes was made with, so that it continues as it began."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from typing_extensions import TypedDict

from real2sim.files import read_json, write_json
from real2sim.strict import check_fields

RECORD_FILE = "recording.json"
"""In the folder of a recording: its settings, and who acts in which episodes."""


class Part(TypedDict):
    """Episodes in which the same controllers act; they follow those of the part before."""

    episodes: Annotated[int, Ge(0)]
    """Number of the first episode after it."""
    acting: dict[str, Any]


class Record(TypedDict):
    """Content of ``recording.json``."""

    settings: dict[str, Any]
    parts: list[Part]


def open_recording(
    folder: Path, settings: Mapping[str, Any], acting: Mapping[str, Any], recorded: int, episodes: int
) -> list[dict[str, Any]]:
    """Who acts in each of the first ``episodes`` episodes, once the folder is known to hold the same recording.

    ``settings`` must be those of the episodes that are there, of which the last has the number ``recorded`` - 1;
    ``acting`` may be another for the episodes after it.  A folder without episodes is free for any recording.

    Raises:
        ValueError: naming the first setting that differs, or if the folder holds episodes of unknown origin.
    """
    path = folder / RECORD_FILE
    known: list[dict[str, Any]] = []
    if recorded:
        if not path.is_file():
            raise ValueError(
                f"{folder} holds episodes and no {RECORD_FILE}, so it is not known how they were recorded; "
                "choose another folder"
            )
        found: Record = check_fields(Record, read_json(path), str(path))
        _check_same(folder, found["settings"], settings)
        for part in found["parts"]:
            known += [part["acting"]] * (min(part["episodes"], recorded) - len(known))
        if len(known) < recorded:
            raise ValueError(
                f"{path} speaks of {len(known)} episodes, and {folder} holds number {recorded - 1}; was it edited?"
            )
        if episodes <= recorded:
            _check_same(folder, known[episodes - 1], acting)
    new = [dict(acting)] * (episodes - recorded)
    if new or not path.is_file():
        write_json(path, {"settings": dict(settings), "parts": _parts([*known, *new])})
    return [*known, *new][:episodes]


def _check_same(folder: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for name in dict.fromkeys([*asked, *found]):
        if found.get(name) != asked.get(name):
            raise ValueError(
                f"{folder} was recorded with {name} = {found.get(name)!r}, now {asked.get(name)!r} is asked for; "
                "choose another folder or the same options"
            )


def _parts(acting: list[dict[str, Any]]) -> list[Part]:
    ends = [i for i in range(1, len(acting) + 1) if i == len(acting) or acting[i] != acting[i - 1]]
    return [Part(episodes=end, acting=acting[end - 1]) for end in ends]
