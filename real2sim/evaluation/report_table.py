"""Reporting on tables: success that was written down elsewhere, in simulation alone or in both worlds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from real2sim.evaluation.real_tables import real_tables, real_trials

if TYPE_CHECKING:
    from real2sim.evaluation.report_runs import ReportConfig
    from real2sim.report.both_worlds import BothWorlds
    from real2sim.report.result import Report


def report_on_table(config: ReportConfig, tables: list[Path]) -> Report:
    """The report on simulated rates or verdicts that were written down elsewhere."""
    from real2sim.report.both_worlds import EXPECTED, read_both_worlds
    from real2sim.report.report import make_report
    from real2sim.report.tables import read_file

    if len(config.runs) > 1:
        raise ValueError(f"{tables[0]} is a table of simulated success; give it alone, or run folders")
    for name, asked in (("--judge", config.judge), ("--side-by-side", config.side_by_side)):
        if asked:
            raise ValueError(f"{name} is for run folders, and {tables[0]} is a table; leave it out")
    both = read_both_worlds(tables[0])
    if both is not None:
        return _report_on_both(config, both)
    simulated = read_file(tables[0], "simulated success")
    if not {"success", "successes", "success_rate", "rate"} & set(simulated.columns):
        raise ValueError(f"{tables[0]} has the columns {', '.join(simulated.columns)}. {EXPECTED}")
    given = None if config.real is None else real_tables(config.real, config.match, config.unclear)
    return make_report(
        simulated,
        None if given is None else given.rates,
        real_episodes=config.real_episodes or (None if given is None else given.episodes),
        out=config.out,
        title=config.title,
        real_name="real" if given is None else f"real = {given.name}",
        invalid=config.invalid,
        unclear=config.unclear,
    )


def _report_on_both(config: ReportConfig, both: BothWorlds) -> Report:
    """The report on a table that holds simulated and real success."""
    from real2sim.report.report import make_report

    if config.real is not None:
        raise ValueError(
            f"{config.runs[0]} holds real success as well; leave out --real, or give a table of simulated success alone"
        )
    outcomes = "success" in both.real
    rates, trials = both.real, None
    if outcomes:
        given = real_trials(both.real, config.runs[0].name, config.unclear)
        rates, trials = given.rates, given.episodes
    return make_report(
        both.simulated,
        rates,
        real_episodes=config.real_episodes or trials,
        out=config.out,
        title=config.title,
        real_name="real",
        notes=both.remarks,
        invalid=config.invalid,
        unclear=config.unclear,
    )
