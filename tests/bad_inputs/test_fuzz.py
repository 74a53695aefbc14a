"""Random damage: every command ends well, or with exit code 2 and one sentence that names the damaged file.

A run tries 100 inputs, always the same: 60 changed fields of JSON files, 15 changed arrays and 25 damaged ranges of
bytes.  REAL2SIM_FUZZ multiplies them.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzed_files import JSON_FILES, commands_for, whole_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from real2sim.cli import main
from real2sim.episodes.arrays import read_arrays

pytestmark = pytest.mark.slow
TIMES = int(os.environ.get("REAL2SIM_FUZZ", "1"))
FIELDS, ARRAYS, BYTES = 60 * TIMES, 15 * TIMES, 25 * TIMES
WRONG = [
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    math.nan,
    math.inf,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    {},
    {"a": 1},
    -(10**9),
]
"""What is put in the place of a value."""
GONE = object()
OTHER_ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fewer": lambda array: array[:-1],
    "no rows": lambda array: array[:0],
    "one more dimension": lambda array: array[None],
    "flat": lambda array: array.reshape(-1),
    "floats": lambda array: array.astype(np.float64) if array.dtype.kind in "uif" else np.zeros(array.shape),
    "whole numbers": lambda array: np.zeros(array.shape, np.int64),
    "text": lambda array: np.full(array.shape, "x"),
    "NaN": lambda array: np.full(array.shape, np.nan, np.float32),
    "infinity": lambda array: np.full(array.shape, np.inf, np.float32),
    "complex numbers": lambda array: np.zeros(array.shape, np.complex64),
    "a number": lambda array: np.array(3),
}
SETTINGS = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


def places(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value inside JSON values."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*way, key))


def replaced(value: Any, way: tuple[str | int, ...], other: Any) -> Any:
    """The value with another one, or none for `GONE`, at the end of the way."""
    if not way:
        return other
    copied = dict(value) if isinstance(value, dict) else list(value)
    if len(way) == 1 and other is GONE:
        del copied[way[0]]  # type: ignore[arg-type]
        return copied
    copied[way[0]] = replaced(value[way[0]], way[1:], other)  # type: ignore[index]
    return copied


def ends_well(folder: Path, damaged: str) -> None:
    """Run the commands that read the damaged file of a copy of everything."""
    for words in commands_for(folder, damaged):
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
        assert any(word in errors[0] for word in (str(folder), "suite", "policy", "judge", "episode")), (
            errors[0]
        )
        assert len(errors[0].split()) > 5, errors[0]
    assert not [path for path in folder.rglob(".*") if path.is_file() and path.name != ".lock"]


@pytest.fixture(scope="module")
def everything(tiny_suite: Path, scored_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, a scored run, training data and LeRobot datasets, with all files that may lie there."""
    return whole_folder(tmp_path_factory.mktemp("whole"), tiny_suite, scored_run)


@contextlib.contextmanager
def copied(whole: Path, damaged: str) -> Iterator[Path]:
    """A copy of what belongs to a file."""
    part = str(damaged).split("/")[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for other in {"suite", "run", "real.csv"} if part in ("suite", "run", "real.csv") else {part}:
            if (whole / other).is_dir():
                shutil.copytree(whole / other, folder / other)
            else:
                shutil.copy(whole / other, folder / other)
        path = folder / "run" / "run.json"
        if path.is_file():
            path.write_text(path.read_text().replace(str(whole), str(folder)))
        yield folder


@settings(max_examples=FIELDS, **SETTINGS)
@given(data=st.data())
def test_any_field_of_any_wrong_type(everything: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(JSON_FILES))
    with copied(everything, name) as folder:
        path = folder / name
        first, *rest = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        values = json.loads(first)
        way = data.draw(st.sampled_from(sorted(places(values), key=str)))
        changed = json.dumps(replaced(values, way, data.draw(st.sampled_from([*WRONG, GONE]))))
        path.write_text("\n".join([changed, *rest, ""]))
        ends_well(folder, name)


@settings(max_examples=ARRAYS, **SETTINGS)
@given(data=st.data())
def test_any_array_of_any_other_shape_and_type(everything: Path, data: st.DataObject) -> None:
    files = sorted(str(path.relative_to(everything)) for path in everything.rglob("*.npz"))
    name = data.draw(st.sampled_from(files))
    with copied(everything, name) as folder:
        arrays = read_arrays(folder / name)
        array = data.draw(st.sampled_from(sorted(arrays)))
        kind = data.draw(st.sampled_from(sorted(OTHER_ARRAYS)))
        with contextlib.suppress(IndexError, ValueError):
            arrays[array] = OTHER_ARRAYS[kind](arrays[array])
        np.savez(folder / name, **arrays)
        ends_well(folder, name)


@settings(max_examples=BYTES, **SETTINGS)
@given(data=st.data())
def test_any_range_of_bytes_of_any_file_damaged(everything: Path, data: st.DataObject) -> None:
    files = sorted(
        path.relative_to(everything)
        for path in everything.rglob("*")
        if path.is_file() and path.name != ".lock" and path.stat().st_size
    )
    # Every kind of file as often as every other, however many there are of it.
    kind = data.draw(st.sampled_from(sorted({path.suffix for path in files})))
    name = str(data.draw(st.sampled_from([path for path in files if path.suffix == kind])))
    with copied(everything, name) as folder:
        content = bytearray((folder / name).read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        length, mask = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 255))
        how = data.draw(st.sampled_from(["flipped", "cut off", "overwritten", "put in"]))
        part = content[place : place + length]
        if how == "cut off":
            del content[place:]
        elif how == "put in":
            content[place:place] = bytes([mask]) * length
        else:
            content[place : place + length] = bytes(byte ^ mask if how == "flipped" else 0 for byte in part)
        (folder / name).write_bytes(bytes(content))
        ends_well(folder, name)
