"""A suite, a scored run and a dataset at toy size, to be damaged, and what a refusal must look like."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import episode_arrays

from real2sim.cli import main
from real2sim.episodes.arrays import write_arrays

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must be refused: exit code 2, one sentence, no traceback, nothing half-written."""

    def run(*arguments: str, about: str = "", makes: Path | None = None) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in arguments])
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert ended.value.code == 2, lines
        assert len(lines) == 1
        said = lines[0].removeprefix("error: ")
        assert about in said
        assert "Traceback" not in said
        assert len(said.split()) > 5, said
        assert makes is None or not any(path.is_file() for path in makes.rglob("*.npz")), (
            "episodes were written"
        )
        assert not [path for path in tmp_path.rglob(".*") if path.is_file() and path.name != ".lock"]
        return said

    return run


@pytest.fixture
def suite(tiny_suite: Path, tmp_path: Path) -> Path:
    """A copy of the toy suite."""
    return Path(shutil.copytree(tiny_suite, tmp_path / "suite"))


@pytest.fixture(scope="session")
def scored_run(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scored") / "run"
    options = ["--suite", str(tiny_suite), "--starts", "2", "--processes", "1", "--lanes", "2"]
    main(["rollout", "--out", str(out), "--policies", "random", "late", *options])
    main(["score", str(out)])
    return out


@pytest.fixture
def run(scored_run: Path, tmp_path: Path) -> Path:
    """A copy of a run of eight scored episodes."""
    return Path(shutil.copytree(scored_run, tmp_path / "run"))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four training episodes."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    for number in range(4):
        write_arrays(folder / f"{number}.npz", episode_arrays(rng))
    return folder
