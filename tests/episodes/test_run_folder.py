from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.folder_lock import folder_lock
from real2sim.episodes.rows import read_scores
from real2sim.episodes.run_folder import RowCounter, RowWriter, RunFolder, file_name, load_run
from real2sim.episodes.sound import unsound_episodes

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
    assert len(folder.rows()) == content.count(b"}")
    with RowWriter(folder, 0) as writer:
        writer.write(row("d"), FRAMES, ACTIONS)
    assert len(folder.rows()) == content.count(b"}") + 1


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(folder: RunFolder) -> None:
    (folder.path / "rows-0.jsonl").write_text(f"{json.dumps(row('a'))}\nnot json\n{json.dumps(row('b'))}\n")
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


@pytest.fixture
def begun(folder: RunFolder) -> RunFolder:
    """A run with an episode."""
    with RowWriter(folder, 0) as writer:
        writer.write(row("a"), FRAMES, ACTIONS)
    return folder


def test_a_folder_belongs_to_its_first_episode_and_not_to_a_first_try(folder: RunFolder) -> None:
    folder.open({"seed": 1, "policies": {"p": "2"}}, {"created": "later"})
    assert folder.settings() == {
        "format": 1,
        "identity": {"seed": 1, "policies": {"p": "2"}},
        "created": "later",
    }


def test_another_seed_cannot_continue_a_run(begun: RunFolder) -> None:
    folder = begun
    with pytest.raises(ValueError, match="made with seed = 0, now 1 is asked for"):
        folder.open({"seed": 1, "policies": {"p": "1"}}, {})


def test_other_weights_under_the_same_name_cannot_continue_a_run(begun: RunFolder) -> None:
    folder = begun
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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 99}, "field format is 99, expected 1"),
        ({"identity": "x"}, 'field identity is "x", expected'),
        ({"identity": {"seed": -1}}, "field identity.seed is -1, expected greater than or equal to 0"),
        ({"config": 5}, "field config is 5, expected"),
        ({"lanes": "4"}, 'field lanes is "4", expected'),
    ],
)
def test_settings_are_read_strictly(folder: RunFolder, change: dict[str, object], complaint: str) -> None:
    path = folder.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=rf"run\.json: {complaint}"):
        folder.settings()


def test_a_run_without_its_suite_says_so(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match=r"run\.json: field config\.suite is None"):
        folder.suite()


@pytest.mark.parametrize(
    "change",
    [
        *({"steps": "x"}, {"steps": 0}, {"seed": -1}, {"probability": 7}, {"success": 1}, {"judge": None}),
        *({"policy": None}, {"episode": ""}, {"episode": "../x"}, {"seconds": True}, {"terminated": "no"}),
    ],
)
def test_rows_are_read_strictly_with_their_line(folder: RunFolder, change: dict[str, object]) -> None:
    lines = [json.dumps(row("a")), json.dumps({**row("b"), **change})]
    (folder.path / "rows-0.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"rows-0\.jsonl, line 2: (field )?{next(iter(change))} is"):
        folder.rows()


def test_files_that_are_missing_or_damaged_are_noticed(begun: RunFolder) -> None:
    with RowWriter(begun, 0) as writer:
        for name in "bcde":
            writer.write(row(name), FRAMES, ACTIONS)
    assert unsound_episodes(begun.path / "episodes", begun.rows()) == {}
    begun.episode_path("a").unlink()
    begun.episode_path("b").write_bytes(begun.episode_path("b").read_bytes()[:-40])
    begun.episode_path("c").write_bytes(b"")
    write_arrays(begun.episode_path("d"), {"frames": FRAMES[:1], "actions": ACTIONS})
    write_arrays(begun.episode_path("e"), {"frames": FRAMES})
    found = unsound_episodes(begun.path / "episodes", begun.rows())
    assert found["a"] == "is missing"
    assert "truncated" in found["b"]
    assert "is empty" in found["c"]
    assert "there are 1 frames" in found["d"]
    assert "has no array 'actions'" in found["e"]


@pytest.mark.slow
def test_a_living_owner_is_named_and_a_dead_one_does_not_bind(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from real2sim.episodes.folder_lock import folder_lock\n"
        "with folder_lock(Path(sys.argv[1]), int(sys.argv[2])): print('held', flush=True); time.sleep(600)"
    )
    for processes in ("1", "2"):
        owner = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), processes], stdout=subprocess.PIPE
        )
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        others = [1, 2, 3] if processes == "1" else [1, 3]
        for other in others:
            named = f"being written by process {owner.pid} on "
            with pytest.raises(ValueError, match=named), folder_lock(tmp_path, other):
                pass
        if processes == "2":
            with folder_lock(tmp_path, 2):
                pass
        owner.kill()
        owner.wait()
        with folder_lock(tmp_path):
            pass


def test_rows_held_by_a_stopped_worker_of_a_dead_rollout_do_not_bind(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import real2sim.episodes.run_folder as module

    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with RowWriter(folder, 0), RowWriter(folder, 0, owned=True) as writer:
        writer.write(row("a"), FRAMES, ACTIONS)
    assert [path.name for path in folder.path.glob("rows-*.jsonl") if path.stat().st_size] == [
        "rows-1000.jsonl"
    ]
    assert len(folder.rows()) == 1


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_in_two_seconds(folder: RunFolder) -> None:
    lines = [json.dumps({**row(f"e{number}"), "seed": number, "bytes": 0}) for number in range(100_000)]
    (folder.path / "rows-0.jsonl").write_text("\n".join(lines) + "\n")
    folder.rows()
    began = time.process_time()
    assert len(folder.rows()) == 100_000
    assert time.process_time() - began < 2


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


def test_a_row_of_a_judge_that_gives_no_verdict_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "scores-classifier.jsonl"
    path.write_text('{"episode": "a", "success": null, "probability": null, "judge": "classifier"}\n')
    assert [row["success"] for row in read_scores(path)] == [None]
