"""GR00T's wire, against a server that speaks it as documented."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from openpi_robots import LIBERO, observation

from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.policies.gr00t import Gr00tPolicy, make_plan
from real2sim.policies.gr00t_wire import MOST_BYTES, pack, read_modalities, unpack
from real2sim.policies.remote_options import RemoteOptions, read_address
from real2sim.policies.remote_policy import remote_policy
from real2sim.robot import ActionNumber, Camera, Robot, StateNumber

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
ARM = Robot(
    name="so101",
    action=tuple(ActionNumber(f"{name}.pos", -110, 110, "deg") for name in JOINTS),
    action_kind="absolute",
    control_hz=30,
    actions_per_frame=4,
    cameras=(Camera("front", 24, 32), Camera("wrist", 24, 32)),
    state=tuple(StateNumber(f"{name}.pos", "deg") for name in JOINTS),
    state_from="action",
)
MODALITIES = {
    "video": {"delta_indices": [0], "modality_keys": ["front", "wrist"]},
    "state": {"delta_indices": [0], "modality_keys": ["single_arm", "gripper"]},
    "action": {"delta_indices": list(range(16)), "modality_keys": ["single_arm", "gripper"]},
    "language": {"delta_indices": [0], "modality_keys": ["annotation.human.task_description"]},
}
Answer = Callable[[dict[str, Any]], Any]


def npy(array: np.ndarray) -> dict[str, Any]:
    """An array as GR00T packs it."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": stream.getvalue()}


def arrays(value: Any) -> Any:
    """A message with GR00T's arrays read, by nothing of ours."""
    if isinstance(value, dict) and value.get("__ndarray_class__"):
        return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
    if isinstance(value, dict):
        return {key: arrays(inner) for key, inner in value.items()}
    return [arrays(inner) for inner in value] if isinstance(value, list) else value


def plan_of(data: dict[str, Any]) -> list[Any]:
    """Sixteen steps that tell the state and the step."""
    state = data["observation"]["state"]
    steps = np.arange(16, dtype=np.float32)[None, :, None]
    return [{"single_arm": npy(state["single_arm"] + steps), "gripper": npy(state["gripper"] + steps)}, {}]


def _bind_again(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind an address that another socket of this process has just given up; ZMQ closes it in a thread of its own."""
    for _ in range(100):
        with suppress(zmq.ZMQError):
            socket.bind(address)
            return
        time.sleep(0.1)
    socket.bind(address)


@contextmanager
def gr00t_server(
    answer: Answer = plan_of, modalities: Any = MODALITIES, port: int | None = None, delay: float = 0
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A REP socket that answers GR00T's endpoints."""
    asked: list[dict[str, Any]] = []
    socket = zmq.Context.instance().socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    if port is None:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
    else:
        _bind_again(socket, f"tcp://127.0.0.1:{port}")
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if not socket.poll(20):
                continue
            request = arrays(msgpack.unpackb(socket.recv()))
            asked.append(request)
            endpoint = request["endpoint"]
            if endpoint == "ping":
                reply: Any = {"status": "ok", "message": "Server is running"}
            elif endpoint == "get_modality_config":
                reply = modalities
            elif endpoint == "reset":
                reply = {}
            else:
                time.sleep(delay)
                reply = answer(request["data"])
            socket.send(reply if isinstance(reply, bytes) else msgpack.packb(reply))
        socket.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"zmq://127.0.0.1:{port}", asked
    finally:
        stop.set()
        thread.join(timeout=5)


def test_videos_states_and_language_are_sent_as_documented_and_chunks_are_played() -> None:
    seen = observation(ARM, lanes=2)
    assert seen.state is not None
    with gr00t_server() as (place, asked):
        policy = Gr00tPolicy(f"{place}#execute=8", ARM)
        policy.reset(["lift the cube", "push the cube"])
        actions = [policy.act(seen) for _ in range(3)]
        policy.close()
    assert [request["endpoint"] for request in asked] == [
        "ping", "get_modality_config", "reset", *["get_action"] * 4,
    ]  # fmt: skip
    first = asked[3]["data"]["observation"]
    assert {key: (value.dtype, value.shape) for key, value in first["video"].items()} == {
        name: (np.dtype(np.uint8), (1, 1, 24, 32, 3)) for name in ("front", "wrist")
    }
    assert {key: (value.dtype, value.shape) for key, value in first["state"].items()} == {
        "single_arm": (np.dtype(np.float32), (1, 1, 5)),
        "gripper": (np.dtype(np.float32), (1, 1, 1)),
    }
    assert first["language"] == {"annotation.human.task_description": [["lift the cube"]]}
    assert asked[4]["data"]["observation"]["language"]["annotation.human.task_description"] == [
        ["push the cube"]
    ]
    np.testing.assert_array_equal(first["video"]["wrist"][0, 0], seen.images["wrist"][0])
    expected = seen.state[:, None] + np.arange(4, dtype=np.float32)[None, :, None]
    for step, action in enumerate(actions):
        assert action.shape == (2, 4, 6)
        np.testing.assert_allclose(action, expected + (4 * step) % 8, rtol=0, atol=1e-5)


def test_places_can_be_named_and_must_cover_the_action() -> None:
    robot = replace(ARM, action=(ARM.action[5], *ARM.action[:5]), state=(ARM.state[5], *ARM.state[:5]))
    with gr00t_server() as (place, _):
        policy = Gr00tPolicy(place, robot)
        policy.reset(["lift the cube"])
        seen = observation(robot)
        assert seen.state is not None
        np.testing.assert_allclose(policy.act(seen)[0, 0], seen.state[0], atol=1e-6)
        policy.close()
    said = read_modalities(
        MODALITIES | {"action": {"delta_indices": [0], "modality_keys": ["left", "right"]}}
    )
    with pytest.raises(ValueError, match=r"action keys left, right, and which of the .* not known; say it"):
        make_plan(ARM, RemoteOptions(), said)
    plan = make_plan(ARM, RemoteOptions(action="left:3-5;right:0-2"), said)
    assert [item.numbers for item in plan.action] == [(3, 4, 5), (0, 1, 2)]
    for wrong, reason in (("left:0-2;right:2-5", "names the places"), ("left:0-5", "give all of them")):
        with pytest.raises(ValueError, match=reason):
            make_plan(ARM, RemoteOptions(action=wrong), said)


def test_cameras_are_found_by_name_and_earlier_frames_are_shown() -> None:
    said = read_modalities(MODALITIES | {"video": {"delta_indices": [-8, 0], "modality_keys": ["ego_view"]}})
    with pytest.raises(
        ValueError, match=r"looks at 'ego_view', robot 'so101' has the cameras front, wrist; .*images="
    ):
        make_plan(ARM, RemoteOptions(), said)
    plan = make_plan(ARM, RemoteOptions(images="wrist:ego_view", size="8"), said)
    frames = [observation(ARM, seed=seed) for seed in range(4)]
    for count, earlier in ((1, 0), (2, 0), (3, 0), (4, 1)):
        sent = plan.observation(frames[:count], "lift")["video"]["ego_view"]
        assert sent.shape == (1, 2, 8, 8, 3)
        assert (
            sent[0, 0].sum() == plan.observation([frames[earlier]], "lift")["video"]["ego_view"][0, 1].sum()
        )
    with pytest.raises(ValueError, match=r"video of the control steps -3, 0; there is one frame per 4 steps"):
        make_plan(ARM, RemoteOptions(images="wrist:ego_view"), replaced(said, (-3, 0)))
    with pytest.raises(ValueError, match="robot 'so101' gives policies none"):
        make_plan(replace(ARM, state=(), state_from=None), RemoteOptions(), read_modalities(MODALITIES))


def replaced(said: Any, steps: tuple[int, ...]) -> Any:
    return {**said, "video": replace(said["video"], steps=steps)}


def test_a_modality_may_come_as_json_in_a_map() -> None:
    wrapped = {
        name: {"__ModalityConfig_class__": True, "as_json": values} for name, values in MODALITIES.items()
    }
    assert read_modalities(wrapped) == read_modalities(MODALITIES)
    for wrong, reason in (
        ([], "answers a list"),
        ({"video": {"keys": []}}, "describes 'video' without the lists"),
        (
            {"video": MODALITIES["video"], "action": MODALITIES["action"]},
            "names no language; it has video, action",
        ),
    ):
        with pytest.raises(ValueError, match=reason):
            read_modalities(wrong)


def file_of(content: bytes) -> dict[str, Any]:
    """An array as GR00T packs it, of whatever content."""
    return {"__ndarray_class__": True, "as_npy": content}


def header(shape: tuple[int, ...]) -> dict[str, Any]:
    """An array that says how large it is and then ends."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file_of(stream.getvalue())


def wrong(**parts: Any) -> Answer:
    return lambda data: [{**plan_of(data)[0], **parts}, {}]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda data: {"error": "Traceback\nKeyError: 'front'"}, "the server failed with KeyError: 'front'"),
        (lambda data: b"\xc1 nonsense", "is not MessagePack as GR00T sends it"),
        (wrong(gripper=file_of(b"no npy")), r"is not MessagePack as GR00T sends it \(an array is no npy"),
        (wrong(gripper=file_of(b"PK\x03\x04")), "an array is no npy file"),
        (wrong(gripper=header((1, 10**13, 1))), "an array is a damaged npy file"),
        (wrong(gripper=header((1, 2**64, 1))), "an array is a damaged npy file"),
        (wrong(gripper=file_of(b"\x93NUMPY\x01\x00\x0e\x00{'descr': (2,\n")), "is not MessagePack as GR00T"),
        (lambda data: "text", r"get_action answers a str, expected \[actions, info\]"),
        (lambda data: [{"single_arm": npy(np.zeros((1, 16, 5)))}, {}], "has no action 'gripper' but single_arm"),
        (wrong(gripper=npy(np.zeros((1, 16, 2)))), r"'gripper' has shape \(1, 16, 2\), expected \(1, steps, 1\)"),
        (wrong(gripper=0.5), r"'gripper' has shape \(\), expected \(1, steps, 1\)"),
        (wrong(gripper=None), r"'gripper' is nothing \(null\), expected an array of numbers"),
        (wrong(gripper=[[0.0], [0.0, 1.0]]), "'gripper' is lists of unequal lengths, expected an array"),
        (wrong(gripper=npy(np.zeros((1, 8, 1)))), "'gripper' has 8 steps, the one before it 16"),
        (wrong(gripper=npy(np.full((1, 16, 1), np.nan))), "number 0 of action 0 in the answer is nan"),
        (wrong(gripper=npy(np.array([[["open"]] * 16]))), "type <U4, expected numbers"),
        (lambda data: [{"single_arm": npy(np.zeros((1, 2, 5))), "gripper": npy(np.zeros((1, 2, 1)))}, {}],
         "at least the 4 actions of a frame"),
    ],
)  # fmt: skip
def test_a_malformed_answer_is_named_with_lane_and_step(answer: Answer, reason: str) -> None:
    with gr00t_server(answer) as (place, _):
        policy = Gr00tPolicy(place, ARM)
        policy.reset(["lift the cube"])
        with pytest.raises(ValueError, match=rf"policy server zmq://.*, lane 0, step 0: .*{reason}"):
            policy.act(observation(ARM))
        policy.close()


def test_a_server_that_stalls_is_asked_twice_and_not_waited_for_forever() -> None:
    with gr00t_server(delay=1.2) as (place, asked):
        policy = Gr00tPolicy(f"{place}#answer_within=0.4", ARM)
        policy.reset(["lift the cube"])
        with pytest.raises(
            ConnectionError, match=r"lane 0, step 0: no answer to 'get_action' within 0.4 seconds"
        ):
            policy.act(observation(ARM))
        policy.close()
    assert 1 <= [request["endpoint"] for request in asked].count("get_action") <= 2


def test_a_server_that_is_not_there_is_looked_for_and_named() -> None:
    socket = zmq.Context.instance().socket(zmq.REP)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    socket.close()
    policy = Gr00tPolicy(f"zmq://127.0.0.1:{port}", ARM, answer_within=0.2, patience=0.3)
    policy.reset(["lift the cube"])
    began = time.monotonic()
    with pytest.raises(
        ConnectionError, match=r"no answer to 'ping' within 0.2 seconds; finished episodes are kept"
    ):
        policy.act(observation(ARM))
    assert time.monotonic() - began < 5


def test_a_server_that_comes_back_is_asked_again() -> None:
    with gr00t_server() as (place, _):
        policy = Gr00tPolicy(f"{place}#answer_within=2", ARM)
        policy.reset(["lift the cube"])
        policy.act(observation(ARM))
    with gr00t_server(port=read_port(place)):
        assert policy.act(observation(ARM)).shape == (1, 4, 6)
    policy.close()


def read_port(place: str) -> int:
    return int(place.rsplit(":", 1)[1])


@pytest.mark.slow
def test_a_message_without_end_is_not_taken() -> None:
    with gr00t_server(lambda data: bytes(MOST_BYTES + 1)) as (place, _):
        policy = Gr00tPolicy(f"{place}#answer_within=2", ARM)
        policy.reset(["lift the cube"])
        with pytest.raises(ConnectionError, match="no answer to 'get_action'"):
            policy.act(observation(ARM))
        policy.close()


def test_arrays_and_texts_survive_the_wire_and_objects_do_not() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    again = unpack(pack({"x": array, "y": [["text"]]}))
    np.testing.assert_array_equal(again["x"], array)
    assert again["y"] == [["text"]]
    with pytest.raises(ValueError, match="cannot be sent"):
        pack({"x": np.array([object()])})
    stream = io.BytesIO()
    np.save(stream, np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="is not MessagePack"):
        unpack(msgpack.packb({"__ndarray_class__": True, "as_npy": stream.getvalue()}))


def test_a_rollout_runs_with_a_gr00t_server_and_says_that_it_cannot_be_seeded(
    tiny_suite: Path, tmp_path: Path
) -> None:
    modalities = {
        "video": {"delta_indices": [0], "modality_keys": ["ego_view"]},
        "action": {"delta_indices": [0, 1], "modality_keys": ["arm"]},
        "language": {"delta_indices": [0], "modality_keys": ["task"]},
    }
    still = np.zeros((1, 2, 13), np.float32)
    with gr00t_server(lambda data: [{"action.arm": npy(still)}, {}], modalities) as (place, asked):
        config = RolloutConfig(
            out=tmp_path / "run", policies=(f"n16={place}#execute=2",), suite=str(tiny_suite), starts=2, processes=1,
            consistency=False,
        )  # fmt: skip
        table = rollout(config)
    assert len(table) == 4
    assert set(table["policy"]) == {"n16"}
    assert set(table["steps"]) == {5}
    looks = [request for request in asked if request["endpoint"] == "get_action"]
    assert len(looks) == 4 * 3
    told = {request["data"]["observation"]["language"]["task"][0][0] for request in looks}
    assert told == {"close drawer", "open drawer"}
    rows = (tmp_path / "run/rows-0.jsonl").read_text().splitlines()
    assert all(json.loads(row)["seeded"] is False for row in rows)


def test_the_address_chooses_the_wire(tiny_suite: Path) -> None:
    from real2sim.evaluation.policy_sources import find_policies
    from real2sim.policies.remote import RemotePolicy
    from real2sim.simulation.suite import load_suite

    assert isinstance(remote_policy("zmq://127.0.0.1:5555", ARM), Gr00tPolicy)
    assert isinstance(remote_policy("ws://127.0.0.1:8000", ARM), RemotePolicy)
    (source,) = find_policies(["n16=zmq://127.0.0.1:5555#execute=8"], load_suite(tiny_suite))
    assert (source.kind, source.name, source.fingerprint) == (
        "remote",
        "n16",
        "zmq://127.0.0.1:5555#execute=8",
    )
    with pytest.raises(ValueError, match="preset is an option of websocket servers"):
        Gr00tPolicy("zmq://127.0.0.1:5555#preset=droid", ARM)
    with pytest.raises(ValueError, match="is not an address such as ws://"):
        read_address("http://127.0.0.1:5555")
    libero = Gr00tPolicy("zmq://127.0.0.1:5555", LIBERO)
    assert libero.address == "zmq://127.0.0.1:5555"
