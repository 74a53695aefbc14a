"""Test robot policies inside a learned simulator, and know how far to believe the result.

Importing the package registers the Gymnasium ids and loads neither torch nor pandas; what needs them is
loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from real2sim.envs.registration import register_envs

if TYPE_CHECKING:
    from real2sim.episodes.run_folder import load_run
    from real2sim.evaluation.run import RolloutConfig, rollout
    from real2sim.evaluation.worlds import Drawing
    from real2sim.report.report import report

__version__ = "0.1.0"
__all__ = ["Drawing", "RolloutConfig", "load_run", "report", "rollout"]

_HOMES = {
    "Drawing": "real2sim.evaluation.worlds",
    "RolloutConfig": "real2sim.evaluation.run",
    "load_run": "real2sim.episodes.run_folder",
    "rollout": "real2sim.evaluation.run",
}

register_envs()


def __getattr__(name: str) -> Any:
    if name == "report":
        return importlib.import_module("real2sim.report")
    if name not in _HOMES:
        raise AttributeError(f"module 'real2sim' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
