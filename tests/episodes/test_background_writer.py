"""Episodes that a thread writes: in order, each before its row, errors where episodes come from, bounded memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real2sim.episodes.background_writer import BackgroundWriter
from real2sim.episodes.run_folder import RowWriter, RunFolder
from real2sim.files import DiskError

FRAMES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
ACTIONS = np.ones((1, 13), dtype=np.float32)


def row(episode: str) -> dict[str, object]:
    return {"episode": episode, "policy": "p", "task": "t", "start": episode, "steps": 1}


class HeldWriter(RowWriter):
    """Writes an episode once it is let go; ``failing`` names one at which the disk is full."""

    def __init__(self, folder: RunFolder, failing: str | None = None) -> None:
        super().__init__(folder, 0)
        self.go, self.failing, self.closed = threading.Semaphore(0), failing, False

    def write(self, row: Mapping[str, Any], frames: np.ndarray, actions: np.ndarray) -> None:
        self.go.acquire()
        if row["episode"] == self.failing:
            raise DiskError(28, "the disk is full")
        super().write(row, frames, actions)

    def close(self) -> None:
        self.closed = True
        super().close()

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self.go.release()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.open({"seed": 0, "policies": {"p": "1"}}, {"created": "now"})
    return folder


def names(folder: RunFolder) -> list[str]:
    return [str(found["episode"]) for found in folder.rows()]


def test_episodes_are_written_in_their_order_while_others_come(folder: RunFolder) -> None:
    rows = HeldWriter(folder)
    with BackgroundWriter(lambda: rows) as writer:
        for name in "cab":
            writer.write(row(name), FRAMES, ACTIONS)
        assert names(folder) == []
        rows.let_go(3)
    assert names(folder) == ["c", "a", "b"]
    assert rows.closed
    for name in "abc":
        np.testing.assert_array_equal(folder.episode(name)[0], FRAMES)


def test_no_more_than_so_many_bytes_wait(folder: RunFolder) -> None:
    rows = HeldWriter(folder)
    with BackgroundWriter(lambda: rows, most_waiting=2 * FRAMES.nbytes) as writer:
        handed: list[str] = []

        def hand_over() -> None:
            for name in "abcde":
                writer.write(row(name), FRAMES, ACTIONS)
                handed.append(name)

        thread = threading.Thread(target=hand_over)
        thread.start()
        thread.join(0.3)
        assert len(handed) == 3, "one is being written and two wait"
        rows.let_go(5)
        thread.join()
    assert names(folder) == list("abcde")


def test_an_episode_larger_than_all_that_may_wait_is_written(folder: RunFolder) -> None:
    with BackgroundWriter(lambda: RowWriter(folder, 0), most_waiting=1) as writer:
        for name in "abc":
            writer.write(row(name), FRAMES, ACTIONS)
    assert names(folder) == ["a", "b", "c"]


def test_an_error_is_raised_where_episodes_come_from_and_nothing_is_written_after_it(
    folder: RunFolder,
) -> None:
    rows = HeldWriter(folder, failing="b")
    rows.let_go(9)
    with pytest.raises(DiskError, match="the disk is full"), BackgroundWriter(lambda: rows) as writer:
        for number in range(10_000):
            writer.write(row("b" if number == 1 else f"e{number}"), FRAMES, ACTIONS)
            time.sleep(0.001)
        pytest.fail("the error never came")
    assert names(folder) == ["e0"]
    assert rows.closed


def test_an_error_at_the_last_episode_is_raised_at_the_end(folder: RunFolder) -> None:
    rows = HeldWriter(folder, failing="b")
    with pytest.raises(DiskError, match="the disk is full"), BackgroundWriter(lambda: rows) as writer:
        for name in "ab":
            writer.write(row(name), FRAMES, ACTIONS)
        rows.let_go(2)
    assert names(folder) == ["a"]


def test_a_writer_that_waits_for_room_hears_of_the_error(folder: RunFolder) -> None:
    rows = HeldWriter(folder, failing="a")
    with pytest.raises(DiskError), BackgroundWriter(lambda: rows, most_waiting=1) as writer:
        threading.Timer(0.2, rows.let_go, (1,)).start()
        for name in "abcd":
            writer.write(row(name), FRAMES, ACTIONS)
    assert names(folder) == []


@pytest.mark.parametrize("error", [ValueError("an action beyond the limits"), KeyboardInterrupt()])
def test_what_had_ended_is_written_when_the_drawing_fails(folder: RunFolder, error: BaseException) -> None:
    rows = HeldWriter(folder)
    with pytest.raises(type(error)) as raised, BackgroundWriter(lambda: rows) as writer:
        for name in "abc":
            writer.write(row(name), FRAMES, ACTIONS)
        rows.let_go(3)
        raise error
    assert raised.value is error
    assert names(folder) == ["a", "b", "c"]


def test_the_error_of_the_drawing_counts_and_the_other_one_is_said(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    rows = HeldWriter(folder, failing="a")
    with pytest.raises(ValueError, match="beyond"), BackgroundWriter(lambda: rows) as writer:
        writer.write(row("a"), FRAMES, ACTIONS)
        rows.let_go(1)
        raise ValueError("an action beyond the limits")
    assert "were not written: the disk is full" in caplog.text.replace("[Errno 28] ", "")


def test_a_second_ctrl_c_drops_what_waits(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = HeldWriter(folder)
    writer = BackgroundWriter(lambda: rows)
    finish, calls = writer._finish, []

    def interrupted() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise KeyboardInterrupt
        rows.let_go(9)
        finish()

    monkeypatch.setattr(writer, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt), writer:
        for name in "abc":
            writer.write(row(name), FRAMES, ACTIONS)
        while len(writer._waiting) > 2:
            time.sleep(0.001)
        raise KeyboardInterrupt
    assert names(folder) == ["a"]
    assert rows.closed


KILLED = """
import os, sys, time
import numpy as np
from real2sim.episodes.background_writer import BackgroundWriter
from real2sim.episodes.run_folder import RowWriter, RunFolder
rng = np.random.default_rng(0)
with BackgroundWriter(lambda: RowWriter(RunFolder(sys.argv[1]), 0)) as writer:
    for number in range(400):
        row = {"episode": f"e{number}", "policy": "p", "task": "t", "start": f"e{number}", "steps": 1}
        frames = rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
        writer.write(row, frames, np.ones((1, 13), np.float32))
"""


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_every_row_of_a_killed_writer_has_its_whole_episode_and_rows_have_no_gaps(
    folder: RunFolder, rows: int
) -> None:
    running = subprocess.Popen([sys.executable, "-c", KILLED, str(folder.path)])
    try:
        while len(names(folder)) < rows and running.poll() is None:
            time.sleep(0.002)
    finally:
        running.kill()
        running.wait()
    found = names(folder)
    assert rows <= len(found) < 400
    assert found == [f"e{number}" for number in range(len(found))]
    for name in found:
        assert folder.episode(name, {"steps": 1})[0].shape == (2, 64, 64, 3)
