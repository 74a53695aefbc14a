"""The house has one direction: a part imports only parts that stand before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUND = (
    "wording",
    "checks",
    "arguments",
    "special_files",
    "files",
    "files_together",
    "arrays",
    "spreadsheets",
    "strict",
    "failures",
    "freed_memory",
    "host_copies",
    "cuda_graphs",
    "offscreen",
    "thread_priority",
    "checksums",
    "model_folder",
    "model_building",
    "robot_parts",
    "robot",
    "robot_match",
    "built_in",
    "actions",
)
PARTS = (
    *("report", "episodes", "training", "simulation", "policies", "vid2world", "success", "metrics"),
    *(
        "drawer",
        "so101",
        "worlds",
        "envs",
        "evaluation",
        "pages",
        "convert_commands",
        "train_commands",
        "cli",
    ),
)
ORDER = [*GROUND, *PARTS]
"""Files and packages of ``real2sim``, as CONTRIBUTING.md lists them; ``real2sim`` itself stands above all."""


def imports(path: Path) -> Iterator[str]:
    """Parts that a file imports anywhere in it: at the top, inside functions and for type checking alike."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("real2sim."))


def test_imports_point_down_the_list() -> None:
    files = [path for top in ("real2sim", "policies", "envs") for path in (ROOT / top).rglob("*.py")]
    files = [path for path in files if path.parent != ROOT / "real2sim" or not path.name.startswith("__")]
    assert len(files) > 100
    for path in files:
        place = path.relative_to(ROOT).parts
        part = (place[1] if place[0] == "real2sim" else place[0]).removesuffix(".py")
        upward = set(imports(path)) - set(ORDER[: ORDER.index(part) + 1])
        assert not upward, (
            f"{path.relative_to(ROOT)} imports {', '.join(sorted(upward))}, which stand above {part}"
        )
