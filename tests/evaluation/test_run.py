from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import real2sim
from real2sim.episodes.run_folder import RowCounter, RowWriter, RunFolder
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.files import writing
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.simulation.lanes import Lanes

ROOT = Path(real2sim.__file__).parents[1]
POLICIES = ("late", "replay:push")


def config(folder: Path, out: Path, **more: object) -> RolloutConfig:
    settings = {"policies": POLICIES, "suite": str(folder), "starts": 5, "lanes": 2, "processes": 1} | more
    return RolloutConfig(out=out, **settings)  # type: ignore[arg-type]


def command(suite: Path, out: Path, *more: str) -> list[str]:
    words = ["rollout", "--out", str(out), "--suite", str(suite), "--starts", "5", "--lanes", "2"]
    return ["-m", "real2sim", *words, "--policies", *POLICIES, *more]


def assert_same_run(a: Path, b: Path) -> None:
    """The same rows but for the time they took, and the same frames to the last bit."""
    first, second = (real2sim.load_run(path).drop(columns="seconds") for path in (a, b))
    pd.testing.assert_frame_equal(first, second)
    for episode in first["episode"]:
        for mine, other in zip(RunFolder(a).episode(episode), RunFolder(b).episode(episode), strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.fixture(scope="module")
def whole(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted, made by one process."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    rollout(config(tiny_suite, out), progress=False)
    return out


def test_every_policy_meets_every_start_of_every_task(whole: Path) -> None:
    table = real2sim.load_run(whole)
    assert len(table) == 2 * 2 * 5
    assert (table.groupby(["policy", "task"])["start"].nunique() == 5).all()
    assert set(table["world"]) == {"world_model"}


def test_checkpoints_of_one_training_run_share_its_family(tiny_suite: Path, tmp_path: Path) -> None:
    table = rollout(config(tiny_suite, tmp_path, policies=("shipped",), starts=1), progress=False)
    families = table.drop_duplicates("policy").set_index("policy")["family"].to_dict()
    assert families == {"early": "one-run", "late": "one-run", "other": "another-run"}


def test_policies_share_the_seeds_of_their_starts(whole: Path) -> None:
    table = real2sim.load_run(whole)
    assert (table.groupby(["task", "start"])["seed"].nunique() == 1).all()
    assert table["seed"].nunique() == 2 * 5


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_makes_the_same_run(
    tiny_suite: Path, whole: Path, tmp_path: Path, processes: int
) -> None:
    rollout(config(tiny_suite, tmp_path / "run", processes=processes), progress=False)
    assert len(list((tmp_path / "run").glob("rows-*.jsonl"))) == processes
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("rest", [1, 3])
def test_processes_of_a_launcher_share_the_run_and_another_number_continues_it(
    tiny_suite: Path, whole: Path, tmp_path: Path, rest: int
) -> None:
    """One of two launched processes never starts; whoever comes later does what is missing."""
    environment = {**os.environ, "RANK": "1", "WORLD_SIZE": "2"}
    subprocess.run([sys.executable, *command(tiny_suite, tmp_path)], check=True, cwd=ROOT, env=environment)
    assert 0 < len(real2sim.load_run(tmp_path)) < 20
    rollout(config(tiny_suite, tmp_path, processes=rest), progress=False)
    assert_same_run(whole, tmp_path)


@pytest.mark.slow
def test_accelerate_launch_makes_the_same_run(tiny_suite: Path, whole: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    options = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    subprocess.run(
        [*launch, *options, *command(tiny_suite, tmp_path)], check=True, cwd=ROOT, capture_output=True
    )
    assert len(list(tmp_path.glob("rows-*.jsonl"))) == 2
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(
    tiny_suite: Path, whole: Path, tmp_path: Path, seed: int, processes: int
) -> None:
    """SIGKILL once rows begin to appear, again and again; finished episodes are never made twice."""
    rng = random.Random(seed)
    known: set[str] = set()
    for _ in range(2):
        started = command(tiny_suite, tmp_path / "run", "--processes", str(processes))
        running = subprocess.Popen([sys.executable, *started], cwd=ROOT, stderr=subprocess.DEVNULL)
        folder, enough = RunFolder(tmp_path / "run"), len(known) + rng.randint(1, 6)
        while running.poll() is None and RowCounter(folder).count() < enough:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.2)
        running.send_signal(signal.SIGKILL)
        running.wait()
        found = {str(row["episode"]) for row in folder.rows()}
        assert known <= found
        known = found
    rollout(config(tiny_suite, tmp_path / "run", processes=processes), progress=False)
    assert_same_run(whole, tmp_path / "run")
    lines = [
        line for path in (tmp_path / "run").glob("rows-*.jsonl") for line in path.read_text().splitlines()
    ]
    assert len(lines) == 20


def test_the_next_frames_are_drawn_while_episodes_are_written(
    tiny_suite: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing the first episode waits until the policy has acted for the next batch: it fails without a thread."""
    acted, write, written = threading.Event(), RowWriter.write, []

    def held(writer: RowWriter, *episode: Any) -> None:
        if not written:
            assert acted.wait(60), "nothing was drawn while an episode was written"
        write(writer, *episode)
        written.append(episode[0]["episode"])

    ended: list[int] = []
    step = Lanes.step

    def stepped(lanes: Lanes, actions: np.ndarray) -> Any:
        if ended:
            acted.set()
        result = step(lanes, actions)
        ended.extend(np.flatnonzero(result.terminated | result.truncated).tolist())
        return result

    monkeypatch.setattr(RowWriter, "write", held)
    monkeypatch.setattr(Lanes, "step", stepped)
    rollout(config(tiny_suite, tmp_path / "run"), progress=False)
    assert acted.is_set()
    assert len(written) == 20
    assert_same_run(whole, tmp_path / "run")
    orders = [[row["episode"] for row in _lines(run / "rows-0.jsonl")] for run in (whole, tmp_path / "run")]
    assert orders[0] == orders[1] == written, "rows stand in the order in which episodes end"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_disk_that_fills_while_frames_are_drawn_ends_the_run_with_its_sentence(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = RowWriter.write, []

    def filled(writer: RowWriter, *episode: Any) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, *episode)
        written.append(episode[0]["episode"])

    def full(writer: RowWriter, *episode: Any) -> None:
        with writing(tmp_path / "run"):
            filled(writer, *episode)

    with monkeypatch.context() as patched:
        patched.setattr(RowWriter, "write", full)
        with pytest.raises(OSError, match=r"the disk of .*run is full; finished episodes are saved"):
            rollout(config(tiny_suite, tmp_path / "run"), progress=False)
    assert [row["episode"] for row in _lines(tmp_path / "run" / "rows-0.jsonl")] == written
    assert len(rollout(config(tiny_suite, tmp_path / "run"), progress=False)) == 20
    assert len(_lines(tmp_path / "run" / "rows-0.jsonl")) == 20, "nothing is doubled"


@pytest.mark.slow
def test_workers_die_with_the_process_that_started_them(tiny_suite: Path, tmp_path: Path) -> None:
    started = command(tiny_suite, tmp_path / "run", "--processes", "2")
    running = subprocess.Popen([sys.executable, *started], cwd=ROOT, stderr=subprocess.DEVNULL)
    while RowCounter(RunFolder(tmp_path / "run")).count() < 1:
        time.sleep(0.01)
    children = _children(running.pid)
    assert len(children) == 2
    running.send_signal(signal.SIGKILL)
    running.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_keeps_what_is_finished(tiny_suite: Path, tmp_path: Path) -> None:
    # With many denoising steps it does not end before the signal comes.
    started = command(tiny_suite, tmp_path / "run", "--processes", "2", "--steps", "50")
    running = subprocess.Popen(
        [sys.executable, *started],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background of a shell hands down that this signal is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while RowCounter(RunFolder(tmp_path / "run")).count() < 1:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert "run the command again to resume" in said
    assert len(real2sim.load_run(tmp_path / "run")) >= 1


def test_a_finished_run_is_only_read(tiny_suite: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    table = rollout(config(tiny_suite, whole), progress=False)
    assert len(table) == 20
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_run_grows_by_starts_and_policies(tiny_suite: Path, tmp_path: Path) -> None:
    rollout(config(tiny_suite, tmp_path, policies=("random",), starts=2), progress=False)
    table = rollout(config(tiny_suite, tmp_path, policies=("replay:pull",), starts=3), progress=False)
    assert table.groupby("policy").size().to_dict() == {"random": 4, "replay:pull": 3}


def test_another_seed_does_not_continue_a_run(tiny_suite: Path, whole: Path) -> None:
    with pytest.raises(ValueError, match="made with seed = 0, now 1 is asked for"):
        rollout(config(tiny_suite, whole, seed=1), progress=False)


@pytest.mark.slow
def test_an_own_policy_object_is_rolled_out(tiny_suite: Path, tmp_path: Path) -> None:
    still = CallablePolicy(lambda observation: np.zeros((len(observation), 13)))
    table = rollout(
        config(tiny_suite, tmp_path, policies=("still",), processes=None), {"still": still}, progress=False
    )
    assert set(table["policy"]) == {"still"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"policies": ("randon",)}, "did you mean 'random'"),
        ({"policies": ("replay:pusch",)}, "did you mean 'push'"),
        ({"policies": ("random", "random")}, "two policies are called 'random'"),
        ({"policies": ()}, "no policy was asked for"),
        ({"tasks": ("close_drawr",)}, "did you mean 'close_drawer'"),
        ({"starts": 7}, "7 starts were asked for, task 'close_drawer' of suite 'tiny' has 6"),
        ({"suite": "kitchen"}, "neither a shipped suite"),
        ({"world": "no-such-folder"}, "there is no world model in no-such-folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_no_run(
    tiny_suite: Path, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        rollout(config(tiny_suite, tmp_path / "run", **change), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["starts", "lanes", "threads", "processes"])
def test_numbers_below_one_are_refused(tiny_suite: Path, tmp_path: Path, field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        config(tiny_suite, tmp_path, **{field: 0})


@pytest.mark.slow
def test_a_policy_that_fails_in_a_worker_is_named(tiny_suite: Path, tmp_path: Path) -> None:
    """The controller's recording asks for a step of 0.2 m, which the robot does not have."""
    import shutil

    from real2sim.episodes.arrays import read_arrays, write_arrays

    shutil.copytree(tiny_suite, tmp_path / "suite")
    arrays = read_arrays(tmp_path / "suite" / "replays.npz")
    arrays["close_drawer/push/actions"][3, 2, 10] = 0.2
    write_arrays(tmp_path / "suite" / "replays.npz", arrays)
    with pytest.raises(ValueError, match=r"policy 'replay:push', lane 1, step 2: world_vector.x is 0.2"):
        rollout(config(tmp_path / "suite", tmp_path / "run", processes=2), progress=False)
    assert not real2sim.load_run(tmp_path / "run").empty
