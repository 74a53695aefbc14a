"""LeRobot's own command in a suite's world model (needs LeRobot >= 0.6)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import real2sim
from tests.policies.lerobot_policies import save_policy

ROOT = Path(real2sim.__file__).parents[1]


def evaluated(suite: Path, policy: Path, out: Path, asynchronous: bool) -> dict[str, Any]:
    """What ``lerobot-eval`` writes about three episodes in batches of two."""
    options = {
        "env.discover_packages_path": "real2sim.envs.lerobot_eval",
        "env.type": "real2sim",
        "env.suite": suite,
        "env.task": "lift_block",
        "policy.path": policy,
        "policy.device": "cpu",
        "eval.n_episodes": 3,
        "eval.batch_size": 2,
        "eval.use_async_envs": str(asynchronous).lower(),
        "output_dir": out,
    }
    command = [sys.executable, "-m", "lerobot.scripts.lerobot_eval"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((out / "eval_info.json").read_text())
    return found


def film(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.slow
def test_lerobot_eval_plays_the_same_episodes_as_one_batch_and_in_processes(tmp_path: Path) -> None:
    pytest.importorskip("lerobot.scripts.lerobot_eval", reason="LeRobot >= 0.6 is not installed")
    suite = tmp_path / "suite"
    shutil.copytree(ROOT / "real2sim/assets/so101", suite, ignore=shutil.ignore_patterns("policies*"))
    described = json.loads((suite / "suite.json").read_text())
    for task in described["tasks"]:
        task["horizon"] = 2
    (suite / "suite.json").write_text(json.dumps(described))
    cameras = {"front": (64, 64), "wrist": (64, 64)}
    policy = save_policy("act", tmp_path / "act", cameras, state=6, action=6)
    found = {kind: evaluated(suite, policy, tmp_path / str(kind), kind) for kind in (False, True)}
    for info in found.values():
        (task,) = info["per_task"]
        assert info["overall"]["n_episodes"] == len(task["metrics"]["successes"]) == 3
    places = "videos/real2sim_0/eval_episode_{}.mp4"
    for number in range(3):
        together, apart = (film(tmp_path / str(kind) / places.format(number)) for kind in (False, True))
        assert together.shape == (10, 64, 128, 3), "two frames of five actions each"
        # Lanes of a batch and lanes alone agree to one grey level, before the films are compressed.
        assert np.abs(together.astype(int) - apart).max() <= 8
    first = film(tmp_path / "True" / places.format(0))
    assert np.abs(first.astype(int) - film(tmp_path / "True" / places.format(1))).max() > 30
