"""The suites that come with the project: a folder in ``assets`` each, and a line here for its physics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from real2sim.files import read_json

ASSETS = Path(__file__).resolve().parent / "assets"

DEFAULT_HORIZON = 20
"""Steps of a task that names no horizon."""

PHYSICS: Mapping[str, str] = {
    "drawer": "real2sim.drawer.world:DrawerWorld",
    "so101": "real2sim.so101.world:SO101World",
}
"""Name that a suite gives its physics, by default its own -> the World class, imported when it is used."""


def shipped_suites() -> dict[str, dict[str, int]]:
    """Shipped suite -> its tasks with their horizons; nothing else is read."""
    files = sorted(ASSETS.glob("*/suite.json"))
    return {file.parent.name: _horizons(read_json(file)["tasks"]) for file in files}


def _horizons(tasks: list[dict[str, Any]]) -> dict[str, int]:
    return {task["name"]: task.get("horizon", DEFAULT_HORIZON) for task in tasks}
