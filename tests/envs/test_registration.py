"""Ids follow from the shipped suites, and physics from the name that a suite gives it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from real2sim.built_in import ASSETS, PHYSICS, shipped_suites
from real2sim.envs.registration import environment_name
from real2sim.simulation.suite import load_suite
from real2sim.worlds import open_world


@pytest.mark.parametrize(
    ("suite", "task", "name"),
    [
        ("drawer", "close_drawer", "DrawerClose"),
        ("so101", "push_block", "SO101PushBlock"),
        ("drawer", None, "Drawer"),
        ("two_arms", "fold_the_towel", "TwoArmsFoldTheTowel"),
    ],
)
def test_an_id_names_the_suite_and_then_the_task(suite: str, task: str | None, name: str) -> None:
    assert environment_name(suite, task) == name


def test_every_task_of_a_shipped_suite_has_an_id() -> None:
    import gymnasium

    import real2sim  # noqa: F401 - registers the ids

    for suite, tasks in shipped_suites().items():
        for task in (*tasks, None):
            assert f"real2sim/{environment_name(suite, task)}-v0" in gymnasium.registry
            physics = f"real2sim/Physics{environment_name(suite, task)}-v0"
            assert (physics in gymnasium.registry) == (suite in PHYSICS)


def test_a_suite_without_physics_says_so(tmp_path: Path) -> None:
    shutil.copytree(
        ASSETS / "drawer", tmp_path / "copy", ignore=shutil.ignore_patterns("world_model", "policies")
    )
    path = tmp_path / "copy" / "suite.json"
    values = json.loads(path.read_text()) | {"name": "bench"}
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="suite 'bench' has no physics"):
        open_world("mujoco", load_suite(tmp_path / "copy"))


@pytest.mark.physics
def test_a_suite_may_name_another_suites_physics(tmp_path: Path) -> None:
    shutil.copytree(
        ASSETS / "drawer", tmp_path / "copy", ignore=shutil.ignore_patterns("world_model", "policies")
    )
    path = tmp_path / "copy" / "suite.json"
    values = json.loads(path.read_text()) | {"name": "bench", "physics": "drawer"}
    path.write_text(json.dumps(values))
    assert open_world("mujoco", load_suite(tmp_path / "copy")).name == "mujoco"
