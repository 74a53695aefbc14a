from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real2sim.episodes.run_folder import RowCounter, RowWriter, RunFolder, file_name, load_run

FRAMES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
ACTIONS = np.ones((1, 13), dtype=np.float32)


def row(episode: str, **more: object) -> dict[str, object]:
    return {"episode": episode, "policy": "p", "task": "t", "start": episode, "steps": 1, **more}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.open({"seed": 0, "policies": {"p": "1"}}, {"created": "now"})
    return folder


def test_a_written_episode_is_read_back(folder: RunFolder) -> None:
    with RowWriter(folder, 0) as writer:
        writer.write(row("a"), FRAMES, ACTIONS)
    frames, actions = folder.episode("a")
    np.testing.assert_array_equal(frames, FRAMES)
    np.testing.assert_array_equal(actions, ACTIONS)
    assert load_run(folder.path)["episode"].tolist() == ["a"]


def test_a_torn_last_line_is_ignored_and_cut_off_by_the_next_writer(folder: RunFolder) -> None:
    with RowWriter(folder, 0) as writer:
        writer.write(row("a"), FRAMES, ACTIONS)
    path = folder.path / "rows-0.jsonl"
    path.write_bytes(path.read_bytes() + b'{"episode": "b", "pol')
    assert [r["episode"] for r in folder.rows()] == ["a"]
    with RowWriter(folder, 0) as writer:
        writer.write(row("c"), FRAMES, ACTIONS)
    assert sorted(r["episode"] for r in folder.rows()) == ["a", "c"]


@given(cut=st.integers(min_value=0, max_value=400))
def test_a_file_cut_anywhere_still_gives_every_whole_row(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("cut"))
    lines = [json.dumps(row(name)) + "\n" for name in "abc"]
    content = "".join(lines).encode()[:cut]
    (folder.path / "rows-0.jsonl").write_bytes(content)
    assert len(folder.rows()) == content.count(b"\n")


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(folder: RunFolder) -> None:
    (folder.path / "rows-0.jsonl").write_text('{"episode": "a"}\nnot json\n{"episode": "b"}\n')
    with pytest.raises(ValueError, match=r"rows-0\.jsonl, line 2"):
        folder.rows()


def test_rows_are_counted_as_they_come(folder: RunFolder) -> None:
    counter = RowCounter(folder)
    assert counter.count() == 0
    with RowWriter(folder, 0) as writer, RowWriter(folder, 1) as other:
        for number, place in enumerate([writer, other, writer], start=1):
            place.write(row(str(number)), FRAMES, ACTIONS)
            assert counter.count() == number
    path = folder.path / "rows-0.jsonl"
    path.write_bytes(path.read_bytes() + b'{"torn')
    assert counter.count() == 3
    with RowWriter(folder, 0) as writer:
        writer.write(row("4"), FRAMES, ACTIONS)
    assert counter.count() == 4


def test_an_episode_in_two_files_counts_once(folder: RunFolder) -> None:
    for process in (0, 1):
        with RowWriter(folder, process) as writer:
            writer.write(row("a"), FRAMES, ACTIONS)
    assert len(load_run(folder.path)) == 1


def test_two_writers_cannot_share_a_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import real2sim.episodes.run_folder as module

    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with RowWriter(folder, 0), pytest.raises(ValueError, match="being written by another process"):
        RowWriter(folder, 0)


def test_another_seed_cannot_continue_a_run(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="made with seed = 0, now 1 is asked for"):
        folder.open({"seed": 1, "policies": {"p": "1"}}, {})


def test_other_weights_under_the_same_name_cannot_continue_a_run(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match=r'policies was made with p = "1", now "2"'):
        folder.open({"seed": 0, "policies": {"p": "2"}}, {})


def test_a_run_may_grow_by_a_policy(folder: RunFolder) -> None:
    folder.open({"seed": 0, "policies": {"q": "7"}}, {"created": "later"})
    assert folder.settings()["identity"]["policies"] == {"p": "1", "q": "7"}
    assert folder.settings()["created"] == "now"


def test_rows_without_settings_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "rows-0.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"holds rows but no run\.json"):
        RunFolder(tmp_path).open({"seed": 0}, {})


def test_a_file_in_the_place_of_a_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        RunFolder(tmp_path / "run").open({"seed": 0}, {})


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        load_run(tmp_path)


def test_a_full_disk_leaves_whole_rows(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills while a row is being written: half of it is taken back."""
    writer = RowWriter(folder, 0)
    writer.write(row("a"), FRAMES, ACTIONS)
    process = multiprocessing.get_context("fork").Process(target=_write_with_little_room, args=(folder,))
    writer.close()
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [r["episode"] for r in folder.rows()] == ["a"]
    assert (folder.path / "rows-0.jsonl").read_bytes().endswith(b"\n")


def _write_with_little_room(folder: RunFolder) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = RowWriter(folder, 0)
    size = (folder.path / "rows-0.jsonl").stat().st_size + 20
    (folder.path / "episodes" / "b.npz").write_bytes(b"")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        writer._append(row("b"))
    except OSError:
        return
    raise SystemExit(1)


def test_scores_join_their_rows_and_the_later_one_counts(folder: RunFolder) -> None:
    with RowWriter(folder, 0) as writer:
        for name in "ab":
            writer.write(row(name), FRAMES, ACTIONS)
    scores = [
        {"episode": "a", "judge": "j", "success": False, "probability": 0.2},
        {"episode": "a", "judge": "j", "success": True, "probability": 0.9},
    ]
    (folder.path / "scores-j.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores))
    table = load_run(folder.path).set_index("episode")
    assert table.loc["a", "success"] == True  # noqa: E712 - a numpy bool
    assert table.loc["a", "probability"] == 0.9
    assert np.isnan(table.loc["b", "probability"])


def test_a_world_that_knows_its_outcomes_is_a_judge(folder: RunFolder) -> None:
    with RowWriter(folder, 0) as writer:
        writer.write(row("a", success=True, probability=1.0, judge="mujoco"), FRAMES, ACTIONS)
    score = {"episode": "a", "judge": "j", "success": False, "probability": 0.2}
    (folder.path / "scores-j.jsonl").write_text(json.dumps(score) + "\n")
    table = load_run(folder.path).set_index("judge")
    assert table.loc["mujoco", "success"] == True  # noqa: E712 - a numpy bool
    assert not table.loc["j", "success"]


@given(st.text(max_size=40))
def test_any_text_becomes_a_harmless_file_name(text: str) -> None:
    name = file_name(text)
    assert name
    assert not name.startswith(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
