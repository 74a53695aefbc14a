"""The suites that come with the project: a folder in ``assets`` each, and a line here for its physics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from real2sim.files import read_json

ASSETS = Path(__file__).resolve().parent / "assets"

PHYSICS: Mapping[str, str] = {
    "drawer": "real2sim.drawer.world:DrawerWorld",
}
"""Name that a suite gives its physics, by default its own -> the World class, imported when it is used."""


def shipped_suites() -> dict[str, list[str]]:
    """Shipped suite -> its tasks; nothing but the names is read."""
    files = sorted(ASSETS.glob("*/suite.json"))
    return {file.parent.name: [task["name"] for task in read_json(file)["tasks"]] for file in files}
