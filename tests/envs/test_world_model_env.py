from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import real2sim
from real2sim.actions import pack
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout

NAME = "real2sim:real2sim/WorldModel-v0"
HORIZON = 5


def make(suite: Path, **more: Any) -> gymnasium.Env[np.ndarray, np.ndarray]:
    return gymnasium.make(NAME, suite=str(suite), **more)


def push(lanes: int | None = None) -> np.ndarray:
    action = pack({"world_vector": np.array([0.0, 0.03, 0.0])})
    return action if lanes is None else np.repeat(action[None], lanes, axis=0)


def test_the_checker_of_gymnasium_has_no_complaint(tiny_suite: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(tiny_suite).unwrapped)
        check_env(make(tiny_suite, task="open_drawer", render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize(
    "name",
    [f"{kind}Drawer{task}-v0" for kind in ("", "Physics") for task in ("Close", "Open", "")]
    + ["WorldModel-v0"],
)
def test_every_id_is_registered_for_one_lane_and_for_many(name: str) -> None:
    spec = gymnasium.spec(f"real2sim/{name}")
    assert spec.entry_point is not None
    assert spec.vector_entry_point is not None


def test_registering_again_changes_nothing() -> None:
    from real2sim.envs.registration import register_envs

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_envs()


def test_the_same_seed_gives_the_same_episode(tiny_suite: Path) -> None:
    env = make(tiny_suite)
    episodes = []
    for seed in (7, 7, 8):
        frames = [env.reset(seed=seed)[0]]
        frames += [env.step(push())[0] for _ in range(3)]
        episodes.append(np.stack(frames))
    np.testing.assert_array_equal(episodes[0], episodes[1])
    assert not np.array_equal(episodes[0], episodes[2])


def test_an_episode_ends_at_the_horizon_with_the_verdict_of_the_judge(tiny_suite: Path) -> None:
    env = make(tiny_suite, task="close_drawer")
    env.reset(seed=0)
    for step in range(1, HORIZON + 1):
        _, reward, terminated, truncated, info = env.step(push())
        assert not terminated
        assert truncated == (step == HORIZON)
        assert info["steps"] == step
        if step < HORIZON:
            assert reward == 0
            assert "success" not in info
    assert 0 <= info["success_probability"] <= 1
    assert info["success"] == (info["success_probability"] >= 0.5)
    assert reward == float(info["success"])


def test_the_verdict_is_that_of_the_scored_run(tiny_suite: Path) -> None:
    from real2sim.success.classifier import SuccessClassifier

    env = make(tiny_suite, task="close_drawer")
    frames = [env.reset(seed=0)[0]]
    truncated = False
    while not truncated:
        frame, _, _, truncated, info = env.step(push())
        frames.append(frame)
    judge = SuccessClassifier.from_folder(tiny_suite / "judge")
    expected = judge.probability(np.stack(frames)[None], ["close drawer"])[0]
    assert info["success_probability"] == pytest.approx(expected)


def test_terminating_ends_the_episode(tiny_suite: Path) -> None:
    env = make(tiny_suite)
    env.reset(seed=0)
    action = push()
    action[7:10] = (1, 0, 0)
    _, _, terminated, truncated, info = env.step(action)
    assert (terminated, truncated) == (True, False)
    assert "success" in info


def test_without_a_judge_there_is_no_verdict(tiny_suite: Path) -> None:
    env = make(tiny_suite, judge=None)
    env.reset(seed=0)
    for _ in range(HORIZON):
        _, reward, _, truncated, info = env.step(push())
    assert truncated
    assert reward == 0
    assert "success" not in info


def test_every_info_holds_the_instruction(tiny_suite: Path) -> None:
    env = make(tiny_suite, task="open_drawer")
    _, info = env.reset(seed=0)
    assert info["instruction"] == "open drawer"
    assert env.step(push())[4]["instruction"] == "open drawer"


def test_options_choose_task_and_start(tiny_suite: Path) -> None:
    from real2sim.simulation.suite import Suite

    env = make(tiny_suite)
    frame, info = env.reset(options={"task": "open_drawer", "start": "open_drawer-4"})
    assert (info["task"], info["start"]) == ("open_drawer", "open_drawer-4")
    np.testing.assert_array_equal(frame, Suite.from_folder(tiny_suite).starts("open_drawer")[4].frame)


def test_an_episode_of_a_run_is_drawn_again_from_its_row(tiny_suite: Path, tmp_path: Path) -> None:
    from real2sim.episodes.run_folder import RunFolder

    table = rollout(
        RolloutConfig(tmp_path, ("replay:push",), str(tiny_suite), starts=2, lanes=1, processes=1),
        progress=False,
    )
    row = table.iloc[1]
    frames, actions = RunFolder(tmp_path).episode(row["episode"])
    env = make(tiny_suite)
    options = {"task": row["task"], "start": row["start"], "episode_seed": int(row["seed"])}
    seen = [env.reset(options=options)[0]] + [env.step(action)[0] for action in actions]
    np.testing.assert_array_equal(np.stack(seen), frames)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"strat": "x"}, "did you mean 'start'"),
        ({"task": "close_drawr"}, "did you mean 'close_drawer'"),
        ({"task": "open_drawer", "start": "close_drawer-0"}, "has no start 'close_drawer-0'"),
    ],
)
def test_a_wrong_option_is_one_sentence(tiny_suite: Path, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(tiny_suite).reset(options=options)


@pytest.mark.parametrize(
    ("action", "complaint"),
    [(np.full(13, np.nan), "step 0"), (np.zeros(12), "expected"), (np.full(13, 0.5), "world_vector")],
)
def test_a_wrong_action_is_one_sentence(tiny_suite: Path, action: np.ndarray, complaint: str) -> None:
    env = make(tiny_suite).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match=complaint):
        env.step(action)


def test_stepping_before_reset_or_after_the_end_asks_for_a_reset(tiny_suite: Path) -> None:
    env = make(tiny_suite).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(push())
    env.reset(seed=0)
    for _ in range(HORIZON):
        env.step(push())
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(push())


def test_what_is_returned_belongs_to_the_caller(tiny_suite: Path) -> None:
    env = make(tiny_suite)
    frame, _ = env.reset(seed=0)
    frame[:] = 0
    again, _ = env.reset(seed=0)
    assert again.any()


def test_fields_that_the_robot_lacks_change_nothing(tiny_suite: Path) -> None:
    env = make(tiny_suite)
    turned = push()
    turned[4:7] = 1
    env.reset(seed=0)
    straight = env.step(push())[0]
    env.reset(seed=0)
    np.testing.assert_array_equal(env.step(turned)[0], straight)


def test_make_vec_draws_all_lanes_as_one_batch_and_restarts_none(tiny_suite: Path) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=3, suite=str(tiny_suite))
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    frames, infos = envs.reset(seed=0)
    assert frames.shape == (3, 16, 16, 3)
    assert len(infos["instruction"]) == 3
    actions = push(3)
    actions[1, 7] = 1
    frames, rewards, terminated, truncated, infos = envs.step(actions)
    assert terminated.tolist() == [False, True, False]
    assert infos["_success"].tolist() == [False, True, False]
    stopped = frames[1].copy()
    for _ in range(HORIZON - 1):
        frames, rewards, terminated, truncated, infos = envs.step(push(3))
    np.testing.assert_array_equal(frames[1], stopped)
    assert terminated.tolist() == [False, True, False]
    assert truncated.tolist() == [True, False, True]
    assert rewards[1] == 0
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(push(3))


def test_a_lane_is_the_scalar_environment_with_its_seed(tiny_suite: Path) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=3, suite=str(tiny_suite))
    env = make(tiny_suite)
    batch, infos = envs.reset(seed=10)
    frame, info = env.reset(seed=12)
    assert infos["start"][2] == info["start"]
    assert infos["episode_seed"][2] == info["episode_seed"]
    np.testing.assert_array_equal(batch[2], frame)
    after = envs.step(push(3))[0][2].astype(int)
    assert np.abs(after - env.step(push())[0]).max() <= 1


def test_reset_mask_begins_some_lanes_anew_and_leaves_the_others(tiny_suite: Path) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=2, suite=str(tiny_suite))
    envs.reset(seed=0)
    before = envs.step(push(2))[0]
    frames, infos = envs.reset(
        options={"reset_mask": np.array([True, False]), "start": "close_drawer-1", "task": "close_drawer"}
    )
    np.testing.assert_array_equal(frames[1], before[1])
    assert infos["_start"].tolist() == [True, False]
    infos = envs.step(push(2))[4]
    assert infos["steps"].tolist() == [1, 2]


def test_an_environment_can_draw_in_another_way(tiny_suite: Path) -> None:
    drawn = []
    for more in ({}, {"sampling": None}, {"sampling": real2sim.SamplingOverrides(steps=3)}):
        env = make(tiny_suite, **more)
        env.reset(seed=0)
        drawn.append(env.step(push())[0])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_render_gives_the_last_frame_of_every_lane(tiny_suite: Path) -> None:
    env = make(tiny_suite, render_mode="rgb_array")
    frame, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), frame)
    envs = gymnasium.make_vec(NAME, num_envs=2, suite=str(tiny_suite), render_mode="rgb_array")
    frames, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(np.stack(envs.render()), frames)


def test_record_video_writes_an_episode(tiny_suite: Path, tmp_path: Path) -> None:
    env = gymnasium.wrappers.RecordVideo(
        make(tiny_suite, render_mode="rgb_array"), str(tmp_path / "videos"), episode_trigger=lambda _: True
    )
    env.reset(seed=0)
    for _ in range(HORIZON):
        env.step(push())
    env.close()
    (video,) = (tmp_path / "videos").glob("*.mp4")
    assert video.stat().st_size > 0


def test_a_wrong_render_mode_or_missing_judge_is_one_sentence(tiny_suite: Path) -> None:
    from real2sim.envs.world_model_env import WorldModelEnv

    with pytest.raises(ValueError, match="render_mode is 'human'; expected 'rgb_array' or None"):
        WorldModelEnv(str(tiny_suite), render_mode="human")
    with pytest.raises(FileNotFoundError, match="nowhere is no judge"):
        WorldModelEnv(str(tiny_suite), judge="nowhere")
