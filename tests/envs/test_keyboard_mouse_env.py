"""A game inside the released form of the world model: keyboard and mouse, several first frames."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from safetensors.torch import save_file

from real2sim.envs.keyboard_mouse_env import KeyboardMouseEnv, to_numbers
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.model_folder import config_to_dict
from real2sim.policies.random_policy import RandomPolicy
from real2sim.robot import Robot
from real2sim.simulation.observation import Observation
from real2sim.simulation.suite import Start, SuiteConfig, Task, load_suite, write_suite
from real2sim.vid2world.released.checkpoint import CAPTION, CAPTION_FILE, COMPONENTS, KIND
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.layout import published_layout
from real2sim.vid2world.released.robots import MOUSE_X, MOUSE_Y, csgo_robot, recon_actions
from real2sim.worlds import open_world

SIZE = (24, 32)
HORIZON = 3
TASK = Task("walk", "walk", HORIZON)


def game_robot() -> Robot:
    robot = csgo_robot()
    return replace(robot, cameras=(replace(robot.cameras[0], height=SIZE[0], width=SIZE[1]),))


def held(rng: np.random.Generator, *leading: int) -> np.ndarray:
    """Random valid actions (... 51)."""
    keys = rng.integers(2, size=(*leading, 13)).astype(np.float32)
    mouse = [np.eye(n, dtype=np.float32)[rng.integers(n, size=leading)] for n in (len(MOUSE_X), len(MOUSE_Y))]
    return np.concatenate([keys, *mouse], axis=-1)


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite with four first frames per start, its replays, and a toy model of the released form."""
    folder = tmp_path_factory.mktemp("game")
    rng = np.random.default_rng(0)
    starts = [
        Start(
            TASK,
            f"s{i}",
            rng.integers(256, size=(*SIZE, 3), dtype=np.uint8),
            past=rng.integers(256, size=(3, *SIZE, 3), dtype=np.uint8),
            past_actions=held(rng, 3),
        )
        for i in range(2)
    ]
    write_suite(folder, SuiteConfig("game", (TASK,)), {"walk": starts}, game_robot())
    write_arrays(folder / "replays.npz", {"walk/human/actions": held(rng, 2, HORIZON)})
    tiny = Vid2WorldConfig.tiny()
    config = replace(
        tiny,
        unet=replace(tiny.unet, action_dim=51, discrete_actions=True),
        sampler=replace(tiny.sampler, steps=2),
        image_size=SIZE,
        history=5,
    )
    model = folder / "model"
    model.mkdir()
    generator = torch.Generator().manual_seed(0)
    parts: dict[str, dict[str, torch.Tensor]] = {component: {} for component in COMPONENTS}
    for name, shape in published_layout(config).items():
        for component, prefix in COMPONENTS.items():
            if name.startswith(prefix):
                around = 1.0 if name.endswith("weight") and len(shape) == 1 else 0.0
                weight = around + 0.1 * torch.randn(shape, generator=generator)
                parts[component][name.removeprefix(prefix)] = weight
    for component, tensors in parts.items():
        save_file(tensors, model / f"{component}.safetensors")
    caption = torch.randn(1, config.text.tokens, config.text.width, generator=generator)
    save_file({CAPTION: caption}, model / CAPTION_FILE)
    (model / "config.json").write_text(json.dumps({"kind": KIND, "config": config_to_dict(config)}))
    return folder


def make(game: Path) -> gymnasium.Env:
    name = "real2sim:real2sim/KeyboardMouse-v0"
    return gymnasium.make(name, suite=str(game), world_model=str(game / "model"))


@pytest.mark.slow
def test_the_checker_of_gymnasium_has_no_complaint(game: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(game).unwrapped)


@pytest.mark.slow
def test_the_game_plays_to_its_horizon_and_hears_every_part_of_an_action(game: Path) -> None:
    env = make(game)
    screens = []
    still = {"keys": np.zeros(11, np.int8), "buttons": np.zeros(2, np.int8), "mouse_x": 11, "mouse_y": 7}
    for action in (still, {**still, "mouse_x": 0}, {**still, "keys": np.eye(11, dtype=np.int8)[0]}):
        env.reset(seed=3)
        screens.append(env.step(action)[0])
    assert not np.array_equal(screens[0], screens[1])
    assert not np.array_equal(screens[0], screens[2])
    assert screens[0].shape == (*SIZE, 3)
    for _ in range(HORIZON - 1):
        _, reward, terminated, truncated, _ = env.step(still)
    assert truncated and not terminated and reward == 0
    with pytest.raises(ValueError, match="is not in Dict"):
        env.unwrapped.step({**still, "mouse_x": 23})


def test_an_action_becomes_51_zeros_and_ones_in_the_recorded_order() -> None:
    keys, buttons = np.arange(11) % 2, np.array([0, 1])
    numbers = to_numbers({"keys": keys, "buttons": buttons, "mouse_x": 22, "mouse_y": 0})
    assert numbers.shape == (51,)
    assert numbers.sum() == keys.sum() + 1 + 2
    names = [name for name, number in zip(csgo_robot().action_names, numbers, strict=True) if number]
    assert names[-3:] == ["button.right", "mouse_x.+1000", "mouse_y.-200"]


def test_another_robots_suite_is_no_game(tiny_suite: Path) -> None:
    with pytest.raises(ValueError, match="expected the 51 of keyboard and mouse"):
        KeyboardMouseEnv(str(tiny_suite), world_model="world_model")


@pytest.mark.slow
def test_random_and_replay_play_the_game_from_the_command_line(game: Path, tmp_path: Path) -> None:
    config = RolloutConfig(
        out=tmp_path / "run",
        policies=("random", "replay:human"),
        suite=str(game),
        starts=2,
        world=str(game / "model"),
        processes=1,
    )
    assert len(rollout(config, progress=False)) == 4
    run = RunFolder(tmp_path / "run")
    replays = load_suite(game).replays("walk")["human"]
    for row in run.rows():
        _, actions = run.episode(row["episode"])
        assert np.isin(actions, (0, 1)).all()
        if row["policy"] == "replay:human":
            np.testing.assert_array_equal(actions, replays[int(row["start"][1:])])


def test_random_play_presses_keys_and_moves_the_mouse_one_step() -> None:
    robot = game_robot()
    policy = RandomPolicy(robot)
    policy.reset(["walk"] * 500)
    frames = np.zeros((500, *SIZE, 3), np.uint8)
    actions = policy.act(Observation(frames, robot.images(frames), None, ("walk",) * 500))
    assert np.isin(actions, (0, 1)).all()
    assert (actions[:, 13:36].sum(axis=1) == 1).all()
    assert (actions[:, 36:].sum(axis=1) == 1).all()
    assert 0.45 < actions[:, :13].mean() < 0.55
    assert (actions[:, 13:36].mean(axis=0) > 0).all()


@pytest.mark.slow
def test_what_lies_before_the_first_frame_is_seen(game: Path) -> None:
    suite = load_suite(game)
    world = open_world(str(game / "model"), suite)
    start = suite.starts("walk", 1)[0]
    assert start.past is not None
    assert start.past.shape == (3, *SIZE, 3)
    action = held(np.random.default_rng(1), 1, 1)
    without = replace(start, past=None, past_actions=None)
    drawn = [
        world.step(world.reset([begun], [5]), action)[0]
        for begun in (start, replace(start, past=255 - start.past), without)
    ]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="has another number of past frames"):
        world.reset([start, without], [5, 6])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"walk/past_actions": None}, "has walk/past without walk/past_actions"),
        ({"walk/past": np.zeros((2, 3, 8, 8, 3), np.uint8)}, "walk/past is uint8"),
        ({"walk/past_actions": np.full((2, 3, 51), 9e9)[:, :2]}, "walk/past_actions has shape"),
    ],
)
def test_past_frames_that_do_not_fit_are_refused(
    game: Path, tmp_path: Path, change: dict[str, np.ndarray | None], complaint: str
) -> None:
    with np.load(game / "start_frames.npz") as data:
        arrays = {**dict(data), **change}
    write_arrays(tmp_path / "start_frames.npz", {k: v for k, v in arrays.items() if v is not None})
    for name in ("suite.json", "robot.json"):
        (tmp_path / name).write_bytes((game / name).read_bytes())
    with pytest.raises(ValueError, match=complaint):
        load_suite(tmp_path).starts("walk")


def test_recon_displacements_are_scaled_as_published() -> None:
    # 2.5 units of 0.25 m behind and 4 to the right become -1; 5 ahead and 4 to the left become 1.
    found = recon_actions(np.array([[-0.625, -1.0], [1.25, 1.0], [0.3125, 0.0]]), np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(found, [[-1, -1, 0.1], [1, 1, 0.2], [0, 0, 0.3]], atol=1e-6)
