from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.run_folder import RowWriter, RunFolder, load_run
from real2sim.success.classifier import ClassifierConfig, OutcomeNetwork, SuccessClassifier
from real2sim.success.evaluate import quality_on_labels, quality_on_sheets
from real2sim.success.judge import Judge, open_judge
from real2sim.success.labels import HumanLabels, read_labels, write_labels
from real2sim.success.score import score
from real2sim.success.strips import StripSheets, write_sheets


class BrightnessJudge:
    """Success is a bright last frame."""

    name = "brightness"

    def __init__(self, digest: str = "1") -> None:
        self._digest = digest
        self.seen: list[str] = []

    @property
    def digest(self) -> str:
        return self._digest

    def judge(
        self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
    ) -> np.ndarray:
        self.seen += episodes
        return np.array([video[-1].mean() / 255 for video in frames])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten episodes of growing brightness, each one step longer than the one before."""
    folder = RunFolder(tmp_path / "run")
    folder.open({"suite": "toy"}, {})
    with RowWriter(folder, 0) as writer:
        for number in range(10):
            video = np.full((number + 2, 16, 16, 3), number * 28, np.uint8)
            row = {
                "episode": f"e{number}",
                "task": "open_drawer",
                "policy": "p",
                "start": f"s{number}",
                "instruction": "open drawer",
            }
            writer.write(row, video, np.zeros((number + 1, 13), np.float32))
    return folder.path


def test_every_episode_gets_a_verdict_that_load_run_joins(run: Path) -> None:
    path = score(run, BrightnessJudge(), batch=3)
    assert path.name == "scores-brightness.jsonl"
    table = load_run(run).set_index("episode")
    assert len(table) == 10
    assert table.loc["e9", "probability"] == pytest.approx(9 * 28 / 255, abs=1e-5)
    assert table["success"].tolist() == [number * 28 / 255 >= 0.5 for number in range(10)]
    assert set(table["judge"]) == {"brightness"}


def test_scoring_continues_where_it_was_stopped(run: Path) -> None:
    class StoppingJudge(BrightnessJudge):
        def judge(
            self, episodes: Sequence[str], frames: Sequence[np.ndarray], instructions: Sequence[str]
        ) -> np.ndarray:
            if self.seen:
                raise KeyboardInterrupt
            return super().judge(episodes, frames, instructions)

    with pytest.raises(KeyboardInterrupt):
        score(run, StoppingJudge(), batch=4)
    rest = BrightnessJudge()
    continued = score(run, rest, batch=4).read_bytes()
    assert len(rest.seen) == 6
    (run / "scores-brightness.jsonl").unlink()
    assert score(run, BrightnessJudge()).read_bytes() == continued


def test_scores_of_another_version_of_the_judge_are_replaced(run: Path) -> None:
    score(run, BrightnessJudge("old"))
    again = BrightnessJudge("new")
    path = score(run, again)
    assert len(again.seen) == 10
    assert {json.loads(line)["judge_digest"] for line in path.read_text().splitlines()} == {"new"}


def test_the_batch_does_not_matter(run: Path) -> None:
    judge = SuccessClassifier(ClassifierConfig.tiny(), OutcomeNetwork(ClassifierConfig.tiny()))
    path = score(run, judge, batch=1)
    alone = [json.loads(line)["probability"] for line in path.read_text().splitlines()]
    path.unlink()
    together = [json.loads(line)["probability"] for line in score(run, judge).read_text().splitlines()]
    np.testing.assert_allclose(alone, together, atol=2e-6)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        score(tmp_path, BrightnessJudge())


def labels_csv(path: Path, labels: dict[str, str]) -> Path:
    path.write_text("episode,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items()))
    return path


def test_a_persons_labels_judge_only_what_was_labelled(run: Path, tmp_path: Path) -> None:
    path = labels_csv(tmp_path / "labels.csv", {"e0": "failure", "e1": "Success", "e2": "unclear", "e3": ""})
    judge = open_judge(path)
    assert isinstance(judge, HumanLabels)
    assert isinstance(judge, Judge)
    rows = [json.loads(line) for line in score(run, judge).read_text().splitlines()]
    decided = [(row["episode"], row["success"]) for row in rows if row["success"] is not None]
    assert decided == [("e0", False), ("e1", True)]
    assert all(row["probability"] is None for row in rows if row["success"] is None)


def test_a_perfect_judge_has_a_perfect_confusion_matrix(run: Path, tmp_path: Path) -> None:
    truth = {f"e{number}": "success" if number >= 6 else "failure" for number in range(10)}
    path = labels_csv(tmp_path / "labels.csv", truth)
    quality = quality_on_labels(HumanLabels.from_csv(path), RunFolder(run), path)
    assert quality["all"]["balanced_accuracy"] == 1
    assert quality["all"]["expected_calibration_error"] == 0
    assert (quality["all"]["true_success"], quality["all"]["true_failure"]) == (4, 6)
    opposite = {name: "failure" if label == "success" else "success" for name, label in truth.items()}
    quality = quality_on_labels(HumanLabels(opposite), RunFolder(run), path)
    assert quality["all"]["balanced_accuracy"] == 0


def test_labelled_sheets_measure_a_judge_without_the_run(run: Path, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    write_sheets(StripSheets(run, sheets, per_sheet=4, enlarge=1))
    rows = read_labels(sheets / "labels.csv")
    for row in rows:
        row["label"] = "success" if int(row["episode"][1:]) * 28 / 255 >= 0.5 else "failure"
    write_labels(sheets / "labels.csv", [*rows[:-1], {**rows[-1], "label": "unclear"}])
    quality = quality_on_sheets(BrightnessJudge(), sheets)
    assert (quality["all"]["episodes"], quality["all"]["unclear"]) == (9, 1)
    assert quality["all"]["balanced_accuracy"] == 1
    assert quality["open drawer"]["episodes"] == 9


def test_unclear_labels_are_counted_and_left_out(run: Path, tmp_path: Path) -> None:
    path = labels_csv(tmp_path / "labels.csv", {"e0": "failure", "e8": "success", "e5": "unclear", "e4": ""})
    quality = quality_on_labels(BrightnessJudge(), RunFolder(run), path)
    assert (quality["all"]["episodes"], quality["all"]["unclear"]) == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode,label\ne0,maybe\n", "row 2, column label is 'maybe'"),
        ("episode,label\ne0,success\ne0,failure\n", "row 3: episode 'e0' is there twice"),
        ("name,verdict\ne0,success\n", "columns name, verdict"),
    ],
)
def test_a_label_file_with_a_mistake_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        HumanLabels.from_csv(path)


def test_labels_of_another_run_are_noticed(run: Path, tmp_path: Path) -> None:
    path = labels_csv(tmp_path / "labels.csv", {"other": "success"})
    with pytest.raises(ValueError, match="names the episode 'other'"):
        quality_on_labels(BrightnessJudge(), RunFolder(run), path)


def test_a_path_without_a_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no judge"):
        open_judge(tmp_path / "missing")
