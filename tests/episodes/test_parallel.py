"""Work that several processes share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from real2sim.episodes.parallel import AHEAD, in_processes, write_in_processes
from real2sim.files import atomic_write

ROOT = Path(__file__).parents[2]
WAIT = """
import signal, sys
from pathlib import Path
from real2sim.episodes.parallel import write_in_processes
from tests.episodes.test_parallel import note_and_wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
list(write_in_processes(Path, sys.argv[1], note_and_wait, [(number,) for number in range(40)], 2))
"""


def opened(folder: Path) -> Path:
    return folder


def write(folder: Path, number: int) -> int:
    with atomic_write(folder / f"{number}.npz"):
        if number == 0:
            time.sleep(1)
        while not (folder / "0.npz").exists() and not list(folder.glob(".0.npz*")):
            time.sleep(0.01)
        if number == 1:
            raise ValueError("the second one fails")
    return number


def note_and_wait(folder: Path, number: int) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(0.3)
    (folder / f"done-{number}").touch()
    return number


def end_itself(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def run_waiting(folder: Path) -> subprocess.Popen[str]:
    """A run of two processes that are at work, in a process group of its own."""
    run = subprocess.Popen(
        [sys.executable, "-c", WAIT, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(workers(folder)) == 2)
    return run


def workers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[1]
    except FileNotFoundError:
        return False


def until(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.02)


def test_results_come_in_order_and_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Pools that are ended by signals now and then printed what they were at, or waited for ever."""
    jobs = [(number,) for number in range(3 * AHEAD * 2)]
    assert list(write_in_processes(opened, 5, int.__mul__, jobs, 2)) == [5 * number for (number,) in jobs]
    assert capfd.readouterr() == ("", "")


def test_what_has_begun_when_another_job_fails_is_finished_and_no_more_begins(tmp_path: Path) -> None:
    results = write_in_processes(opened, tmp_path, write, [(number,) for number in range(40)], 2)
    assert next(results) == 0
    with pytest.raises(ValueError, match="the second one fails"):
        list(results)
    left = {path.name for path in tmp_path.iterdir()}
    assert "0.npz" in left
    assert "1.npz" not in left
    assert len(left) < 40
    assert all(name.endswith(".npz") and not name.startswith(".") for name in left)


def test_a_process_that_is_killed_is_said() -> None:
    with pytest.raises(ChildProcessError, match="killed, probably because the memory ran out"):
        list(in_processes(end_itself, range(4), 2))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_processes_end_when_the_first_one_is_killed(tmp_path: Path) -> None:
    run = run_waiting(tmp_path)
    run.kill()
    run.communicate()
    until(lambda: not any(is_alive(worker) for worker in workers(tmp_path)), 10)
    assert len(list(tmp_path.glob("done-*"))) < 40


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_control_c_stops_all_of_them_at_once(tmp_path: Path) -> None:
    run = run_waiting(tmp_path)
    until(lambda: len(list(tmp_path.glob("done-*"))) >= 2)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=20)
    assert said.count("KeyboardInterrupt") == 1
    assert not any(is_alive(worker) for worker in workers(tmp_path))
    assert len(list(tmp_path.glob("done-*"))) < 40
