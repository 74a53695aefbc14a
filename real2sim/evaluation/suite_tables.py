"""Tables of a suite that is made from recorded episodes: replays, real rates, outcomes and embeddings."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from real2sim.evaluation.real_tables import real_tables
from real2sim.evaluation.suite_sources import RecordedEpisode
from real2sim.simulation.suite import Start

RECORDED = "recorded"
"""Name of the controller that plays the recorded actions back."""


@dataclass(frozen=True)
class Chosen:
    """An episode that a start is made from."""

    number: int
    start: Start
    recorded: RecordedEpisode


def replay_arrays(chosen: Mapping[str, Sequence[Chosen]]) -> dict[str, np.ndarray]:
    """The recorded actions of each task's starts, (starts steps n) or (starts steps K n), and how many steps are whose.

    Shorter ones are filled up with their last action, which is never played.
    """
    arrays = {}
    for name, items in chosen.items():
        # The last action leads to no frame.
        actions = [item.recorded.action[:-1] for item in items]
        longest = max(len(steps) for steps in actions)
        filled = [
            np.concatenate([steps, np.repeat(steps[-1:], longest - len(steps), axis=0)]) for steps in actions
        ]
        arrays[f"{name}/{RECORDED}/actions"] = np.stack(filled).astype(np.float32)
        arrays[f"{name}/{RECORDED}/lengths"] = np.array([len(steps) for steps in actions])
    return arrays


def rate_rows(
    real: str | None, match: Sequence[str], chosen: Mapping[str, Sequence[Chosen]]
) -> list[dict[str, Any]]:
    """Rows of ``real_rates.csv``: those of a real table for the suite's tasks, and of the recorded outcomes.

    Raises what `real_tables` raises, and ValueError if the table has none of the suite's tasks.
    """
    rows: list[dict[str, Any]] = []
    if real is not None:
        table = real_tables(real, match).rates
        names = list(chosen)
        known = table[table["task"].isin(names)]
        if known.empty:
            raise ValueError(
                f"--real {real} has no rate of {', '.join(names)}; its tasks are "
                f"{', '.join(sorted(set(table['task'])))}; say which is which with --match {names[0]}=THEIRS"
            )
        for row in known.to_dict("records"):
            rows.append(
                {
                    "policy": row["policy"],
                    "task": row["task"],
                    "success_rate": row["rate"],
                    "n_trials": _trials(row["rate"], row["episodes"]),
                    "source": row.get("source") or real,
                }
            )
    for name, items in chosen.items():
        outcomes = [item.recorded.success for item in items if item.recorded.success is not None]
        if outcomes:
            rate = sum(outcomes) / len(outcomes)
            rows.append(
                {"policy": f"replay:{RECORDED}", "task": name, "success_rate": rate, "n_trials": len(outcomes),
                 "source": "recorded outcomes"}
            )  # fmt: skip
    return rows


def outcome_rows(chosen: Mapping[str, Sequence[Chosen]]) -> list[dict[str, Any]]:
    """Rows of ``real_episodes.csv``: what became of the recorded episodes, where that is known."""
    return [
        {
            "policy": f"replay:{RECORDED}",
            "task": name,
            "start": item.start.id,
            "success": item.recorded.success,
        }
        for name, items in chosen.items()
        for item in items
        if item.recorded.success is not None
    ]


def instruction_embeddings(chosen: Mapping[str, Sequence[Chosen]]) -> dict[str, np.ndarray]:
    """Instruction -> vector (512,), where the dataset has them."""
    found: dict[str, np.ndarray] = {}
    for item in _all(chosen):
        if item.recorded.embedding is not None:
            found.setdefault(item.start.instruction, item.recorded.embedding)
    return found


def _all(chosen: Mapping[str, Sequence[Chosen]]) -> Iterator[Chosen]:
    for items in chosen.values():
        yield from items


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _trials(rate: float, episodes: float) -> int | str:
    """The number of trials; empty where it is unknown, or no number of successes in it gives a published rate."""
    if episodes != episodes or abs(round(rate * episodes) / episodes - rate) > 0.5e-3:
        return ""
    return int(episodes)
