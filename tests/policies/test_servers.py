"""The server scripts for other libraries' environments, with stand-ins for those libraries."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
from collections import deque
from dataclasses import replace
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
from real2sim.policies.remote_options import RemoteOptions
from real2sim.policies.remote_plan import make_plan as remote_plan
from real2sim.policies.servers.policy_wire import IMAGE_KEY, policy_server, unpack_message
from real2sim.robot import ActionNumber, Camera, Robot, StateNumber
from real2sim.simulation.observation import observe, observe_frames

SERVERS = Path(__file__).parents[2] / "policies/servers"
SCRIPTS = ("lerobot_server", "openvla_server", "octo_server")
EXCHANGE = Path(__file__).parents[1] / "data/policies/lerobot_act_exchange.npz"
TWO_CAMERAS = EXCHANGE.with_name("lerobot_act_two_cameras.npz")
FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
FOREIGN = (
    "jax",
    "lerobot",
    "lerobot.configs",
    "lerobot.configs.policies",
    "lerobot.policies",
    "lerobot.policies.factory",
    "lerobot.processor",
    "lerobot.processor.pipeline",
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
                "observation.images.hand": feature(shape=(3, 12, 16)),
                "observation.state": feature(shape=(6,)),
            },
            output_features={"action": feature(shape=(6,))},
        )
        self.queue: deque[torch.Tensor] = deque()
        self.seen: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.queue, self.seen = deque(), []

    def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
        self.seen.append(batch)
        if not self.queue:
            look = batch["observation.images.top"].mean() * self.weight + batch["observation.state"]
            self.queue.extend((look + torch.randn(1, 6)).detach() for _ in range(2))
        return self.queue.popleft()


class Before:
    """A pre-processor that remembers the first state of an episode, as those of relative actions do."""

    first: torch.Tensor | None = None

    def reset(self) -> None:
        self.first = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if "observation.state" not in batch:
            return batch
        self.first = batch["observation.state"] if self.first is None else self.first
        return {**batch, "observation.state": batch["observation.state"] / 2, "first": self.first}


class After:
    """A post-processor without a memory."""

    def reset(self) -> None:
        pass

    def __call__(self, action: torch.Tensor) -> torch.Tensor:
        return action * 2


CAMERAS = {"top": "observation.images.top", "hand": "observation.images.hand"}
SIX = Robot(
    name="six",
    action=tuple(ActionNumber(f"joint_{place}.pos", -300, 300, "deg") for place in range(6)),
    action_kind="absolute",
    control_hz=30,
    actions_per_frame=2,
    cameras=(Camera("top", 48, 64), Camera("hand", 24, 32)),
    state=tuple(StateNumber(f"joint_{place}.pos", "deg") for place in range(6)),
    state_from="action",
)


def lerobot_lanes(module: Any, count: int, policy: LeRobot, **settings: Any) -> list[Any]:
    """Lanes whose processors halve the state and double the action, as normalisation does."""
    return [
        module.LeRobotLane(policy, (Before(), After()), settings.pop("cameras", CAMERAS), **settings)
        for _ in range(count)
    ]


def lerobot_sees(frame: np.ndarray, state: float = 0.0, **more: Any) -> dict[str, Any]:
    """An observation as our client sends it."""
    numbers, hand = np.full(6, state, np.float32), frame[::2, ::2]
    shown = {
        IMAGE_KEY: frame,
        "observation/top": frame,
        "observation/hand": hand,
        "observation/state": numbers,
    }
    return shown | more


def test_lanes_of_a_lerobot_policy_share_weights_but_not_queues(server: Any) -> None:
    policy = LeRobot()
    lanes = lerobot_lanes(server("lerobot_server"), 2, policy)
    assert lanes[0]._policy.weight is policy.weight
    alone, mixed = [], []
    lanes[0].reset("open drawer", 3)
    alone = [lanes[0].act(lerobot_sees(frame)) for frame in (FRAME, FRAME // 2, FRAME // 3)]
    lanes[0].reset("open drawer", 3)
    lanes[1].reset("close drawer", 4)
    for frame in (FRAME, FRAME // 2, FRAME // 3):
        mixed.append(lanes[0].act(lerobot_sees(frame)))
        lanes[1].act(lerobot_sees(FRAME // 5))
    np.testing.assert_array_equal(mixed, alone)


def test_a_lerobot_policy_is_shown_its_cameras_and_state_through_its_own_processors(server: Any) -> None:
    policy = LeRobot()
    (lane,) = lerobot_lanes(server("lerobot_server"), 1, policy)
    lane.reset("open drawer", 3)
    first = lane.act(lerobot_sees(FRAME, 40.0))
    batch = lane._policy.seen[0]
    assert batch["task"] == ["open drawer"]
    assert batch["observation.images.top"].shape == (1, 3, 24, 32)
    assert batch["observation.images.hand"].shape == (1, 3, 12, 16)
    assert float(batch["observation.images.top"].mean()) == pytest.approx(FRAME.mean() / 255, abs=0.01)
    assert batch["observation.state"].tolist() == [[20.0] * 6]
    assert 30 < float(first.mean()) < 50
    for missing, reason in (
        ("observation/hand", "has no 'observation/hand', which the policy looks at"),
        ("observation/state", "observation/state has 0 numbers, the policy reads 6"),
    ):
        seen = {key: value for key, value in lerobot_sees(FRAME).items() if key != missing}
        with pytest.raises(ValueError, match=reason):
            lane.act(seen)
    (blank,) = lerobot_lanes(server("lerobot_server"), 1, policy, blank=("observation.state",))
    blank.reset("open drawer", 3)
    blank.act(lerobot_sees(FRAME, 40.0))
    assert blank._policy.seen[0]["observation.state"].tolist() == [[0.0] * 6]


def test_an_episode_of_a_lerobot_policy_begins_with_processors_that_remember_nothing(server: Any) -> None:
    (lane,) = lerobot_lanes(server("lerobot_server"), 1, LeRobot())
    for state in (40.0, 10.0):
        lane.reset("open drawer", 3)
        for later in (0, 5):
            lane.act(lerobot_sees(FRAME, state + later))
            assert lane._policy.seen[-1]["first"].tolist() == [[state] * 6]


def test_an_input_that_a_lerobot_policy_can_do_without_is_left_out_and_not_filled_with_zeros(
    server: Any,
) -> None:
    cameras = {"top": CAMERAS["top"]}
    hand = ("observation.images.hand",)
    (lane,) = lerobot_lanes(server("lerobot_server"), 1, LeRobot(), cameras=cameras, absent=hand)
    lane.reset("open drawer", 3)
    lane.act(lerobot_sees(FRAME, 40.0))
    assert set(lane._policy.seen[0]) == {"task", "observation.images.top", "observation.state", "first"}


def test_a_server_script_says_where_it_serves_although_its_library_configured_logging() -> None:
    code = (
        "import logging, policy_wire; logging.basicConfig(level=logging.WARNING);"
        "policy_wire.serve_forever(object, {}, '127.0.0.1', 0)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=SERVERS, stderr=subprocess.PIPE, text=True) as running:
        watchdog = threading.Timer(60, running.kill)
        watchdog.start()
        assert running.stderr is not None
        assert running.stderr.readline().startswith("serving at ws://127.0.0.1:")
        watchdog.cancel()
        running.kill()


def test_a_lerobot_policy_is_asked_for_every_action_of_a_frame(server: Any) -> None:
    (lane,) = lerobot_lanes(server("lerobot_server"), 1, LeRobot())
    lane.reset("open drawer", 3)
    together = lane.act(lerobot_sees(FRAME, steps=4))
    lane.reset("open drawer", 3)
    np.testing.assert_array_equal(together, np.concatenate([lane.act(lerobot_sees(FRAME)) for _ in range(4)]))


def dataset_with(folder: Path, action: Any, state: Any) -> str:
    """The part of a LeRobot dataset that names numbers."""
    features = {"action": {"names": action}, "observation.state": {"names": state}}
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps({"features": features}))
    return str(folder)


def test_a_lerobot_server_says_what_it_needs_and_what_its_numbers_are_called(
    server: Any, tmp_path: Path
) -> None:
    module, config = server("lerobot_server"), LeRobot().config
    assert module.needs(config, CAMERAS, (), None) == {
        "stateful": True, "steps": True, "cameras": ["top", "hand"], "state_width": 6,
    }  # fmt: skip
    names = list(SIX.action_names)
    shapes = (
        names,
        {"motors": names},
        {"axes": names},
        [names],
        {name: place for place, name in enumerate(names)},
    )
    for number, shape in enumerate(shapes):
        folder = dataset_with(tmp_path / str(number), shape, ["state"])
        said = module.needs(config, CAMERAS, (), folder)
        assert said["action_names"] == names
        assert said["state_names"] == [f"observation.state.{place}" for place in range(6)]
    said = module.needs(config, CAMERAS, ("observation.state",), folder)
    assert "state_names" not in said
    assert "state_width" not in said


def test_a_lerobot_policy_acts_for_the_suite_s_robot_by_name_or_is_refused(
    server: Any, tmp_path: Path
) -> None:
    module, policy = server("lerobot_server"), LeRobot()
    turned = list(reversed(SIX.action_names))
    said = module.needs(policy.config, CAMERAS, (), dataset_with(tmp_path, turned, turned))
    greeting = said | {"convention": "native"}
    state = np.linspace(10, 60, 6, dtype=np.float32)[None]
    seen = observe(
        SIX, SIX.canvas({"top": FRAME[None], "hand": FRAME[None, ::2, ::2]}), ["open drawer"], state
    )
    with policy_server(lambda: lerobot_lanes(module, 1, policy)[0], greeting) as running:
        address = "ws://{}:{}".format(*running.socket.getsockname()[:2])
        remote = RemotePolicy(address, SIX)
        remote.seed([7])
        remote.reset(["open drawer"])
        actions = remote.act(seen)
        remote.close()
        # The policy answers near its state, in its own order: what comes back is near ours, in ours.
        assert actions.shape == (1, 2, 6)
        np.testing.assert_allclose(actions[0], np.broadcast_to(state, (2, 6)), atol=12)
        for robot, reason in (
            (replace(SIX, cameras=SIX.cameras[:1]), "looks at camera 'hand', robot 'six' has top"),
            (
                replace(SIX, state=(), state_from=None),
                "reads the robot's state, robot 'six' gives policies none",
            ),
            (replace(SIX, state=SIX.state[:5]), "reads the state number 'joint_5.pos', robot 'six' has"),
            (
                replace(SIX, action=(*SIX.action[:5], ActionNumber("gripper.pos")), state=SIX.state[:5]),
                "answers with the action numbers",
            ),
        ):
            remote = RemotePolicy(address, robot)
            remote.reset(["open drawer"])
            with pytest.raises(ValueError, match=reason):
                remote.act(
                    observe(robot, np.zeros((1, *robot.canvas_size, 3), np.uint8), ["open drawer"], state)
                )
            remote.close()
    with pytest.raises(ValueError, match=r"finds action numbers by name, .* gives no 'action_names'"):
        remote_plan(
            SIX, RemoteOptions(), module.needs(policy.config, CAMERAS, (), None) | {"convention": "native"}
        )


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


def test_what_a_real_lerobot_policy_with_two_cameras_and_a_state_answered_is_understood() -> None:
    """Recorded from ACT of LeRobot 0.4.4 with random weights and its own processors behind lerobot_server.py; the
    dataset that it was told of names the joints in the opposite order."""
    recorded = {name: array.tobytes() for name, array in np.load(TWO_CAMERAS).items()}
    asked: list[bytes] = []

    def answers(connection: ServerConnection) -> None:
        connection.send(recorded["got_0"])
        for message in connection:
            assert isinstance(message, bytes)
            asked.append(message)
            connection.send(recorded[f"got_{len(asked)}"])

    greeting = unpack_message(recorded["got_0"])
    assert greeting["cameras"] == ["top", "hand"]
    assert greeting["state_names"] == list(SIX.action_names)
    assert greeting["action_names"] == list(reversed(SIX.action_names))
    actions = []
    with raw_server(answers) as place:
        policy = RemotePolicy(place, SIX)
        policy.seed([7])
        policy.reset(["open drawer"])
        for step in range(3):
            frame = FRAME // (step + 1)
            canvas = SIX.canvas({"top": frame[None], "hand": frame[None, ::2, ::2]})
            state = np.linspace(10, 60, 6, dtype=np.float32)[None] + step
            actions.append(policy.act(observe(SIX, canvas, ["open drawer"], state))[0])
        policy.close()
    assert asked == [recorded[f"sent_{step}"] for step in range(3)]
    for step, action in enumerate(actions):
        np.testing.assert_array_equal(action[:, ::-1], unpack_message(recorded[f"got_{step + 1}"])["actions"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_stands_alone_listens_here_only_and_names_a_convention(script: str) -> None:
    text = (SERVERS / f"{script}.py").read_text()
    assert "real2sim" not in text
    assert '"--host", default="127.0.0.1"' in text
    assert any(f'"--convention", default="{name}"' in text for name in CONVENTIONS)
    assert len(text.splitlines()) < 200


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
