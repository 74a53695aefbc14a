"""What reinforcement learning needs of an environment: horizons, rewards along the way, actions that end nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import real2sim
from real2sim.actions import pack

NAME = "real2sim/WorldModel-v0"
STILL = pack({"world_vector": np.zeros(3)})
ROOT = Path(real2sim.__file__).parents[1]


class Brightness:
    """A judge whose probability is the newest frame's brightness; without a verdict on even numbers of frames."""

    name, digest = "brightness", "1"

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self.asked: list[int] = []

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        self.asked.append(len(frames))
        bright = [float(video[-1].mean() / 255) for video in frames]
        return np.array(
            [np.nan if self.silent and len(v) % 2 == 0 else p for v, p in zip(frames, bright, strict=True)]
        )


def played(env: Any, action: np.ndarray = STILL) -> tuple[list[float], list[dict[str, Any]], bool, bool]:
    env.reset(seed=0)
    rewards, infos = [], []
    while True:
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        infos.append(info)
        if terminated or truncated:
            return rewards, infos, terminated, truncated


@pytest.mark.parametrize("options", [{}, {"reward": "progress"}, {"terminate": False}, {"horizon": 2}])
def test_the_checker_has_no_complaint_about_any_option(tiny_suite: Path, options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(NAME, suite=str(tiny_suite), **options).unwrapped)


@pytest.mark.parametrize("horizon", [2, 7])
def test_a_horizon_ends_the_episode_and_stands_in_the_spec(tiny_suite: Path, horizon: int) -> None:
    env = gymnasium.make(NAME, suite=str(tiny_suite), horizon=horizon)
    rewards, infos, terminated, truncated = played(env)
    assert (len(rewards), terminated, truncated) == (horizon, False, True)
    assert "success" in infos[-1]
    assert env.spec is not None and env.spec.max_episode_steps == horizon
    again = gymnasium.make(env.spec)
    assert len(played(again)[0]) == horizon
    many = gymnasium.make_vec(NAME, num_envs=2, suite=str(tiny_suite), horizon=horizon)
    assert many.spec is not None and many.spec.max_episode_steps == horizon
    assert many.call("_max_episode_steps") == (horizon, horizon)


def test_without_a_horizon_the_spec_says_the_tasks_own(tiny_suite: Path) -> None:
    env = gymnasium.make(NAME, suite=str(tiny_suite))
    assert env.spec is not None and env.spec.max_episode_steps == 5
    limited = gymnasium.make(NAME, suite=str(tiny_suite), max_episode_steps=3)
    assert limited.spec is not None and limited.spec.max_episode_steps == 3


@pytest.mark.parametrize("name", ["DrawerClose", "Drawer"])
def test_a_horizon_stands_above_the_limit_of_a_registered_id(name: str) -> None:
    for env in (
        gymnasium.make(f"real2sim/{name}-v0", horizon=30),
        gymnasium.make_vec(f"real2sim/{name}-v0", num_envs=1, horizon=30),
    ):
        assert env.spec is not None and env.spec.max_episode_steps == 30
    assert env.call("_max_episode_steps") == (30,)
    env = gymnasium.make(f"real2sim/{name}-v0", horizon=30)
    assert env.get_wrapper_attr("_max_episode_steps") == 30
    with pytest.raises(ValueError, match="horizon is 30 and max_episode_steps 7; give one of them"):
        gymnasium.make(f"real2sim/{name}-v0", horizon=30, max_episode_steps=7)


def test_progress_is_the_change_of_the_judges_probability(tiny_suite: Path) -> None:
    env = gymnasium.make(NAME, suite=str(tiny_suite), reward="progress", judge=Brightness())
    first, _ = env.reset(seed=0)
    expected = [first.mean() / 255]
    for _ in range(5):
        frame, reward, _, truncated, info = env.step(STILL)
        expected.append(frame.mean() / 255)
        assert reward == pytest.approx(expected[-1] - expected[-2])
        assert info["success_probability"] == pytest.approx(expected[-1])
        assert info["is_success"] == (truncated and expected[-1] >= 0.5)


def test_a_judge_without_a_verdict_changes_nothing(tiny_suite: Path) -> None:
    env = gymnasium.make(NAME, suite=str(tiny_suite), reward="progress", judge=Brightness(silent=True))
    rewards, infos, _, _ = played(env)
    assert [reward == 0 for reward in rewards] == [True, False, True, False, True]
    assert ["success_probability" in info for info in infos] == [False, True, False, True, False]
    assert infos[-1]["no_verdict"] is True and infos[-1]["is_success"] is False


def test_rewards_of_progress_add_up_to_the_last_probability_minus_the_first(tiny_suite: Path) -> None:
    judge = Brightness()
    envs = gymnasium.make_vec(NAME, num_envs=3, suite=str(tiny_suite), reward="progress", judge=judge)
    first, _ = envs.reset(seed=0)
    total = np.zeros(3)
    for _ in range(5):
        frames, rewards, _, truncated, infos = envs.step(np.stack([STILL] * 3))
        total += rewards
    assert truncated.all() and infos["_is_success"].all()
    np.testing.assert_allclose(total, (frames.mean((1, 2, 3)) - first.mean((1, 2, 3))) / 255)
    assert judge.asked == [3] * 6, "all lanes are judged at once"


def test_the_reward_of_success_asks_the_judge_only_at_the_end(tiny_suite: Path) -> None:
    judge = Brightness()
    rewards, infos, _, _ = played(gymnasium.make(NAME, suite=str(tiny_suite), judge=judge))
    assert judge.asked == [1]
    assert rewards == [0, 0, 0, 0, float(infos[-1]["success"])]
    assert [info["is_success"] for info in infos[:-1]] == [False] * 4


@pytest.mark.parametrize("lanes", [1, 3])
def test_no_action_ends_an_episode_where_none_is_to(tiny_suite: Path, lanes: int) -> None:
    ending = STILL.copy()
    ending[7:10] = (1, 0, 0)
    env = gymnasium.make(NAME, suite=str(tiny_suite), terminate=False)
    rewards, _, terminated, truncated = played(env, ending)
    assert (len(rewards), terminated, truncated) == (5, False, True)
    assert played(gymnasium.make(NAME, suite=str(tiny_suite)), ending)[2] is True
    going_on = STILL.copy()
    going_on[7:10] = (0, 1, 0)
    frames = []
    for action in (ending, going_on):
        env.reset(seed=3)
        frames.append(env.step(action)[0])
    np.testing.assert_array_equal(frames[0], frames[1])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"reward": "progres"}, "reward is 'progres'; did you mean 'progress'"),
        ({"reward": "progress", "judge": None}, "reward='progress' is the judge's"),
        ({"horizon": 0}, "horizon must be at least 1"),
    ],
)
def test_wrong_options_are_one_sentence(tiny_suite: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        gymnasium.make(NAME, suite=str(tiny_suite), **options)
    with pytest.raises(ValueError, match=complaint):
        gymnasium.make_vec(NAME, num_envs=2, suite=str(tiny_suite), **options)


@pytest.mark.physics
def test_physics_takes_the_same_options() -> None:
    name = "real2sim/PhysicsDrawerClose-v0"
    env = gymnasium.make(name, horizon=3, reward="progress", terminate=False, normalized_actions=True)
    rewards, infos, _, truncated = played(env, np.zeros(13, np.float32))
    assert (len(rewards), truncated, sum(rewards), infos[-1]["is_success"]) == (3, True, 0, False)
    assert env.spec is not None and env.spec.max_episode_steps == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_lanes_of_stable_baselines_begin_anew_and_tell_their_last_observation(tiny_suite: Path) -> None:
    pytest.importorskip("stable_baselines3", reason="the extra [rl] is not installed")
    from real2sim.envs.stable_baselines import StableBaselinesLanes

    def make() -> Any:
        return gymnasium.make_vec(
            NAME, num_envs=2, suite=str(tiny_suite), terminate=False, judge=Brightness()
        )

    lanes = StableBaselinesLanes(make(), ("world_vector.x", "world_vector.y"))
    assert lanes.action_space.shape == (2,)
    lanes.seed(5)
    first = lanes.reset()
    twin = make()
    same, _ = twin.reset(seed=5)
    np.testing.assert_array_equal(first, same)
    for step in range(1, 7):
        seen, _, done, infos = lanes.step(np.array([[1.0, 0.0], [0.0, -2.0]]))
        if step <= 5:
            moves = pack({"world_vector": np.array([[0.06, 0, 0], [0, -0.06, 0]])})
            expected = twin.step(moves)[0]
        assert done.tolist() == [step == 5] * 2
        if step == 5:
            np.testing.assert_array_equal(
                np.stack([info["terminal_observation"] for info in infos]), expected
            )
            assert all(info["TimeLimit.truncated"] and isinstance(info["is_success"], bool) for info in infos)
        elif step < 5:
            np.testing.assert_array_equal(seen, expected)
    assert infos[0]["steps"] == 1
    with pytest.raises(ValueError, match=r"has no action number 'world_vector.u'"):
        StableBaselinesLanes(make(), ("world_vector.u",))


@pytest.mark.slow
def test_the_example_trains_saves_and_tests(tmp_path: Path) -> None:
    words = ["--steps", "40", "--lanes", "2", "--episodes", "2", "--out", str(tmp_path / "ppo.zip")]
    done = subprocess.run(
        [sys.executable, ROOT / "examples/ppo_drawer.py", *words, "--tests", "real2sim/DrawerClose-v0"],
        capture_output=True, text=True, timeout=500, check=True,
    )  # fmt: skip
    assert "real2sim/DrawerClose-v0: PPO " in done.stdout
    assert (tmp_path / "ppo.zip").is_file()


LANE_CALLS: list[tuple[Callable[[Any, Any], Any], str]] = [
    (lambda lanes, env: lanes(5), "env is of type int, expected lanes of real2sim without wrappers"),
    (lambda lanes, env: lanes(env, acts="gripper"), "acts is 'gripper', expected a list with the name of at least one"),
    (lambda lanes, env: lanes(env, acts=[]), "expected a list with the name of at least one action number"),
    (lambda lanes, env: lanes(env, acts=["world_vector.x"] * 2), "acts names an action number twice"),
    (lambda lanes, env: lanes(env, acts=[None]), "has no action number None"),
    (lambda lanes, env: lanes(env).seed("x"), "seed must be a whole number, got 'x'"),
    (lambda lanes, env: lanes(env).step_async(np.zeros((2, 1))), r"have shape \(2, 1\), expected \(2, 4\)"),
    (lambda lanes, env: lanes(env).step_async("up"), "step: actions are of type str"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "complaint"), LANE_CALLS)
def test_lanes_of_stable_baselines_say_what_is_wrong(
    tiny_suite: Path, call: Callable[[Any, Any], Any], complaint: str
) -> None:
    pytest.importorskip("stable_baselines3", reason="the extra [rl] is not installed")
    from real2sim.envs.stable_baselines import StableBaselinesLanes
    from real2sim.envs.world_model_env import WorldModelVectorEnv

    env = WorldModelVectorEnv(2, suite=str(tiny_suite), judge=None)
    with pytest.raises(ValueError, match=complaint):
        call(StableBaselinesLanes, env)
