"""Actions, options and judges that an environment may be given by mistake."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from real2sim.envs.lerobot import make_env
from real2sim.envs.world_model_env import WorldModelEnv, WorldModelVectorEnv
from real2sim.success.score import score

ZEROS = np.zeros((2, 13), np.float32)
ACTIONS: dict[str, Any] = {
    "text": ZEROS.astype(str),
    "complex": ZEROS.astype(complex),
    "dates": ZEROS.astype("M8[s]"),
    "truth values": ZEROS.astype(bool),
    "objects": ZEROS.astype(object),
    "masked": np.ma.array(ZEROS, mask=[[True] + [False] * 12] * 2),
    "rows of which one is masked": [ZEROS[0], np.ma.array(ZEROS[1], mask=[True] + [False] * 12)],
    "sparse": torch.zeros(2, 13).to_sparse(),
    "without values": torch.zeros(2, 13, device="meta"),
    "mapping": {"action": ZEROS},
    "nothing": None,
    "generator": (row for row in ZEROS),
    "columns": np.zeros((2, 13, 1)),
    "no numbers": np.zeros((2, 0)),
    "too short": ZEROS[:, :12],
    "not a number": ZEROS * np.nan,
    "no number at the end": np.where(np.arange(13) == 7, np.nan, ZEROS),
    "infinite": ZEROS + np.inf,
}


@pytest.fixture(scope="module")
def environments(tiny_suite: Path) -> list[Any]:
    made: dict[str, Any] = {"suite": str(tiny_suite), "task": "close_drawer"}
    lerobot: Any = [make_env(2, clip_actions=clip, **made) for clip in (False, True)]
    lanes = WorldModelVectorEnv(2, normalized_actions=True, terminate=False, **made)
    return [*lerobot, lanes, WorldModelVectorEnv(2, **made)]


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_that_are_none_are_refused_by_every_kind_of_environment(
    environments: list[Any], kind: str
) -> None:
    for env in environments:
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"step|given to step"):
            env.step(ACTIONS[kind])


def test_tensors_of_every_number_format_are_actions(environments: list[Any]) -> None:
    for env in environments:
        for actions in (torch.zeros(2, 13, dtype=torch.bfloat16), torch.zeros(2, 13, requires_grad=True)):
            env.reset(seed=0)
            env.step(actions)


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"task": ""}, "has no task ''"),
    ({"task": 0}, "a task is named by text, got 0"),
    ({"task": False}, "a task is named by text"),
    ({"task": {}}, "a task is named by text"),
    ({"episode_seed": [[1], [2, 3]]}, r"episode_seed must be a whole number, got \[1\]"),
    ({"episode_seed": {0: 1, 1: 2}}, "episode_seed must be a whole number"),
    (
        {"reset_mask": torch.tensor([True, False]).to_sparse()},
        "reset_mask: values are a tensor without plain",
    ),
    ({"reset_mask": np.ma.array([True, True], mask=[True, False])}, "1 numbers of the values are masked"),
]


@pytest.mark.parametrize(("options", "complaint"), OPTIONS)
def test_options_of_a_reset_that_name_nothing(
    environments: list[Any], options: dict[str, Any], complaint: str
) -> None:
    environments[-1].reset(seed=0)
    with pytest.raises(ValueError, match=complaint):
        environments[-1].reset(seed=0, options=options)


def test_seeds_of_a_table_are_taken_by_their_order(environments: list[Any]) -> None:
    seeds = pd.Series([4, 3], index=[7, 8])
    assert environments[-1].reset(options={"episode_seed": seeds})[1]["episode_seed"].tolist() == [4, 3]


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"horizons": 3}, "'horizons' is no argument of WorldModelEnv; did you mean 'horizon'"),
    ({"num_envs": 2}, "'num_envs' is no argument of WorldModelEnv.*make_vec makes several lanes"),
    ({"reward": np.array(["success"])}, "reward is array.*expected 'success' or 'progress'"),
    ({"render_mode": np.array(["rgb_array"])}, "render_mode is array.*expected 'rgb_array' or None"),
    ({"render_mode": "rgb"}, "did you mean 'rgb_array'"),
]


@pytest.mark.parametrize(("options", "complaint"), ARGUMENTS)
def test_arguments_that_an_environment_does_not_have(
    tiny_suite: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        WorldModelEnv(suite=str(tiny_suite), **options)


@pytest.mark.parametrize(
    ("options", "complaint"), [*ARGUMENTS[2:], ({"horizons": 3}, "did you mean 'horizon'")]
)
def test_arguments_that_many_lanes_do_not_have(
    tiny_suite: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        gymnasium.make_vec("real2sim/WorldModel-v0", num_envs=2, suite=str(tiny_suite), **options)


@pytest.mark.parametrize("folder", [5, None, ["a"]])
def test_a_world_model_of_an_environment_is_named_by_a_path(tiny_suite: Path, folder: Any) -> None:
    with pytest.raises(ValueError, match="a world model is named by text or a path, got"):
        WorldModelVectorEnv(1, suite=str(tiny_suite), world_model=folder)
    with pytest.raises(ValueError, match="a world model is named by text or a path, got"):
        make_env(1, suite=str(tiny_suite), task="close_drawer", world=folder)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "no game is shipped, and suite and world_model is not given"),
        ({"suite": "x"}, "no game is shipped, and world_model is not given"),
        ({"suit": "x"}, "'suit' is no argument of KeyboardMouseEnv; did you mean 'suite'"),
    ],
)
def test_a_game_is_asked_for_by_suite_and_world_model(options: dict[str, Any], complaint: str) -> None:
    for make in (gymnasium.make, partial(gymnasium.make_vec, num_envs=2)):
        with pytest.raises(ValueError, match=complaint):
            make("real2sim/KeyboardMouse-v0", **options)


def test_an_environment_that_was_closed_says_so(tiny_suite: Path) -> None:
    made: dict[str, Any] = {"suite": str(tiny_suite), "task": "close_drawer", "render_mode": "rgb_array"}
    lanes = WorldModelVectorEnv(2, **made)
    for env, action in ((WorldModelEnv(**made), ZEROS[0]), (lanes, ZEROS), (make_env(2, **made), ZEROS)):
        env.reset(seed=0)
        env.close()
        env.close()
        for call in (env.reset, env.render, partial(env.step, action)):
            with pytest.raises(
                ClosedEnvironmentError, match="was called after close; make a new environment"
            ):
                call()


@pytest.mark.parametrize("seed", [1.5, "a", -1, [1], True, {}])
def test_seeds_and_options_of_lerobots_environments(tiny_suite: Path, seed: Any) -> None:
    env: Any = make_env(2, suite=str(tiny_suite), task="close_drawer")
    with pytest.raises(ValueError, match=r"seed must be|1 seeds for 2 lanes"):
        env.reset(seed=seed)
    with pytest.raises(ValueError, match="options are a list, expected a mapping with task, start"):
        env.reset(options=["task"])


def test_the_largest_seed_of_many_lanes_is_named_with_its_lane(tiny_suite: Path) -> None:
    with pytest.raises(ValueError, match="the seed of lane 1 must be at most"):
        WorldModelVectorEnv(2, suite=str(tiny_suite)).reset(seed=2**63 - 1)


def test_before_the_first_reset_there_is_nothing_to_show(tiny_suite: Path) -> None:
    env = WorldModelEnv(suite=str(tiny_suite), render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="call reset before render"):
        env.render()
    env.np_random = 5  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"np_random is of type int, expected a numpy.random.Generator"):
        env.reset()


class Judging:
    """Answers what it was made with."""

    name, digest = "mine", "1"

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def judge(self, episodes: Any, frames: Any, instructions: Any) -> Any:
        return self.answer(len(episodes))


JUDGED: list[tuple[Callable[[int], Any], str]] = [
    (lambda count: None, "probabilities are of type NoneType, expected one number for each of"),
    (lambda count: [0.5] * (count + 1), "probabilities have shape"),
    (lambda count: ["0.7"] * count, "probabilities are of type <U3"),
    (lambda count: [7] * count, "the probability of episode 'begin-0' is 7, expected 0 to 1"),
    (lambda count: [np.inf] * count, "is inf, expected 0 to 1"),
    (lambda count: np.zeros(count, complex), "probabilities are of type complex128"),
    (lambda count: [[0.5]] * count, "probabilities have shape"),
]


@pytest.mark.parametrize(("answer", "complaint"), JUDGED)
def test_judges_that_answer_no_probabilities(
    tiny_run: Path, answer: Callable[[int], Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"judge 'mine': .*{complaint}"):
        score(tiny_run, Judging(answer), progress=False)
    assert not list(tiny_run.glob("scores-*"))


@pytest.mark.parametrize("reward", ["success", "progress"])
def test_a_judge_of_an_environment_answers_probabilities(tiny_suite: Path, reward: Any) -> None:
    env = WorldModelEnv(
        suite=str(tiny_suite), judge=Judging(lambda count: [2.0] * count), reward=reward, horizon=1
    )
    with pytest.raises(
        ValueError, match=r"judge 'mine': the probability of episode .* is 2, expected 0 to 1"
    ):
        env.reset(seed=0)
        env.step(ZEROS[0])


@pytest.mark.parametrize("judge", [Judging, object(), 5])
def test_a_judge_is_an_object_that_judges(tiny_suite: Path, tiny_run: Path, judge: Any) -> None:
    for ask in (
        lambda: WorldModelEnv(suite=str(tiny_suite), judge=judge),
        lambda: score(tiny_run, judge, progress=False),
    ):
        with pytest.raises(ValueError, match=r"judge is .*, expected an object"):
            ask()
