"""A rollout whose policy server is killed in the middle."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import real2sim
from real2sim.episodes.run_folder import RowCounter, RunFolder
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout

SERVER = """
import sys, time
import numpy as np
from real2sim.actions import FIELDS, ActionBounds, rt1_robot
from real2sim.policies.random_policy import RandomPolicy
from real2sim.policies.serve import GREETING, PolicyLane
from real2sim.policies.servers.policy_wire import serve_forever

ROBOT = rt1_robot(bounds=ActionBounds(world_vector=(-0.06, 0.06)))

class SlowAndMindful(RandomPolicy):
    '''Draws from the episode's seed, and remembers every frame since its beginning.'''

    def reset(self, instructions):
        super().reset(instructions)
        self.seen = 0

    def act(self, observation):
        time.sleep(0.02)
        self.seen = (31 * self.seen + int(observation.frames.sum())) % 1000
        actions = super().act(observation)
        actions[:, FIELDS["world_vector"]] *= self.seen / 1000
        return actions

serve_forever(lambda: PolicyLane(SlowAndMindful(ROBOT)), GREETING, "127.0.0.1", int(sys.argv[1]))
"""
ROOT = Path(real2sim.__file__).parents[1]
EPISODES = 2 * 6


def start_server(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SERVER, str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = start_server(port)
    yield process
    process.kill()
    process.wait()


def config(suite: Path, out: Path, port: int, patience: float) -> RolloutConfig:
    policy = f"far=ws://127.0.0.1:{port}#patience={patience}"
    return RolloutConfig(out=out, policies=(policy,), suite=str(suite), starts=6, lanes=2, processes=1)


def kill_in_the_middle(run: Future[pd.DataFrame], out: Path, server: subprocess.Popen[bytes]) -> None:
    """Kill the server once the first episodes are finished, while others are under way."""
    while not run.done() and RowCounter(RunFolder(out)).count() < 2:
        time.sleep(0.005)
    server.kill()
    server.wait()
    assert not run.done()


def assert_same_run(a: Path, b: Path) -> None:
    first, second = (real2sim.load_run(path).drop(columns="seconds") for path in (a, b))
    assert len(first) == EPISODES
    pd.testing.assert_frame_equal(first, second)
    for episode in first["episode"]:
        for mine, other in zip(RunFolder(a).episode(episode), RunFolder(b).episode(episode), strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.slow
def test_a_run_goes_on_later_and_ends_like_one_that_was_not_disturbed(
    tiny_suite: Path, tmp_path: Path, port: int, server: subprocess.Popen[bytes]
) -> None:
    rollout(config(tiny_suite, tmp_path / "whole", port, 60), progress=False)
    broken = tmp_path / "broken"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(rollout, config(tiny_suite, broken, port, 0.2), progress=False)
        kill_in_the_middle(run, broken, server)
    with pytest.raises(ConnectionError, match=r"lane \d, step \d: .*refused; finished episodes are kept"):
        run.result()
    assert 2 <= RowCounter(RunFolder(broken)).count() < EPISODES
    again = start_server(port)
    try:
        rollout(config(tiny_suite, broken, port, 60), progress=False)
    finally:
        again.kill()
        again.wait()
    assert_same_run(tmp_path / "whole", broken)


@pytest.mark.slow
def test_a_server_that_is_started_again_in_time_is_not_even_noticed(
    tiny_suite: Path, tmp_path: Path, port: int, server: subprocess.Popen[bytes]
) -> None:
    rollout(config(tiny_suite, tmp_path / "whole", port, 60), progress=False)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(rollout, config(tiny_suite, tmp_path / "broken", port, 60), progress=False)
        kill_in_the_middle(run, tmp_path / "broken", server)
        again = start_server(port)
        try:
            run.result()
        finally:
            again.kill()
            again.wait()
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
