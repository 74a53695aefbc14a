"""The instructions of a LeRobot dataset: ``meta/tasks.jsonl`` of version 2, ``meta/tasks.parquet`` of version 3."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from real2sim.checks import check_text
from real2sim.episodes.lerobot.columns import whole_numbers
from real2sim.episodes.lerobot.files import open_parquet, read_json_lines, reading_parquet, shown
from real2sim.episodes.lerobot.layout import Layout

TASKS_V2, TASKS_V3 = "meta/tasks.jsonl", "meta/tasks.parquet"
INDEX_COLUMN = "__index_level_0__"
"""As which pandas stores an index without a name."""


def read_tasks(layout: Layout) -> dict[int, str]:
    """Task index -> instruction."""
    path = layout.folder / (TASKS_V2 if layout.major == 2 else TASKS_V3)
    tasks: dict[int, str] = {}
    for number, task in _from_lines(path) if layout.major == 2 else _from_table(path):
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(task, str):
            raise ValueError(
                f"{path}: task_index {number!r} has task {task!r}, expected a whole number and text"
                "; repair the metadata"
            )
        if tasks.get(number, task) != task:
            raise ValueError(
                f"{path}: task_index {number} stands for {shown(tasks[number])} and for {shown(task)}; expected one "
                "task per index, repair the metadata"
            )
        check_text(f"{path}: the task of task_index {number}", task)
        tasks[number] = task
    if not tasks:
        raise ValueError(f"{path} names no task; expected at least one")
    return tasks


def _from_lines(path: Path) -> Iterable[tuple[Any, Any]]:
    return ((row["task_index"], row["task"]) for row in read_json_lines(path, ("task_index", "task")))


def _from_table(path: Path) -> Iterable[tuple[Any, Any]]:
    file = open_parquet(path)
    with reading_parquet(path):
        table = file.read()
    texts = [name for name in table.column_names if _is_text(table.schema.field(name).type)]
    if "task_index" not in table.column_names or not texts:
        raise ValueError(
            f"{path} has columns {', '.join(table.column_names)}; expected task_index and the task's text"
        )
    # Other texts may stand beside the task's, which is the table's index unless a column is called so.
    index = [name for name in _index_columns(table) if name in texts]
    text = next((name for name in ("task", *index, INDEX_COLUMN) if name in texts), texts[0])
    numbers = whole_numbers(table["task_index"], f"{path}: column task_index").tolist()
    with reading_parquet(path):
        return zip(numbers, table[text].to_pylist(), strict=True)


def _is_text(kind: Any) -> bool:
    import pyarrow.types

    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    return str(kind) in ("string", "large_string", "string_view")


def _index_columns(table: Any) -> list[str]:
    """The columns that pandas says were the index."""
    stored = (table.schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in stored if isinstance(name, str)]
