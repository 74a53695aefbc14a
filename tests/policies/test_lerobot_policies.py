"""Policies of LeRobot itself behind ``lerobot_server.py``, beside the same policies called in LeRobot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot_policies import KINDS, save_policy

from real2sim.policies.remote import RemotePolicy
from real2sim.robot import ActionNumber, Camera, Robot, StateNumber
from real2sim.simulation.observation import observe

SERVERS = Path(__file__).parents[2] / "policies/servers"
NAMES = tuple(f"joint_{place}.pos" for place in range(6))
CAMERAS = {"front": (48, 64), "wrist": (48, 64)}
ROBOT = Robot(
    name="six",
    action=tuple(ActionNumber(name, -1000, 1000, "deg") for name in reversed(NAMES)),
    action_kind="absolute",
    control_hz=30,
    actions_per_frame=2,
    cameras=tuple(Camera(name, *size) for name, size in CAMERAS.items()),
    state=tuple(StateNumber(name, "deg") for name in reversed(NAMES)),
    state_from="action",
)
"""Has its numbers in the opposite order of the policy's dataset."""
INSTRUCTIONS = ("push the block", "lift the block")
STEPS = 4
WAITING = 300.0
"""Seconds until a server must have been done with."""


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """The address of a server script in a process of its own, as a user starts it."""
    names = {"action": {"names": list(NAMES)}, "observation.state": {"names": list(NAMES)}}
    (folder / "meta").mkdir(exist_ok=True)
    (folder / "meta/info.json").write_text(json.dumps({"features": names}))
    command = [sys.executable, "lerobot_server.py", str(folder), "--dataset", str(folder), "--port", "0"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    running = subprocess.Popen(
        [*command, *options], cwd=SERVERS, env=environment, stderr=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(WAITING, running.kill)
    watchdog.start()
    try:
        assert running.stderr is not None
        said: list[str] = []
        for line in running.stderr:
            said.append(line)
            if found := re.search(r"serving at (ws://\S+)", line):
                yield found[1]
                return
        raise AssertionError("".join(said))
    finally:
        watchdog.cancel()
        running.kill()
        running.communicate()


def observations(seed: int) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Frames of the cameras and states in the dataset's order, of one episode."""
    rng = np.random.default_rng(seed)
    return [
        (
            {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in CAMERAS.items()},
            rng.uniform(-30, 30, 6).astype(np.float32),
        )
        for _ in range(STEPS)
    ]


def played(policy: RemotePolicy, episodes: list[tuple[int, str]]) -> np.ndarray:
    """Actions (lanes steps K n) of episodes (seed, instruction) that are played at the same time."""
    policy.seed([seed for seed, _ in episodes])
    policy.reset([instruction for _, instruction in episodes])
    seen = [observations(seed) for seed, _ in episodes]
    actions = []
    for step in range(STEPS):
        frames = {name: np.stack([lane[step][0][name] for lane in seen]) for name in CAMERAS}
        states = np.stack([lane[step][1][::-1] for lane in seen])
        actions.append(
            policy.act(observe(ROBOT, ROBOT.canvas(frames), [text for _, text in episodes], states))
        )
    return np.stack(actions, axis=1)


def called(folder: Path, seed: int, instruction: str) -> np.ndarray:
    """Actions (steps K n) of LeRobot's own objects for an episode, in the dataset's order."""
    import torch
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.envs.utils import preprocess_observation
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    policy.reset()
    actions: list[Any] = []
    for frames, state in observations(seed):
        shown = {name: frames[name][None] for name in CAMERAS}
        for _ in range(ROBOT.actions_per_frame):
            batch = preprocess_observation({"pixels": shown, "agent_pos": state[None]})
            batch["task"] = [instruction]
            (word,) = np.random.SeedSequence([seed, len(actions)]).generate_state(1)
            torch.manual_seed(int(word))
            with torch.inference_mode():
                actions.append(after(policy.select_action(before(batch)))[0].numpy())
    return np.array(actions).reshape(STEPS, ROBOT.actions_per_frame, 6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_served_policy_of_lerobot_acts_as_it_does_in_lerobot(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("lerobot.policies.factory", reason="LeRobot >= 0.6 is not installed")
    pytest.importorskip(
        "diffusers" if kind == "diffusion" else "transformers" if kind == "smolvla" else "torch"
    )
    folder = save_policy(kind, tmp_path / kind, CAMERAS, state=6, action=6)
    with served(folder) as address:
        policy = RemotePolicy(address, ROBOT)
        lanes = [(3, INSTRUCTIONS[0]), (4, INSTRUCTIONS[1])]
        together = played(policy, lanes)
        for lane, (seed, instruction) in enumerate(lanes):
            np.testing.assert_array_equal(together[lane, ..., ::-1], called(folder, seed, instruction))
        again = played(policy, list(reversed(lanes)))
        np.testing.assert_array_equal(again[::-1], together)
        other = played(policy, [(5, INSTRUCTIONS[0])])
        assert not np.array_equal(other[0], together[0])
        policy.close()


@pytest.mark.slow
def test_a_policy_that_cannot_be_loaded_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("lerobot.policies.factory", reason="LeRobot >= 0.6 is not installed")
    older = save_policy("act", tmp_path / "act", CAMERAS, state=6, action=6)
    for file in older.glob("policy_*processor*"):
        file.unlink()
    for folder, reason in ((older, "requires migration to processor format"), (tmp_path / "none", "none")):
        command = [sys.executable, "lerobot_server.py", str(folder), "--port", "0"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            command, cwd=SERVERS, env=environment, capture_output=True, text=True, timeout=WAITING
        )
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"lerobot_server.py: error: {folder} is no policy that can be loaded: ")
        assert reason in last
        assert "Traceback" not in done.stderr
