from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import real2sim.policies.rt1.train as train
from real2sim.actions import FIELDS, pack
from real2sim.drawer.presets import EXPERT_LABELS
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.npz import EXPERT_LABELS_FILE, dataset_files
from real2sim.files import write_json
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.demonstrations import Demonstrations, load_demonstrations
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.policies.rt1.train import (
    PolicyTraining,
    augment,
    checkpoint_folder,
    target_spread,
    token_loss,
    train_policy,
)
from real2sim.simulation.observation import observe_frames
from real2sim.training.optimisation import learning_rate

TINY = RT1Config.tiny()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight episodes: the bright half of the picture says whether to move in x, the task whether in y."""
    folder = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    for index in range(8):
        side = rng.integers(2, size=7)
        image = rng.integers(0, 40, size=(7, 32, 32, 3), dtype=np.uint8)
        for t in range(7):
            image[t, :, 16 * side[t] : 16 * side[t] + 16] += 200
        aside = np.where(side, 0.06, -0.06)
        move = np.stack([aside, np.full(7, 0.06), np.zeros(7)], axis=1)
        other = np.stack([aside, np.full(7, -0.06), np.zeros(7)], axis=1)
        mode = np.tile([0, 1, 0], (7, 1))
        close = pack({"world_vector": move, "terminate_episode": mode})
        task = "close_drawer" if index % 2 else "open_drawer"
        episode = {
            "image": image,
            "action": close if index % 2 else -close,
            "expert_close": close,
            "expert_open": pack({"world_vector": other, "terminate_episode": mode}),
            "instruction": np.array(task.replace("_", " ")),
            "task": np.array(task),
            "success": np.array(index < 4),
            "controller": np.array("expert" if index < 6 else "wander"),
        }
        write_arrays(folder / f"episode_{index:05d}.npz", episode)
    write_json(folder / EXPERT_LABELS_FILE, EXPERT_LABELS)
    return folder


def settings(dataset: Path, out: Path, **changes: object) -> PolicyTraining:
    data = Demonstrations(dataset, labels="expert")
    base = PolicyTraining(data, out, network=TINY, steps=8, batch=4, keep_every=3, save_at=(0.25, 1.0))
    return replace(base, **changes)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return RT1Policy.from_folder(folder).network.state_dict()


def test_a_stopped_run_continued_equals_an_uninterrupted_one(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_policy(settings(dataset, tmp_path / "whole"))
    real = train.token_loss
    calls = []

    def dies_at_the_fifth_step(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(train, "token_loss", dies_at_the_fifth_step)
    with pytest.raises(KeyboardInterrupt):
        train_policy(settings(dataset, tmp_path / "broken"))
    monkeypatch.undo()
    train_policy(settings(dataset, tmp_path / "broken"))
    for share in (0.25, 1.0):
        whole = weights(checkpoint_folder(tmp_path / "whole", share))
        broken = weights(checkpoint_folder(tmp_path / "broken", share))
        for name, tensor in whole.items():
            torch.testing.assert_close(broken[name], tensor, rtol=0, atol=0)
    rows = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))


def test_policies_are_saved_at_the_stated_shares(dataset: Path, tmp_path: Path) -> None:
    folders = train_policy(settings(dataset, tmp_path))
    assert [folder.name for folder in folders] == ["at-25", "at-100"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert "2 of 8" in (folders[0] / "README.md").read_text()


def test_the_end_of_a_training_is_saved_whatever_else_is(dataset: Path, tmp_path: Path) -> None:
    folders = train_policy(settings(dataset, tmp_path, save_at=(0.25,)))
    assert [folder.name for folder in folders] == ["at-25", "at-100"]
    assert weights(folders[1])


def with_embeddings(dataset: Path, out: Path, vectors: dict[str, np.ndarray]) -> Path:
    out.mkdir()
    for path in dataset_files(dataset):
        episode = dict(np.load(path))
        write_arrays(out / path.name, episode | {"embedding": vectors[str(episode["instruction"])]})
    return out


def test_episodes_bring_their_own_sentence_embeddings(dataset: Path, tmp_path: Path) -> None:
    vectors = {"open drawer": np.ones(16, np.float32), "close drawer": np.zeros(16, np.float32)}
    folder = with_embeddings(dataset, tmp_path / "data", vectors)
    (policy,) = train_policy(
        settings(dataset, tmp_path / "out", data=Demonstrations(folder), steps=1, save_at=(1.0,))
    )
    table = RT1Policy.from_folder(policy).instructions
    for name, vector in vectors.items():
        np.testing.assert_array_equal(table[name], vector)


def test_a_last_action_that_ends_the_episode_is_a_lesson(dataset: Path, tmp_path: Path) -> None:
    for path in dataset_files(dataset):
        episode = dict(np.load(path))
        episode["action"][-1] = pack({"terminate_episode": [1, 0, 0]})
        write_arrays(tmp_path / path.name, episode)
    demonstrations = load_demonstrations(Demonstrations(tmp_path), TINY).demonstrations
    assert {len(demonstration.tokens) for demonstration in demonstrations} == {7}
    assert {int(demonstration.tokens[-1, 0]) for demonstration in demonstrations} == {0}


def test_a_time_limit_stops_and_the_next_call_goes_on(dataset: Path, tmp_path: Path) -> None:
    assert train_policy(settings(dataset, tmp_path, max_minutes=0.0)) == ()
    assert len(train_policy(settings(dataset, tmp_path))) == 2


def test_a_folder_begun_with_other_settings_is_not_continued(dataset: Path, tmp_path: Path) -> None:
    train_policy(settings(dataset, tmp_path))
    with pytest.raises(ValueError, match="begun with another seed"):
        train_policy(settings(dataset, tmp_path, seed=1))


@pytest.mark.slow
def test_a_toy_task_is_learned_from_what_the_frames_show(dataset: Path, tmp_path: Path) -> None:
    demonstrations = Demonstrations(dataset, labels="expert", tasks=("close_drawer",))
    changes = {"data": demonstrations, "steps": 100, "batch": 16, "save_at": (1.0,), "learning_rate": 1e-2}
    (folder,) = train_policy(settings(dataset, tmp_path, **changes))
    policy = RT1Policy.from_folder(folder)
    frames = np.random.default_rng(1).integers(0, 40, size=(2, 32, 32, 3), dtype=np.uint8)
    frames[0, :, 16:] += 200
    frames[1, :, :16] += 200
    policy.reset(["close drawer", "close drawer"])
    moves = policy.act(observe_frames(frames))[:, FIELDS["world_vector"]]
    assert moves[0, 0] > 0.04
    assert moves[1, 0] < -0.04
    assert (moves[:, 1] > 0.04).all()


def test_a_task_without_expert_labels_is_named(dataset: Path) -> None:
    unknown = Demonstrations(dataset, labels="expert", tasks=("pick_can",))
    with pytest.raises(
        ValueError, match=r"no expert labels for task 'pick_can' in .*known: close_drawer, open"
    ):
        load_demonstrations(unknown, TINY)


def test_expert_labels_give_one_lesson_per_task_and_recorded_ones_one_per_episode(dataset: Path) -> None:
    both = load_demonstrations(Demonstrations(dataset, labels="expert"), TINY)
    assert len(both.frames) == 8
    assert len(both.demonstrations) == 16
    recorded = load_demonstrations(Demonstrations(dataset), TINY)
    assert len(recorded.demonstrations) == 8
    assert {len(demonstration.tokens) for demonstration in recorded.demonstrations} == {
        6
    }  # the last action leads to no frame
    one = load_demonstrations(Demonstrations(dataset, tasks=("open_drawer",)), TINY)
    assert one.instructions == ("open drawer",)


def test_episodes_are_filtered_by_outcome_and_controller(dataset: Path) -> None:
    assert len(load_demonstrations(Demonstrations(dataset, successful=True), TINY).frames) == 4
    assert len(load_demonstrations(Demonstrations(dataset, controllers=("wander",)), TINY).frames) == 2
    with pytest.raises(ValueError, match="8 episodes of the wanted kind, 9 were asked for"):
        load_demonstrations(Demonstrations(dataset, episodes=9), TINY)
    with pytest.raises(ValueError, match="none of the 8 episodes"):
        load_demonstrations(Demonstrations(dataset, controllers=("nobody",)), TINY)


def test_a_noisy_teacher_differs_and_repeats_itself(dataset: Path) -> None:
    clean = load_demonstrations(Demonstrations(dataset), TINY)
    noisy = [load_demonstrations(Demonstrations(dataset, label_noise=0.5), TINY) for _ in range(2)]
    np.testing.assert_array_equal(noisy[0].demonstrations[0].tokens, noisy[1].demonstrations[0].tokens)
    assert not np.array_equal(clean.demonstrations[0].tokens, noisy[0].demonstrations[0].tokens)


def test_a_slow_teacher_repeats_what_was_right_a_step_ago(dataset: Path) -> None:
    clean = load_demonstrations(Demonstrations(dataset, labels="expert"), TINY).demonstrations[0].tokens
    slow = (
        load_demonstrations(Demonstrations(dataset, labels="expert", action_delay=1), TINY)
        .demonstrations[0]
        .tokens
    )
    np.testing.assert_array_equal(slow[1:], clean[:-1])


def test_the_loss_is_zero_for_the_target_itself_and_grows_with_distance() -> None:
    bins = torch.arange(256.0)
    spread = target_spread(TINY, 4.0)
    tokens = torch.full((1, 11), 100)
    losses = []
    for centre in (100, 110, 140):
        logits = (-0.5 * ((bins - centre) / 4.0).square()).expand(1, 11, -1).clone()
        logits[0, 0] = torch.nn.functional.one_hot(torch.tensor(100), 256) * 1000.0
        losses.append(token_loss(logits, tokens, spread).item())
    assert losses[0] == pytest.approx(0, abs=1e-5)
    assert losses[0] < losses[1] < losses[2]


def test_without_smoothing_the_loss_is_plain_cross_entropy() -> None:
    logits = torch.randn(2, 3, 11, 256)
    tokens = torch.randint(0, 256, (2, 3, 11))
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 2), tokens.flatten())
    torch.testing.assert_close(token_loss(logits, tokens, torch.zeros(11)), plain)


def test_modes_have_no_neighbours() -> None:
    assert target_spread(TINY, 4.0).tolist() == [0.0] + [4.0] * 10


def test_the_learning_rate_rises_and_ends_near_zero() -> None:
    training = PolicyTraining(Demonstrations(Path("data")), Path("out"), steps=100, learning_rate=1.0)
    rates = [learning_rate(step, training.optimisation) for step in range(100)]
    assert rates[0] < rates[4] == pytest.approx(1.0)
    assert rates[-1] < 0.001
    assert rates[5:] == sorted(rates[5:], reverse=True)


@pytest.mark.parametrize("change", [{"shift": 2}, {"blur": 2.0}, {"brightness": 0.3}])
def test_augmentation_changes_all_frames_of_a_window_alike(tmp_path: Path, change: dict[str, Any]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, size=(5, 1, 8, 8, 3), dtype=np.uint8).repeat(3, axis=1)
    plain = PolicyTraining(Demonstrations(tmp_path), tmp_path)
    changed = augment(frames, np.random.default_rng(1), replace(plain, **change))
    assert changed.shape == frames.shape
    assert (changed[:, 0] == changed[:, 2]).all()
    assert not np.array_equal(changed, frames)
    np.testing.assert_array_equal(augment(frames, np.random.default_rng(1), plain), frames)


def test_blur_softens_and_noise_roughens(tmp_path: Path) -> None:
    edge = np.zeros((40, 1, 8, 8, 3), np.uint8)
    edge[:, :, :, 4:] = 200
    rng = np.random.default_rng(3)
    blurred = augment(edge, rng, PolicyTraining(Demonstrations(tmp_path), tmp_path, blur=1.5))
    rough = augment(edge, rng, PolicyTraining(Demonstrations(tmp_path), tmp_path, noise=0.1))
    steepest = np.abs(np.diff(blurred.astype(int), axis=3)).max(axis=(1, 2, 3, 4))
    assert 5 < (steepest == 200).sum() < 35, "about half of the windows stay as they are"
    assert steepest.min() < 100
    assert 0 < rough[:, :, :, :4].std() < 0.1 * 255
