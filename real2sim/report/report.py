"""The report: statistics of a run beside reality, as frames, as numbers, and as one page.

``make_report`` is what the command line and a notebook call; everything it does is a call to a module beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from real2sim.checks import as_path
from real2sim.report.film_strips import frames_by_column
from real2sim.report.gaps import (
    LengthTrust,
    agreement_by_length,
    episode_agreement,
    pair_episodes,
    policy_pairs,
    shared_noise,
    worst_episodes,
)
from real2sim.report.horizon import agreement_by_horizon, read_cut_outcomes
from real2sim.report.inputs import (
    read_rates,
    read_real_episodes,
    read_simulated,
    simulated_rates,
)
from real2sim.report.judge_error import (
    JudgeError,
    corrected_rates,
    judge_errors,
    measured_judge,
    rank_changes,
    why_uncorrected,
)
from real2sim.report.metrics import agreement_frame, report_metrics
from real2sim.report.names import name_remarks, other_tasks
from real2sim.report.outcomes import Unclear, check_unclear, no_verdict_counts
from real2sim.report.prediction_powered import prediction_powered_rates
from real2sim.report.ranking import rank
from real2sim.report.rates import compare_rates, success_rates
from real2sim.report.result import Report
from real2sim.report.scopes import POOLED, numbered, scopes
from real2sim.report.several_runs import repeated_starts, with_worth
from real2sim.report.tables import plain_rows
from real2sim.report.validity import TREATMENTS, Treatment, check_treatment, treat, validity
from real2sim.report.verdict import verdict


def make_report(
    episodes: pd.DataFrame,
    real: pd.DataFrame | Path | None = None,
    *,
    real_episodes: pd.DataFrame | Path | None = None,
    judge_labels: Sequence[tuple[str, pd.DataFrame]] | None = None,
    outcomes_along_the_way: pd.DataFrame | None = None,
    frames: Callable[[str], np.ndarray] | None = None,
    out: Path | str | None = None,
    title: str = "Simulated against real success",
    real_name: str = "real",
    provenance: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    invalid: Treatment = "as-judged",
    unclear: Unclear = "exclude",
) -> Report:
    """How far simulated success agrees with real success, and how much that proves.

    Args:
        episodes: one row per scored simulated episode: policy, task, success; also used where present: set,
            family, episode, start, seed, probability, steps, frame_passes, video (path of the episode's npz).
            A table of rates (policy, task, success_rate, n_trials) is taken as well, with less to say.
        real: real rates, a frame or a CSV: policy, task, successes, episodes (or success_rate, n_trials).
            Without it, the rates of ``real_episodes`` are used.
        real_episodes: real episodes paired by policy, task and start frame.
        judge_labels: (name, frame) pairs of labelled episodes: label (what happened), success (what the judge
            says), optionally task.  The last pair corrects the rates: give generated episodes last.
        outcomes_along_the_way: outcomes of episodes cut at several lengths: policy, task, steps, success (the
            judge's), real_success, optionally set; they give the horizon H*.
        frames: gives the frames (t h w 3) of an episode id, for film strips; default: from column ``video``.
        out: folder to write the page, table, numbers and figures into.
        real_name: what plays reality, as the page shall call it, e.g. "real = MuJoCo physics".
        provenance: how the episodes were made, shown at the end of the page.
        notes: what a reader of the numbers has to know about how the episodes were chosen.
        invalid: what episodes that a validity gate refused (column valid) count as in every number of the report:
            "as-judged", "missing" or "failure"; the section on validity compares all three.
        unclear: what episodes are, simulated or real, that are labelled unclear or on which the judge has no verdict:
            "exclude" leaves them out of every rate, "failure" counts them as failures.

    Raises:
        ValueError: if a table lacks a column or holds impossible numbers.
        FileNotFoundError: if a given path does not exist.
    """
    check_unclear(unclear)
    check_treatment(invalid)
    for name, text in (("title", title), ("real_name", real_name)):
        if not isinstance(text, str):
            raise ValueError(f"{name} is of type {type(text).__name__}, expected text")
    if out is not None:
        as_path("the folder of a report", out)
    judge_labels = _label_tables(judge_labels)
    if isinstance(notes, str) or not isinstance(notes, Sequence):
        raise ValueError(f"notes are of type {type(notes).__name__}, expected a list of sentences")
    if not isinstance(provenance, Mapping | None):
        raise ValueError(
            f"provenance is of type {type(provenance).__name__}, expected a mapping of names to texts"
        )
    if frames is not None and not callable(frames):
        raise ValueError(
            f"frames are of type {type(frames).__name__}, expected a function from an episode's id to its frames"
        )
    sim, sim_episodes, remarks = read_simulated(episodes, unclear)
    episodes = plain_rows(episodes)
    remarks = [*notes, *remarks]
    every_episode = sim_episodes
    if invalid != "as-judged" and "valid" in sim_episodes:
        sim_episodes = treat(sim_episodes, invalid).reset_index(drop=True)
        sim = simulated_rates(sim_episodes)
        remarks.append(f"Invalid episodes are {TREATMENTS[invalid]} in every number but those on validity.")
    real_table: pd.DataFrame | None = None
    real_runs: pd.DataFrame | None = None
    if real_episodes is not None:
        real_runs, more = read_real_episodes(real_episodes, unclear)
        remarks += more
    if real is not None:
        real_table, more = read_rates(real)
        remarks += more
    elif real_runs is not None:
        real_table = success_rates(real_runs)
    if real_table is not None and real_runs is not None:
        real_table = with_worth(real_table, real_runs)
    rows = numbered(compare_rates(sim, real_table))
    remarks += name_remarks(sim, real_table, real_name) + repeated_starts(sim)
    sets = list(dict.fromkeys(sim["set"]))
    paired = pair_episodes(sim_episodes, real_runs)
    rows["shared_noise"] = shared_noise(paired.pairs, rows)
    by_set = {name: scopes(rows[rows["set"] == name]) for name in sets}
    pairs = policy_pairs(rows)
    errors = [error for name, labels in judge_labels or () for error in judge_errors(name, labels)]
    nothing = "no real rates were given" if real_table is None else other_tasks(sim, real_table, real_name)
    verdicts = {
        name: verdict(
            by_set[name][POOLED], pairs[pairs["set"] == name], real_name, nothing, measured_judge(errors)
        )
        for name in sets
    }
    remarks += paired.remarks
    in_set, per_task = episode_agreement(paired.pairs, ("set",)), episode_agreement(paired.pairs)
    same = pd.concat([in_set.assign(task=POOLED), per_task], ignore_index=True) if len(in_set) else per_task
    powered, powered_note = prediction_powered_rates(sim_episodes, paired.pairs)
    corrected, warnings = _correct(rows, errors)
    result = Report(
        title=title,
        real_name=real_name,
        verdicts=verdicts,
        rates=rows,
        agreement=agreement_frame(by_set),
        by_set=by_set,
        ranking={name: rank(sim_episodes[sim_episodes["set"] == name]) for name in sets},
        pairs=pairs,
        episode_agreement=same,
        worst=worst_episodes(paired.pairs, rows),
        by_length={name: _horizon(name, outcomes_along_the_way, paired.pairs, len(sets)) for name in sets},
        prediction_powered=powered,
        prediction_powered_note=powered_note,
        no_verdict=no_verdict_counts(episodes),
        unclear=unclear,
        judge=pd.DataFrame([error.as_row() for error in errors]),
        corrected=corrected,
        judge_warnings=tuple(warnings),
        remarks=tuple(remarks),
        validity=validity(every_episode, real_table, pair_episodes(every_episode, real_runs).pairs),
        metrics={},
        provenance=dict(provenance or {}),
        episodes=sim_episodes,
        frames=frames or frames_by_column(sim_episodes),
    )
    result.metrics.update(report_metrics(result))
    if out is not None:
        result.write(out)
    return result


def _horizon(name: str, cut: pd.DataFrame | None, pairs: pd.DataFrame, sets: int) -> LengthTrust:
    """Agreement of one set against the horizon: of cut episodes if there are any, else by length of episodes."""
    if cut is not None:
        known = read_cut_outcomes(cut)
        if "set" in known and "world" in known:
            known = known[
                (known["set"] == name) | (known["set"] + " in " + known["world"].astype(str) == name)
            ]
        elif "set" in known or sets > 1:
            known = known[known.get("set", pd.Series("", index=known.index)) == name]
        if len(known):
            return agreement_by_horizon(known)
    return agreement_by_length(pairs[pairs["set"] == name])


def _correct(rows: pd.DataFrame, errors: Sequence[JudgeError]) -> tuple[pd.DataFrame, list[str]]:
    """Rates corrected by the last set of labels, and warnings."""
    if not errors:
        return pd.DataFrame(), []
    used = [error for error in errors if error.task == "all tasks"][-1]
    why = why_uncorrected(used)
    if why:
        return pd.DataFrame(), [why]
    corrected = corrected_rates(rows, used)
    return corrected, rank_changes(corrected)


def _label_tables(given: Any) -> list[tuple[str, pd.DataFrame]]:
    """Names and tables of labels; ValueError unless they are a list of such pairs."""
    pairs = list(given) if isinstance(given, list | tuple) else [] if given is None else None
    if pairs is None or not all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], pd.DataFrame)
        for pair in pairs
    ):
        raise ValueError(
            f"judge_labels are of type {type(given).__name__}, expected a list of (name, table) with a "
            "pandas.DataFrame each"
        )
    return [(name, table) for name, table in pairs]
