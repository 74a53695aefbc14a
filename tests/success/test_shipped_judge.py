"""The judge that is shipped with the drawer suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.drawer.presets import drawer_goals
from real2sim.files import read_json
from real2sim.success.classifier import SuccessClassifier
from real2sim.success.evaluate import quality_on_sheets

FOLDER = Path(__file__).parents[2] / "real2sim" / "assets" / "drawer" / "judge"
LABELS = FOLDER.parent / "judge_labels"
ENDINGS = Path(__file__).parents[1] / "data" / "success" / "heldout_endings.npz"


@pytest.fixture(scope="module")
def judge() -> SuccessClassifier:
    return SuccessClassifier.from_folder(FOLDER)


def test_it_is_right_about_unseen_physics_episodes(judge: SuccessClassifier) -> None:
    with np.load(ENDINGS) as data:
        probabilities = judge.probability(data["frames"], data["instructions"].tolist())
        joint = judge.joint(data["frames"], data["instructions"].tolist())
        assert ((probabilities >= 0.5) == data["success"]).sum() >= 19
        assert np.abs(joint - data["drawer"]).mean() < 0.004


def test_noise_and_a_change_of_light_do_not_turn_its_verdicts(judge: SuccessClassifier) -> None:
    with np.load(ENDINGS) as data:
        frames = data["frames"].astype(np.float32) * 1.05 + 4
        noise = np.random.default_rng(0).normal(0, 6, frames.shape)
        dirty = np.clip(frames + noise, 0, 255).astype(np.uint8)
        probabilities = judge.probability(dirty, data["instructions"].tolist())
        assert ((probabilities >= 0.5) == data["success"]).sum() >= 18


def test_it_agrees_with_the_eye_on_generated_episodes(judge: SuccessClassifier) -> None:
    facts = quality_on_sheets(judge, LABELS)["all"]
    assert facts["episodes"] >= 150
    assert facts["balanced_accuracy"] >= 0.92
    stored = read_json(FOLDER / "quality.json")["generated"]["all"]
    assert facts["balanced_accuracy"] == pytest.approx(stored["balanced_accuracy"], abs=0.02)


def test_it_judges_by_the_thresholds_of_the_physics(judge: SuccessClassifier) -> None:
    assert judge.config.goals == drawer_goals().goals


def test_it_is_small_and_its_card_tells_how_good_these_very_weights_are(judge: SuccessClassifier) -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 600_000
    quality = read_json(FOLDER / "quality.json")
    assert quality["judge_digest"] == judge.digest
    assert quality["physics"]["all"]["balanced_accuracy"] >= 0.97
    card = (FOLDER / "README.md").read_text()
    assert f"{100 * quality['physics']['all']['balanced_accuracy']:.1f} %" in card
