"""Label files that know episodes by clip, of one rater or several, and what everybody reads out of them."""

from __future__ import annotations

import json
import shutil
from multiprocessing import get_context
from pathlib import Path

import pytest

from real2sim.evaluation.score_runs import ScoreConfig, score_runs
from real2sim.success.label_key import KEY_FILE, make_key, read_key
from real2sim.success.labels import HumanLabels, episode_labels, read_labels
from real2sim.success.rater_file import RaterFile, Rating, check_rater
from real2sim.success.strips import StripSheets, write_sheets


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with the key of five episodes, and episode -> clip."""
    key = make_key(tmp_path / "run", [f"begin-{number}" for number in range(5)])
    return tmp_path / "run", {episode: clip for clip, episode in key.items()}


def test_a_clip_tells_nothing_and_keeps_its_id_while_the_run_grows(tmp_path: Path) -> None:
    first = make_key(tmp_path, ["begin-0", "begin-1"])
    grown = make_key(tmp_path, ["begin-0", "begin-1", "converged-0"])
    assert first.items() <= grown.items()
    assert sorted(grown.values()) == ["begin-0", "begin-1", "converged-0"]
    assert read_key(tmp_path) == grown
    assert all(len(clip) == 12 and set(clip) <= set("0123456789abcdef") for clip in grown)
    rows = (tmp_path / KEY_FILE).read_text().splitlines()[1:]
    assert rows == sorted(rows)


def test_two_runs_share_no_clip(tmp_path: Path) -> None:
    names = [f"e{number}" for number in range(50)]
    assert not make_key(tmp_path / "a", names).keys() & make_key(tmp_path / "b", names).keys()


def test_raters_file_holds_clips_and_no_episode(
    labelled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, clips = labelled
    file = RaterFile(tmp_path / "labels.csv")
    for episode, label in (("begin-0", "success"), ("begin-1", "failure"), ("begin-2", "unclear")):
        file.add(Rating(clips[episode], "ann", label))
    assert "begin" not in file.path.read_text()
    assert episode_labels([file.path], [folder]) == {
        "begin-0": "success",
        "begin-1": "failure",
        "begin-2": "unclear",
    }
    with pytest.raises(
        ValueError, match=r"row 2, column clip is .* which is not in .*label_key.csv; name the run"
    ):
        episode_labels([file.path])


def test_a_key_beside_the_file_is_found(labelled: tuple[Path, dict[str, str]]) -> None:
    folder, clips = labelled
    RaterFile(folder / "labels.csv").add(Rating(clips["begin-3"], "ann", "success"))
    assert HumanLabels.from_csv(folder / "labels.csv").labels == {"begin-3": "success"}


def test_the_majority_of_raters_counts_and_a_tie_is_unclear(labelled: tuple[Path, dict[str, str]]) -> None:
    folder, clips = labelled
    file = RaterFile(folder / "labels.csv")
    given = {
        "begin-0": ("success", "success", "failure"),
        "begin-1": ("failure", "success", "unclear"),
        "begin-2": ("failure", "failure"),
        "begin-3": ("success", "unclear"),
    }
    for episode, labels in given.items():
        for rater, label in zip(("ann", "ben", "cleo"), labels, strict=False):
            file.add(Rating(clips[episode], rater, label))
    assert episode_labels([file.path]) == {
        "begin-0": "success",
        "begin-1": "unclear",
        "begin-2": "failure",
        "begin-3": "unclear",
    }


def test_files_that_print_the_policy_still_read_together_with_blind_ones(
    labelled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, clips = labelled
    old = tmp_path / "old.csv"
    old.write_text(
        "number,sheet,row,episode,task,policy,instruction,label\n"
        "0,s.png,0,begin-0,close,begin,close drawer,success\n"
        "1,s.png,1,begin-4,close,begin,close drawer,failure\n"
        "2,s.png,2,begin-3,close,begin,close drawer,\n"
    )
    RaterFile(tmp_path / "new.csv").add(Rating(clips["begin-0"], "ann", "failure"))
    assert episode_labels([old]) == {"begin-0": "success", "begin-4": "failure"}
    both = episode_labels([old, tmp_path / "new.csv"], [folder])
    assert both == {"begin-0": "unclear", "begin-4": "failure"}


def test_a_label_is_replaced_and_taken_back(tmp_path: Path) -> None:
    file = RaterFile(tmp_path / "labels.csv")
    assert file.undo("ann") is None
    file.add(Rating("c1", "ann", "success"))
    file.add(Rating("c1", "ben", "failure"))
    file.add(Rating("c2", "ann", "failure"))
    file.add(Rating("c1", "ann", "unclear"))
    assert [(r.clip, r.label) for r in file.ratings() if r.rater == "ann"] == [
        ("c2", "failure"),
        ("c1", "unclear"),
    ]
    assert file.undo("ann") == Rating("c1", "ann", "unclear")
    assert file.undo("ann") == Rating("c2", "ann", "failure")
    assert file.undo("ann") is None
    assert file.ratings() == [Rating("c1", "ben", "failure")]
    assert file.undo("ben") == Rating("c1", "ben", "failure")
    assert file.ratings() == []


def _rate(path: Path, rater: str) -> None:
    for number in range(25):
        RaterFile(path).add(Rating(f"c{number}", rater, "success"))


def test_raters_at_the_same_time_lose_no_label(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    processes = [get_context("spawn").Process(target=_rate, args=(path, name)) for name in ("ann", "ben")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(RaterFile(path).ratings()) == 50


def test_a_file_of_another_kind_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("episode,policy,label\ne0,begin,success\n")
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match="has the columns episode, policy, label, expected clip, rater, label"
    ):
        RaterFile(path).add(Rating("c", "ann", "success"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", " ann", "=1+1", "ann\n", "a" * 41, "a,b"])
def test_an_odd_name_of_a_rater_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the rater's name is"):
        check_rater(name)


def test_a_rater_is_called_by_an_ordinary_name() -> None:
    assert check_rater("Jörg M.") == "Jörg M."


def test_an_edited_key_is_noticed(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("clip,episode\na,e0\na,e1\n")
    with pytest.raises(ValueError, match="row 3, column clip 'a' is there twice"):
        read_key(tmp_path)
    (tmp_path / KEY_FILE).write_text("clip,episode\na,e0\nb,e0\n")
    with pytest.raises(ValueError, match="row 3, column episode 'e0' is there twice"):
        read_key(tmp_path)


def test_no_clip_is_a_number_to_a_spreadsheet(tmp_path: Path) -> None:
    assert all(clip.startswith("c") for clip in make_key(tmp_path, [f"e{number}" for number in range(50)]))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("a,ann,success\na,ann,failure", "row 3: clip 'a' is there twice"),
        ("a,ann,success\nb,Ann,failure", "row 3, column rater is 'Ann', and a row above says 'ann'"),
        ("a,ann,success\n,ann,failure", "row 3, column clip is empty"),
        ("a,,success", "row 2, column rater is ''"),
        ("a,=1+1,success", "row 2, column rater is '=1\\+1'"),
        ("a,ann\x1b[31m,success", "row 2, column rater is 'ann"),
    ],
)
def test_an_edited_file_of_raters_is_noticed(tmp_path: Path, rows: str, complaint: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"clip,rater,label\n{rows}\n")
    with pytest.raises(ValueError, match=complaint):
        RaterFile(path).ratings()


def test_a_rater_is_not_two_by_capitals(tmp_path: Path) -> None:
    file = RaterFile(tmp_path / "labels.csv")
    file.add(Rating("a", "Ann", "success"))
    file.check_place("Ann")
    file.check_place("ben")
    with pytest.raises(ValueError, match=r"the rater's name is 'ann', and .*labels.csv has labels of 'Ann'"):
        file.check_place("ann")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_labels_that_would_count_twice_are_refused(tmp_path: Path) -> None:
    one = written(tmp_path / "one.csv", "episode,rater,label\ne0,ann,success\n")
    two = written(tmp_path / "two.csv", "episode,rater,label\ne0,ann,failure\n")
    with pytest.raises(ValueError, match=r"one.csv is named twice"):
        episode_labels([one, tmp_path / "." / "one.csv"])
    with pytest.raises(
        ValueError, match=r"one.csv and .*two.csv both hold a label of ann for episode 'e0'; keep one"
    ):
        episode_labels([one, two])
    with pytest.raises(ValueError, match=r"row 2, column label is 'maybe', expected success"):
        read_labels(written(tmp_path / "true.csv", "episode,label\ne0,maybe\n"))


def test_a_file_without_a_label_is_no_file_of_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels.csv labels no episode; write success"):
        episode_labels([written(tmp_path / "labels.csv", "episode,label\ne0,\ne1,\n")])


def test_a_key_that_contradicts_is_noticed(tmp_path: Path) -> None:
    for name, episode in (("a", "e0"), ("b", "e1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / KEY_FILE).write_text(f"clip,episode\nc1,{episode}\n")
    blind = written(tmp_path / "blind.csv", "clip,label\nc1,success\n")
    with pytest.raises(ValueError, match=r"says that clip 'c1' is 'e1', another key says 'e0'"):
        read_labels(blind, [tmp_path / "a", tmp_path / "b"])
    joined = written(tmp_path / "joined.csv", "clip,episode,label\nc1,e1,success\n")
    with pytest.raises(ValueError, match=r"column episode is 'e1', but the key says that clip 'c1' is 'e0'"):
        read_labels(joined, [tmp_path / "a"])
    assert read_labels(joined, [tmp_path / "b"])[0]["episode"] == "e1"


@pytest.fixture
def two_runs(tiny_run: Path, tmp_path: Path) -> tuple[Path, Path, list[str]]:
    """Two runs of other seeds, whose episodes have the same names, each labelled blindly."""
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    names = [f"begin-{number}" for number in range(4)]
    for run, label in ((tiny_run, "success"), (other, "failure")):
        clips = make_key(run, names)
        for clip in clips:
            RaterFile(run / "labels.csv").add(Rating(clip, "ann", label))
    return tiny_run, other, names


def verdicts(path: Path) -> set[bool | None]:
    return {json.loads(line)["success"] for line in path.read_text().splitlines()}


def test_blind_labels_of_one_run_are_no_labels_of_another(two_runs: tuple[Path, Path, list[str]]) -> None:
    first, second, _ = two_runs
    for options in ({"judge": str(first / "labels.csv")}, {"labels": (first / "labels.csv",)}):
        with pytest.raises(
            ValueError, match=r"row 2, column clip is .*, which is not in .*other/label_key.csv;"
        ):
            score_runs(ScoreConfig((second,), **options))
    assert not list(second.glob("scores*"))


def test_one_file_may_hold_the_labels_of_several_runs(
    two_runs: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    first, second, _ = two_runs
    lines = (second / "labels.csv").read_text().splitlines()[1:]
    both = written(tmp_path / "both.csv", (first / "labels.csv").read_text() + "\n".join(lines) + "\n")
    files = score_runs(ScoreConfig((first, second), str(both)))
    assert [verdicts(path) for path in files] == [{True}, {False}]


def test_names_that_two_runs_share_are_not_enough(
    two_runs: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    first, second, names = two_runs
    path = written(tmp_path / "old.csv", f"episode,label\n{names[0]},success\n")
    with pytest.raises(ValueError, match=r"old.csv labels 'begin-0', which is an episode of .*; score one"):
        score_runs(ScoreConfig((first, second), str(path)))
    assert not list(first.glob("scores*"))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("elsewhere,success", "labels.csv labels 'elsewhere' and no episode of"),
        ("begin-0,unclear", "labels.csv: every episode is unclear or raters differ on it"),
    ],
)
def test_labels_to_compare_with_are_looked_at_before_anything_is_judged(
    tiny_run: Path, tmp_path: Path, rows: str, complaint: str
) -> None:
    path = written(tmp_path / "labels.csv", f"episode,label\n{rows}\n")
    judge = written(tmp_path / "judge.csv", "episode,label\nbegin-0,success\n")
    with pytest.raises(ValueError, match=complaint):
        score_runs(ScoreConfig((tiny_run,), str(judge), (path,)))
    assert not list(tiny_run.glob("scores*"))


def test_blind_labels_score_a_run(tiny_run: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (tiny_run / "rows-0.jsonl").read_text().splitlines()]
    clips = {episode: clip for clip, episode in make_key(tiny_run, [row["episode"] for row in rows]).items()}
    file = RaterFile(tmp_path / "elsewhere.csv")
    file.add(Rating(clips[rows[0]["episode"]], "ann", "success"))
    file.add(Rating(clips[rows[1]["episode"]], "ann", "failure"))
    (scores,) = score_runs(ScoreConfig((tiny_run,), file.path))
    found = {row["episode"]: row["success"] for row in map(json.loads, scores.read_text().splitlines())}
    assert found == {row["episode"]: {0: True, 1: False}.get(number) for number, row in enumerate(rows)}


def test_the_file_beside_film_strips_is_blind_too(tiny_run: Path, tmp_path: Path) -> None:
    write_sheets(StripSheets(tiny_run, tmp_path / "sheets"))
    text = (tmp_path / "sheets" / "labels.csv").read_text()
    assert "begin" not in text and "policy" not in text
    rows = read_labels(tmp_path / "sheets" / "labels.csv")
    assert sorted(row["episode"] for row in rows) == [f"begin-{number}" for number in range(4)]


@pytest.mark.parametrize("column", ["label", "success"])
@pytest.mark.parametrize(
    ("yes", "no"), [("1", "0"), ("TRUE", "FALSE"), ("WAHR", "FALSCH"), ("1.0", "0.0"), ("Yes", "no")]
)
def test_labels_may_be_written_as_spreadsheets_write_truth_values(
    tmp_path: Path, column: str, yes: str, no: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"episode,{column}\na,{yes}\nb,{no}\nc,unclear\nd,\n")
    assert episode_labels([path]) == {"a": "success", "b": "failure", "c": "unclear"}
