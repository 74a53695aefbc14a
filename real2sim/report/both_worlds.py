"""Tables that hold simulated and real success side by side, as papers and spreadsheets have them.

Either one row per policy and task with columns for each world (``Real SR (%)``, ``sim_episodes``), or rows
of both worlds told apart by a column ``world``, ``domain`` or ``setting``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from real2sim.report.tables import FILE
from real2sim.spreadsheets import LABELS, Table, measurements, read_table

SIMULATED, REAL = "simulated", "real"
WORLDS = {
    "sim": SIMULATED,
    "simulated": SIMULATED,
    "simulation": SIMULATED,
    "simulator": SIMULATED,
    "real": REAL,
}
"""Words for a world, in headings and cells."""
WORLD_COLUMNS = ("world", "domain", "setting")
POLICIES = ("policy", "model", "checkpoint", "method")
TASKS = ("task", "environment", "env")
COUNTING = {"n", "num", "number", "of", "count"}
"""Words that say that something is counted."""
KINDS = {
    "successes": "successes",
    **dict.fromkeys(("episodes", "trials", "rollouts", "attempts"), "episodes"),
    **dict.fromkeys(("rate", "sr", "success", "success rate", "percent", "success percent"), "rate"),
}
"""What a column holds, by the words of its heading beside the world."""
ONE_TASK = "all"
EXPECTED = (
    "Expected policy and task, and either success (a row per episode), or successes and episodes, or for both worlds "
    "in one table simulated, simulated_episodes, real and real_episodes"
)


@dataclass(frozen=True)
class BothWorlds:
    """Success in both worlds."""

    simulated: pd.DataFrame
    real: pd.DataFrame
    remarks: tuple[str, ...]
    """How the table was read, for the page."""


def read_both_worlds(path: Path) -> BothWorlds | None:
    """The two tables in one CSV file; None if it holds simulated success alone.

    ``12/50`` in a column of rates gives its counts. Rates without a number of episodes are used without an interval.
    Raises ValueError for a column that is there twice, and where `measurements` does.
    """
    table = read_table(path, "success in simulation and reality")
    column = _world_column(table)
    if column is not None:
        parts = _by_rows(table, column)
        read = f"its column {column} tells the worlds apart"
    else:
        columns = _columns(table)
        if not all({"rate", "successes"} & set(held.values()) for held in columns.values()):
            return None
        for world, held in columns.items():
            _check_counted(table, world, held)
        parts = {world: _by_columns(table, held) for world, held in columns.items()}
        read = ", ".join(
            f"{name} is {world} {kind}" for world, held in columns.items() for name, kind in held.items()
        )
    if not all(part.rows for part in parts.values()):
        empty = next(world for world, part in parts.items() if not part.rows)
        raise ValueError(f"{path} has no row of {empty} success; it needs rows of both worlds")
    remarks = [f"Both worlds were read from {path.name}: {read}."]
    if not any(name in table.headings for name in TASKS):
        remarks.append(f"{path.name} names no task, so all its rows count as one.")
    frames = {world: pd.DataFrame(measurements(part)) for world, part in parts.items()}
    for frame in frames.values():
        frame.attrs[FILE] = str(path)
    return BothWorlds(frames[SIMULATED], frames[REAL], tuple(remarks))


def _columns(table: Table) -> dict[str, dict[str, str]]:
    """World -> heading -> what it holds: successes, episodes or rate."""
    found: dict[str, dict[str, str]] = {SIMULATED: {}, REAL: {}}
    for heading in table.headings:
        words = _words(heading)
        worlds = [word for word in words if word in WORLDS]
        rest = [word for word in words if word not in WORLDS]
        kind = _kind(rest) if rest else "rate"
        if len(worlds) != 1 or kind is None:
            continue
        side = found[WORLDS[worlds[0]]]
        twice = next((other for other, known in side.items() if known == kind), None)
        if twice is not None:
            raise ValueError(
                f"{table.path} has the columns {twice} and {heading}, which both say {WORLDS[worlds[0]]} {kind}; "
                "remove one of them"
            )
        side[heading] = kind
    return found


def _world_column(table: Table) -> str | None:
    """The column that names each row's world, if there is one; ValueError where it names other worlds besides."""
    for column in WORLD_COLUMNS:
        told = [row.get(column, "").lower() for row in table.rows]
        if not WORLDS.keys() & set(told):
            continue
        odd = next((i for i, word in enumerate(told) if word and word not in WORLDS), None)
        if odd is not None:
            raise ValueError(
                f"{table.where(odd, column)} is {table.rows[odd][column][:60]!r}, and other rows have "
                f"{next(word for word in told if word in WORLDS)!r}; expected simulated or real in all of them"
            )
        return column
    return None


def _check_counted(table: Table, world: str, held: dict[str, str]) -> None:
    """ValueError where successes are counted and episodes are not."""
    counted = next((heading for heading, kind in held.items() if kind == "successes"), None)
    if counted is not None and not {"rate", "episodes"} & set(held.values()):
        raise ValueError(
            f"{table.path} has the column {counted} and none with the number of {world} episodes; add a column "
            f"{world}_episodes"
        )


def _words(heading: str) -> list[str]:
    return re.findall(r"[a-z]+", heading)


def _kind(words: list[str]) -> str | None:
    """What a column with these words in its heading holds; None for something else."""
    named = " ".join(word for word in words if word not in COUNTING)
    if len(named) < len(" ".join(words)):
        return {"": "episodes", "success": "successes"}.get(named, KINDS.get(named))
    return KINDS.get(named)


def _names(table: Table) -> dict[str, str]:
    """Heading -> its usual name, for policies, tasks and other labels."""
    names = {name: name for name in table.headings if name in LABELS}
    for usual, others in (("policy", POLICIES), ("task", TASKS)):
        given = next((name for name in others if name in table.headings), None)
        if given is not None:
            names[given] = usual
    return names


def _by_columns(table: Table, held: dict[str, str]) -> Table:
    """The part of one world, whose columns are ``held``; rows without a cell in any of them are no rows of it."""
    chosen = [i for i, row in enumerate(table.rows) if any(row[heading] for heading in held)]
    return _part(table, {**_names(table), **held}, chosen)


def _by_rows(table: Table, column: str) -> dict[str, Table]:
    """The parts of a table in which ``column`` names each row's world."""
    unnamed = next((i for i, row in enumerate(table.rows) if not row[column]), None)
    if unnamed is not None:
        raise ValueError(f"{table.where(unnamed, column)} is empty; expected simulated or real")
    names = _names(table)
    for heading in table.headings:
        kind = "success" if heading == "success" else _kind(_words(heading))
        if heading not in names and heading != column and kind is not None:
            names[heading] = kind
    return {
        world: _part(
            table, names, [i for i, row in enumerate(table.rows) if WORLDS[row[column].lower()] == world]
        )
        for world in (SIMULATED, REAL)
    }


def _part(table: Table, names: dict[str, str], chosen: list[int]) -> Table:
    """The chosen rows under the usual names, with one task where none is named."""
    rows = [
        {"task": ONE_TASK}
        | _counted({usual: _cell(name, table.rows[i][name]) for name, usual in names.items()})
        for i in chosen
    ]
    _check_one_form(table, names, chosen, rows)
    used = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name != "rate" or any(row.get(name) for row in rows)
    ]
    return replace(
        table,
        headings=tuple(used),
        rows=tuple({name: row.get(name, "") for name in used} for row in rows),
        numbers=tuple(table.numbers[i] for i in chosen),
        called=_called(names),
    )


def _called(names: dict[str, str]) -> dict[str, str]:
    """Usual name -> heading; counts that were written as ``12/50`` stand in the column of rates."""
    called = {usual: name for name, usual in names.items()}
    return {"successes": called["rate"], "episodes": called["rate"], **called} if "rate" in called else called


def _check_one_form(
    table: Table, names: dict[str, str], chosen: list[int], rows: list[dict[str, str]]
) -> None:
    """ValueError where one column has counts such as ``12/50`` in some rows and rates in others."""
    heading = next((name for name, usual in names.items() if usual == "rate"), None)
    if heading is None or "successes" in names.values():
        return
    counts = [i for i, row in zip(chosen, rows, strict=True) if row.get("successes")]
    rates = [i for i, row in zip(chosen, rows, strict=True) if row.get("rate") and row.get("episodes")]
    if counts and rates:
        raise ValueError(
            f"{table.where(counts[0], heading)} is {table.rows[counts[0]][heading][:60]!r}, and row "
            f"{table.numbers[rates[0]]} has {table.rows[rates[0]][heading][:60]!r}; write counts in all rows, or rates"
        )


def _cell(heading: str, cell: str) -> str:
    """A cell with the percent sign that its heading has."""
    percent = "%" in heading or "percent" in heading
    return f"{cell}%" if percent and cell and not cell.endswith("%") and "/" not in cell else cell


def _counted(row: dict[str, str]) -> dict[str, str]:
    """A rate that is written as ``12/50`` as successes and episodes."""
    found = re.fullmatch(r"(\d+)\s*/\s*(\d+)", row.get("rate", ""))
    if not found or row.get("successes") or row.get("episodes", "") not in ("", found[2]):
        return row
    return {**row, "rate": "", "successes": found[1], "episodes": found[2]}
