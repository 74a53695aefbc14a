"""Trained policies and recorded controllers that come with a suite."""

from __future__ import annotations

import re

import numpy as np

from real2sim.simulation.suite import Suite
from real2sim.spreadsheets import read_table

POLICIES_FILE = "policies.csv"
POLICIES_FOLDER = "policies"


def shipped_policies(suite: Suite) -> dict[str, str]:
    """Name -> family of the trained policies that come with a suite."""
    path = suite.folder / POLICIES_FILE
    if not path.is_file():
        return {}
    table = read_table(path, "policies", ("policy", "family"))
    found: dict[str, str] = {}
    for index, row in enumerate(table.rows):
        # A name is also that of the policy's folder.
        if not re.fullmatch(r"[\w][\w .+-]*", row["policy"]):
            raise ValueError(
                f"{table.where(index, 'policy')} is {row['policy'][:60]!r}, expected the name of a folder in "
                f"{POLICIES_FOLDER}, without slashes"
            )
        if not row["family"]:
            raise ValueError(
                f"{table.where(index, 'family')} is empty, expected the training run that policy {row['policy']!r} "
                "comes from"
            )
        if found.setdefault(row["policy"], row["family"]) != row["family"]:
            raise ValueError(
                f"{table.where(index, 'family')} is {row['family']!r}, another row gives policy {row['policy']!r} the "
                f"family {found[row['policy']]!r}; keep one of them"
            )
    return found


def replay_controllers(suite: Suite) -> dict[str, dict[str, np.ndarray]]:
    """Controller -> task -> scripted actions (starts horizon n or K n) that come with a suite."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for task in suite.tasks:
        for controller, actions in suite.replays(task.name).items():
            found.setdefault(controller, {})[task.name] = actions
    return found
