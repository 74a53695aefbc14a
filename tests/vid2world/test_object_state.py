"""`train world-model --object-state`: frames drawn from the state of robot and objects, with learned points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.states import episode_states, measured_at
from real2sim.episodes.subsampling import frame_actions
from real2sim.evaluation.make_suite import MakeSuite, make_suite
from real2sim.simulation.suite import load_suite
from real2sim.training.optimisation import Optimisation
from real2sim.vid2world.network.learned_points import LearnedPoints
from real2sim.vid2world.pixel_patches import PixelPatches
from real2sim.vid2world.training.robot_fit import with_object_state
from real2sim.vid2world.training.train_rendering import RenderingConfig, rendering_loss
from real2sim.vid2world.training.train_small import TrainWorldModel, train_world_model
from real2sim.vid2world.training.train_states import StateTrainingConfig, read_between, read_transitions
from real2sim.vid2world.training.windows import WindowOptimisation, WindowSource
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from real2sim.worlds import open_world
from tests.vid2world.robot_states import ARM

NAMES = ("pan", "grip", "block.x", "block.y")


def write_episodes(folder: Path, *, objects: bool = True, lengths: tuple[int, ...] = (8, 6, 8, 7, 8)) -> Path:
    folder.mkdir()
    ARM.save(folder)
    rng = np.random.default_rng(0)
    for number, length in enumerate(lengths):
        action = rng.uniform(0, 50, (length, 2, 2)).astype(np.float32)
        state = np.concatenate([np.full((1, 2), number), action[:-1, -1]]).astype(np.float32)
        episode = {
            "image": rng.integers(0, 256, (length, 16, 32, 3), dtype=np.uint8),
            "action": action,
            "state": state,
            "instruction": np.array("push"),
        }
        if objects:
            episode["environment_state"] = (state / 100 + number).astype(np.float32)
            episode["environment_names"] = np.array(NAMES[2:])
        write_arrays(folder / f"{number:06d}.npz", episode)
    return folder


def test_numbers_of_objects_are_read_by_name_beside_the_robots(tmp_path: Path) -> None:
    files = sorted(write_episodes(tmp_path / "data").glob("*.npz"))
    for file in files:
        states = episode_states(file, ("block.y", "pan"))
        with np.load(file) as episode:
            assert np.array_equal(states[:, 0], episode["environment_state"][:, 1])
            assert np.array_equal(states[:, 1], episode["state"][:, 0])
            assert measured_at(file, episode, 3) == dict(
                zip(
                    NAMES,
                    [*episode["state"][3].tolist(), *episode["environment_state"][3].tolist()],
                    strict=True,
                )
            )
    with pytest.raises(ValueError, match=r"no number 'cup\.x'; it has pan, grip, block\.x, block\.y"):
        episode_states(files[0], ("cup.x",))


def test_states_between_frames_are_further_episodes_that_begin_a_command_later(tmp_path: Path) -> None:
    """An arm that is where the last command sent it: each phase must show that, too."""
    folder = tmp_path / "data"
    folder.mkdir()
    ARM.save(folder)
    commands = np.random.default_rng(0).uniform(0, 50, (9, 2)).astype(np.float32)
    states = np.concatenate([np.zeros((1, 2), np.float32), commands])[:9]
    write_arrays(
        folder / "000000.npz",
        {
            "image": np.zeros((5, 16, 32, 3), np.uint8),
            "action": frame_actions(commands, 2),
            "state": states[::2],
            "between_state": frame_actions(states, 2),
        },
    )
    (whole,), (later,) = (read([folder], ("pan", "grip")) for read in (read_transitions, read_between))
    assert np.array_equal(whole.states, states[::2])
    assert np.array_equal(later.states, states[1::2])
    for episode in (whole, later):
        assert np.array_equal(episode.states[1:], episode.actions[:-1, 2:])


def test_a_model_that_is_told_of_objects_draws_from_the_state_and_keeps_it_from_policies(
    tmp_path: Path,
) -> None:
    data = write_episodes(tmp_path / "data")
    config = TrainWorldModel(
        data,
        tmp_path / "out",
        WorldModelConfig.tiny().for_robot(ARM),
        optimisation=WindowOptimisation(steps=2, windows=2, frames=4, checkpoint_every=1),
        states=StateTrainingConfig(Optimisation(steps=2, checkpoint_every=1), batch=8, unroll=2),
        object_state=True,
    )
    folder = train_world_model(config)
    assert folder is not None
    model = WorldModel.from_folder(folder)
    assert model.state_names == NAMES
    assert model.config.draws_from == "state"
    assert model.frame_passes_per_frame == 1
    make_suite(MakeSuite(data, tmp_path / "suite", starts=3), progress=False)
    suite = load_suite(tmp_path / "suite")
    starts = suite.starts("push")
    for start in starts:
        with np.load(data / f"{start.id}.npz") as episode:
            assert list(start.measured.values()) == pytest.approx(episode["environment_state"][0].tolist())
    world = open_world(str(folder), suite)
    lanes = world.reset(starts, [0, 1, 2])
    np.testing.assert_allclose(world.robot_state(lanes), [start.robot_state for start in starts], atol=1e-5)
    frames, lanes = world.step(lanes, np.full((3, 2, 2), 5.0, np.float32))
    assert frames.shape == (3, 16, 32, 3)
    assert world.robot_state(lanes).shape == (3, 2)


def test_episodes_that_know_no_objects_are_refused(tmp_path: Path) -> None:
    data = write_episodes(tmp_path / "data", objects=False)
    with pytest.raises(ValueError, match=r"do not say where objects are .* leave out --object-state"):
        with_object_state(WorldModelConfig.tiny().for_robot(ARM), data)


@pytest.mark.parametrize("frames", [1, 2])
def test_an_episode_too_short_for_a_later_beginning_is_read_all_the_same(tmp_path: Path, frames: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    ARM.save(folder)
    states = np.arange(4 * frames, dtype=np.float32).reshape(frames, 2, 2)
    write_arrays(folder / "000000.npz", {"action": states, "state": states[:, 0], "between_state": states})
    assert read_between([folder], ("pan", "grip")) == []


@pytest.mark.slow
def test_points_learn_where_the_state_says_that_something_is() -> None:
    """A spot at a place that two numbers tell, at other places than it was taught."""
    rows, columns = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(32) + 0.5, indexing="ij")

    def spots(states: torch.Tensor) -> torch.Tensor:
        across, down = columns - 16 - 10 * states[:, :1, None], rows - 8 - 5 * states[:, 1:, None]
        return torch.exp(-(across**2 + down**2) / 4)[:, None]

    torch.manual_seed(0)
    points = LearnedPoints(2, 8, 1)
    optimiser = torch.optim.Adam(points.parameters(), 3e-3)
    for _ in range(400):
        states = torch.rand(32, 2) * 2 - 1
        loss = (points(states, 16, 32) - spots(states)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    others = torch.rand(64, 2) * 2 - 1
    wanted = spots(others)
    with torch.no_grad():
        drawn = points(others, 16, 32)
    assert float((drawn - wanted).square().mean() / wanted.var()) < 0.1


def test_a_change_that_did_not_happen_costs_as_much_as_one_that_is_missed() -> None:
    stage = PixelPatches(16, 16, 4)
    frames = np.full((1, 1, 16, 16, 3), 102, np.uint8)
    still = stage.encode(torch.from_numpy(frames))
    frames[:, :, 4:8, 4:8] = 102 + 51
    changed = stage.encode(torch.from_numpy(frames))
    config = RenderingConfig(edges=0.0)
    missed = rendering_loss(config, stage, still, None, changed, still)
    imagined = rendering_loss(config, stage, changed, None, still, still)
    assert float(imagined) == pytest.approx(float(missed))
    share, difference = 16 / 256, 51 / 127.5
    error = difference + config.squared * difference**2
    assert float(missed) == pytest.approx(share * (1 + config.changed) * error)


def test_frames_are_drawn_from_every_folder_with_the_states_there(tmp_path: Path) -> None:
    folders = [write_episodes(tmp_path / name, lengths=(8, 6)) for name in ("one", "two")]
    source = WindowSource(folders[0], 2, NAMES, more=folders[1:])
    assert len(source) == 4
    alone = WindowSource(folders[1], 2, NAMES)
    for number in range(2):
        assert np.array_equal(source[2 + number][0], alone[number][0])
        assert torch.equal(source.states[2 + number], alone.states[number])
