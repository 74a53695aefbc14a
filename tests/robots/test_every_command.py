"""Every command for robots other than RT-1's: from a dataset to a report, in the formats that users meet."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import real2sim
from real2sim.cli import main
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.policies.policy import Observation, Requirements
from real2sim.policies.random_policy import RandomPolicy
from real2sim.policies.serve import GREETING, PolicyLane
from real2sim.policies.servers.policy_wire import policy_server
from real2sim.robot import Robot, read_robot
from tests.robots.made_up_robots import SIX_JOINTS, TASKS, TWO_ARMS, write_dataset, write_robot_suite

NAME = "real2sim:real2sim/WorldModel-v0"
SMALL_MODEL = [
    *("--model.unet.model-channels", "16", "--model.unet.norm-groups", "4", "--model.unet.window", "4"),
    *("--model.unet.num-head-channels", "8", "--model.unet.channel-mult", "1", "1"),
    *("--model.unet.attention-resolutions", "2", "--optimisation.steps", "2", "--optimisation.windows", "1"),
    *("--optimisation.frames", "4", "--optimisation.device", "cpu"),
]


class Trained:
    """Everything that the commands made for one robot."""

    def __init__(self, robot: Robot, folder: Path) -> None:
        self.robot, self.folder = robot, folder
        self.data, self.suite = folder / "data", folder / "suite"
        write_dataset(self.data, robot)
        write_robot_suite(self.suite, robot)
        main(["train", "world-model", "--data", str(self.data), "--out", str(folder / "world"), *SMALL_MODEL])
        main(["train", "classifier", "--data", str(self.data), "--out", str(folder / "judge"),
              "--steps", "2", "--batch", "4"])  # fmt: skip
        main(["train", "policy", "--data.folder", str(self.data), "--out", str(folder / "policy"),
              "--steps", "2", "--batch", "2"])  # fmt: skip
        shutil.copytree(folder / "world/model", self.suite / "world_model")
        shutil.copytree(folder / "judge/model", self.suite / "judge")

    def run(self, name: str, *policies: str) -> Path:
        out = self.folder / name
        main(["rollout", "--suite", str(self.suite), "--out", str(out), "--starts", "2", "--processes", "1",
              "--policies", *policies])  # fmt: skip
        return out


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(SIX_JOINTS, tmp_path_factory.mktemp("six"))


def make(suite: Path, **more: Any) -> Any:
    return gymnasium.make(NAME, suite=str(suite), **more)


def test_trainings_write_the_robot_beside_their_models(six: Trained) -> None:
    for folder in (six.folder / "world/model", six.folder / "policy/at-100"):
        assert read_robot(folder) == SIX_JOINTS


@pytest.mark.slow
def test_policies_of_every_kind_run_are_scored_and_reported(six: Trained) -> None:
    trained = six.folder / "policy/at-100"
    with policy_server(lambda: PolicyLane(RandomPolicy(SIX_JOINTS), SIX_JOINTS), GREETING) as server:
        address = "ws://{}:{}".format(*server.socket.getsockname()[:2])
        run = six.run("run", "random", f"mine={trained}", f"far={address}")
    table = real2sim.load_run(run)
    assert len(table) == 3 * 2 * len(TASKS)
    assert read_robot(run) == SIX_JOINTS
    assert json.loads((run / "run.json").read_text())["state"] == "action"
    frames, actions = RunFolder(run).episode(table["episode"][0])
    assert frames.shape[1:] == (24, 48, 3)
    assert actions.shape == (len(frames) - 1, 5, 6), "every executed action is kept"
    main(["score", str(run)])
    real = six.folder / "real.csv"
    rows = [f"{policy},{task.name},{hits},20" for hits, policy in enumerate(("random", "mine", "far"), 5)
            for task in TASKS]  # fmt: skip
    real.write_text("\n".join(["policy,task,successes,episodes", *rows]) + "\n")
    main(["report", str(run), "--real", str(real), "--out", str(six.folder / "report")])
    assert "the last commanded targets" in (six.folder / "report/report.html").read_text()


def test_a_policy_is_given_cameras_commanded_targets_and_instructions(six: Trained) -> None:
    seen: list[Observation] = []

    def act(observation: Observation) -> np.ndarray:
        seen.append(observation)
        targets = np.arange(30, dtype=np.float32).reshape(1, 5, 6) + len(seen)
        return np.repeat(targets, len(observation), axis=0)

    config = RolloutConfig(
        six.folder / "own", ("mine",), str(six.suite), tasks=("lift",), starts=2, processes=1
    )
    rollout(config, {"mine": CallablePolicy(act)}, progress=False)
    first, second = seen[:2]
    assert {name: frames.shape for name, frames in first.images.items()} == {
        "front": (2, 24, 32, 3),
        "wrist": (2, 16, 16, 3),
    }
    assert first.frames.shape == (2, 24, 48, 3)
    assert first.instructions == ("lift the cube",) * 2
    assert first.state is not None
    assert np.abs(first.state).max() <= 1, "the start's own state"
    assert second.state is not None
    assert second.state.tolist() == [[25, 26, 27, 28, 29, 30]] * 2, "the last of the five targets"


def test_metrics_are_measured_on_the_dataset(six: Trained) -> None:
    out = six.folder / "metrics"
    main(["metrics", "--data", str(six.data), "--model", str(six.folder / "world/model"), "--out", str(out),
          "--horizon", "3"])  # fmt: skip
    assert "action_following" in (out / "metrics.csv").read_text()


def test_environments_show_cameras_and_state_and_take_all_actions_of_a_frame(six: Trained) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(six.suite).unwrapped)
    env = make(six.suite)
    seen, info = env.reset(seed=0, options={"task": "lift"})
    assert {name: image.shape for name, image in seen["pixels"].items()} == {
        "front": (24, 32, 3),
        "wrist": (16, 16, 3),
    }
    assert info["instruction"] == "lift the cube"
    assert env.action_space.shape == (5, 6)
    action = np.full((5, 6), 7, np.float32)
    seen, *_ = env.step(action)
    assert seen["agent_pos"].tolist() == [7] * 6
    lanes = gymnasium.make_vec(
        NAME, num_envs=2, suite=str(six.suite), vectorization_mode="vector_entry_point"
    )
    seen, _ = lanes.reset(seed=0)
    assert lanes.observation_space.contains(seen)
    seen, *_ = lanes.step(np.stack([action, action + 1]))
    assert lanes.observation_space.contains(seen)
    assert seen["agent_pos"].tolist() == [[7] * 6, [8] * 6]


def test_normalised_actions_reach_from_bound_to_bound(six: Trained) -> None:
    env = make(six.suite, normalized_actions=True)
    env.reset(seed=0)
    seen, *_ = env.step(np.ones((5, 6), np.float32))
    assert seen["agent_pos"].tolist() == [110] * 6


def test_the_released_form_learns_and_draws_for_this_robot(six: Trained) -> None:
    from tests.vid2world.test_train_released import TINY, write_start

    unet = replace(TINY.unet, action_dim=SIX_JOINTS.world_action_width)
    start = write_start(
        six.folder / "start",
        replace(TINY, unet=unet, image_size=(24, 48), action_scale=SIX_JOINTS.world_action_scale),
    )
    main(["train", "world-model", "--released", str(start), "--data", str(six.data),
          "--out", str(six.folder / "released"), "--optimisation.steps", "1", "--optimisation.frames", "3",
          "--optimisation.mixed-precision", "no", "--optimisation.device", "cpu"])  # fmt: skip
    model = six.folder / "released/model"
    assert read_robot(model) == SIX_JOINTS
    main(["rollout", "--suite", str(six.suite), "--world", str(model), "--out", str(six.folder / "drawn"),
          "--starts", "1", "--tasks", "push", "--processes", "1", "--policies", "random"])  # fmt: skip
    assert len(real2sim.load_run(six.folder / "drawn")) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"action": SIX_JOINTS.action[::-1]},
            "action number 0 is 'gripper.pos' in the one, 'shoulder_pan.pos'",
        ),
        ({"cameras": SIX_JOINTS.cameras[::-1]}, "cameras are"),
        ({"control_hz": 15.0}, "control_hz is 15.0 in the one, 30.0 in the other"),
    ],
)
def test_a_world_model_for_another_robot_of_the_same_width_is_refused(
    six: Trained, tmp_path: Path, change: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(six.folder / "world/model", folder)
    replace(SIX_JOINTS, **change).save(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(SystemExit):
        main(["rollout", "--suite", str(six.suite), "--world", str(folder), "--out", str(tmp_path / "run"),
              "--policies", "random"])  # fmt: skip
    said = capsys.readouterr().err
    assert complaint in said
    assert f"world model {folder} and suite 'six joints' do not fit" in said


def test_a_policy_for_another_robot_of_the_same_width_is_refused(six: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(six.folder / "policy/at-100", folder)
    replace(SIX_JOINTS, action=SIX_JOINTS.action[::-1]).save(folder)
    config = RolloutConfig(tmp_path / "run", (str(folder),), str(six.suite), starts=1, processes=1)
    with pytest.raises(
        ValueError, match="policy 'policy' and suite 'six joints' do not fit: action number 0"
    ):
        rollout(config, progress=False)


def test_a_policy_that_wants_a_missing_camera_is_refused_before_the_world_is_loaded(
    six: Trained, tmp_path: Path
) -> None:
    suite = tmp_path / "suite"
    shutil.copytree(six.suite, suite)
    (suite / "world_model/model.safetensors").unlink()
    for requires, complaint in (
        (
            Requirements(cameras=("overhead",)),
            "looks at camera 'overhead', which suite 'six joints' does not",
        ),
        (Requirements(state=("x", "y")), "reads the state x, y; suite 'six joints' has shoulder_pan.pos"),
        (Requirements(action=SIX_JOINTS.action[:5]), r"answers with 5 action numbers .* has 6"),
    ):
        mine = CallablePolicy(lambda observation: np.zeros((1, 5, 6)), requires)
        config = RolloutConfig(tmp_path / "run", ("mine",), str(suite), starts=1, processes=1)
        with pytest.raises(ValueError, match=complaint):
            rollout(config, {"mine": mine}, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_fourteen_numbers_of_two_arms_go_the_same_way(tmp_path: Path) -> None:
    arms = Trained(TWO_ARMS, tmp_path)
    run = arms.run("run", "random", f"mine={tmp_path / 'policy/at-100'}")
    _, actions = RunFolder(run).episode(real2sim.load_run(run)["episode"][0])
    assert actions.shape[1:] == (2, 14)
    main(["score", str(run)])
    main(["report", str(run), "--out", str(tmp_path / "report")])
    main(["metrics", "--data", str(arms.data), "--model", str(tmp_path / "world/model"),
          "--out", str(tmp_path / "metrics"), "--horizon", "3"])  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(arms.suite).unwrapped)
