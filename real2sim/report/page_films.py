"""Films on the page: which episodes are shown, what stands below them, and where their files lie."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from real2sim.report import wording
from real2sim.report.film_strips import Film, make_films, success_and_failure
from real2sim.report.smear import smeared

if TYPE_CHECKING:
    from real2sim.report.result import Report

MOST_POLICIES = 32
"""Policies of a set whose films are shown; the page would grow too large to be mailed."""


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def set_films(report: Report, name: str, folder: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Films of one set (``films`` of every policy, ``worst`` behind the largest gaps), and remarks.

    ``folder`` is where the page will lie, for links to the episodes' files; None leaves the links out.
    """
    if report.frames is None:
        return {"films": [], "worst": [], "films_note": ""}, []
    episodes = report.episodes[report.episodes["set"] == name]
    places = report.rates[report.rates["set"] == name].drop_duplicates("policy").set_index("policy")["number"]
    order = list(report.ranking[name].table["policy"]) or list(places.sort_values().index)
    chosen = success_and_failure(episodes[episodes["policy"].isin(order[:MOST_POLICIES])])
    rank = {policy: place for place, policy in enumerate(order)}
    chosen = chosen.iloc[chosen["policy"].map(rank).argsort(kind="stable")]
    films, remarks = make_films(chosen, report.frames)
    worst = report.worst[report.worst["set"] == name] if len(report.worst) else report.worst
    captions = [
        f"{wording.task_name(row.task)}, start {row.start}: simulated "
        f"{'success' if row.success else 'failure'}, "
        f"in reality {'success' if row.real_success >= 0.5 else 'failure'}"
        for row in worst.itertuples()
    ]
    worst_films, more = make_films(worst, report.frames, captions)
    note = ""
    if len(order) > MOST_POLICIES:
        note = f"Of {len(order)} policies, those of the first {MOST_POLICIES} are shown."
    rows = {str(row["episode"]): row for row in episodes.to_dict("records")}
    return {
        "films": _views(films, rows, folder),
        "worst": _views(worst_films, rows, folder),
        "films_note": note,
    }, remarks + more


def _views(films: list[Film], rows: dict[str, Any], folder: Path | None) -> list[dict[str, Any]]:
    marks = smeared([film.odd_colours for film in films])
    return [
        {
            "policy": film.policy,
            "caption": film.caption,
            "picture": data_uri(film.picture, "image/webp"),
            "alt": film.alt,
            "count": film.count,
            "stills": film.stills,
            "height": film.shape[0],
            "width": film.shape[1],
            "outcome": "success" if film.success else "failure",
            "smeared": f"{100 * film.odd_colours:.1f} %" if smear else "",
            "invalid": _invalid(rows.get(film.episode, {})),
            "link": episode_link(rows.get(film.episode, {}).get("video"), folder),
        }
        for film, smear in zip(films, marks, strict=True)
    ]


def _invalid(row: dict[str, Any]) -> str:
    """What the validity gate says of an episode that it rejects, or an empty string."""
    valid = row.get("valid")
    if valid is None or pd.isna(valid) or bool(valid):
        return ""
    since = row.get("invalid_from")
    return "not valid" if since is None or pd.isna(since) else f"not valid from step {int(since)}"


def episode_link(video: Any, folder: Path | None) -> str:
    """Address of an episode's file relative to the page, or an empty string."""
    if folder is None or not isinstance(video, str | Path) or not str(video):
        return ""
    try:
        path = os.path.relpath(Path(video).absolute(), folder.absolute())
    except ValueError:  # another drive
        return ""
    return quote(f"./{Path(path).as_posix()}")
