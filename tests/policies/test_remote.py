from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from real2sim.actions import pack, rt1_robot
from real2sim.cli import main
from real2sim.policies.policy import Policy
from real2sim.policies.random_policy import RandomPolicy
from real2sim.policies.remote import RemotePolicy
from real2sim.policies.remote_options import RemoteOptions, read_address
from real2sim.policies.remote_plan import make_plan
from real2sim.policies.serve import GREETING, PolicyLane
from real2sim.policies.servers.policy_wire import pack_message, policy_server, unpack_message
from real2sim.simulation.observation import Observation, observe_frames

FRAMES = np.random.default_rng(0).integers(0, 256, size=(5, 2, 8, 8, 3), dtype=np.uint8)


class Counts:
    """Remembers: its action tells how many frames of this episode it has seen, and their sum."""

    def reset(self, instructions: Sequence[str]) -> None:
        self.seen = 0
        self.total = 0

    def act(self, observation: Observation) -> np.ndarray:
        frames = observation.frames
        self.seen += 1
        self.total += int(frames.sum())
        return pack({"world_vector": [[self.seen, self.total % 97, 0.0]]})


def counting_server(port: int = 0) -> AbstractContextManager[Any]:
    return policy_server(lambda: PolicyLane(Counts()), GREETING, port=port)


def address(server: Any) -> str:
    return "ws://{}:{}".format(*server.socket.getsockname()[:2])


def roll(policy: Policy, steps: int = 5) -> np.ndarray:
    policy.reset(["close drawer", "open drawer"])
    return np.stack([policy.act(observe_frames(frames)) for frames in FRAMES[:steps]])


def expected() -> np.ndarray:
    lanes = []
    for lane in range(2):
        policy = Counts()
        policy.reset([""])
        lanes.append([policy.act(observe_frames(frames[lane : lane + 1]))[0] for frames in FRAMES])
    return np.array(lanes).transpose(1, 0, 2)


@contextmanager
def raw_server(handler: Callable[[ServerConnection], None], port: int = 0) -> Iterator[str]:
    """A server that does whatever a test wants."""
    server = serve(handler, "127.0.0.1", port, compression=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield address(server)
    finally:
        server.shutdown()
        thread.join(timeout=5)


def test_a_policy_acts_the_same_behind_the_wire_and_each_lane_has_its_own_memory() -> None:
    with counting_server() as server:
        policy = RemotePolicy(address(server))
        np.testing.assert_array_equal(roll(policy), expected())
        np.testing.assert_array_equal(roll(policy), expected())
        policy.close()


def test_a_server_that_dies_and_comes_back_is_shown_the_episode_again() -> None:
    with counting_server() as server:
        port = server.socket.getsockname()[1]
        policy = RemotePolicy(address(server), patience=10)
        policy.reset(["close drawer", "open drawer"])
        first = [policy.act(observe_frames(frames)) for frames in FRAMES[:3]]
    with counting_server(port):
        rest = [policy.act(observe_frames(frames)) for frames in FRAMES[3:]]
        policy.close()
    np.testing.assert_array_equal(np.stack(first + rest), expected())


def test_a_server_that_stays_away_gives_one_clear_error() -> None:
    with counting_server() as server:
        policy = RemotePolicy(address(server), patience=0.5)
        policy.reset(["close drawer", "open drawer"])
        policy.act(observe_frames(FRAMES[0]))
    with pytest.raises(ConnectionError, match=r"lane 0, step 1: .*refused; finished episodes are kept"):
        policy.act(observe_frames(FRAMES[1]))


def test_a_slow_server_is_asked_twice_and_not_waited_for_forever() -> None:
    asked = []

    def sleeps(connection: ServerConnection) -> None:
        connection.send(pack_message({}))
        asked.append(connection.recv())
        connection.recv()

    with raw_server(sleeps) as place:
        policy = RemotePolicy(place, answer_within=0.3)
        policy.reset(["close drawer"])
        with pytest.raises(ConnectionError, match=r"lane 0, step 0: no answer within 0.3 seconds"):
            policy.act(observe_frames(FRAMES[0, :1]))
    assert len(asked) == 2


def said(**array: Any) -> bytes:
    """An answer whose actions are an array as it is written."""
    return pack_message({"actions": {name.encode(): value for name, value in array.items()}})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            pack_message({"actions": np.zeros((1, 7), np.float32)}),
            r"lane 0, step 0: actions have shape \(1, 7\).*'real2sim'",
        ),
        (
            pack_message({"action": np.zeros((1, 13), np.float32)}),
            r"lane 0, step 0: the answer has no 'actions' but action",
        ),
        (
            pack_message({"actions": np.array(["left"])}),
            r"lane 0, step 0: actions have shape \(1, 1\) and type",
        ),
        (pack_message({"actions": None}), r"actions are nothing \(null\), expected numbers \(n, 13\)"),
        (pack_message({"actions": {"left": 1}}), r"actions are a map with left, expected numbers \(n, 13\)"),
        (pack_message({"actions": "left"}), r"actions are text, expected numbers \(n, 13\)"),
        (
            pack_message({"actions": [0.0] * 12 + ["x"]}),
            r"actions are lists that hold text, expected numbers",
        ),
        (pack_message({"actions": [[0.0] * 12 + [None]]}), r"actions are lists that hold nothing \(null\)"),
        (
            pack_message({"actions": np.full((1, 13), 1e39)}),
            r"number 0 of action 0 in the answer is 1e\+39, expected a number that fits float32",
        ),
        (
            pack_message({"actions": [[0.0] * 13, [0.0]]}),
            r"lane 0, step 0: actions are lists of unequal lengths",
        ),
        (b"\xc1 nonsense", r"lane 0, step 0: .*is not MessagePack"),
        (
            said(__npgeneric__=True, dtype="i1", data=300),
            r"is not MessagePack as openpi sends it \(.*out of bounds",
        ),
        (said(__npgeneric__=True, dtype="<i8", data=2**64 - 1), r"is not MessagePack as openpi sends it"),
        (said(__ndarray__=True, dtype="(2,", data=b"", shape=[0]), r"\('\(2,' is no type of numbers\)"),
        (
            said(__ndarray__=True, dtype=5, data=b"", shape=[0]),
            r"\('5' is no type of numbers\); pack it with",
        ),
        (said(__ndarray__=True, dtype="f" * 60, data=b"", shape=[0]), r"\('f{40}' is no type of numbers\)"),
        (said(__ndarray__=True, dtype="<f4", data="x", shape=[0]), r"data is a str, expected bytes"),
        (said(__ndarray__=True, dtype="<f4", data=b"", shape="13"), r"has the shape 13, expected a list"),
        (
            said(__ndarray__=True, dtype="<f4", data=b"", shape=[1.0]),
            r"has the shape \[1.0\], expected a list",
        ),
        (said(__ndarray__=True, dtype="<f4", data=b"abc", shape=[1]), r"shape \[1\] has 3 bytes, expected 4"),
        (
            said(__ndarray__=True, dtype="<f4", data=b"", shape=[2**62]),
            r"has 0 bytes, expected 18446744073709551616",
        ),
        (pack_message({f"k{i}": i for i in range(30)}), r"no 'actions' but k0, .*, k9 and 20 more$"),
        (pack_message({"actions": 0})[:-1] + b"\x81\xc4\x0b__ndarray__\xc3", r"is not MessagePack.*dtype"),
        ("Traceback\nKeyError: 'prompt'", r"lane 0, step 0: the server failed with KeyError: 'prompt'"),
    ],
)
def test_a_malformed_answer_is_named(answer: bytes | str, message: str) -> None:
    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message({}))
        connection.recv()
        connection.send(answer)
        connection.recv()

    with raw_server(answers) as place:
        policy = RemotePolicy(place)
        policy.reset(["close drawer"])
        with pytest.raises(ValueError, match=message):
            policy.act(observe_frames(FRAMES[0, :1]))
        policy.close()


def test_control_characters_of_a_server_do_not_reach_the_terminal(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message({}))
        connection.recv()
        connection.send("\x1b[31mred\x07 \u202e\tend")
        connection.recv()

    with raw_server(answers) as place, pytest.raises(SystemExit):
        words = ["rollout", "--out", str(tmp_path / "run"), "--suite", str(tiny_suite), "--processes", "1"]
        main([*words, "--starts", "1", "--policies", place])
    assert r"failed with \x1b[31mred\x07 \u202e end" in capsys.readouterr().err


def test_a_server_that_comes_back_as_another_one_is_not_taken_for_the_first() -> None:
    greetings = [{}, {"stateful": True}]

    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message(greetings.pop(0)))
        connection.recv()
        connection.send(pack_message({"actions": np.zeros((1, 13), np.float32)}))

    with raw_server(answers) as place:
        policy = RemotePolicy(place, patience=5)
        policy.reset(["close drawer"])
        policy.act(observe_frames(FRAMES[0, :1]))
        with pytest.raises(
            ValueError, match=r"step 1: the server greets otherwise than before; .*another name"
        ):
            policy.act(observe_frames(FRAMES[1, :1]))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("401 Unauthorized", "write ws://user:password@host:port"),
        ("404 Not Found", "is this the address of a policy server"),
        ("503 Busy", "start the server"),
    ],
)
def test_what_is_no_policy_server_is_not_to_be_started(status: str, advice: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuses() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    client.recv(4096)
                    client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                    client.close()

        threading.Thread(target=refuses, daemon=True).start()
        policy = RemotePolicy(f"ws://127.0.0.1:{listener.getsockname()[1]}", patience=0)
        policy.reset(["close drawer"])
        with pytest.raises(ConnectionError, match=f"HTTP {status[:3]}; .*{advice}"):
            policy.act(observe_frames(FRAMES[0, :1]))


def test_a_second_answer_to_one_question_is_not_taken_for_the_next_one() -> None:
    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message({}))
        for _ in connection:
            for _ in range(2):
                connection.send(pack_message({"actions": np.zeros((1, 13), np.float32)}))

    with raw_server(answers) as place:
        policy = RemotePolicy(place)
        policy.reset(["close drawer"])
        policy.act(observe_frames(FRAMES[0, :1]))
        time.sleep(0.2)
        with pytest.raises(
            ValueError, match=r"lane 0, step 1: the server sent a second message \(\d+ bytes\)"
        ):
            policy.act(observe_frames(FRAMES[1, :1]))
        policy.close()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("stateful", "false", "true or false"),
        ("steps", [1], "true or false"),
        ("convention", None, "text"),
        ("cameras", "front", "a list of names"),
        ("cameras", [None], "a list of names"),
        ("state_names", {"a": 0}, "a list of names"),
        ("action_names", {"a": 0}, "a list of names"),
        ("state_width", "six", "a whole number"),
        ("state_width", True, "a whole number"),
    ],
)
def test_a_greeting_whose_values_are_of_another_kind_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"the server's greeting says {name} = .*, expected {expected}"):
        make_plan(rt1_robot(), RemoteOptions(), {name: value})


def test_a_chunk_of_actions_is_played_before_the_server_is_asked_again() -> None:
    asked: list[dict[str, Any]] = []

    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message({"model": "other"}))
        for message in connection:
            asked.append(unpack_message(message))
            connection.send(pack_message({"actions": np.arange(39, dtype=np.float64).reshape(3, 13)}))

    with raw_server(answers) as place:
        policy = RemotePolicy(place, execute=2, image_key="image", prompt_key="prompt")
        policy.reset(["close drawer"])
        moves = [policy.act(observe_frames(frames[:1]))[0, 0] for frames in FRAMES[:4]]
        policy.close()
    assert moves == [0, 13, 0, 13]
    assert len(asked) == 2
    assert asked[0]["prompt"] == "close drawer"
    np.testing.assert_array_equal(asked[1]["image"], FRAMES[2, 0])
    assert "reset" not in asked[0]


def test_what_the_numbers_mean_is_said_by_the_server_or_the_client() -> None:
    seven = np.array([[0.01, 0.02, 0.03, 0.0, 0.0, 0.5, 1.0]])

    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message({"convention": "xyz-rpy-opening"}))
        for _ in connection:
            connection.send(pack_message({"actions": seven}))

    with raw_server(answers) as place:
        without_convention, with_convention = (
            RemotePolicy(place),
            RemotePolicy(f"{place}#convention=xyz-rpy-closedness"),
        )
        moves = {}
        for policy in (without_convention, with_convention):
            policy.reset(["close drawer"])
            moves[policy] = policy.act(observe_frames(FRAMES[0, :1]))
            policy.close()
    expected = pack(
        {
            "world_vector": [[0.01, 0.02, 0.03]],
            "rotation_delta": [[0, 0, 0.5]],
            "gripper_closedness_action": [[-1]],
            "terminate_episode": [[0, 1, 0]],
        }
    )
    np.testing.assert_allclose(moves[without_convention], expected, atol=1e-7)
    np.testing.assert_allclose(moves[with_convention], np.abs(expected), atol=1e-7)


def test_a_gripper_that_sticks_remembers_its_own_lane_only() -> None:
    def answers(connection: ServerConnection) -> None:
        connection.send(pack_message({"convention": "xyz-rpy-opening-sticky"}))
        for message in connection:
            opening = float(unpack_message(message)["observation/image"].max() > 0)  # type: ignore[arg-type]
            connection.send(pack_message({"actions": np.array([0, 0, 0, 0, 0, 0, opening])}))

    frames = np.zeros((2, 2, 8, 8, 3), np.uint8)
    frames[0] = 1
    frames[1, 1] = 1
    with raw_server(answers) as place:
        policy = RemotePolicy(place)
        policy.reset(["close drawer", "open drawer"])
        grips = [policy.act(observe_frames(seen))[:, 3].tolist() for seen in frames]
        policy.close()
    assert grips == [[0, 0], [1, 0]]


def test_options_follow_the_address() -> None:
    assert read_address("ws://h:1/p?token=x") == ("ws://h:1/p?token=x", {})
    address, options = read_address("ws://h:1#execute=all,image_key=observation/wrist,patience=2.5")
    assert address == "ws://h:1"
    assert options == {"execute": None, "image_key": "observation/wrist", "patience": 2.5}
    for wrong in (
        "ws://h:1#exec=1",
        "ws://h:1#execute=often",
        "ws://h:1#convention=mine",
        "ws://h:1#execute=0",
    ):
        with pytest.raises(ValueError, match=r"there are|at least 1|a whole number"):
            RemotePolicy(wrong)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ws://h:1#patience=", "patience is empty"),
        ("ws://h:1#patience=x", "patience is 'x', expected a number of seconds$"),
        ("ws://h:1#execute=1.5", "execute is '1.5', expected a whole number, frame or all$"),
        ("ws://h:1#execute=99999999999", "execute must be at most"),
        ("ws://h:1#patience=1,patience=2", "gives patience twice"),
        ("ws://h:1#images=a:x;b:x", "images: 'x' is named twice"),
        ("ws://h:1#state=x:0;x:1", "state: 'x' is named twice"),
        ("ws://h:1#preset=zzz", "h:1#preset=zzz': unknown preset"),
        ("ws://a b:1", "is not an address such as ws://.*: the host holds a space"),
        ("ws://h:1 ", "is not an address such as ws://.*: the port is no whole number"),
        ("ws://h:65536", "is not an address such as ws://.*: the port is 65536, beyond 65535"),
        ("ws://h:0", "is not an address such as ws://.*: the port is 0"),
        ("ws://h:abc", "is not an address such as ws://.*: the port is no whole number"),
        ("ws://::1:80", "is not an address such as ws://.*: an IPv6 address stands in brackets"),
        ("ws://[::1:80", "is not an address such as ws://.*: a bracket"),
        ("ws://:80", "is not an address such as ws://.*: there is no host"),
        ("ws://h:1#answer_within=0", "answer_within must be more than 0"),
        ("ws://h:1#execute=1_0", "execute is '1_0', expected a whole number"),
        ("ws://h:1#execute=٣", "execute is '٣', expected a whole number"),
        ("ws://h:1#patience=1_0", "patience is '1_0', expected a number of seconds"),
        ("ws://h:1#action_names=a;;b", "action_names: a name is empty"),
        ("ws://h:1#action_names=a;a", "action_names: 'a' is named twice"),
        ("ws://a..b:1", "is not an address such as ws://"),
        ("zmq://h", "is not an address such as zmq://127.0.0.1:5555"),
        ("zmq://*:5555", "is not an address such as zmq://"),
        ("zmq://h:5555/x", "is not an address such as zmq://"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_before_anything_is_asked(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_address(written)


@pytest.mark.skipif(int(version("websockets").split(".")[0]) < 17, reason="follows nobody who sends it on")
def test_a_server_that_sends_on_to_another_kind_of_address_is_named() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send_on() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 301 Moved\r\nLocation: file:///x\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=send_on, daemon=True)
        thread.start()
        policy = RemotePolicy(f"ws://127.0.0.1:{listener.getsockname()[1]}", patience=0.1)
        policy.reset(["close drawer"])
        with pytest.raises(
            ValueError, match=r"sends on to an address that is none of a websocket .*file:///x"
        ):
            policy.act(observe_frames(FRAMES[0, :1]))
        thread.join(timeout=5)


def test_a_page_in_a_browser_and_a_message_without_end_are_refused() -> None:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    from real2sim.policies.servers.policy_wire import MOST_BYTES, pack_message

    frame = np.zeros((8, 8, 3), np.uint8)
    with policy_server(lambda: PolicyLane(RandomPolicy(rt1_robot())), GREETING) as server:
        with pytest.raises(InvalidStatus, match="403"):
            connect(address(server), origin="http://example.org")  # type: ignore[arg-type]
        with connect(address(server), max_size=None) as hostile, connect(address(server)) as other:
            hostile.recv()
            other.recv()
            hostile.send(pack_message({"observation/image": frame, "prompt": "a" * 2_000_000}))
            assert "the prompt has 2000000 characters" in str(hostile.recv(timeout=20))
            with pytest.raises(ConnectionClosed):
                hostile.send(bytes(MOST_BYTES + 1))
                hostile.recv(timeout=60)
            other.send(pack_message({"observation/image": frame, "prompt": "close drawer"}))
            assert isinstance(other.recv(timeout=20), bytes)


def test_random_numbers_of_a_server_come_from_the_episode_seed() -> None:
    with policy_server(lambda: PolicyLane(RandomPolicy(rt1_robot())), GREETING) as server:
        policy = RemotePolicy(address(server))
        rolls = []
        for seeds in ([1, 2], [3, 4], [1, 2]):
            policy.seed(seeds)
            rolls.append(roll(policy, 2))
        policy.close()
    np.testing.assert_array_equal(rolls[0], rolls[2])
    assert not np.array_equal(rolls[0], rolls[1])


def test_the_server_answers_a_wrong_observation_with_text_and_goes_on() -> None:
    with counting_server() as server, connect(address(server), compression=None) as connection:
        assert unpack_message(connection.recv())["stateful"] is True  # type: ignore[arg-type]
        connection.send(pack_message({"image": FRAMES[0, 0]}))
        assert "has no 'observation/image'" in connection.recv()  # type: ignore[operator]
        connection.send(pack_message({"observation/image": FRAMES[0, 0], "prompt": "close drawer"}))
        assert unpack_message(connection.recv())["actions"].shape == (1, 13)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("prompt", 3, "prompt is a int, expected text"),
        ("prompt", b"close drawer", "prompt is a bytes, expected text"),
        ("reset", "no", "reset is no, expected true or false"),
        ("reset", np.zeros(3), "expected true or false"),
        ("seed", 1.5, "seed is 1.5, expected a whole number from 0"),
        ("seed", -1, "seed is -1, expected"),
        ("seed", [1], r"seed is \[1\], expected"),
        ("observation/state", "x", "expected one row of finite numbers"),
        ("observation/state", np.array([np.nan]), "expected one row of finite numbers"),
        ("observation/image", np.zeros((0, 8, 3), np.uint8), "expected uint8"),
        ("observation/image", [[1], [1, 2]], "observation/image is a list of lists of unequal lengths"),
    ],
)
def test_a_value_of_another_kind_in_an_observation_is_answered_with_a_sentence(
    name: str, value: Any, said: str
) -> None:
    with counting_server() as server, connect(address(server), compression=None) as connection:
        connection.recv()
        connection.send(
            pack_message({"observation/image": FRAMES[0, 0], "prompt": "close drawer", name: value})
        )
        answer = connection.recv()
        assert isinstance(answer, str)
        assert re.search(said, answer)


def test_a_client_that_vanishes_leaves_no_traceback_in_the_server_s_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with counting_server() as server:
        connection = connect(address(server), compression=None)
        with connection as open_one:
            open_one.recv()
            open_one.send(pack_message({"observation/image": FRAMES[0, 0], "prompt": "close drawer"}))
            open_one.socket.close()
        with connect(address(server), compression=None) as other:
            other.recv()
    # The client here is one whose socket was pulled away, which its own library may log.
    assert not [record for record in caplog.records if record.exc_info and record.name != "websockets.client"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, bool])
def test_arrays_survive_the_wire(dtype: type) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    again = unpack_message(pack_message({"x": array, "y": np.float32(2.5), "z": "text"}))
    np.testing.assert_array_equal(again["x"], array)
    assert again["x"].dtype == array.dtype
    assert again["y"] == np.float32(2.5)
    assert again["z"] == "text"


def test_arrays_of_objects_neither_leave_nor_arrive() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        pack_message({"x": np.array([object()])})
    with pytest.raises(ValueError, match="not accepted"):
        unpack_message(_object_array())


def _object_array() -> bytes:
    import msgpack

    packed: bytes = msgpack.packb(
        {"x": {b"__ndarray__": True, b"data": b"12345678", b"dtype": "|O", b"shape": (1,)}}
    )
    return packed


def test_recorded_bytes_of_an_openpi_client_are_understood() -> None:
    # {"prompt": "open drawer", "x": np.array([1, 2], "<i2")} as openpi-client packs it.
    recorded = bytes.fromhex(
        "82a670726f6d7074ab6f70656e20647261776572a17884c40b5f5f6e6461727261795f5fc3c40464617461c40401000200"
        "c4056474797065a33c6932c40573686170659102"
    )
    message = unpack_message(recorded)
    assert message["prompt"] == "open drawer"
    np.testing.assert_array_equal(message["x"], np.array([1, 2], np.int16))
