"""Reporting on runs: the files of a suite and its runs become the tables of the report."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from typing_extensions import NotRequired, TypedDict

from real2sim.checks import check_kinds
from real2sim.episodes.run_folder import RunFolder, load_run
from real2sim.evaluation.consistency import read_limit, run_differences, set_apart
from real2sim.evaluation.horizon import HORIZON_FILE
from real2sim.evaluation.judge_labels import labelled_in_runs, unproven_judges
from real2sim.evaluation.race_notes import race_notes
from real2sim.evaluation.real_tables import real_tables
from real2sim.evaluation.report_table import report_on_table
from real2sim.evaluation.score_runs import JUDGE_FOLDER, check_named_once
from real2sim.evaluation.unchanged import check_rows
from real2sim.files import read_json
from real2sim.simulation.suite import Suite, load_suite
from real2sim.strict import check_fields
from real2sim.success.compared import CellCounts

if TYPE_CHECKING:
    import pandas as pd

    from real2sim.report.result import Report

LOG = logging.getLogger(__name__)
RATES_FILE = "real_rates.csv"
EPISODES_FILE = "real_episodes.csv"
QUALITY_FILE = "quality.json"
HUMAN = "human"
"""Name of the judge that people's labels are."""
LABELLED = {"physics": "physics episodes", "generated": "generated episodes, labelled by eye"}
UNKNOWN_WEIGHTS = ("python", "random", "remote")
"""Kinds of policies whose fingerprint does not tell their weights."""
STATE_SOURCES = {
    "none": "policies were given none",
    "action": "the last commanded targets",
    "model": "predicted by the world model",
}
"""What ``run.json`` says of where policies got the robot's state from, in words."""
CELLS = (
    ("true_success", True, True),
    ("false_failure", True, False),
    ("false_success", False, True),
    ("true_failure", False, False),
)
"""Cells of a confusion matrix: name, what really happened, what the judge says."""


class Quality(TypedDict):
    """``quality.json`` of a judge, as far as a report reads it."""

    judge_digest: NotRequired[str | None]
    physics: NotRequired[dict[str, CellCounts]]
    generated: NotRequired[dict[str, CellCounts]]


@dataclass(frozen=True)
class ReportConfig:
    """Say how far the simulated success of scored runs agrees with real success, and how much that proves."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders that have been scored; or one CSV of simulated rates (policy, task, successes, episodes) or verdicts
    (policy, task, success), for those who only want the statistics; it may hold real success as well (simulated,
    simulated_episodes, real, real_episodes)."""
    out: Path
    """Folder for report.html, report.csv, metrics.json and figures."""
    real: str | None = None
    """Real success: a CSV of rates (policy, task, successes, episodes), a CSV of single trials (policy, task, success,
    and start if it is known), `simpler:google_robot` or `simpler:widowx`, or a run of `--world mujoco`; by default the
    rates of the run's suite."""
    match: tuple[str, ...] = ()
    """`OURS=THEIRS` for tasks or policies that the real table calls otherwise."""
    real_episodes: Path | None = None
    """Real episodes as CSV: policy, task, start, success; by default those of the run's suite."""
    judge: str | None = None
    """Whose verdicts to use where a run has been scored by several judges."""
    title: str = "Simulated against real success"
    """Heading of the page."""
    invalid: Literal["as-judged", "missing", "failure"] = "as-judged"
    """What episodes that a validity gate refused count as: as judged, as missing, or as failure. The page compares all
    three either way."""
    unclear: Literal["exclude", "failure"] = "exclude"
    """Episodes without a clear verdict: leave them out of every rate, or count them as failures, as Vid2World's paper
    does."""
    side_by_side: bool = False
    """Make every run a set of its own, also where runs differ in their seed alone."""

    def __post_init__(self) -> None:
        check_kinds(self)


def report_runs(config: ReportConfig) -> Report:
    """Read the runs, write the report, and give it."""
    from real2sim.report.report import make_report

    if not config.runs:
        raise ValueError("no run folder was given; name at least one")
    tables = [path for path in config.runs if path.is_file()]
    if tables:
        return report_on_table(config, tables)
    check_named_once(config.runs)
    suite = _suite(config.runs[0])
    if suite is None and config.real is None:
        LOG.warning(
            "the suite %r of %s is not here, so its real rates are missing; name a table with --real",
            RunFolder(config.runs[0]).suite(),
            config.runs[0],
        )
    rates: Path | pd.DataFrame | None
    trials: Path | pd.DataFrame | None
    name = "real"
    if config.real is None:
        # The suite's own real episodes belong to its own real rates, not to a table that the user brings.
        rates = None if suite is None else _existing(suite.folder / RATES_FILE)
        trials = config.real_episodes or (None if suite is None else _existing(suite.folder / EPISODES_FILE))
        name = "real" if suite is None else f"real = {suite.config.real_source}"
    else:
        given = real_tables(config.real, config.match, config.unclear)
        rates, trials, name = given.rates, config.real_episodes or given.episodes, f"real = {given.name}"
    episodes = scored_episodes(config.runs, config.judge)
    if config.unclear == "failure":
        _no_human_gaps(episodes)
    episodes, consistency = _set_apart(episodes, config.runs, suite)
    if config.side_by_side and len(config.runs) > 1:
        episodes["set"] = episodes["set"].astype(str) + " in " + episodes["run"]
    digests = set(episodes["judge_digest"].dropna()) if "judge_digest" in episodes else set()
    return make_report(
        episodes,
        rates,
        real_episodes=trials,
        judge_labels=[*judge_labels(suite, digests), *labelled_in_runs(config.runs, episodes)],
        outcomes_along_the_way=cut_outcomes(config.runs, episodes),
        out=config.out,
        title=config.title,
        real_name=name,
        provenance=provenance(config.runs),
        notes=(*unproven_judges(config.runs, episodes), *consistency, *race_notes(config.runs)),
        invalid=config.invalid,
        unclear=config.unclear,
    )


def _no_human_gaps(episodes: pd.DataFrame) -> None:
    """ValueError where people's labels are missing: scores do not tell an unclear label from none."""
    silent = episodes[(episodes["judge"] == HUMAN) & episodes["success"].isna()]
    if len(silent):
        run = silent["run"].iloc[0]
        raise ValueError(
            f"{len(silent)} episodes of {run} have no clear human label; whether they are unclear or not labelled is "
            f"known when they are scored: `real2sim score {run} --judge LABELS --unclear failure`"
        )


def _set_apart(
    episodes: pd.DataFrame, runs: tuple[Path, ...], suite: Suite | None
) -> tuple[pd.DataFrame, list[str]]:
    """Policies that the simulator cannot judge as a set of their own, and what is to be said of them."""
    measured = {name: value for run in runs for name, value in run_differences(run).items()}
    apart, said = set_apart(episodes, measured, None if suite is None else read_limit(suite))
    return apart.sort_values("set", kind="stable", ignore_index=True), said


def scored_episodes(runs: tuple[Path, ...], judge: str | None = None) -> pd.DataFrame:
    """The scored episodes of some runs, with the path of each one's file as ``video``."""
    import pandas as pd

    tables = []
    for run in runs:
        folder = RunFolder(run)
        rows = folder.rows()
        table = load_run(run, rows)
        check_rows(folder, rows)
        if table.empty:
            raise ValueError(f"{run} holds no episodes; run the rollout that made it again")
        if "judge" not in table:
            raise ValueError(f"{run} has not been scored; do so with `real2sim score {run}`")
        judges = sorted(table["judge"].dropna().unique())
        chosen = judge or (judges[0] if len(judges) == 1 else None)
        if chosen is None or chosen not in judges:
            asked = "several judges" if judge is None else f"no judge {judge!r}"
            raise ValueError(f"{run} has scores of {asked}; choose one of {', '.join(judges)} with --judge")
        table = _judged_by(table, chosen)
        table["video"] = [str(RunFolder(run).episode_path(episode)) for episode in table["episode"]]
        table["run"] = str(run)
        table["weights"] = table["policy"].map(_weights(run))
        tables.append(table)
    _tell_worlds_apart(tables, runs)
    # The first set is the one that the verdict is about: trained policies before scripted ones.
    return pd.concat(tables, ignore_index=True).sort_values("set", kind="stable", ignore_index=True)


def _judged_by(table: pd.DataFrame, judge: str) -> pd.DataFrame:
    """The episodes of a run with one judge's verdicts; those that it has not scored have none."""
    here = table["judge"] == judge
    unscored = ~table["episode"].isin(table.loc[here, "episode"]) & ~table.duplicated("episode")
    if not unscored.any():
        return table[here].copy()
    chosen = table[here | unscored].astype({"success": object, "judge": object})
    chosen.loc[unscored, ["success", "probability", "judge_digest"]] = None
    chosen.loc[unscored, "judge"] = judge
    return chosen


def _weights(run: Path) -> dict[str, str]:
    """Policy -> fingerprint of its weights or recordings, for policies that lie in files."""
    policies = RunFolder(run).settings().get("identity", {}).get("policies", {})
    return {
        name: str(fingerprint)
        for name, fingerprint in policies.items()
        if str(fingerprint).split(" ")[0] not in UNKNOWN_WEIGHTS
    }


def _tell_worlds_apart(tables: list[pd.DataFrame], runs: tuple[Path, ...]) -> None:
    """Worlds of one name but other weights or settings get the name of their run as well."""
    identities = [str(RunFolder(run).settings().get("identity", {}).get("world", "")) for run in runs]
    for name in {str(name) for table in tables for name in table["world"].dropna().unique()}:
        here = [i for i, table in enumerate(tables) if (table["world"] == name).any()]
        if len({identities[i] for i in here}) > 1:
            for i in here:
                first = next(j for j in here if identities[j] == identities[i])
                tables[i]["world"] = tables[i]["world"].replace(name, f"{name} ({runs[first]})")


def cut_outcomes(runs: tuple[Path, ...], episodes: pd.DataFrame) -> pd.DataFrame | None:
    """What `real2sim horizon` found out about these runs; worlds are called as in ``episodes``."""
    import pandas as pd

    from real2sim.report.horizon import read_cut_outcomes
    from real2sim.report.tables import read_file

    tables = []
    for run in runs:
        path = run / HORIZON_FILE
        worlds = episodes["world"][episodes["run"] == str(run)].dropna()
        if path.is_file() and len(worlds):
            table = read_file(path, "outcomes along the way")
            read_cut_outcomes(table)  # names the file, which the joined tables do not
            tables.append(table.assign(world=worlds.iloc[0]))
    return pd.concat(tables, ignore_index=True) if tables else None


def judge_labels(suite: Suite | None, digests: set[str]) -> list[tuple[str, pd.DataFrame]]:
    """Labelled episodes that tell how often the suite's judge errs; the generated ones last.

    Empty where the verdicts are not those of the judge (of one of ``digests``) that was measured.
    """
    import pandas as pd

    path = None if suite is None else _existing(suite.folder / JUDGE_FOLDER / QUALITY_FILE)
    quality = {} if path is None else check_fields(Quality, read_json(path), str(path))
    if suite is None or digests != {quality.get("judge_digest")}:
        return []
    tasks = {task.instruction: task.name for task in suite.tasks}
    found = []
    for kind, name in LABELLED.items():
        rows = [
            {"label": label, "success": verdict, "task": tasks.get(instruction, instruction)}
            for instruction, counts in quality.get(kind, {}).items()
            if instruction != "all"
            for cell, label, verdict in CELLS
            for _ in range(counts[cell])
        ]
        if rows:
            found.append((name, pd.DataFrame(rows)))
    return found


def provenance(runs: tuple[Path, ...]) -> dict[str, str]:
    """How the episodes of some runs were made, as sentences for the end of the page."""
    said: dict[str, str] = {}
    for run in runs:
        settings = RunFolder(run).settings()
        identity: dict[str, Any] = settings["identity"]
        suffix = f" ({run})" if len(runs) > 1 else ""
        for name in ("suite", "world", "seed"):
            said[f"{name.capitalize()}{suffix}"] = str(identity.get(name, "unknown"))
        source = settings.get("state")
        if source is not None:
            said[f"Robot's state{suffix}"] = STATE_SOURCES.get(source, f"measured in {source}")
        if unseeded := settings.get("unseeded"):
            again = "if they draw random numbers, their episodes cannot be drawn again"
            said[f"Policies that are not told seeds{suffix}"] = f"{', '.join(unseeded)}; {again}"
        said[f"Begun{suffix}"] = str(settings.get("created", "unknown"))
        versions = settings.get("versions", {})
        said[f"Versions{suffix}"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return said


def _suite(run: Path) -> Suite | None:
    name = RunFolder(run).suite()
    try:
        return load_suite(name)
    except (ValueError, FileNotFoundError):
        # The rates of a run can be reported on a machine that does not have its suite.
        return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
