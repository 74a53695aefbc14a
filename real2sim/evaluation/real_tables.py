"""Real success from wherever it was written down: rates, single trials, SIMPLER's tables, or a run in physics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from real2sim.episodes.run_folder import RUN_FILE, load_run
from real2sim.wording import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SIMPLER = "simpler:"


@dataclass(frozen=True)
class RealTables:
    """Real success under the names of the simulation."""

    rates: pd.DataFrame
    """policy, task, successes, episodes, rate and, where it is known, source."""
    episodes: pd.DataFrame | None
    """policy, task, start, success, where single trials with their starts were given."""
    name: str
    """What to call the real side, e.g. ``"SIMPLER, google_robot"``."""


def real_tables(
    real: str | Path, match: Sequence[str] = (), unclear: Literal["exclude", "failure"] = "exclude"
) -> RealTables:
    """The tables that ``real`` stands for.

    ``real`` is ``simpler:google_robot`` or ``simpler:widowx``, a CSV file of rates (policy, task and successes,
    episodes or success_rate, n_trials), a CSV file with one row per trial (policy, task, success, and start if it is
    known), or a run folder of a world that knows its outcomes.  ``match`` holds ``OURS=THEIRS`` for tasks and policies
    that the table calls otherwise.  Trials that are labelled ``unclear`` are left out, or failures.

    Raises FileNotFoundError for a path that does not exist, ValueError for tables of other forms and names that the
    table does not have.
    """
    from real2sim.report.inputs import read_rates

    text = str(real)
    if text.startswith(SIMPLER):
        suite = text.removeprefix(SIMPLER)
        rates, _ = read_rates(_simpler(suite))
        return RealTables(_renamed(rates, match, text), None, f"SIMPLER, {suite}")
    path = Path(text)
    if (path / RUN_FILE).is_file():
        trials = _run_outcomes(path)
    else:
        table = _read(path)
        if "success" not in table:
            rates, _ = read_rates(path)
            return RealTables(_renamed(rates, match, text), None, path.name)
        trials = table
    return real_trials(trials, path.name, unclear, match)


def real_trials(
    trials: pd.DataFrame, name: str, unclear: Literal["exclude", "failure"], match: Sequence[str] = ()
) -> RealTables:
    """The tables of single real trials (policy, task, success, and start if it is known)."""
    from real2sim.report.inputs import read_real_episodes, success_counts

    known = trials.assign(start="") if "start" not in trials else trials
    outcomes, _ = read_real_episodes(known, unclear)
    outcomes = _renamed(outcomes, match, name)
    return RealTables(
        success_counts(outcomes, ["policy", "task"]), outcomes if "start" in trials else None, name
    )


def _simpler(suite: str) -> pd.DataFrame:
    from real2sim.report.published import simpler_real_rates

    table = simpler_real_rates()
    known = sorted(set(table["suite"]))
    if suite not in known:
        raise ValueError(
            f"--real {SIMPLER}{suite} names no robot of the SIMPLER study{did_you_mean(suite, known)}; "
            f"there are {', '.join(SIMPLER + name for name in known)}"
        )
    return table[table["suite"] == suite]


def _read(path: Path) -> pd.DataFrame:
    from real2sim.report.tables import read_file

    if not path.is_file():
        raise FileNotFoundError(
            f"--real is {path}, which is no file; expected a CSV of rates or trials, {SIMPLER}google_robot, or a run "
            "folder"
        )
    return read_file(path, "real rates or trials")


def _run_outcomes(run: Path) -> pd.DataFrame:
    table = load_run(run)
    known = table[table["judge"] == table["world"]] if "judge" in table else table.iloc[:0]
    if known.empty:
        raise ValueError(
            f"{run} is a run whose world does not know its outcomes; expected one of `real2sim rollout --world mujoco`"
        )
    return known[["policy", "task", "start", "success"]]


def _renamed(table: pd.DataFrame, match: Sequence[str], where: str) -> pd.DataFrame:
    table = table.copy()
    for written in match:
        ours, equals, theirs = written.partition("=")
        if not equals or not ours or not theirs:
            raise ValueError(
                f"--match is {written!r}, expected OURS=THEIRS, e.g. close_drawer=google_robot_close_drawer"
            )
        columns = [column for column in ("task", "policy") if (table[column] == theirs).any()]
        if not columns:
            names = sorted({*table["task"], *table["policy"]})
            raise ValueError(
                f"--match {written}: {where} has neither a task nor a policy {theirs!r}{did_you_mean(theirs, names)}; "
                f"it has {', '.join(names)}"
            )
        for column in columns:
            if (table[column] == ours).any():
                raise ValueError(f"--match {written}: {where} has a {column} {ours!r} already")
            table[column] = table[column].replace(theirs, ours)
    return table
