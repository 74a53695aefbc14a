from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim import cli
from real2sim.actions import FIELDS
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import dataset_files
from real2sim.evaluation.policy_sources import find_policies
from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.demonstrations import load_demonstrations
from real2sim.policies.imitation.policy import ImitationPolicy
from real2sim.policies.imitation.train import Cloning, ImitationTraining, train_imitation
from real2sim.policies.policy import observe_frames
from real2sim.policies.rt1.demonstrations import Demonstrations
from real2sim.robot import ActionNumber, Camera, Robot, StateNumber
from real2sim.simulation.suite import load_suite
from real2sim.training.augmentation import Augmentation

TINY = ImitationConfig.tiny()


def settings(data: Path, out: Path, **changes: object) -> ImitationTraining:
    base = ImitationTraining(Demonstrations(data), out, TINY, batch=4, steps=8, keep_every=3)
    return replace(base, **changes)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ImitationPolicy.from_folder(folder).network.state_dict()


def test_a_stopped_training_continued_equals_an_uninterrupted_one(
    demonstrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = train_imitation(settings(demonstrations, tmp_path / "whole"))
    draws, loss = [], Cloning.loss

    def dies_at_the_sixth(self: Cloning, *arguments: object) -> torch.Tensor:
        draws.append(1)
        if len(draws) == 6:
            raise KeyboardInterrupt
        return loss(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Cloning, "loss", dies_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        train_imitation(settings(demonstrations, tmp_path / "broken"))
    monkeypatch.undo()
    (broken,) = train_imitation(settings(demonstrations, tmp_path / "broken"))
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(broken)[name], tensor, rtol=0, atol=0)


def test_policies_are_saved_at_the_stated_shares(demonstrations: Path, tmp_path: Path) -> None:
    folders = train_imitation(settings(demonstrations, tmp_path, save_at=(0.25,)))
    assert [folder.name for folder in folders] == ["at-25", "policy"]
    assert "2 of 8" in (folders[0] / "README.md").read_text()


@pytest.mark.parametrize(
    ("network", "steps"),
    [
        pytest.param(TINY, 160, id="regression"),
        pytest.param(replace(TINY, head="diffusion", chunk=2), 160, id="diffusion", marks=pytest.mark.slow),
        pytest.param(replace(TINY, state=2), 160, id="state", marks=pytest.mark.slow),
    ],
)
def test_a_toy_task_is_learned_from_what_is_seen(
    demonstrations: Path, tmp_path: Path, network: ImitationConfig, steps: int
) -> None:
    # With chunks only the first action can be known: the next frame's bright side is drawn by lot.
    network = replace(network, execute=1)
    how = {"network": network, "steps": steps, "batch": 8, "moments": 3, "learning_rate": 1e-2, "seed": 1}
    (folder,) = train_imitation(settings(demonstrations, tmp_path, **how))
    policy = ImitationPolicy.from_folder(folder)
    frames = np.random.default_rng(1).integers(0, 40, size=(2, 16, 16, 3), dtype=np.uint8)
    frames[0, :, 8:] += 200
    frames[1, :, :8] += 200
    state = np.array([[0.06, 0], [-0.06, 0]], np.float32) if network.state else None
    policy.reset(["close drawer", "open drawer"])
    moves = policy.act(replace(observe_frames(frames), state=state))[:, FIELDS["world_vector"]]
    assert moves[0, 0] > 0.02
    assert moves[1, 0] < -0.02
    assert moves[0, 1] > 0.02
    assert moves[1, 1] < -0.02


def test_windows_repeat_the_first_frame_and_know_where_an_episode_ends(demonstrations: Path) -> None:
    data = load_demonstrations(Demonstrations(demonstrations), chunk=3)
    drawn = data.windows(np.random.default_rng(0), count=40, moments=20, frames=2, chunk=3)
    assert drawn.frames.shape == (40, 21, 16, 16, 3)
    np.testing.assert_array_equal(drawn.frames[:, 0], drawn.frames[:, 1])
    # Seven labelled frames each: the last action leads to no frame.
    np.testing.assert_array_equal(drawn.known.sum(axis=1), [[7, 6, 5]] * 40)
    moments = np.concatenate([item.actions[:, 0, 10] for item in data.demonstrations])
    assert set(np.unique(drawn.actions[..., 10])) == set(np.unique(moments))


def test_expert_labels_give_one_demonstration_per_task_and_no_chunks(demonstrations: Path) -> None:
    what = Demonstrations(demonstrations, labels="expert")
    assert len(load_demonstrations(what).demonstrations) == 24
    with pytest.raises(ValueError, match="learn chunks from the labels 'recorded'"):
        load_demonstrations(what, chunk=2)


def test_another_robot_gives_its_own_actions_cameras_and_state(demonstrations: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in dataset_files(demonstrations)[:4]:
        episode = dict(np.load(path))
        write_arrays(data / path.name, episode | {"action": episode["action"][:, [[10, 11], [11, 10]]]})
    robot = Robot(
        "toy",
        (ActionNumber("x", -0.06, 0.06), ActionNumber("y", -0.01, 0.01)),
        actions_per_frame=2,
        cameras=(Camera("front", 16, 8), Camera("wrist", 16, 8)),
        state=(StateNumber("a"), StateNumber("b")),
        state_from="model",
    )
    robot.save(data)
    (folder,) = train_imitation(settings(data, tmp_path / "out", network=replace(TINY, state=2)))
    policy = ImitationPolicy.from_folder(folder)
    assert [tile.name for tile in policy.network.config.cameras] == ["front", "wrist"]
    policy.reset(["close drawer"])
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    actions = policy.act(replace(observe_frames(frames), state=np.zeros((1, 2), np.float32)))
    assert actions.shape == (1, 2, 2)
    assert abs(actions[0, :, 1]).max() <= np.float32(0.01)
    assert (folder / "robot.json").is_file()


def test_a_folder_begun_with_another_network_is_not_continued(demonstrations: Path, tmp_path: Path) -> None:
    train_imitation(settings(demonstrations, tmp_path))
    with pytest.raises(ValueError, match="begun with"):
        train_imitation(settings(demonstrations, tmp_path, network=replace(TINY, frames=2)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image_size", (8, 8), "--network.image-size is 8 8 and the episodes have 16 16"),
        ("actions", 7, "--network.actions is 7 and the episodes have 13"),
        ("actions_per_frame", 2, "--network.actions-per-frame is 2 and the episodes have 1"),
    ],
)
def test_a_size_that_the_data_does_not_have_is_refused(
    demonstrations: Path, tmp_path: Path, name: str, value: object, said: str
) -> None:
    network = replace(TINY, chunk=2, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=said):
        Cloning(ImitationTraining(Demonstrations(demonstrations), tmp_path / "out", network))


def test_augmented_frames_are_what_is_learned_from(demonstrations: Path, tmp_path: Path) -> None:
    (plain,) = train_imitation(settings(demonstrations, tmp_path / "plain"))
    (blurred,) = train_imitation(
        settings(demonstrations, tmp_path / "blurred", augmentation=Augmentation(blur=2.0))
    )
    assert any(not torch.equal(weights(blurred)[name], tensor) for name, tensor in weights(plain).items())


def test_the_command_trains_what_a_rollout_loads(
    demonstrations: Path, tmp_path: Path, tiny_suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "imitation",
        "--data.folder",
        str(demonstrations),
        "--out",
        str(tmp_path),
        "--steps",
        "2",
    ]
    words += ["--network.frames", "2", "--network.channels", "4", "4", "--batch", "2"]
    cli.main([*words, "--max-minutes", "0"])
    assert "is not finished" in capsys.readouterr().out
    cli.main(words)
    assert capsys.readouterr().out == f"policy: {tmp_path / 'policy'}\n"
    (source,) = find_policies([f"mine={tmp_path / 'policy'}"], load_suite(str(tiny_suite)))
    assert (source.name, source.kind) == ("mine", "imitation")
    assert isinstance(source.load("cpu")([]), ImitationPolicy)
