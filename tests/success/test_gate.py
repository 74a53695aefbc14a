"""The validity gate on a made-up robot: a bright square that actions move, and videos that stop being so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.cli import main
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.run_folder import RowWriter, RunFolder, load_run
from real2sim.model_folder import WEIGHTS_FILE
from real2sim.robot import ActionNumber, Camera, Robot
from real2sim.success.gate_runs import check_run
from real2sim.success.train_gate import ActionRecovery, GateTraining, RealEpisodes, soften, train_gate
from real2sim.success.validity import (
    STATISTICS,
    ValidityGate,
    asks_for_motion,
    requested,
    softness,
    stillness,
    trailing_mean,
)

MOVER = Robot(
    name="mover",
    action=(ActionNumber("x", -3, 3), ActionNumber("y", -3, 3), ActionNumber("gripper", -1, 1)),
    cameras=(Camera("top", 16, 16),),
)


def episode(rng: np.random.Generator, length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Frames (t h w 3) and actions (t n); the square stays where an action would take it beyond the edge."""
    actions = np.concatenate([rng.uniform(-3, 3, (length, 2)), np.ones((length, 1))], axis=1)
    place, frames = rng.uniform(2, 10, 2), []
    background = np.tile(np.arange(16, dtype=np.uint8)[:, None, None] * 4 + 40, (1, 16, 3))
    for action in actions:
        frame = background.copy()
        row, column = np.round(place).astype(int)
        frame[row : row + 4, column : column + 4] = (240, 200, 40)
        frames.append(frame)
        place = np.clip(place + action[:2], 0, 12)
    return np.stack(frames), actions.astype(np.float32)


def write(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir()
    MOVER.save(folder)
    rng = np.random.default_rng(seed)
    for number in range(count):
        frames, actions = episode(rng)
        write_arrays(
            folder / f"{number:03d}.npz",
            {"image": frames, "action": actions, "instruction": np.array("move"), "success": np.array(True)},
        )
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("real") / "data", 180, seed=1)


@pytest.fixture(scope="module")
def gate(real: Path, tmp_path_factory: pytest.TempPathFactory) -> ValidityGate:
    out = tmp_path_factory.mktemp("gate")
    made = train_gate(
        GateTraining((real,), out, steps=200, batch=24, kept_share=0.55, refused=0.05, average=0.98)
    )
    assert made is not None
    return made


def videos(count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(2)
    found = [episode(rng) for _ in range(count)]
    return [(frames, actions[:-1]) for frames, actions in found]


@pytest.mark.slow
def test_real_video_passes_at_the_stated_rate(gate: ValidityGate) -> None:
    refused = [not gate.check(frames, actions).valid for frames, actions in videos()]
    # 5 % of 60 are 3; 9 or more would come about less than 1 time in 200.
    assert sum(refused) < 9


def test_video_that_stops_following_the_actions_is_invalid_from_there(gate: ValidityGate) -> None:
    found = []
    for frames, actions in videos(30):
        other = actions.copy()
        other[4:, :2] = -np.sign(actions[4:, :2]) * 3
        found.append(gate.check(frames, other).invalid_from)
    caught = [place for place in found if place is not None]
    assert len(caught) > 20
    assert np.mean([place >= 5 for place in caught]) > 0.9


def test_frozen_and_washed_out_video_is_invalid(gate: ValidityGate) -> None:
    frozen, washed = [], []
    for frames, actions in videos(20):
        stopped = frames.copy()
        stopped[4:] = frames[3]
        frozen.append(gate.check(stopped, actions).valid)
        grey = frames.copy()
        grey[5:] = (frames[5:] * 0.05 + 100).astype(np.uint8)
        washed.append(gate.check(grey, actions).valid)
    # A square at the edge stands still, too, so that not every freeze is found.
    assert sum(frozen) <= 6
    assert not any(washed)


def test_an_episode_without_a_drawn_frame_is_valid_and_shapes_are_checked(gate: ValidityGate) -> None:
    frames, actions = videos(1)[0]
    assert gate.check(frames[:1], actions[:0]).valid
    with pytest.raises(ValueError, match="8 actions lead through 9 frames, got 8"):
        gate.check(frames[1:], actions)
    with pytest.raises(ValueError, match="2 action numbers per frame, the gate recovers 3"):
        gate.check(frames, actions[:, :2])


def test_a_number_that_never_changes_is_not_compared(gate: ValidityGate) -> None:
    frames, actions = videos(1)[0]
    other = actions.copy()
    other[:, 2] = -1
    np.testing.assert_array_equal(gate.statistics(frames, actions)[0], gate.statistics(frames, other)[0])


def test_a_gate_is_read_back_as_it_was_fitted_and_its_digest_follows_the_limits(
    gate: ValidityGate, tmp_path: Path
) -> None:
    values = {name: 2 * getattr(gate.config.limits, name) for name in STATISTICS}
    limits = dataclasses.replace(gate.config.limits, **values)
    other = ValidityGate(dataclasses.replace(gate.config, limits=limits), gate.network)
    assert other.digest != gate.digest
    frames, actions = videos(1)[0]
    np.testing.assert_allclose(other.check(frames, actions).score, gate.check(frames, actions).score / 2)


def test_a_resumed_training_equals_an_uninterrupted_one(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = GateTraining((real,), tmp_path / "whole", steps=4, batch=4, snapshot_every=2)
    train_gate(config)

    class KilledError(Exception):
        pass

    usual = ActionRecovery.loss

    def loss(
        self: ActionRecovery, network: torch.nn.Module, step: int, rng: np.random.Generator
    ) -> Mapping[str, torch.Tensor]:
        if step == 3:
            raise KilledError
        return usual(self, network, step, rng)

    parts = dataclasses.replace(config, out=tmp_path / "parts")
    with monkeypatch.context() as patch:
        patch.setattr(ActionRecovery, "loss", loss)
        with pytest.raises(KilledError):
            train_gate(parts)
    train_gate(parts)
    first, second = ((folder / "model" / WEIGHTS_FILE).read_bytes() for folder in (config.out, parts.out))
    assert first == second


def test_too_few_episodes_are_refused_in_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "few", 5, seed=3)
    with pytest.raises(
        ValueError, match=r"5 real episodes .* too few for a validity gate; expected at least 12"
    ):
        RealEpisodes((tmp_path / "few",))


def test_few_episodes_raise_the_share_that_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "few", 30, seed=3)
    made = train_gate(GateTraining((tmp_path / "few",), tmp_path / "gate", steps=2, batch=4))
    assert made is not None
    assert made.config.limits.episodes == 6
    assert made.config.limits.refused == pytest.approx(4 / 7)
    card = (tmp_path / "gate/model/README.md").read_text()
    assert "most 57.1 % of further" in card


def test_motion_is_asked_for_by_a_step_of_a_target_and_by_the_size_of_a_displacement() -> None:
    targets = np.array([[5.0], [5.0], [9.0]])
    np.testing.assert_array_equal(requested(targets, (True,)), [[0], [0], [4]])
    np.testing.assert_array_equal(requested(targets, (False,)), [[5], [5], [9]])
    two_per_frame = np.array([[1.0, -7.0]])
    np.testing.assert_array_equal(requested(two_per_frame, (False,)), [[7]])
    np.testing.assert_array_equal(asks_for_motion(targets, (True,), (2.0,)), [False, False, True])
    np.testing.assert_array_equal(asks_for_motion(targets, (True,), (0.0,)), [False] * 3)


def test_the_numbers_of_a_frame_are_what_they_say() -> None:
    np.testing.assert_allclose(trailing_mean(np.array([4.0, 0.0, 2.0]), 2), [2, 2, 1])
    frames = np.zeros((6, 8, 8, 3), np.uint8)
    frames[1:, ::2] = 51
    asked = np.array([True] * 5)
    np.testing.assert_allclose(stillness(frames, asked), [0, 0, 10, 1e5, 1e5], rtol=1e-5)
    asked[3] = False
    np.testing.assert_allclose(stillness(frames, asked), [0, 0, 10, 0, 0], rtol=1e-5)
    sharp = np.zeros((2, 8, 8, 3), np.uint8)
    sharp[0, ::2], sharp[1, ::2] = 200, 50
    assert softness(sharp)[0] == pytest.approx(4, rel=1e-3)


def test_softened_pairs_keep_their_shape_and_come_from_the_generator_alone() -> None:
    pairs = torch.rand(8, 2, 3, 16, 16) * 2 - 1
    first, second = (soften(pairs, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == pairs.shape
    assert not torch.equal(first, pairs)


def make_run(folder: Path, gate: ValidityGate) -> RunFolder:
    run = RunFolder(folder)
    run.open({"suite": "s"}, {"config": {"suite": str(folder / "no suite")}})
    MOVER.save(folder)
    with RowWriter(run, 0) as rows:
        for number, (frames, actions) in enumerate(videos(4)):
            if number == 3:
                frames = np.repeat(frames[:1], len(frames), axis=0)
            row = {
                "episode": f"e{number}",
                "policy": "p",
                "task": "t",
                "instruction": "move",
                "steps": len(actions),
            }
            rows.write(row, frames, actions)
    return run


def test_a_run_gets_a_row_per_episode_and_its_table_the_columns(gate: ValidityGate, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gate)
    assert "valid" not in load_run(run.path)
    target = check_run(run.path, gate, progress=False)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["episode"] for row in rows] == ["e0", "e1", "e2", "e3"]
    assert not rows[3]["valid"]
    assert rows[3]["invalid_from"] >= 1
    assert rows[3]["validity_score"] > 1
    table = load_run(run.path).set_index("episode")
    assert table["valid"].to_dict() == {row["episode"]: row["valid"] for row in rows}
    before = target.read_bytes()
    check_run(run.path, gate, progress=False)
    assert target.read_bytes() == before


def test_rows_of_another_gate_are_replaced(gate: ValidityGate, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gate)
    target = check_run(run.path, gate, progress=False)
    limits = dataclasses.replace(gate.config.limits, **dict.fromkeys(STATISTICS, 1e9))  # type: ignore[arg-type]
    lenient = ValidityGate(dataclasses.replace(gate.config, limits=limits), gate.network, gate.robot)
    check_run(run.path, lenient, progress=False)
    assert {json.loads(line)["valid"] for line in target.read_text().splitlines()} == {True}


def test_a_gate_of_another_robot_is_refused(gate: ValidityGate, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", gate)
    dataclasses.replace(MOVER, cameras=(Camera("side", 16, 16),)).save(run.path)
    with pytest.raises(ValueError, match=r"gate .* do not fit: cameras are .*top.* in the one, .*side"):
        check_run(run.path, gate, progress=False)


def test_score_applies_the_gate_beside_the_judge(
    real: Path, gate: ValidityGate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", gate)
    labels = tmp_path / "labels.csv"
    labels.write_text("episode,label\n" + "".join(f"e{i},success\n" for i in range(4)))
    main(["score", str(run.path), "--judge", str(labels)])
    assert "validity" not in capsys.readouterr().out
    main(
        [
            "train",
            "gate",
            "--data",
            str(real),
            "--out",
            str(tmp_path / "gate"),
            "--steps",
            "2",
            "--batch",
            "4",
        ]
    )
    main(["score", str(run.path), "--judge", str(labels), "--gate", str(tmp_path / "gate/model")])
    assert str(run.path / "validity.jsonl") in capsys.readouterr().out
