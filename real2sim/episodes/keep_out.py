"""Episodes that no training may see, because a suite's starts come from them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from real2sim.files import read_json, write_text

LOG = logging.getLogger(__name__)
KEEP_OUT_FILE = "keep_out.json"
"""In a suite: where its starts come from.  In a dataset folder: which of its files trainings leave out, by suite."""


def note_in_dataset(folder: Path, suite: str, names: Iterable[str]) -> None:
    """Write into a dataset folder which of its episodes (by file name) a suite begins with."""
    path = folder / KEEP_OUT_FILE
    noted = _noted(path)
    noted[suite] = sorted(names)
    write_text(path, json.dumps({"suites": noted}, indent=2) + "\n")


def kept_out(folder: Path) -> set[str]:
    """Names of the files in a dataset folder that trainings leave out."""
    return {name for names in _noted(folder / KEEP_OUT_FILE).values() for name in names}


def for_training(files: Sequence[Path]) -> list[Path]:
    """The files of dataset folders without those that are kept out; how many that are is said.

    Raises ValueError if none is left.
    """
    out = {folder: kept_out(folder) for folder in {path.parent for path in files}}
    kept = [path for path in files if path.name not in out[path.parent]]
    if not kept and files:
        raise ValueError(
            f"all {len(files)} episodes in {files[0].parent} are starts of suites ({KEEP_OUT_FILE}); "
            "train on other episodes"
        )
    if len(kept) < len(files):
        LOG.info(
            "%d of %d episodes in %s are starts of suites and are left out of training",
            len(files) - len(kept), len(files), files[0].parent,
        )  # fmt: skip
    return kept


def write_keep_out(folder: Path, sources: Iterable[str]) -> None:
    """Write into a suite folder which episodes (dataset and number) its starts come from."""
    write_text(folder / KEEP_OUT_FILE, json.dumps({"sources": sorted(sources)}, indent=2) + "\n")


def read_keep_out(folder: Path) -> set[str]:
    """The episodes that a suite's starts come from; none, and a warning, for a suite that does not say.

    Raises FileNotFoundError for a folder that is no suite.
    """
    path = folder / KEEP_OUT_FILE
    if not path.is_file():
        if not (folder / "suite.json").is_file():
            raise FileNotFoundError(
                f"{folder} is no suite, so nothing can be kept out for it; expected a folder with suite.json"
            )
        LOG.warning("%s does not say which episodes its starts come from; none is left out", folder)
        return set()
    found = read_json(path)
    sources = found.get("sources") if isinstance(found, dict) else None
    if not isinstance(sources, list):
        raise ValueError(f"{path} has no list 'sources'; expected what `real2sim suite make` writes")
    return {str(source) for source in sources}


def _noted(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        return {}
    found = read_json(path)
    suites = found.get("suites") if isinstance(found, dict) else None
    if not isinstance(suites, dict) or not all(isinstance(names, list) for names in suites.values()):
        raise ValueError(
            f"{path} has no object 'suites' of lists; expected what `real2sim suite make` writes"
        )
    return {str(suite): [str(name) for name in names] for suite, names in suites.items()}
