"""Test robot policies inside a learned simulator, and know how far to believe the result.

Importing the package registers the Gymnasium ids and loads neither torch nor pandas; what needs them is
loaded when it is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from real2sim.episodes.run_folder import load_run
    from real2sim.evaluation.rollout_config import RolloutConfig
    from real2sim.evaluation.run import rollout
    from real2sim.report.report import make_report
    from real2sim.vid2world.load import SamplingOverrides

# `real2sim/envs` and `real2sim/policies` are links to the folders beside this one; where a checkout has no links
# (git on Windows writes small text files), the folders are found where they lie.
if not (Path(__file__).parent / "envs").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

__version__ = "0.1.0"
__all__ = ["RolloutConfig", "SamplingOverrides", "load_run", "make_report", "rollout"]

_HOMES = {
    "SamplingOverrides": "real2sim.vid2world.load",
    "RolloutConfig": "real2sim.evaluation.rollout_config",
    "load_run": "real2sim.episodes.run_folder",
    "make_report": "real2sim.report.report",
    "rollout": "real2sim.evaluation.run",
}

importlib.import_module("real2sim.envs.registration").register_envs()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'real2sim' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
