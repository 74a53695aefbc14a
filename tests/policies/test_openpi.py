"""What openpi's and RoboArena's servers are sent, and what becomes of their answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpi_robots import (
    ALOHA,
    DROID,
    DROID_TARGETS,
    LIBERO,
    aloha_inputs,
    droid_inputs,
    libero_inputs,
    observation,
)
from test_remote import raw_server
from websockets.sync.server import ServerConnection

from real2sim.actions import rt1_robot
from real2sim.episodes.images import fitted
from real2sim.policies.remote import RemotePolicy
from real2sim.policies.remote_options import RemoteOptions, read_address
from real2sim.policies.remote_plan import make_plan
from real2sim.policies.servers.policy_wire import pack_message, unpack_message
from real2sim.robot import Camera, Robot

EXCHANGE = Path(__file__).parents[1] / "data/policies/openpi_droid_exchange.npz"
ROBOARENA = {
    "image_resolution": [180, 320],
    "needs_wrist_camera": True,
    "n_external_cameras": 2,
    "needs_stereo_camera": False,
    "needs_session_id": True,
    "action_space": "joint_position",
}
Inputs = Callable[[dict[str, Any]], None]


def sent(robot: Robot, greeting: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What a server that greets like this is sent, once it went over the wire."""
    plan = make_plan(robot, RemoteOptions(**options), greeting or {})
    return unpack_message(pack_message(plan.mapping.message(observation(robot), "pick up the cup")))


def server(
    seen: list[dict[str, Any]], answer: np.ndarray, greeting: dict[str, Any], inputs: Inputs | None = None
) -> AbstractContextManager[str]:
    """A server that runs openpi's demands on what it is sent, as a traceback where they are not met."""

    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message(greeting))
        for message in connection:
            seen.append(unpack_message(message))  # type: ignore[arg-type]
            try:
                if inputs is not None:
                    inputs(seen[-1])
            except KeyError as error:
                connection.send(f"Traceback (most recent call last):\n  ...\nKeyError: {error}\n")
                continue
            connection.send(pack_message({"actions": answer, "server_timing": {"infer_ms": 1.0}}))

    return raw_server(answers)


@pytest.mark.parametrize(
    ("preset", "robot", "inputs", "keys"),
    [
        (
            "droid", DROID, droid_inputs,
            {"observation/exterior_image_1_left", "observation/wrist_image_left", "observation/joint_position",
             "observation/gripper_position", "prompt"},
        ),
        (
            "libero", LIBERO, libero_inputs,
            {"observation/image", "observation/wrist_image", "observation/state", "prompt"},
        ),
        ("aloha", ALOHA, aloha_inputs, {"images", "state", "prompt"}),
    ],
)  # fmt: skip
def test_a_preset_sends_exactly_what_openpi_s_input_transforms_index(
    preset: str, robot: Robot, inputs: Inputs, keys: set[str]
) -> None:
    message = sent(robot, preset=preset)
    assert set(message) == keys
    inputs(message)


@pytest.mark.parametrize(
    ("robot", "inputs"), [(DROID, droid_inputs), (LIBERO, libero_inputs), (ALOHA, aloha_inputs)]
)
def test_without_a_preset_openpi_s_traceback_is_the_error(robot: Robot, inputs: Inputs) -> None:
    seen: list[dict[str, Any]] = []
    with server(seen, np.zeros((1, robot.action_width)), {}, inputs) as place:
        policy = RemotePolicy(place, replace(robot, cameras=robot.cameras[:1]), size="224")
        policy.reset(["pick up the cup"])
        with pytest.raises(
            ValueError, match=r"lane 0, step 0: the server failed with KeyError: '(observation/)?\w+'"
        ):
            policy.act(observation(replace(robot, cameras=robot.cameras[:1])))
        policy.close()


def test_the_right_numbers_and_pictures_go_under_each_name() -> None:
    seen = observation(DROID)
    message = sent(DROID, preset="droid")
    assert seen.state is not None
    np.testing.assert_array_equal(message["observation/joint_position"], seen.state[0, :7])
    np.testing.assert_array_equal(message["observation/gripper_position"], seen.state[0, 7:])
    wrist = fitted(seen.images["wrist_image_left"][0], (224, 224))
    np.testing.assert_array_equal(message["observation/wrist_image_left"], wrist)
    high = sent(ALOHA, preset="aloha")["images"]["cam_high"]
    np.testing.assert_array_equal(
        high.transpose(1, 2, 0), fitted(observation(ALOHA).images["cam_high"][0], (224, 224))
    )


def test_cameras_of_other_names_are_found_by_what_they_are_or_asked_for() -> None:
    other = replace(DROID, cameras=(Camera("hand_wrist", 48, 64), Camera("front", 48, 64)))
    seen, message = observation(other), sent(other, preset="droid")
    for key, camera in (("exterior_image_1_left", "front"), ("wrist_image_left", "hand_wrist")):
        expected = fitted(seen.images[camera][0], (224, 224))
        np.testing.assert_array_equal(message[f"observation/{key}"], expected)
    two = replace(DROID, cameras=(*other.cameras, Camera("side", 48, 64)))
    with pytest.raises(
        ValueError, match=r"needs a camera for 'observation/exterior_image_1_left', .*images="
    ):
        sent(two, preset="droid")
    chosen = "side:observation/exterior_image_1_left;hand_wrist:observation/wrist_image_left"
    message = sent(two, preset="droid", images=chosen)
    droid_inputs(message)
    with pytest.raises(
        ValueError, match=r"needs observation/wrist_image_left, which images= and state= do not"
    ):
        sent(two, preset="droid", images="side:observation/exterior_image_1_left")


def test_names_can_be_mapped_freely() -> None:
    message = sent(
        ALOHA,
        images="cam_high:pixels[top];cam_left_wrist:pixels[wrist]",
        state="left:0-6;right:7-13;grip:6",
        prompt_key="task",
        size="32x40",
        layout="chw",
    )
    assert set(message) == {"pixels", "left", "right", "grip", "task"}
    assert message["pixels"]["top"].shape == message["pixels"]["wrist"].shape == (3, 32, 40)
    state = observation(ALOHA).state
    assert state is not None
    np.testing.assert_array_equal(message["right"], state[0, 7:])
    np.testing.assert_array_equal(message["grip"], state[0, 6:7])
    for wrong, reason in (
        ({"images": "front"}, "is not CAMERA:KEY"),
        ({"images": "front:x"}, "has no camera 'front'; it has cam_high, cam_left_wrist"),
        ({"state": "x:3-14"}, "is to hold state number 14, robot 'aloha' has 14"),
        ({"state": "x:5-2"}, "ends before it begins"),
        ({"state": "x:a"}, "is not KEY:FIRST-LAST"),
        ({"images": "cam_high:x;cam_left_wrist:x"}, "images: 'x' is named twice"),
        ({"size": "0"}, "expected a height and width such as 224"),
        ({"preset": "bridge"}, "unknown preset 'bridge'; there are droid, libero, aloha"),
        ({"layout": "bgr"}, "expected hwc or chw"),
    ):
        with pytest.raises(ValueError, match=reason):
            sent(ALOHA, **wrong)


@pytest.mark.parametrize(
    ("preset", "robot", "reason"),
    [
        ("droid", rt1_robot(), "is for robots whose action is 7 joint velocities in radians and a gripper"),
        ("libero", DROID, "is for robots with 7 action numbers, robot 'droid' has 8"),
        ("aloha", LIBERO, "is for robots with 14 action numbers, robot 'libero' has 7"),
        ("droid", replace(DROID, state=(), state_from=None), "needs the robot's state .* gives policies none"),
        ("libero", replace(LIBERO, state=LIBERO.state[:7]), "needs 8 state numbers as 'observation/state', .* has 7"),
        ("droid", replace(DROID, state=tuple(replace(n, unit="deg") for n in DROID.state)), "in radians"),
        ("aloha", replace(ALOHA, cameras=(Camera("a", 8, 8), Camera("b", 8, 8))), r"needs a camera for .*cam_high"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_preset_is_one_sentence_before_anything_is_sent(
    preset: str, robot: Robot, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        sent(robot, preset=preset)


def test_a_roboarena_server_gets_the_cameras_and_sizes_it_names_and_one_session_per_episode() -> None:
    seen: list[dict[str, Any]] = []
    answer = np.tile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], (10, 1))
    with server(seen, answer, ROBOARENA) as place:
        policy = RemotePolicy(f"{place}#execute=10", DROID_TARGETS)
        actions = []
        for _ in range(2):
            policy.reset(["pick up the cup"])
            actions += [policy.act(observation(DROID_TARGETS)) for _ in range(3)]
        policy.close()
    assert {action.shape for action in actions} == {(1, 5, 8)}
    np.testing.assert_allclose(actions[0][0, 0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0], atol=1e-6)
    assert len(seen) == 4
    assert seen[0]["session_id"] == seen[1]["session_id"] != seen[2]["session_id"]
    cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    assert {seen[0][f"observation/{name}"].shape for name in cameras} == {(180, 320, 3)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action_space": "cartesian_velocity"}, "'cartesian_velocity', which needs the robot's kinematics"),
        ({"needs_stereo_camera": True}, "wants stereo cameras, which suites do not have"),
        ({"n_external_cameras": 3}, "wants 3 external cameras; expected 0, 1 or 2"),
        ({"image_resolution": [0, 5]}, "image_resolution is .* expected a height and a width"),
        ({"action_space": "joint_velocity"}, "7 joint velocities .* robot 'droid targets'"),
    ],
)  # fmt: skip
def test_what_a_roboarena_server_wants_and_cannot_get_is_one_sentence(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        sent(DROID_TARGETS, ROBOARENA | change)


def test_a_roboarena_server_without_a_wrist_camera_or_resizing_gets_neither() -> None:
    config = ROBOARENA | {"needs_wrist_camera": False, "n_external_cameras": 1, "image_resolution": None}
    message = sent(DROID_TARGETS, config)
    pictures = {key: value.shape for key, value in message.items() if "image" in key}
    assert pictures == {"observation/exterior_image_1_left": (90, 160, 3)}


def test_action_numbers_are_found_by_name() -> None:
    names = [*reversed(LIBERO.action_names), "extra"]
    seen: list[dict[str, Any]] = []
    greeting = {"convention": "native", "action_names": names}
    with server(seen, np.arange(8.0)[None] / 10, greeting) as place:
        policy = RemotePolicy(place, LIBERO)
        policy.reset(["pick up the cup"])
        np.testing.assert_allclose(policy.act(observation(LIBERO)), np.arange(7)[None, ::-1] / 10, atol=1e-6)
        policy.close()
    with pytest.raises(ValueError, match=r"finds action numbers by name, .* gives no 'action_names'"):
        sent(LIBERO, convention="native")
    sent(LIBERO, convention="native", action_names=";".join(names))
    with pytest.raises(ValueError, match=r"answers with the action numbers a, b, robot 'libero' has x, y"):
        sent(LIBERO, {"convention": "native", "action_names": ["a", "b"]})


def test_numbers_outside_the_bounds_are_handed_on_unless_clipping_is_asked_for() -> None:
    heard = []
    for option in ("", "#outside=clip"):
        with server([], np.full((1, 7), 3.0), {}) as place:
            policy = RemotePolicy(place + option, LIBERO)
            policy.reset(["pick up the cup"])
            heard.append(float(policy.act(observation(LIBERO)).max()))
            policy.close()
    assert heard == [3, 1]


def test_an_answer_that_is_no_number_is_named() -> None:
    answer = np.zeros((2, 7))
    answer[1, 3] = np.nan
    with server([], answer, {}) as place:
        policy = RemotePolicy(place, LIBERO)
        policy.reset(["pick up the cup"])
        with pytest.raises(ValueError, match="lane 0, step 0: number 3 of action 1 in the answer is nan"):
            policy.act(observation(LIBERO))
        policy.close()


def test_chunks_may_be_of_any_length_that_fills_a_frame() -> None:
    for length, execute, asked in ((5, "all", 4), (12, "all", 2), (50, "10", 2), (7, "10", 4)):
        seen: list[dict[str, Any]] = []
        with server(seen, np.zeros((length, 8)), ROBOARENA) as place:
            policy = RemotePolicy(f"{place}#execute={execute}", DROID_TARGETS)
            policy.reset(["pick up the cup"])
            for _ in range(4):
                policy.act(observation(DROID_TARGETS))
            policy.close()
        assert len(seen) == asked
    with server([], np.zeros((4, 8)), ROBOARENA) as place:
        policy = RemotePolicy(place, DROID_TARGETS)
        policy.reset(["pick up the cup"])
        with pytest.raises(ValueError, match="at least the 5 actions of a frame"):
            policy.act(observation(DROID_TARGETS))
        policy.close()


def test_a_greeting_in_text_is_shown_to_the_user() -> None:
    def fails(connection: ServerConnection) -> None:
        connection.send("Traceback ...\nFileNotFoundError: no checkpoint at /ckpt")
        connection.recv()

    with raw_server(fails) as place:
        policy = RemotePolicy(place, DROID)
        policy.reset(["pick up the cup"])
        with pytest.raises(
            ValueError, match=r"greeting is text \(FileNotFoundError: no checkpoint at /ckpt\)"
        ):
            policy.act(observation(DROID))
        policy.close()


def test_a_recorded_exchange_with_openpi_s_own_packing_is_reproduced() -> None:
    """Greeting and answers were packed by openpi-client 0.1.2, which also read our requests back and resized frames."""
    recorded = {name: array.tobytes() for name, array in np.load(EXCHANGE).items() if name != "resized"}
    asked: list[bytes] = []

    def answers(connection: ServerConnection) -> None:
        connection.send(recorded["greeting"])
        for message in connection:
            assert isinstance(message, bytes)
            asked.append(message)
            connection.send(recorded[f"answer_{len(asked) - 1}"])

    with raw_server(answers) as place:
        policy = RemotePolicy(f"{place}#preset=droid,execute=2", DROID)
        policy.reset(["pick up the cup"])
        actions = np.concatenate([policy.act(observation(DROID, seed=step)) for step in range(4)])
        policy.close()
    assert asked == [recorded["request_0"], recorded["request_1"]]
    said = np.linspace(-1.2, 1.2, 2 * 10 * 8, dtype=np.float64).reshape(2, 10, 8)[:, :2].reshape(4, 8)
    np.testing.assert_allclose(actions[:, :7], np.clip(said[:, :7], -1, 1), atol=1e-6)
    np.testing.assert_array_equal(actions[:, 7], said[:, 7] > 0.5)


def test_frames_are_fitted_as_openpi_s_client_fits_them() -> None:
    expected = np.load(EXCHANGE)["resized"]
    wrist = observation(DROID).images["wrist_image_left"][0]
    np.testing.assert_array_equal(fitted(wrist, (224, 224)), expected)


def test_the_addresses_in_the_documents_are_understood() -> None:
    text = (Path(__file__).parents[2] / "docs/policies.md").read_text()
    addresses = re.findall(r"=(\w+://[^\s\"`]+#[^\s\"`]+)", text)
    assert len(addresses) >= 3
    for address in addresses:
        RemoteOptions(**read_address(address)[1])
