from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from real2sim import cli
from real2sim.episodes.run_folder import RowWriter, RunFolder
from real2sim.success.classifier import ClassifierConfig, SuccessClassifier
from real2sim.success.goals import Goal
from real2sim.success.known_outcomes import (
    canvas_size,
    find_episodes,
    split_labels,
)
from real2sim.success.labels import episode_labels
from real2sim.success.outcomes import EarlyNegatives, Outcomes, dataset_goals


def picture(done: float, size: int = 16) -> np.ndarray:
    """A square that moves from the left to the right of the picture as ``done`` goes from 0 to 1."""
    frame = np.full((size, size, 3), 60, np.uint8)
    left = round(done * (size - 4))
    frame[4:8, left : left + 4] = (220, 40, 90)
    return frame


def write(folder: Path, name: str, ends: float, instruction: str, success: bool | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    known = {} if success is None else {"success": np.array(success)}
    begins = 1 - ends if ends in (0, 1) else 0.5
    frames = np.stack([picture(begins + (ends - begins) * step / 5) for step in range(6)])
    np.savez(folder / f"{name}.npz", image=frames, instruction=instruction, **known)
    return folder


def write_run(folder: Path, episodes: dict[str, float], instruction: str = "push right") -> Path:
    run = RunFolder(folder)
    run.open({"suite": "toy", "world": "w"}, {"config": {}})
    with RowWriter(run, 0) as writer:
        for name, ends in episodes.items():
            frames = np.stack([picture(ends * step / 5) for step in range(6)])
            row = {"episode": name, "suite": "toy", "task": "t", "policy": "p", "start": "s", "steps": 5}
            writer.write({**row, "instruction": instruction}, frames, np.zeros((5, 13), np.float32))
    return folder


def csv(path: Path, labels: dict[str, str]) -> Path:
    path.write_text("episode,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items()))
    return path


def demonstrations(folder: Path, count: int = 24) -> Path:
    for number in range(count):
        side = number % 2
        write(folder, f"demo-{number:02d}", float(side), ("Push left.", "push right")[side])
    return folder


def config(*instructions: str) -> ClassifierConfig:
    goals = tuple(Goal(name) for name in instructions)
    return ClassifierConfig(goals=goals, image_size=(16, 16), recent=2, widths=(8, 8, 8), hidden=8)


def test_a_label_stands_above_what_was_recorded_and_an_unclear_one_makes_the_outcome_unknown(
    tmp_path: Path,
) -> None:
    data = write(tmp_path / "data", "a", 1, "push right", success=False)
    write(data, "b", 1, "push right", success=True)
    write(data, "c", 1, "push right")
    labels = episode_labels([csv(tmp_path / "labels.csv", {"a": "success", "b": "unclear", "c": ""})])
    assert [episode.known for episode in find_episodes([data], labels)] == [True, None, None]


def test_labels_of_episodes_that_are_nowhere_or_in_two_places_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "first", "a", 1, "push right", success=True)
    second = write(tmp_path / "second", "a", 0, "push right", success=False)
    with pytest.raises(ValueError, match=r"names the episode 'z'.*add the dataset or run folder"):
        find_episodes([first], {"z": "success"})
    with pytest.raises(ValueError, match=r"'a', which is in .*first and in .*second"):
        find_episodes([first, second], {"a": "success"})
    assert len(find_episodes([first, second])) == 2
    with pytest.raises(ValueError, match=r"--data and in --heldout"):
        split_labels({"a": "success"}, [first], [second])
    write(second, "b", 0, "push right")
    assert split_labels({"b": "failure"}, [first], [second]) == ({}, {"b": "failure"})


def test_labelled_generated_episodes_are_learned_and_unlabelled_ones_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"x": 1.0, "y": 0.0, "z": 0.5})
    outcomes = Outcomes([run], config("push right"), labels={"x": "success", "y": "failure"})
    assert outcomes.names == ["x", "y"]
    np.testing.assert_array_equal(outcomes.success, [True, False])
    assert outcomes.generated.all()
    assert canvas_size([run]) == (16, 16)
    with pytest.raises(ValueError, match=r"none of the 3 episodes .* has a known outcome; give labels"):
        Outcomes([run], config("push right"))
    with pytest.raises(ValueError, match="none of the 3"):
        Outcomes([run], config("push right"), early=EarlyNegatives())


def test_early_frames_and_the_ends_of_other_tasks_are_failures(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "left", 0, "push left")
    write(data, "right", 1, "push right")
    write(data, "stuck", 0.5, "push right", success=False)
    early = EarlyNegatives(until=0.5)
    outcomes = Outcomes([data], config("push left", "push right"), early=early)
    assert outcomes.assumed == 2
    episode, frame = outcomes.all_frames()
    # Of six frames the first three are early; a failure has an end only.
    np.testing.assert_array_equal(episode, [0, 0, 0, 0, 1, 1, 1, 1, 2])
    np.testing.assert_array_equal(frame, [0, 1, 2, 5, 0, 1, 2, 5, 5])
    clips = outcomes.clips(episode, frame)
    own = np.arange(9), outcomes.goals[episode]
    assert clips.known[own].all()
    np.testing.assert_array_equal(clips.reached[own], frame * (episode < 2) == 5)
    other = np.arange(9), 1 - outcomes.goals[episode]
    np.testing.assert_array_equal(clips.known[other], (frame == 5) & (episode < 2))
    assert not clips.reached[other].any()
    alone = Outcomes([data], config("push left", "push right"), early=EarlyNegatives(0.5, other_tasks=False))
    assert not alone.clips(episode, frame).known[other].any()


def test_instructions_of_which_only_one_kind_is_known_are_no_goals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write(tmp_path / "data", "a", 1, "push right", success=True)
    write(data, "b", 0.5, "push right", success=False)
    write(data, "c", 0, "push left", success=True)
    assert dataset_goals([data], None) == (Goal("push left"), Goal("push right"))
    assert dataset_goals([data], None, both_kinds=True) == (Goal("push right"),)
    assert "'push left'" in caplog.text
    with pytest.raises(ValueError, match=r"1 are known successes and 0 known failures.*--negatives early"):
        dataset_goals([write(tmp_path / "other", "a", 1, "push right", success=True)], None, both_kinds=True)
    with pytest.raises(
        ValueError, match=r"1 known failures, and .*; give labels, or add episodes that succeed$"
    ):
        dataset_goals(
            [write(tmp_path / "failed", "a", 0, "push right", success=False)], None, both_kinds=True
        )


def test_a_judge_is_trained_from_demonstrations_alone_and_its_card_says_what_that_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = demonstrations(tmp_path / "demos"), tmp_path / "judge"
    small = "--steps 60 --batch 16 --degradation.shift 0 --degradation.smear 0 --degradation.probability 0.1"
    cli.main(f"train classifier --data {data} --out {out} --negatives early {small}".split())
    assert f"judge: {out / 'model'}" in capsys.readouterr().out
    judge = SuccessClassifier.from_folder(out / "model")
    assert [goal.instruction for goal in judge.config.goals] == ["push left", "push right"]
    right = np.stack([picture(step / 5) for step in range(6)])
    videos = [right, right[::-1].copy(), right[:2], np.repeat(right[:1], 6, axis=0)]
    verdicts = judge.judge(list("abcd"), videos, ["push right"] * 4) >= 0.5
    np.testing.assert_array_equal(verdicts, [True, False, False, False])
    card = (out / "model" / "README.md").read_text()
    assert "24 further episodes were taken as successful demonstrations" in card
    assert "What training on demonstrations costs" in card
    assert "Not measured: no success or no failure is known" in card
    assert json.loads((out / "model" / "quality.json").read_text())["held_out"] is None


def test_held_out_folders_with_outcomes_are_measured_in_the_card(tmp_path: Path) -> None:
    data, out = demonstrations(tmp_path / "demos"), tmp_path / "judge"
    heldout = write(tmp_path / "heldout", "good", 1, "push right")
    write(heldout, "bad", 0, "push right")
    write(heldout, "unsaid", 1, "push right")
    labels = csv(tmp_path / "labels.csv", {"good": "success", "bad": "failure"})
    words = f"train classifier --data {data} --out {out} --negatives early --steps 2 --heldout {heldout}"
    cli.main([*words.split(), "--labels", str(labels)])
    quality = json.loads((out / "model" / "quality.json").read_text())
    assert quality["heldout_folders"]["all"]["episodes"] == 2
    assert "Other held-out episodes" in (out / "model" / "README.md").read_text()


def test_a_training_is_not_continued_with_other_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {"a": "success", "b": "success", "x": "success", "y": "failure", "z": "failure"}
    run = write_run(tmp_path / "run", dict.fromkeys(kinds, 0.5))
    labels = csv(tmp_path / "labels.csv", kinds)
    words = f"train classifier --data {run} --out {tmp_path / 'out'} --labels {labels} --steps 2 --batch 2".split()
    cli.main(words)
    csv(labels, {**kinds, "x": "failure", "y": "success"})
    with pytest.raises(SystemExit):
        cli.main(words)
    assert "was begun with another outcomes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--early", "1.5"], "early must lie between 0 and 1"),
        (["--labels", "missing.csv"], r"missing\.csv does not exist"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = demonstrations(tmp_path / "demos", 2)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "classifier", "--data", str(data), "--out", str(tmp_path / "out"), *words])
    assert ended.value.code == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
