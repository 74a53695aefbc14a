"""The physics robot: marked `physics`, since it needs the extra and headless rendering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import FIELDS, WIDTH
from real2sim.drawer.collect import Collect, collect, episode_path, record_episode
from real2sim.drawer.experts import (
    FlawedExpert,
    Flaws,
    Interrupted,
    Lingerer,
    expert_action,
    robot_action,
)
from real2sim.drawer.mixes import MIXES, Controller, draw_controller
from real2sim.drawer.physics import (
    CLOSED_ABOVE,
    HAND_HIGH,
    HAND_LOW,
    HORIZON,
    OPEN_BELOW,
    STATE_NAMES,
    STEP_METRES,
    TASKS,
    WINDUP_METRES,
    DrawerPhysics,
    DrawerStart,
    draw_starts,
    is_success,
)
from real2sim.drawer.state import drawer_state, drawer_world_model
from real2sim.episodes.npz import read_npz
from real2sim.model_folder import read_config
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.simulation.observation import observe_frames
from real2sim.simulation.suite import load_suite
from real2sim.vid2world.pose_map import Line, PoseMap
from real2sim.vid2world.world_model_config import WorldModelConfig

MIDDLE = DrawerStart(0.0, -0.1, (0.0, 0.48, 0.2))


@pytest.fixture(scope="module")
def physics() -> DrawerPhysics:
    return DrawerPhysics()


def test_success_is_decided_by_the_drawer_joint() -> None:
    assert is_success("close_drawer", 0.0)
    assert not is_success("close_drawer", CLOSED_ABOVE - 0.001)
    assert is_success("open_drawer", OPEN_BELOW - 0.001)
    assert not is_success("open_drawer", -0.05)
    with pytest.raises(ValueError, match="close_drawer, open_drawer"):
        is_success("wash_drawer", 0.0)


def test_starts_are_not_yet_successes() -> None:
    for task in TASKS:
        for start in draw_starts(task, 200, [3]):
            assert not is_success(task, start.drawer)
            assert DrawerStart.from_array(start.as_array()) == start


def test_expert_pushes_in_front_of_the_handle_and_pulls_behind_it() -> None:
    handle = np.array([0.0, 0.6, 0.09])
    push = expert_action("close_drawer", np.array([0.0, 0.52, 0.105]), handle)
    pull = expert_action("open_drawer", np.array([0.0, 0.588, 0.105]), handle)
    assert push[11] == pytest.approx(0.06)
    assert pull[11] == pytest.approx(-0.06)


def test_flaws_change_the_expert_as_they_say() -> None:
    hand, handle = np.array([0.0, 0.45, 0.2]), np.array([0.0, 0.6, 0.09])
    rng = np.random.default_rng(0)
    clean = FlawedExpert("close_drawer", Flaws(), rng).act(0, hand, handle)
    np.testing.assert_array_equal(clean, expert_action("close_drawer", hand, handle))
    half = FlawedExpert("close_drawer", Flaws(scale=0.5), rng).act(0, hand, handle)
    np.testing.assert_allclose(half[10:], 0.5 * clean[10:])
    stopped = FlawedExpert("close_drawer", Flaws(stop=3), rng).act(3, hand, handle)
    assert not stopped[10:].any()
    other = FlawedExpert("close_drawer", Flaws(switch=0), rng).act(0, hand, handle)
    np.testing.assert_array_equal(other, expert_action("open_drawer", hand, handle))


@pytest.mark.parametrize("mix", list(MIXES))
def test_every_kind_of_controller_is_drawn(mix: str) -> None:
    shares = MIXES[mix]
    assert sum(shares.values()) == pytest.approx(1.0)
    kinds = {draw_controller("open_drawer", shares, np.random.default_rng(seed))[0] for seed in range(400)}
    # A mix of mixes names its parts "broad/expert"; an episode keeps the controller's own name.
    assert kinds == {name.split("/")[-1] for name in shares}


@pytest.mark.physics
def test_an_interrupted_expert_leaves_the_drawer_part_of_the_way(physics: DrawerPhysics) -> None:
    def left_ajar(make: Callable[[np.random.Generator], Controller]) -> int:
        count = 0
        for seed in range(8):
            controller = make(np.random.default_rng(seed))
            physics.reset(DrawerStart(0.0, -0.15, (0.0, 0.48, 0.15)))
            for step in range(HORIZON):
                physics.act(controller.act(step, physics.hand, physics.handle))
            count += -0.14 < physics.drawer < -0.01
        return count

    assert left_ajar(lambda rng: FlawedExpert("close_drawer", Flaws(), rng)) == 0
    assert left_ajar(lambda rng: Interrupted("close_drawer", Flaws(scale=0.5), rng)) >= 3


def test_a_lingering_hand_stays_around_the_handle() -> None:
    handle = np.array([0.05, 0.6, 0.09])
    hand = handle + 0.1
    controller = Lingerer(np.random.default_rng(2))
    for step in range(30):
        hand = hand + controller.act(step, hand, handle)[10:]
        if step > 5:
            assert np.linalg.norm(hand - handle) < 0.3


@pytest.mark.physics
@pytest.mark.parametrize("task", list(TASKS))
def test_the_expert_succeeds(physics: DrawerPhysics, task: str) -> None:
    for start in draw_starts(task, 4, [1, 2]):
        physics.reset(start)
        for _ in range(HORIZON):
            physics.act(expert_action(task, physics.hand, physics.handle))
        assert is_success(task, physics.drawer)


@pytest.mark.physics
def test_hand_moves_by_the_metres_it_is_told(physics: DrawerPhysics) -> None:
    physics.reset(MIDDLE)
    before = physics.hand
    physics.act(robot_action(np.array([0.03, -0.02, 0.04]), -1.0))
    np.testing.assert_allclose(physics.hand - before, [0.03, -0.02, 0.04], atol=0.006)


@pytest.mark.physics
def test_nothing_drifts_while_nothing_is_done(physics: DrawerPhysics) -> None:
    physics.reset(MIDDLE)
    hand = physics.hand
    for _ in range(HORIZON):
        physics.act(np.zeros(WIDTH))
    np.testing.assert_allclose(physics.hand, hand, atol=0.003)
    assert physics.drawer == pytest.approx(MIDDLE.drawer, abs=1e-3)


@pytest.mark.physics
def test_the_same_start_and_actions_give_the_same_frames(physics: DrawerPhysics) -> None:
    actions = [robot_action(move, 1.0) for move in np.random.default_rng(0).uniform(-0.06, 0.06, (5, 3))]
    films = []
    for _ in range(2):
        films.append([physics.reset(MIDDLE), *(physics.step(action) for action in actions)])
    np.testing.assert_array_equal(films[0], films[1])


@pytest.mark.physics
@pytest.mark.physics
def test_a_fresh_robot_goes_on_from_another_ones_snapshot(physics: DrawerPhysics) -> None:
    physics.reset(MIDDLE)
    middle = physics.snapshot()
    moves = [robot_action(np.array([0.0, 0.06, -0.03]), -1.0)] * 3
    frames = [physics.step(move) for move in moves]
    other = DrawerPhysics()
    other.restore(middle)
    for move, frame in zip(moves, frames, strict=True):
        np.testing.assert_array_equal(other.step(move), frame)
    np.testing.assert_array_equal(other.hand, physics.hand)
    other.close()


@pytest.mark.physics
def test_the_state_is_measured_by_name(physics: DrawerPhysics) -> None:
    physics.reset(DrawerStart(0.03, -0.1, (0.0, 0.48, 0.2)))
    state = dict(zip(STATE_NAMES, physics.state, strict=True))
    np.testing.assert_allclose([state[f"hand_{axis}"] for axis in "xyz"], physics.hand, atol=1e-6)
    np.testing.assert_allclose([state[f"target_{axis}"] for axis in "xyz"], (0.0, 0.48, 0.2), atol=1e-6)
    assert state["drawer"] == pytest.approx(physics.drawer)
    assert state["drawer_x"] == pytest.approx(0.03)


@pytest.mark.physics
def test_links_drawn_into_the_image_end_where_physics_has_the_hand_and_the_handle(
    physics: DrawerPhysics,
) -> None:
    config = drawer_state()
    assert config.names == STATE_NAMES
    assert config.pose_map is not None
    lines = (
        Line(0, "hand", (0, 0, 0), (0, 0, 0), 0.01),
        Line(0, "drawer", (0, -0.15, 0), (0, -0.15, 0), 0.01),
    )
    drawn = PoseMap(replace(config.pose_map, lines=lines), config.names, 64, 64)
    for start in draw_starts("open_drawer", 3, [5]):
        physics.reset(start)
        for move in np.random.default_rng(0).uniform(-0.06, 0.06, (3, 3)):
            physics.act(robot_action(move, 1.0))
        hand, handle = drawn.points(torch.from_numpy(physics.state)[None])[0, :, 0].numpy()
        np.testing.assert_allclose(hand, physics.hand, atol=1e-3)
        np.testing.assert_allclose(handle[:2], physics.handle[:2], atol=0.011)


def test_the_prediction_of_states_obeys_the_limits_of_the_robot() -> None:
    for axis, command in enumerate(drawer_state().commands):
        assert (command.low, command.high) == (HAND_LOW[axis], HAND_HIGH[axis])
        assert command.lead == WINDUP_METRES
    assert drawer_world_model().action_scale[10:13] == (1 / STEP_METRES,) * 3


def test_the_shipped_world_model_is_the_one_described() -> None:
    folder = load_suite("drawer").folder / "world_model"
    assert read_config(folder, "world_model", WorldModelConfig) == drawer_world_model()


@pytest.mark.physics
def test_episodes_without_images_hold_the_same_states(tmp_path: Path) -> None:
    for images in (True, False):
        folder = tmp_path / str(images)
        collect(Collect(folder, episodes=1, seed=4, processes=1, mix="all", images=images))
    seen, unseen = (
        read_npz(episode_path(tmp_path / str(images), 0), ("state", "action")) for images in (True, False)
    )
    np.testing.assert_array_equal(seen["state"], unseen["state"])
    assert len(seen["state"]) == HORIZON + 1
    with pytest.raises(ValueError, match="has no array 'image'"):
        read_npz(episode_path(tmp_path / "False", 0))


def test_a_snapshot_goes_on_as_if_nothing_had_happened(physics: DrawerPhysics) -> None:
    actions = [expert_action("close_drawer", np.array([0.0, 0.5, 0.11]), np.array([0.0, 0.64, 0.09]))] * 6
    physics.reset(MIDDLE)
    for action in actions[:3]:
        physics.act(action)
    middle = physics.snapshot()
    straight = [physics.step(action) for action in actions[3:]]
    physics.reset(DrawerStart(0.05, 0.0, (0.1, 0.5, 0.1)))
    physics.restore(middle)
    np.testing.assert_array_equal([physics.step(action) for action in actions[3:]], straight)


@pytest.mark.physics
def test_an_episode_depends_on_its_seed_and_number_alone(physics: DrawerPhysics, tmp_path: Path) -> None:
    collect(Collect(tmp_path, episodes=3, seed=5, processes=2))
    episode_path(tmp_path, 1).unlink()
    assert collect(Collect(tmp_path, episodes=3, seed=5, processes=1)) == 1
    written = read_npz(episode_path(tmp_path, 1), ("image", "action", "drawer"))
    direct = record_episode(physics, 5, 1)
    for name, array in written.items():
        np.testing.assert_array_equal(array, direct[name])
    assert written["image"].shape == (HORIZON + 1, 64, 64, 3)


@pytest.mark.physics
def test_a_recording_is_continued_with_its_own_seed_and_a_damaged_episode_is_the_same_again(
    tmp_path: Path,
) -> None:
    collect(Collect(tmp_path, episodes=2, seed=5, processes=1))
    collect(Collect(tmp_path, episodes=3, seed=5, processes=1, mix="contact"))
    path = episode_path(tmp_path, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="was recorded with seed = 5, now 6 is asked for"):
        collect(Collect(tmp_path, episodes=4, seed=6))
    with pytest.raises(ValueError, match="was recorded with mix = 'broad', now 'contact' is asked for"):
        collect(Collect(tmp_path, episodes=2, seed=5, mix="contact"))
    assert collect(Collect(tmp_path, episodes=3, seed=5, processes=1, mix="contact")) == 1
    again = read_npz(path, ("action", "drawer"))
    direct = record_episode(DrawerPhysics(), 5, 0)
    np.testing.assert_array_equal(again["action"], direct["action"])


PYTHON_POLICY = """
import numpy as np
class Pushes:
    def reset(self, instructions):
        self.seen = 0
    def act(self, observation):
        self.seen += 1
        action = np.zeros((len(observation.frames), 13), np.float32)
        action[:, 8], action[:, 11] = 1, 0.01 * (self.seen % 5)
        return action
"""


@pytest.mark.physics
def test_a_policy_in_a_python_file_acts_in_a_recording(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PYTHON_POLICY)
    place = f"{tmp_path / 'mine.py'}:Pushes"
    collect(Collect(tmp_path / "out", episodes=1, seed=5, processes=1, policies=(place,)))
    action = read_npz(episode_path(tmp_path / "out", 0), ("action",))["action"]
    np.testing.assert_allclose(action[:4, 11], [0.01, 0.02, 0.03, 0.04], rtol=1e-5)
    (tmp_path / "mine.py").write_text(PYTHON_POLICY.replace("% 5", "% 6"))
    with pytest.raises(ValueError, match="was recorded with policies"):
        collect(Collect(tmp_path / "out", episodes=1, seed=5, processes=1, policies=(place,)))


@pytest.mark.physics
def test_a_policy_records_the_actions_it_chose_from_the_recorded_frames(
    physics: DrawerPhysics, tmp_path: Path
) -> None:
    folder = str(load_suite("drawer").folder / "policies" / "converged")
    collect(Collect(tmp_path, episodes=2, seed=5, processes=2, policies=(folder,)))
    written = read_npz(episode_path(tmp_path, 1), ("image", "action", "controller", "instruction"))
    assert str(written["controller"]) == "policy"
    direct = record_episode(physics, 5, 1, policies=(folder,))
    np.testing.assert_array_equal(written["image"], direct["image"])
    likeliest = RT1Policy.from_folder(folder, temperature=0)
    likeliest.reset([str(written["instruction"])])
    wanted = np.stack([likeliest.act(observe_frames(frame[None]))[0] for frame in written["image"][:-1]])
    # It draws from its bins, so it does nearly the same, and not quite.
    moved, hoped = written["action"][:-1, FIELDS["world_vector"]], wanted[:, FIELDS["world_vector"]]
    assert np.corrcoef(moved.ravel(), hoped.ravel())[0, 1] > 0.5
    assert not np.array_equal(moved, hoped)


@pytest.mark.parametrize("name", ["suite.json", "config.json", "run.json", "start.npz"])
def test_a_recording_has_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="a recording needs a folder of its own, choose another one"):
        collect(Collect(tmp_path, episodes=1, processes=1))
    assert [path.name for path in tmp_path.iterdir()] == [name]
