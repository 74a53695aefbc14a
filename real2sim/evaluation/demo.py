"""The complete evaluation on a laptop: roll out the shipped policies, judge the episodes, write the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from real2sim.evaluation.policy_sources import ALL_REPLAYS, ALL_SHIPPED
from real2sim.evaluation.report_runs import ReportConfig, report_runs
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.evaluation.score_runs import ScoreConfig, judge_of_starts, score_runs
from real2sim.simulation.suite import load_suite

if TYPE_CHECKING:
    from real2sim.report.result import Report


@dataclass(frozen=True)
class DemoConfig:
    """Rank the shipped policies in the shipped world model and compare with their real success rates."""

    out: Path
    """Folder for the run and the report; an unfinished demo is resumed."""
    suite: str = "drawer"
    """Name of a shipped suite, or a suite folder with a world model, a judge and policies."""
    starts: int = 50
    """Start frames per task; the same for every policy."""
    seed: int = 0
    """Seed of the run."""
    replays: bool = True
    """Also replay the scripted controllers, a second, harder set."""
    processes: int | None = None
    """Number of worker processes; one per CPU core by default."""
    device: str = "cpu"
    """`cpu` or `cuda`."""


def demo(config: DemoConfig) -> Report:
    """Roll out, score and report; each step is also a command of its own."""
    run, suite = config.out / "run", load_suite(config.suite)
    judge_of_starts(run, None, suite, [task.name for task in suite.tasks])
    rollout(
        RolloutConfig(
            out=run,
            policies=(ALL_SHIPPED, ALL_REPLAYS) if config.replays else (ALL_SHIPPED,),
            suite=config.suite,
            starts=config.starts,
            seed=config.seed,
            processes=config.processes,
            device=config.device,
            consistency=False,
        )
    )
    score_runs(ScoreConfig(runs=(run,)))
    title = f"The {suite.name} suite: simulated against real"
    return report_runs(ReportConfig(runs=(run,), out=config.out, title=title))


def report_text(report: Report, out: Path) -> str:
    """What the terminal says of a report: rates, verdict, and last the best policies, the agreement and the page."""
    from real2sim.report.answer import best_lines

    last = "\n".join(part for part in (best_lines(report), agreement_lines(report)) if part)
    return "\n\n".join([rate_table(report), report.verdict, last, f"report: {out / 'report.html'}"])


def rate_table(report: Report) -> str:
    """Simulated and real success rates of every set, policy and task, as text."""
    lines = []
    for name, rows in report.rates.groupby("set", sort=False):
        lines.append(f"{name}:")
        width = max(len(str(policy)) for policy in rows["policy"])
        for row in rows.sort_values(["task", "number"]).to_dict("records"):
            real = "not measured" if row["real_rate"] != row["real_rate"] else _rate(row, "real")
            lines.append(
                f"  {row['policy']:<{width}}  {row['task']:<14} simulated {_rate(row, 'sim')}  real {real}"
            )
    return "\n".join(lines)


def agreement_lines(report: Report) -> str:
    """Pearson r, MMRV and mean absolute error of every set, with the number of policies that were measured in both."""
    lines = []
    for name, facts in report.metrics["sets"].items():
        pooled = facts["pooled"]
        count = pooled["policies"]
        if not count:
            lines.append(f"{name}: agreement not measured, no policy has real rates")
            continue
        lines.append(
            f"{name}: r {_number(pooled['pearson'])}, MMRV {_number(pooled['mmrv'])}, mean absolute error "
            f"{_number(pooled['mae_points'], 1)} points ({count} {'policy' if count == 1 else 'policies'})"
        )
    return "\n".join(lines)


def _rate(row: dict[str, float], world: str) -> str:
    count, total = row[f"{world}_successes"], row[f"{world}_episodes"]
    if count != count or total != total:
        return f"{row[f'{world}_rate']:4.0%} (count not stated)"
    return f"{row[f'{world}_rate']:4.0%} ({count:.0f}/{total:.0f})"


def _number(value: float | None, digits: int = 3) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
