"""Random damage: every command ends well, or with exit code 2 and one sentence that names the damaged folder.

A run tries 15 changed fields and 10 flipped ranges of bytes, always the same; REAL2SIM_FUZZ multiplies them.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from real2sim.cli import main

pytestmark = pytest.mark.slow
TIMES = int(os.environ.get("REAL2SIM_FUZZ", "1"))
FIELDS, FLIPS = 15 * TIMES, 10 * TIMES
WRONG = [None, True, -1, 0, 1.5, 10**30, math.nan, math.inf, "", "x", "\ud800", [], [[]], {}, {"a": 1}]
"""What is put in the place of a value."""


def places(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value inside JSON values."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*way, key))


def replaced(value: Any, way: tuple[str | int, ...], other: Any) -> Any:
    if not way:
        return other
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[way[0]] = replaced(value[way[0]], way[1:], other)  # type: ignore[index]
    return copied


def ends_well(folder: Path, damaged: Path) -> None:
    """Run the commands that read the damaged file of a copy of suite and run."""
    suite, run, out = folder / "suite", folder / "run", folder / "out"
    options = [
        "--suite",
        str(suite),
        "--starts",
        "1",
        "--lanes",
        "1",
        "--processes",
        "1",
        "--policies",
        "late",
    ]
    rolled = ["rollout", "--out", str(run if run in damaged.parents else out), *options]
    scored = ["score", str(run), "--judge", str(suite / "judge")]
    reported = ["report", str(run), "--out", str(folder / "report")]
    commands = [scored] if suite / "judge" in damaged.parents else [rolled]
    if run in damaged.parents:
        commands += [scored, reported]
    for words in commands:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                main(words)
                continue
            except SystemExit as ended:
                code = ended.code
        errors = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
        assert code == 2, (words, said.getvalue())
        assert len(errors) == 1
        assert "Traceback" not in said.getvalue()
        # A broken value may be the name of what is missing then.
        assert str(folder) in errors[0] or "suite" in errors[0] or "policy" in errors[0], errors[0]
    assert not [path for path in folder.rglob(".*") if path.is_file() and path.name != ".lock"]


@contextlib.contextmanager
def copies(suite: Path, run: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(suite, folder / "suite")
        shutil.copytree(run, folder / "run")
        settings_file = folder / "run" / "run.json"
        settings_file.write_text(settings_file.read_text().replace(str(suite), str(folder / "suite")))
        yield folder


JSON_FILES = ["suite/suite.json", "suite/world_model/config.json", "suite/policies/late/config.json",
              "suite/judge/config.json", "run/run.json", "run/rows-0.jsonl", "run/scores-classifier.jsonl"]  # fmt: skip


@settings(max_examples=FIELDS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_field_of_any_wrong_type(tiny_suite: Path, scored_run: Path, data: st.DataObject) -> None:
    with copies(tiny_suite, scored_run) as folder:
        path = folder / data.draw(st.sampled_from(JSON_FILES))
        first, *rest = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        values = json.loads(first)
        way = data.draw(st.sampled_from(sorted(places(values), key=str)))
        changed = json.dumps(replaced(values, way, data.draw(st.sampled_from(WRONG))))
        path.write_text("\n".join([changed, *rest, ""]))
        ends_well(folder, path)


@settings(max_examples=FLIPS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_range_of_bytes_of_any_file_flipped(
    tiny_suite: Path, scored_run: Path, data: st.DataObject
) -> None:
    with copies(tiny_suite, scored_run) as folder:
        files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        path = folder / data.draw(st.sampled_from([file for file in files if file.name != ".lock"]))
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        length, mask = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 255))
        content[place : place + length] = bytes(byte ^ mask for byte in content[place : place + length])
        path.write_bytes(bytes(content))
        ends_well(folder, path)
