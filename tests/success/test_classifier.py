from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.model_folder import WEIGHTS_FILE, config_from_dict, config_to_dict, write_folder
from real2sim.success.calibration import PlattScaling
from real2sim.success.classifier import (
    KIND,
    ClassifierConfig,
    OutcomeNetwork,
    SuccessClassifier,
    judged_frames,
)
from real2sim.success.goals import Goal, goal_index


@pytest.fixture
def judge() -> SuccessClassifier:
    torch.manual_seed(0)
    return SuccessClassifier(ClassifierConfig.tiny())


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 6, 16, 16, 3), np.uint8)


def stored(judge: SuccessClassifier, folder: Path) -> Path:
    write_folder(folder, KIND, judge.config, judge.network.state_dict(), "# Judge\n")
    return folder


def test_a_stored_judge_comes_back_as_it_was(
    judge: SuccessClassifier, frames: np.ndarray, tmp_path: Path
) -> None:
    judge = SuccessClassifier(
        dataclasses.replace(judge.config, calibration=PlattScaling(0.7, 0.2)), judge.network
    )
    again = SuccessClassifier.from_folder(stored(judge, tmp_path / "judge"))
    instructions = ["open drawer"] * 4
    np.testing.assert_array_equal(
        again.probability(frames, instructions), judge.probability(frames, instructions)
    )
    assert again.config == judge.config
    assert again.digest == judge.digest


def test_the_configuration_survives_json() -> None:
    config = ClassifierConfig(goals=(Goal("pick can"), Goal("close drawer", -0.03)), recent=2)
    assert config_from_dict(ClassifierConfig, config_to_dict(config)) == config


def test_an_episode_is_judged_alike_alone_and_in_a_batch(
    judge: SuccessClassifier, frames: np.ndarray
) -> None:
    instructions = ["open drawer", "close drawer", "open drawer", "close drawer"]
    together = judge.probability(frames, instructions)
    alone = [judge.probability(frames[i : i + 1], instructions[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_frames_between_the_first_and_the_last_ones_do_not_matter(
    judge: SuccessClassifier, frames: np.ndarray
) -> None:
    changed = frames.copy()
    changed[:, 1:-2] = 0
    instructions = ["open drawer"] * 4
    before = judge.probability(frames, instructions)
    np.testing.assert_array_equal(judge.probability(changed, instructions), before)
    changed[:, -1] = 0
    assert not np.array_equal(judge.probability(changed, instructions), before)


def test_episodes_of_different_lengths_are_judged_together(
    judge: SuccessClassifier, frames: np.ndarray
) -> None:
    videos = [frames[0], frames[1][:1], frames[2][:3]]
    together = judge.judge(["a", "b", "c"], videos, ["open drawer"] * 3)
    for number, video in enumerate(videos):
        np.testing.assert_allclose(
            judge.probability(video[None], ["open drawer"])[0], together[number], rtol=1e-5
        )
    assert judge.judge([], [], []).shape == (0,)


def test_the_first_frame_and_the_last_ones_are_looked_at() -> None:
    assert judged_frames(21, 3) == [0, 18, 19, 20]
    assert judged_frames(2, 3) == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="without a frame"):
        judged_frames(0, 3)


def test_the_joint_decides_where_the_correction_is_silent(frames: np.ndarray) -> None:
    network = OutcomeNetwork(ClassifierConfig.tiny())
    with torch.no_grad():
        network.verdict.weight.zero_()
        network.verdict.bias.zero_()
    judge = SuccessClassifier(ClassifierConfig.tiny(), network)
    closed, joint = judge.logits_and_joint(frames, ["close drawer"] * 4)
    opened, _ = judge.logits_and_joint(frames, ["open drawer"] * 4)
    np.testing.assert_allclose(closed, (joint + 0.03) / 0.005, rtol=1e-4)
    np.testing.assert_allclose(opened, -(joint + 0.12) / 0.005, rtol=1e-4)


def test_an_instruction_is_found_whatever_its_case_and_spacing() -> None:
    goals = ClassifierConfig.tiny().goals
    assert goal_index(goals, " Open  drawer.") == 1


def test_a_foreign_instruction_is_named(judge: SuccessClassifier, frames: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match="not trained on the instruction 'fold the towel', it knows 'close drawer'"
    ):
        judge.probability(frames[:1], ["fold the towel"])


def test_frames_of_another_size_or_kind_are_refused(judge: SuccessClassifier, frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expects uint8 frames \(b, t, 16, 16, 3\), got float64"):
        judge.probability(frames / 255.0, ["open drawer"] * 4)
    with pytest.raises(ValueError, match="resize"):
        judge.probability(frames[:, :, :8], ["open drawer"] * 4)
    with pytest.raises(ValueError, match="got 1 instructions for 4 episodes"):
        judge.probability(frames, ["open drawer"])


def test_truncated_weights_are_reported_in_one_sentence(judge: SuccessClassifier, tmp_path: Path) -> None:
    folder = stored(judge, tmp_path / "judge")
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read .* truncated") as caught:
        SuccessClassifier.from_folder(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_reported(judge: SuccessClassifier, tmp_path: Path) -> None:
    other = dataclasses.replace(judge.config, hidden=16)
    write_folder(tmp_path / "judge", KIND, other, judge.network.state_dict(), "# Judge\n")
    with pytest.raises(ValueError, match="another configuration"):
        SuccessClassifier.from_folder(tmp_path / "judge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goals": ()}, "at least one goal"),
        ({"recent": 0}, "recent"),
        ({"image_size": (60, 4)}, "at least 8 x 8"),
        ({"widths": (8, 12, 8)}, "widths"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ClassifierConfig.tiny(), **change)
