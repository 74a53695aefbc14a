from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.model_folder import write_folder
from real2sim.success.classifier import KIND, ClassifierConfig, OutcomeNetwork
from real2sim.success.degradation import DegradationConfig
from real2sim.success.evaluate import JudgeEvaluation, evaluate_judge, quality_on_physics
from real2sim.success.goals import Goal, MeasuredGoals
from real2sim.success.outcomes import Outcomes, dataset_goals
from real2sim.success.train_classifier import (
    ClassifierTraining,
    OutcomeTraining,
    outcome_loss,
    split_episodes,
    train_classifier,
)
from real2sim.training.loop import run_training, trained_weights


def tiny(dataset: Path, out: Path, **changes: object) -> ClassifierTraining:
    config = ClassifierTraining(
        data=(dataset,), out=out, classifier=ClassifierConfig.tiny(), steps=8, batch=8, snapshot_every=4
    )
    return dataclasses.replace(config, **changes)


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_resumed_training_equals_an_uninterrupted_one(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_classifier(tiny(dataset, tmp_path / "whole"))

    class KilledError(Exception):
        pass

    usual = OutcomeTraining.loss

    def loss(
        self: OutcomeTraining, network: torch.nn.Module, step: int, rng: np.random.Generator
    ) -> Mapping[str, torch.Tensor]:
        if step == 6:
            raise KilledError
        return usual(self, network, step, rng)

    with monkeypatch.context() as patch:
        patch.setattr(OutcomeTraining, "loss", loss)
        with pytest.raises(KilledError):
            train_classifier(tiny(dataset, tmp_path / "parts"))
    train_classifier(tiny(dataset, tmp_path / "parts"))
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [8]


def test_another_seed_gives_other_weights(dataset: Path, tmp_path: Path) -> None:
    train_classifier(tiny(dataset, tmp_path / "a"))
    train_classifier(tiny(dataset, tmp_path / "b", seed=1))
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


def test_training_leaves_the_global_generator_alone(dataset: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    train_classifier(tiny(dataset, tmp_path / "run"))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_snapshot_of_other_settings_is_not_continued(dataset: Path, tmp_path: Path) -> None:
    train_classifier(tiny(dataset, tmp_path / "run"))
    with pytest.raises(ValueError, match="begun with another learning_rate"):
        train_classifier(tiny(dataset, tmp_path / "run", learning_rate=1e-4))


def test_a_time_limit_stops_and_the_next_call_resumes(dataset: Path, tmp_path: Path) -> None:
    assert train_classifier(tiny(dataset, tmp_path / "run", max_minutes=0.0)) is None
    assert train_classifier(tiny(dataset, tmp_path / "run")) is not None


@pytest.mark.slow
def test_a_trained_judge_recognises_unseen_outcomes(dataset: Path, unseen: Path, tmp_path: Path) -> None:
    config = tiny(
        dataset,
        tmp_path / "run",
        steps=400,
        batch=32,
        learning_rate=5e-3,
        degradation=DegradationConfig(shift=0, smear=0, noise=0.03, blur=0.4, colour=0.05),
        snapshot_every=400,
    )
    judge = train_classifier(config)
    quality = evaluate_judge(JudgeEvaluation(tmp_path / "run" / "model", physics=(unseen,)))
    assert quality["physics"]["all"]["episodes"] == 80
    assert quality["physics"]["all"]["balanced_accuracy"] >= 0.9
    assert quality["physics"]["all"]["joint_error_mm"] < 12
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "Measured quality" in card
    assert "How it was trained" in card
    assert judge.digest == quality["judge_digest"]


def test_measuring_twice_writes_the_card_once(dataset: Path, unseen: Path, tmp_path: Path) -> None:
    config = ClassifierConfig.tiny()
    write_folder(tmp_path / "judge", KIND, config, OutcomeNetwork(config).state_dict(), "# Judge\n")
    evaluation = JudgeEvaluation(tmp_path / "judge", physics=(unseen,))
    evaluate_judge(evaluation)
    card = (tmp_path / "judge" / "README.md").read_text()
    evaluate_judge(evaluation)
    assert (tmp_path / "judge" / "README.md").read_text() == card


def test_an_untrained_judge_is_no_better_than_chance(unseen: Path) -> None:
    from real2sim.success.classifier import SuccessClassifier

    torch.manual_seed(0)
    quality = quality_on_physics(SuccessClassifier(ClassifierConfig.tiny()), [unseen])
    assert quality["all"]["balanced_accuracy"] < 0.7


def test_any_frame_may_play_the_final_one(dataset: Path) -> None:
    outcomes = Outcomes([dataset], ClassifierConfig.tiny())
    episode, frame = outcomes.all_frames()
    assert len(episode) == 60 * 5
    clips = outcomes.clips(episode, frame)
    assert clips.known.all()
    np.testing.assert_array_equal(clips.reached[:, 0], clips.joint > -0.03)
    np.testing.assert_array_equal(clips.reached[:, 1], clips.joint < -0.12)
    last = frame == 4
    np.testing.assert_array_equal(clips.reached[last][np.arange(60), outcomes.goals], outcomes.success)


def test_without_a_joint_only_the_recorded_outcome_is_known(tmp_path: Path) -> None:
    for number in range(3):
        np.savez(
            tmp_path / f"{number}.npz",
            image=np.zeros((4, 16, 16, 3), np.uint8),
            instruction="pick can" if number else "pick cup",
            success=number == 1,
        )
    config = dataclasses.replace(ClassifierConfig.tiny(), goals=(Goal("pick cup"), Goal("pick can")))
    outcomes = Outcomes([tmp_path], config)
    episode, frame = outcomes.all_frames()
    np.testing.assert_array_equal(frame, [3, 3, 3])
    clips = outcomes.clips(episode, frame)
    np.testing.assert_array_equal(clips.known, [[True, False], [False, True], [False, True]])
    np.testing.assert_array_equal(clips.reached[clips.known], [False, True, False])
    for number in range(3, 9):
        frames = np.zeros((4, 16, 16, 3), np.uint8)
        np.savez(tmp_path / f"{number}.npz", image=frames, instruction="pick can", success=number % 2 == 1)
    judge = train_classifier(
        ClassifierTraining(data=(tmp_path,), out=tmp_path / "run", classifier=config, steps=2, batch=2)
    )
    assert judge.probability(outcomes.images.reshape(3, 4, 16, 16, 3), ["pick can"] * 3).shape == (3,)


def test_goals_are_measured_where_the_data_holds_the_joint_and_recorded_outcomes_elsewhere(
    tmp_path: Path, dataset: Path
) -> None:
    measured = MeasuredGoals("joint", ClassifierConfig.tiny().goals)
    assert dataset_goals([dataset], measured) == measured.goals
    recorded = (Goal("close drawer"), Goal("open drawer"))
    assert dataset_goals([dataset], None) == recorded
    assert dataset_goals([dataset], dataclasses.replace(measured, joint="other")) == recorded
    np.savez(tmp_path / "new.npz", instruction="Lift the cup.", joint=np.zeros(2))
    assert dataset_goals([tmp_path], measured) == (Goal("lift the cup"),)


@pytest.mark.parametrize(
    ("length", "outcomes", "said"),
    [(4, (False,) * 4, "0 frames done, 3 not done"), (1, (None,) * 4, "3 frames done, 0 not done")],
)
def test_frames_of_one_kind_alone_make_no_judge(
    tmp_path: Path, length: int, outcomes: tuple[bool | None, ...], said: str
) -> None:
    for number, success in enumerate(outcomes):
        arrays = {"image": np.zeros((length, 16, 16, 3), np.uint8), "instruction": np.array("pick can")}
        told = {} if success is None else {"success": np.array(success)}
        np.savez(tmp_path / f"{number}.npz", **arrays, **told)
    config = ClassifierTraining((tmp_path,), tmp_path / "run", negatives="early", steps=2, batch=2)
    with pytest.raises(ValueError, match=f"{tmp_path}: the frames that are left .*{said}.*add episodes"):
        train_classifier(config)


def test_unknown_outcomes_do_not_count() -> None:
    logits = torch.tensor([[3.0, 50.0]])
    reached = torch.tensor([[True, False]])
    known = torch.tensor([[True, False]])
    alone = torch.nn.functional.softplus(torch.tensor(-3.0))
    torch.testing.assert_close(outcome_loss(logits, reached, known), alone)
    assert outcome_loss(logits, reached, torch.zeros_like(known)) == 0


def test_calibration_episodes_are_not_trained_on() -> None:
    training, calibrating = split_episodes(50, 0.1, seed=3)
    assert len(calibrating) == 5
    assert sorted([*training, *calibrating]) == list(range(50))
    with pytest.raises(ValueError, match="at least 2"):
        split_episodes(1, 0.1, seed=3)


def test_data_that_cannot_be_read_is_named(tmp_path: Path, dataset: Path) -> None:
    config = ClassifierConfig.tiny()
    with pytest.raises(FileNotFoundError, match="holds no npz"):
        Outcomes([tmp_path], config)
    (tmp_path / "broken.npz").write_bytes(next(dataset.glob("*.npz")).read_bytes()[:300])
    with pytest.raises(ValueError, match=r"broken\.npz cannot be read as npz"):
        Outcomes([tmp_path], config)
    (tmp_path / "broken.npz").unlink()
    np.savez(tmp_path / "bare.npz", image=np.zeros((2, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="has no array 'instruction'"):
        Outcomes([tmp_path], config)
    np.savez(
        tmp_path / "bare.npz",
        image=np.zeros((2, 8, 8, 3), np.uint8),
        success=True,
        instruction="open drawer",
        joint=np.zeros(2),
    )
    with pytest.raises(ValueError, match="the classifier expects 16 x 16"):
        Outcomes([tmp_path], config)


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
from real2sim.success.classifier import ClassifierConfig
from real2sim.success.train_classifier import ClassifierTraining, train_classifier

train_classifier(
    ClassifierTraining(
        (Path(sys.argv[1]),), Path(sys.argv[2]), classifier=ClassifierConfig.tiny(), steps=4, batch=4
    )
)
"""


@pytest.mark.slow
def test_two_processes_equal_one_that_accumulates(dataset: Path, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(script),
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([*launch, str(dataset), str(tmp_path / "two")], check=True, env=environment)
    config = tiny(dataset, tmp_path / "one", steps=4, batch=4)
    run_training(OutcomeTraining(config), dataclasses.replace(config.optimisation, accumulate=2), config.out)
    two, one = (trained_weights(tmp_path / name)[0] for name in ("two", "one"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "two" / "model" / "README.md").is_file()


def test_outcomes_known_at_every_frame_make_every_frame_a_final_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number in range(6):
        done = np.array([False, False, number % 2 == 0, True, number % 2 == 0])
        np.savez(
            tmp_path / f"{number}.npz",
            image=rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8),
            instruction="lift the block",
            success=bool(done[-1]),
            reached=done,
        )
    config = dataclasses.replace(ClassifierConfig.tiny(), goals=dataset_goals([tmp_path], None))
    outcomes = Outcomes([tmp_path], config)
    episode, frame = outcomes.all_frames()
    assert len(episode) == 30
    clips = outcomes.clips(episode, frame)
    assert clips.known.all()
    assert clips.reached[:5, 0].tolist() == [False, False, True, True, True]
    assert clips.reached[5:10, 0].tolist() == [False, False, False, True, False]
    # Of the first episode the outcome changes between its second and its third frame.
    assert outcomes.near_change(episode, frame)[:5].tolist() == [True, True, True, True, False]


def test_outcomes_at_every_frame_count_for_the_episodes_that_have_them(tmp_path: Path) -> None:
    for number in range(2):
        known = {"reached": np.ones(5, bool)} if number else {}
        image = np.zeros((5, 16, 16, 3), np.uint8)
        np.savez(tmp_path / f"{number}.npz", image=image, instruction="lift", success=True, **known)
    config = dataclasses.replace(ClassifierConfig.tiny(), goals=dataset_goals([tmp_path], None))
    outcomes = Outcomes([tmp_path], config)
    assert outcomes.all_frames()[0].tolist() == [0, 1, 1, 1, 1, 1]
    assert Outcomes([tmp_path], config, labels={"1": "success"}).all_frames()[0].tolist() == [0, 1]
    np.savez(tmp_path / "2.npz", image=image, instruction="lift", success=True, reached=np.ones(4, bool))
    with pytest.raises(ValueError, match="expected one bool for each of the 5 frames"):
        Outcomes([tmp_path], config)
