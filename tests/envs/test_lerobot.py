"""The contract between LeRobot's evaluation and an environment, with Gymnasium's own vector classes."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import real2sim
from real2sim.actions import pack
from real2sim.envs.lane_env import LaneVectorEnv
from real2sim.envs.lerobot import LeRobotEnv, LeRobotLanes, LeRobotVectorEnv, features, make_env
from real2sim.envs.world_model_env import WorldModelVectorEnv
from real2sim.simulation.suite import Start, load_suite
from tests.robots.made_up_robots import SIX_JOINTS, write_robot_suite

ROOT = Path(real2sim.__file__).parents[1]


def evaluated(env: Any, action: np.ndarray, seeds: list[int]) -> dict[str, Any]:
    """One round of episodes, with what LeRobot's evaluation reads, asked for in its way: it steps until every lane has
    ended once, and lanes that ended earlier go on with another episode."""
    observation, _ = env.reset(seed=seeds, options={"lerobot_new_rollout": True})
    steps, done = 0, np.zeros(env.num_envs, dtype=bool)
    successes, seen = [], [observation]
    tasks = list(env.call("task_description"))
    while not done.all() and steps < env.call("_max_episode_steps")[0]:
        observation, _, terminated, truncated, info = env.step(np.stack([action] * env.num_envs))
        found = [False] * env.num_envs
        if "final_info" in info:
            assert isinstance(info["final_info"], dict)
            found = info["final_info"]["is_success"].tolist()
        else:
            assert not info["is_success"].any()
        done |= terminated | truncated
        steps += 1
        successes.append(found)
        seen.append(observation)
    return {"steps": steps, "done": done, "tasks": tasks, "successes": successes, "seen": seen}


@pytest.mark.parametrize("asynchronous", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_round_of_evaluation_ends_with_an_outcome_for_every_lane(
    tiny_suite: Path, asynchronous: bool
) -> None:
    env = make_env(2, asynchronous, suite=str(tiny_suite), task="open_drawer")
    assert isinstance(env, AsyncVectorEnv if asynchronous else SyncVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.unwrapped.metadata["render_fps"] == 3
    found = evaluated(env, pack({"world_vector": np.zeros(3)}), [3, 4])
    assert (found["steps"], found["done"].tolist()) == (5, [True, True])
    assert found["tasks"] == ["open drawer"] * 2
    assert all(isinstance(success, bool) for success in found["successes"][-1])
    first = found["seen"][0]["pixels"]
    assert list(first) == ["camera"] or len(first) == 1
    (frames,) = first.values()
    assert (frames.dtype, frames.shape) == (np.uint8, (2, 16, 16, 3))
    rendered = [frame.shape for frame in env.call("render")]
    assert rendered == [(16, 16, 3)] * 2
    env.close()


def test_lanes_of_one_batch_give_the_episodes_of_their_seeds(tiny_suite: Path) -> None:
    """Also after they have begun anew: the next episodes of a lane are those of the environment with its seed."""
    action = pack({"world_vector": np.array([0.0, 0.03, 0.0])})
    many: Any = make_env(2, suite=str(tiny_suite), task="close_drawer")
    alone = gymnasium.make("real2sim/WorldModel-v0", suite=str(tiny_suite), task="close_drawer")
    observation, _ = many.reset(seed=[7, 8])
    frame, _ = alone.reset(seed=8)
    (camera,) = observation["pixels"]
    for _ in range(2):
        for step in range(1, 6):
            np.testing.assert_allclose(observation["pixels"][camera][1].astype(int), frame, atol=1)
            observation, _, _, truncated, info = many.step(np.stack([action] * 2))
            frame, _, _, _, ended = alone.step(action)
            assert truncated.tolist() == [step == 5] * 2
        np.testing.assert_allclose(info["final_obs"][1]["pixels"][camera].astype(int), frame, atol=1)
        assert info["final_info"]["is_success"][1] == ended["is_success"]
        frame, _ = alone.reset()


def test_all_tasks_of_a_suite_are_named_by_suite_and_number(tiny_suite: Path) -> None:
    found = make_env(1, suite=str(tiny_suite))
    assert isinstance(found, dict)
    assert list(found) == ["tiny"] and list(found["tiny"]) == [0, 1]
    assert found["tiny"][1].call("task_description") == ("open drawer",)


def test_one_lane_passes_gymnasiums_checker(tiny_suite: Path) -> None:
    lanes = LeRobotLanes(WorldModelVectorEnv(1, str(tiny_suite), "close_drawer", render_mode="rgb_array"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(LeRobotEnv(lanes), skip_render_check=True)


def test_actions_outside_the_bounds_are_refused_or_clipped(tiny_suite: Path) -> None:
    far = pack({"world_vector": np.array([0.0, 0.03, 0.0])})
    far[11] = 0.5
    strict: Any = make_env(1, suite=str(tiny_suite), task="open_drawer")
    strict.reset(seed=0)
    with pytest.raises(ValueError, match=r"world_vector\.y is 0\.5, allowed is -0\.06 to 0\.06"):
        strict.step(far[None])
    clipped: Any = make_env(1, suite=str(tiny_suite), task="open_drawer", clip_actions=True)
    clipped.reset(seed=0)
    clipped.step(far[None])


class Counter:
    """A world whose frames count its steps."""

    name, frame_passes_per_frame = "counter", 0

    def reset(self, starts: Sequence[Start], seeds: Sequence[int]) -> CounterState:
        return CounterState(np.stack([start.frame for start in starts]))

    def step(self, state: CounterState, actions: np.ndarray) -> tuple[np.ndarray, CounterState]:
        return state.frames + 1, CounterState(state.frames + 1)

    def robot_state(self, state: CounterState) -> None:
        return None

    def outcomes(self, state: CounterState) -> None:
        return None


@dataclass(frozen=True)
class CounterState:
    frames: np.ndarray

    def select(self, indices: Sequence[int]) -> CounterState:
        return CounterState(self.frames[list(indices)])

    def join(self, other: CounterState) -> CounterState:
        return CounterState(np.concatenate([self.frames, other.frames]))


def test_a_robot_with_cameras_state_and_chunks_acts_at_its_own_rate(tmp_path: Path) -> None:
    suite = load_suite(write_robot_suite(tmp_path / "suite", SIX_JOINTS))
    env = LeRobotVectorEnv(LeRobotLanes(LaneVectorEnv(Counter(), suite, 2, "lift", render_mode="rgb_array")))
    per_frame = SIX_JOINTS.actions_per_frame
    before, _ = env.reset(seed=[0, 1])
    assert set(before["pixels"]) == {camera.name for camera in SIX_JOINTS.cameras}
    assert before["agent_pos"].shape == (2, len(SIX_JOINTS.state))
    assert env.single_action_space.shape == (SIX_JOINTS.action_width,)
    assert env.metadata["render_fps"] == SIX_JOINTS.control_hz
    horizon = env.call("_max_episode_steps")[0]
    assert horizon == 3 * per_frame
    for step in range(1, horizon + 1):
        target = np.full((2, 6), step, np.float32)
        observation, _, _, truncated, info = env.step(target)
        assert truncated.tolist() == [step == horizon] * 2
        if step < horizon:
            drawn = observation["pixels"]["front"][0, 0, 0, 0] - before["pixels"]["front"][0, 0, 0, 0]
            assert drawn == (step % per_frame == 0)
            np.testing.assert_array_equal(observation["agent_pos"], target)
        before = observation
    np.testing.assert_array_equal(info["final_obs"][0]["agent_pos"], target[0])
    assert info["final_info"]["is_success"].tolist() == [False, False], "without a judge"


def test_between_two_frames_the_state_is_in_the_robots_units_also_where_actions_are_normalized(
    tmp_path: Path,
) -> None:
    suite = load_suite(write_robot_suite(tmp_path / "suite", SIX_JOINTS))
    env = LeRobotVectorEnv(LeRobotLanes(LaneVectorEnv(Counter(), suite, 1, "lift", normalized_actions=True)))
    env.reset(seed=0)
    observation, *_ = env.step(np.ones((1, 6), np.float32))
    np.testing.assert_allclose(observation["agent_pos"][0], suite.robot.high)


def test_the_env_py_of_the_examples_is_what_a_hub_folder_needs() -> None:
    spec = importlib.util.spec_from_file_location("hub_env", ROOT / "examples/lerobot_hub/env.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    env = module.make_env(n_envs=2, use_async_envs=False)
    assert env.call("task_description") == ("close drawer",) * 2
    assert env.call("_max_episode_steps") == (20, 20)


def test_features_have_the_shapes_of_what_the_environment_shows(tmp_path: Path) -> None:
    suite = load_suite(write_robot_suite(tmp_path / "suite", SIX_JOINTS))
    env = LeRobotVectorEnv(LeRobotLanes(LaneVectorEnv(Counter(), suite, 1, "lift", render_mode="rgb_array")))
    seen, _ = env.reset(seed=[0])
    shown: dict[str, Any] = {f"pixels/{name}": frames for name, frames in seen["pixels"].items()}
    shown |= {"agent_pos": seen["agent_pos"], "action": env.action_space.sample()}
    found = features(suite.robot)
    assert {name: shape for name, (_, shape, _) in found.items()} == {
        name: array.shape[1:] for name, array in shown.items()
    }
    assert {name: (kind, key) for name, (kind, _, key) in found.items()} == {
        "pixels/front": ("VISUAL", "observation.images.front"),
        "pixels/wrist": ("VISUAL", "observation.images.wrist"),
        "agent_pos": ("STATE", "observation.state"),
        "action": ("ACTION", "action"),
    }


@dataclass
class StandInConfig:
    """The fields and the registry of LeRobot's configuration of an environment."""

    task: str | None = None
    fps: int = 30
    features: Any = None
    features_map: Any = None

    registered = {}  # type: ignore[var-annotated]  # noqa: RUF012 - no field

    @classmethod
    def register_subclass(cls, name: str) -> Any:
        return lambda kind: cls.registered.setdefault(name, kind)


def test_lerobot_eval_finds_the_suites_environment_and_features_by_its_type(
    tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for the three names that are taken from LeRobot."""
    lerobot, configs, envs, envs_configs = map(
        ModuleType, ("lerobot", "lerobot.configs", "lerobot.envs", "lerobot.envs.configs")
    )
    configs.FeatureType = {"VISUAL": "visual", "STATE": "state", "ACTION": "action"}  # type: ignore[attr-defined]
    configs.PolicyFeature = lambda type, shape: (type, shape)  # type: ignore[attr-defined]
    envs_configs.EnvConfig = StandInConfig  # type: ignore[attr-defined]
    for module in (lerobot, configs, envs, envs_configs):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "real2sim.envs.lerobot_eval", raising=False)
    package = importlib.import_module("real2sim.envs.lerobot_eval")
    assert hasattr(package, "__path__"), "LeRobot looks for the modules of what it is told to import"
    kind = StandInConfig.registered["real2sim"]
    shown = re.findall(r"--env\.(\w+)=(\S+)", (ROOT / "docs/environments.md").read_text())
    assert {"discover_packages_path": package.__name__, "type": "real2sim"}.items() <= dict(shown).items()
    assert {name for name, _ in shown} - {"discover_packages_path", "type"} <= {f.name for f in fields(kind)}
    config = kind(suite=str(tiny_suite), task="open_drawer")
    assert config.fps == 3
    assert config.features["action"] == ("action", (13,))
    assert config.features_map["action"] == "action"
    made = config.create_envs(n_envs=2, use_async_envs=False)
    assert list(made) == ["real2sim"]
    assert made["real2sim"][0].call("task_description") == ("open drawer",) * 2
    everything = kind(suite=str(tiny_suite)).create_envs(n_envs=1)
    assert list(everything["tiny"]) == [0, 1]
    monkeypatch.delitem(sys.modules, "real2sim.envs.lerobot_eval")
