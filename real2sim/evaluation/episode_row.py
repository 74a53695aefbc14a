"""What a run keeps of an episode beside its frames and actions."""

from __future__ import annotations

from typing import Any

from real2sim.evaluation.policy_sources import PolicySource
from real2sim.simulation.contracts import World
from real2sim.simulation.loop import Episode
from real2sim.simulation.suite import Suite


def episode_row(
    name: str, episode: Episode, suite: Suite, source: PolicySource, world: World
) -> dict[str, Any]:
    """The columns of a finished episode; with its outcome where the world knows it."""
    start = episode.job.start
    row: dict[str, Any] = {
        "episode": name,
        "suite": suite.name,
        "task": start.task.name,
        "policy": source.name,
        "family": source.family,
        "kind": source.kind,
        "set": "scripted" if source.kind == "replay" else "policies",
        "start": start.id,
        "seed": episode.job.seed,
        "world": world.name,
        "instruction": start.instruction,
        "steps": len(episode.actions),
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "frame_passes": episode.frame_passes,
        "seconds": round(episode.seconds, 4),
    }
    if episode.success is not None:
        row |= {"success": episode.success, "probability": float(episode.success), "judge": world.name}
    return row
