"""The server scripts for other libraries' environments, with stand-ins for those libraries."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_remote import raw_server
from websockets.sync.server import ServerConnection

from real2sim.policies.conventions import CONVENTIONS
from real2sim.policies.remote import RemotePolicy
from real2sim.policies.servers.policy_wire import IMAGE_KEY, policy_server, unpack_message
from real2sim.simulation.observation import observe_frames

SERVERS = Path(__file__).parents[2] / "policies/servers"
SCRIPTS = ("lerobot_server", "openvla_server", "octo_server")
EXCHANGE = Path(__file__).parents[1] / "data/policies/lerobot_act_exchange.npz"
FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
FOREIGN = (
    "jax",
    "lerobot",
    "lerobot.configs",
    "lerobot.configs.policies",
    "lerobot.policies",
    "lerobot.policies.factory",
    "octo",
    "octo.model",
    "octo.model.octo_model",
    "transformers",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script as its own environment would, with empty modules for what is not installed here."""
    random = SimpleNamespace(PRNGKey=lambda seed: (seed,), fold_in=lambda key, step: (*key, step))
    for name in FOREIGN:
        module = ModuleType(name)
        module.__getattr__ = lambda wanted: random if wanted == "random" else object  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(SERVERS))

    def load(name: str) -> Any:
        for module in (name, "policy_wire"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        return importlib.import_module(name)

    return load


class Octo:
    """Plans of four actions that tell the call, the step of the plan and the newest frame's first pixel."""

    def __init__(self) -> None:
        self.example_batch = {"observation": {"image_primary": np.zeros((1, 2, 24, 32, 3), np.uint8)}}
        self.seen: list[Any] = []

    def create_tasks(self, texts: list[str]) -> Any:
        return {"language_instruction": texts}

    def sample_actions(self, observation: dict[str, np.ndarray], task: Any, rng: Any) -> np.ndarray:
        self.seen.append((observation, task, rng))
        plan = np.zeros((1, 4, 7), np.float32)
        plan[0, :, 0] = 10 * len(self.seen) + np.arange(4)
        plan[0, :, 6] = 1
        return plan


def test_octo_sees_two_frames_and_the_mean_of_what_its_plans_say_is_sent(server: Any) -> None:
    model = Octo()
    mask = [True] * 6 + [False]
    statistics = {"action": {"mean": np.full(7, 0.5), "std": np.full(7, 2.0), "mask": mask}}
    lane = server("octo_server").OctoLane(model, statistics)
    lane.reset("open drawer", 7)
    sent = [lane.act({IMAGE_KEY: FRAME}) for _ in range(5)]
    # Call n plans 10 n + i for i steps later; five steps in, the first plan has no more to say.
    said = [[10], [11, 20], [12, 21, 30], [13, 22, 31, 40], [23, 32, 41, 50]]
    np.testing.assert_allclose([action[0, 0] for action in sent], [2 * np.mean(x) + 0.5 for x in said])
    assert all(action.shape == (1, 7) and action[0, 6] == 1 for action in sent)
    shapes = [observation["image_primary"].shape for observation, _, _ in model.seen]
    assert shapes == [(1, 1, 24, 32, 3)] + [(1, 2, 24, 32, 3)] * 4
    assert [key for _, _, key in model.seen] == [(7, step) for step in range(5)]
    assert model.seen[0][1] == {"language_instruction": ["open drawer"]}
    lane.reset("close drawer", 7)
    assert lane.act({IMAGE_KEY: FRAME})[0, 0] == 2 * 60 + 0.5


def test_openvla_is_asked_in_its_own_words(server: Any) -> None:
    asked: dict[str, Any] = {}

    class Inputs(dict[str, Any]):
        def to(self, device: Any, dtype: Any) -> Inputs:
            return self

    def processor(prompt: str, image: Any) -> Inputs:
        asked["prompt"] = prompt
        return Inputs(pixel_values=np.asarray(image))

    def predict_action(**given: Any) -> np.ndarray:
        asked.update(given)
        return np.arange(7.0)

    model = SimpleNamespace(device="cpu", dtype=torch.float32, predict_action=predict_action)
    lane = server("openvla_server").OpenVLALane(model, processor, "fractal20220817_data")
    lane.reset("Open the top drawer", None)
    np.testing.assert_array_equal(lane.act({IMAGE_KEY: FRAME}), [np.arange(7)])
    assert asked["prompt"] == "In: What action should the robot take to open the top drawer?\nOut:"
    assert (asked["unnorm_key"], asked["do_sample"]) == ("fractal20220817_data", False)
    np.testing.assert_array_equal(asked["pixel_values"], FRAME)


class LeRobot(torch.nn.Module):
    """Queues two actions per look, as ACT does; draws noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        feature = SimpleNamespace
        self.config = feature(
            input_features={
                "observation.images.top": feature(shape=(3, 24, 32)),
                "observation.state": feature(shape=(6,)),
            }
        )
        self.queue: deque[torch.Tensor] = deque()
        self.seen: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.queue, self.seen = deque(), []

    def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
        self.seen.append(batch)
        if not self.queue:
            look = batch["observation.images.top"].mean() * self.weight
            self.queue.extend((look + torch.randn(1, 7)).detach() for _ in range(2))
        return self.queue.popleft()


def test_lanes_of_a_lerobot_policy_share_weights_but_not_queues(server: Any) -> None:
    module = server("lerobot_server")
    policy = LeRobot()
    lanes = [
        module.LeRobotLane(
            policy, (lambda batch: batch, lambda action: action), "observation.images.top", True
        )
        for _ in range(2)
    ]
    assert lanes[0]._policy.weight is policy.weight
    alone, mixed = [], []
    lanes[0].reset("open drawer", 3)
    alone = [lanes[0].act({IMAGE_KEY: frame}) for frame in (FRAME, FRAME // 2, FRAME // 3)]
    lanes[0].reset("open drawer", 3)
    lanes[1].reset("close drawer", 4)
    for frame in (FRAME, FRAME // 2, FRAME // 3):
        mixed.append(lanes[0].act({IMAGE_KEY: frame}))
        lanes[1].act({IMAGE_KEY: FRAME // 5})
    np.testing.assert_array_equal(mixed, alone)
    batch = lanes[0]._policy.seen[0]
    assert batch["task"] == ["open drawer"]
    assert batch["observation.images.top"].shape == (1, 3, 24, 32)
    assert float(batch["observation.images.top"].mean()) == pytest.approx(FRAME.mean() / 255, abs=0.01)
    assert batch["observation.state"].tolist() == [[0.0] * 6]


def test_a_rollout_reaches_a_lane_of_a_script_through_the_wire(server: Any) -> None:
    model = Octo()
    statistics = {"action": {"mean": np.zeros(7), "std": np.full(7, 1e-3)}}
    greeting = {"stateful": True, "convention": "xyz-rpy-opening"}
    lane = server("octo_server").OctoLane
    with policy_server(lambda: lane(model, statistics), greeting) as running:
        policy = RemotePolicy("ws://{}:{}".format(*running.socket.getsockname()[:2]))
        policy.seed([7])
        policy.reset(["open drawer"])
        action = policy.act(observe_frames(FRAME[None]))[0]
        policy.close()
    assert action[10] == pytest.approx(0.01)
    assert action[3] == pytest.approx(1 - 2 * 1e-3)
    assert model.seen[0][2] == (7, 0)


def test_what_a_real_lerobot_policy_answered_is_understood() -> None:
    """Recorded from ACT of LeRobot 0.4.4 with random weights behind lerobot_server.py --blank-missing."""
    recorded = {name: array.tobytes() for name, array in np.load(EXCHANGE).items()}
    asked: list[bytes] = []

    def answers(connection: ServerConnection) -> None:
        connection.send(recorded["got_0"])
        for message in connection:
            assert isinstance(message, bytes)
            asked.append(message)
            connection.send(recorded[f"got_{len(asked)}"])

    frames = np.random.default_rng(0).integers(0, 256, (3, 1, 24, 32, 3), dtype=np.uint8)
    with raw_server(answers) as place:
        policy = RemotePolicy(place)
        policy.seed([7])
        policy.reset(["open drawer"])
        actions = np.concatenate([policy.act(observe_frames(seen)) for seen in frames])
        policy.close()
    assert asked == [recorded[f"sent_{step}"] for step in range(3)]
    for step, action in enumerate(actions):
        seven = unpack_message(recorded[f"got_{step + 1}"])["actions"][0]
        np.testing.assert_allclose(action[10:], seven[:3], atol=1e-7)
        assert action[3] == pytest.approx(1 - 2 * seven[6])
        assert action[7:10].tolist() == [0, 1, 0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_stands_alone_listens_here_only_and_names_a_convention(script: str) -> None:
    text = (SERVERS / f"{script}.py").read_text()
    assert "real2sim" not in text
    assert '"--host", default="127.0.0.1"' in text
    assert any(f'"--convention", default="{name}"' in text for name in CONVENTIONS)
    assert len(text.splitlines()) < 150


def test_the_wire_stands_alone() -> None:
    code = "import sys, policy_wire; sys.exit(any(name.startswith('real2sim') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], cwd=SERVERS, check=True)


def test_openvla_runs_no_foreign_code_unasked(
    server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    module = server("openvla_server")
    monkeypatch.setattr(sys, "argv", ["openvla_server.py", "openvla/openvla-7b"])
    with pytest.raises(SystemExit):
        module.main()
    assert "--trust-remote-code" in capsys.readouterr().err
