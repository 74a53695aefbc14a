"""What Gymnasium, Stable-Baselines3 and LeRobot expect of an environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import real2sim  # noqa: F401 - registers the ids
from real2sim.actions import pack
from real2sim.simulation.suite import load_suite

NAME = "real2sim/WorldModel-v0"
STILL = pack({"world_vector": np.zeros(3)})


def played(env: Any, seed: int = 0) -> tuple[int, dict[str, Any], bool]:
    env.reset(seed=seed)
    for step in range(1, 99):
        _, _, terminated, truncated, info = env.step(STILL)
        if terminated or truncated:
            return step, info, truncated
    raise AssertionError("the episode did not end")


@pytest.mark.parametrize("limit", [2, 5, 9])
def test_a_time_limit_of_gymnasium_is_the_horizon_and_the_episode_is_judged(
    tiny_suite: Path, limit: int
) -> None:
    env = gymnasium.make(NAME, max_episode_steps=limit, suite=str(tiny_suite))
    steps, info, truncated = played(env)
    assert (steps, truncated) == (limit, True)
    assert info["is_success"] == info["success"]
    assert env.get_wrapper_attr("_max_episode_steps") == limit


@pytest.mark.parametrize("limit", [1, 3, 9])
def test_a_time_limit_that_is_wrapped_by_hand_cuts_an_episode_that_is_judged(
    tiny_suite: Path, limit: int
) -> None:
    made = gymnasium.make(NAME, suite=str(tiny_suite), terminate=False)
    for env in (TimeLimit(TimeLimit(made, limit), 7), TimeLimit(made.unwrapped, limit)):
        steps, info, truncated = played(env)
        assert (steps, truncated) == (min(limit, 5), True)
        assert info["is_success"] == info["success"]
    # Without it the episode is as long as the task again.
    assert played(made)[0] == 5
    lanes = gymnasium.make_vec(
        NAME,
        num_envs=2,
        vectorization_mode="sync",
        suite=str(tiny_suite),
        wrappers=[lambda env: TimeLimit(env, 1)],
    )
    lanes.reset(seed=0)
    assert lanes.step(np.stack([STILL] * 2))[4]["_success"].all()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_many_lanes_keep_the_limit_too(tiny_suite: Path, mode: str) -> None:
    env = gymnasium.make_vec(
        NAME, num_envs=2, vectorization_mode=mode, max_episode_steps=2, suite=str(tiny_suite)
    )
    env.reset(seed=0)
    env.step(np.stack([STILL] * 2))
    _, _, _, truncated, info = env.step(np.stack([STILL] * 2))
    assert truncated.all()
    assert info["_is_success"].all()
    assert env.call("_max_episode_steps") == (2, 2)
    assert all(text in ("close drawer", "open drawer") for text in env.call("task_description"))


def test_the_shipped_ids_say_their_limit() -> None:
    assert gymnasium.spec("real2sim/DrawerClose-v0").max_episode_steps == 20
    assert gymnasium.spec("real2sim/PhysicsDrawer-v0").max_episode_steps == 20


@pytest.mark.parametrize("seed", [1.5, -1, 2**63, "a", True])
def test_a_seed_that_is_none_is_refused(tiny_suite: Path, seed: Any) -> None:
    env = gymnasium.make(NAME, suite=str(tiny_suite))
    many = gymnasium.make_vec(NAME, num_envs=2, suite=str(tiny_suite))
    with pytest.raises(ValueError, match="seed must be"):
        env.unwrapped.reset(seed=seed)
    with pytest.raises(ValueError, match="seed must be"):
        many.reset(seed=seed)
    with pytest.raises(ValueError, match="option episode_seed must be"):
        env.reset(seed=0, options={"episode_seed": seed})


@pytest.mark.slow
def test_asynchronous_environments_that_are_forked_do_not_hang(tiny_suite: Path) -> None:
    """Where torch has used several threads before the fork."""
    code = (
        "import sys, gymnasium, torch, numpy as np, real2sim\n"
        "torch.set_num_threads(2); x = torch.ones(2000, 2000); x @ x\n"
        "gymnasium.make('real2sim/WorldModel-v0', suite=sys.argv[1]).reset(seed=0)\n"
        "env = gymnasium.make_vec('real2sim/WorldModel-v0', num_envs=2, vectorization_mode='async', "
        "vector_kwargs={'context': 'fork'}, suite=sys.argv[1])\n"
        "env.reset(seed=0)\n"
        "env.step(np.zeros((2, 13), np.float32))\n"
        "env.close()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_suite)], check=True, timeout=300)


def test_a_bare_name_is_the_shipped_suite_and_a_path_is_a_folder(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(tiny_suite, tmp_path / "drawer")
    monkeypatch.chdir(tmp_path)
    assert load_suite("drawer").name == "drawer"
    assert load_suite("./drawer").name == "tiny"
    assert load_suite(tmp_path / "drawer").name == "tiny"
