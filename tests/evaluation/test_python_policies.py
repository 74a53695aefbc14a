"""Policies in Python files and own policy objects, on one process and on several."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import real2sim
from real2sim.cli import main
from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.policy_sources import find_policies
from real2sim.evaluation.report_runs import provenance
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.simulation.suite import Suite

POLICY = """
import numpy as np
from helper_of_{tag} import SPEED

class Pusher:
    def __init__(self, robot, speed=SPEED):
        self.width, self.speed = robot.action_width, speed

    def reset(self, instructions):
        self.lanes = len(instructions)

    def act(self, observation):
        actions = np.zeros((self.lanes, self.width), np.float32)
        actions[:, 11] = self.speed
        return actions

class Drawn(Pusher):
    def seed(self, seeds):
        self.streams = [np.random.default_rng(seed) for seed in seeds]

    def act(self, observation):
        actions = super().act(observation)
        actions[:, 10] = [stream.uniform(-0.05, 0.05) for stream in self.streams]
        return actions

def slow():
    from robots import Robot
    return Pusher(None)

def make(robot):
    return Drawn(robot, 0.01)
"""


@pytest.fixture
def module(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A Python file with policies, and a module beside it that it imports."""
    tag = re.sub(r"\W", "_", request.node.name)[-40:]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / f"helper_of_{tag}.py").write_text("SPEED = 0.02\n")
    (folder / "unused.py").write_text("SPEED = 0.02\n")
    (folder / "policy.py").write_text(POLICY.replace("{tag}", tag))
    return folder / "policy.py"


def config(suite: Path, out: Path, *policies: str, **more: Any) -> RolloutConfig:
    return RolloutConfig(out, policies, str(suite), **{"starts": 4, "lanes": 2, "processes": 1, **more})


def assert_same_run(a: Path, b: Path) -> None:
    first, second = (real2sim.load_run(path).drop(columns="seconds") for path in (a, b))
    pd.testing.assert_frame_equal(first, second)
    for episode in first["episode"]:
        for mine, other in zip(RunFolder(a).episode(episode), RunFolder(b).episode(episode), strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.slow
def test_a_class_and_a_function_act_in_every_process_as_in_one(
    tiny_suite: Path, tmp_path: Path, module: Path
) -> None:
    names = (f"push={module}:Pusher", f"runs:drawn={module}:Drawn", f"{module}:make")
    table = rollout(config(tiny_suite, tmp_path / "one", *names), progress=False)
    rollout(config(tiny_suite, tmp_path / "three", *names, processes=3), progress=False)
    assert_same_run(tmp_path / "one", tmp_path / "three")
    assert len(list((tmp_path / "three").glob("rows-*.jsonl"))) == 3
    found = table.drop_duplicates("policy").set_index("policy")[["family", "kind"]].to_dict("index")
    assert found == {
        "push": {"family": "push", "kind": "python"},
        "drawn": {"family": "runs", "kind": "python"},
        "make": {"family": "make", "kind": "python"},
    }
    for row in table.to_dict("records"):
        _, actions = RunFolder(tmp_path / "one").episode(row["episode"])
        np.testing.assert_allclose(actions[:, 11], 0.01 if row["policy"] == "make" else 0.02)
        if row["policy"] == "drawn":
            drawn = np.random.default_rng(row["seed"]).uniform(-0.05, 0.05, len(actions))
            np.testing.assert_allclose(actions[:, 10], drawn, rtol=1e-6)


def test_run_json_says_which_policies_are_not_told_seeds(
    tiny_suite: Path, tmp_path: Path, module: Path
) -> None:
    names = (f"{module}:Pusher", f"{module}:Drawn", "random", "replay:push", "early")
    table = rollout(config(tiny_suite, tmp_path / "run", *names, starts=1), progress=False)
    assert json.loads((tmp_path / "run/run.json").read_text())["unseeded"] == ["Pusher"]
    said = provenance((tmp_path / "run",))["Policies that are not told seeds"]
    assert said.startswith("Pusher; if they draw random numbers")
    seeded = table.drop_duplicates("policy").set_index("policy")["seeded"]
    assert pd.isna(seeded.pop("replay:push"))
    assert seeded.to_dict() == {"Drawn": True, "Pusher": False, "early": True, "random": True}


@pytest.mark.parametrize("changed", ["policy.py", "helper"])
def test_a_changed_source_does_not_continue_a_run(
    tiny_suite: Path, tmp_path: Path, module: Path, changed: str
) -> None:
    rollout(config(tiny_suite, tmp_path / "run", f"{module}:Pusher", starts=1), progress=False)
    (module.parent / "unused.py").write_text("SPEED = 0.03\n")
    rollout(config(tiny_suite, tmp_path / "run", f"{module}:Pusher", starts=2), progress=False)
    (path,) = module.parent.glob(f"{changed}*")
    path.write_text(path.read_text().replace("0.02", "0.03") + "\n")
    with pytest.raises(ValueError, match=r"policies was made with Pusher = .* choose another folder"):
        rollout(config(tiny_suite, tmp_path / "run", f"{module}:Pusher", starts=2), progress=False)
    assert len(real2sim.load_run(tmp_path / "run")) == 4


def test_a_source_that_was_edited_acts_as_it_is_now(tiny_suite: Path, tmp_path: Path, module: Path) -> None:
    """In one Python process, and within the second in which compiled files look alike."""
    (helper,) = module.parent.glob("helper*")
    for speed in ("0.02", "0.03", "0.04"):
        helper.write_text(f"SPEED = {speed}\n")
        run = config(tiny_suite, tmp_path / speed, f"{module}:Pusher", starts=1, tasks=("open_drawer",))
        table = rollout(run, progress=False)
        _, actions = RunFolder(tmp_path / speed).episode(table["episode"][0])
        np.testing.assert_allclose(actions[:, 11], float(speed))
    assert not list(module.parent.glob("__pycache__"))


def test_files_that_a_class_names_belong_to_its_fingerprint(tiny_suite: Path, tmp_path: Path) -> None:
    path, suite = tmp_path / "weights_policy.py", Suite.from_folder(tiny_suite)
    path.write_text(
        "class Net:\n    files = ('net.npz',)\n    def reset(self, texts): ...\n    def act(self, seen): ...\n"
    )
    with pytest.raises(
        FileNotFoundError, match=r"net\.npz does not exist; 'Net' of .* names it in its files"
    ):
        find_policies([f"{path}:Net"], suite)
    found = set()
    for weights in (b"1", b"2"):
        (tmp_path / "net.npz").write_bytes(weights)
        found.add(find_policies([f"{path}:Net"], suite)[0].fingerprint)
    assert len(found) == 2


def test_two_folders_may_both_hold_a_policy_and_packages_import_relatively(
    tiny_suite: Path, tmp_path: Path
) -> None:
    text = "class P:\n    speed = {}\n    def reset(self, t): ...\n    def act(self, o): ...\n"
    for name, speed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.py").write_text(text.format(speed))
    package = tmp_path / "c" / "some_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text(text.format(3))
    (package / "inside.py").write_text("from .base import P\n")
    suite = Suite.from_folder(tiny_suite)
    names = [f"a={tmp_path}/a/policy.py:P", f"b={tmp_path}/b/policy.py:P", f"c={package}/inside.py:P"]
    before = {source.name: source.fingerprint for source in find_policies(names, suite)}
    speeds = [source.load("cpu")([]).policy.speed for source in find_policies(names, suite)]  # type: ignore[attr-defined]
    assert speeds == [1, 2, 3]
    (package / "base.py").write_text(text.format(4))
    after = {source.name: source.fingerprint for source in find_policies(names, suite)}
    assert [name for name in before if before[name] != after[name]] == ["c"]


def test_helpers_of_one_name_in_two_folders_are_refused(tiny_suite: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same_helper.py").write_text("")
        (tmp_path / name / "policy.py").write_text(
            "class P:\n    def reset(self, t): import same_helper\n    def act(self, o): ...\n"
        )
    names = [f"{name}={tmp_path}/{name}/policy.py:P" for name in ("a", "b")]
    with pytest.raises(ValueError, match=r"a/same_helper.py is already loaded under that name; rename"):
        find_policies(names, Suite.from_folder(tiny_suite))


METHODS = "    def reset(self, texts): self.n = len(texts)\n    def act(self, seen): "
MISTAKES = {
    "no class": ("class Pusher:\n" + METHODS + "...\n", "has no 'Pushr'; did you mean 'Pusher'", ":Pushr"),
    "no name": ("class Pusher:\n" + METHODS + "...\n", r"write policy.py:Class, it has Pusher", ""),
    "no policy": ("class P:\n    def reset(self, texts): ...\n", "it has no method 'act'", ":P"),
    "a value": ("P = 3\n", "'P' of .* is of type int; expected a class", ":P"),
    "argument": ("class P:\n    def __init__(self, path): ...\n" + METHODS + "...\n",
                 "needs the argument 'path'", ":P"),
    "syntax": ("\nclass P\n", r"policy.py, line 2: expected ':'", ":P"),
    "import": ("import numpy\nimport no_such_package\n", r"policy.py, line 2: ModuleNotFoundError: No module", ":P"),
    "end at import": ("import os\n\nos._exit(0)\n", r"policy.py, line 3: SystemExit: 0", ":P"),
    "end": (
        "import os\n\n\nclass P:\n    def reset(self, i): ...\n\n    def act(self, o):\n        os._exit(0)\n",
        r"policy 'P' failed in act: .*policy.py, line 8: SystemExit: 0",
        ":P",
    ),
    "exit": ("\n\nraise SystemExit(3)\n", r"policy.py, line 3: SystemExit: 3", ":P"),
    "made": ("class P:\n    def __init__(self): self.x = {}['w']\n" + METHODS + "...\n",
             r"policy 'P' cannot be made: .*policy.py, line 2: KeyError: 'w'", ":P"),
    "gives": ("def make(): return 3\n", r"what 'make' of .* gives \(a int\) is not a policy", ":make"),
    "acts": ("class P:\n" + METHODS + "return seen.nothing\n",
             r"policy 'P' failed in act: .*policy.py, line 3: AttributeError: 'Observation'", ":P"),
    "shape": ("import numpy as np\nclass P:\n" + METHODS + "return np.zeros((self.n, 7))\n",
              r"policy 'P', all lanes, step 0: actions have shape \(2, 7\), expected \(2, 13\)", ":P"),
    "nan": ("import numpy as np\nclass P:\n" + METHODS + "return np.full((self.n, 13), np.nan)\n",
            r"policy 'P', lane 0, step 0: .* is nan, allowed is", ":P"),
    "nothing": ("class P:\n" + METHODS + "pass\n", r"policy 'P'.* step 0: actions", ":P"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_mistake_is_one_sentence_with_its_place(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str, processes: str
) -> None:
    text, complaint, name = MISTAKES[mistake]
    (tmp_path / "policy.py").write_text(text)
    words = ["rollout", "--out", str(tmp_path / "run"), "--suite", str(tiny_suite), "--starts", "2"]
    words += ["--lanes", "2", "--processes", processes, "--policies", f"{tmp_path / 'policy.py'}{name}"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2
    assert said.startswith("error: ")
    assert re.search(complaint, said), said


def test_a_file_that_is_not_there_is_named(tiny_suite: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file nowhere/policy\.py"):
        find_policies(["nowhere/policy.py:P"], Suite.from_folder(tiny_suite))


class Forward:
    """An own policy whose speed is a value of its own."""

    def __init__(self, speed: float = 0.02) -> None:
        self.speed = speed

    def reset(self, instructions: Any) -> None:
        self.lanes = len(instructions)

    def act(self, observation: Any) -> np.ndarray:
        actions = np.zeros((self.lanes, 13), np.float32)
        actions[:, 11] = self.speed
        return actions


class Failing(Forward):
    def act(self, observation: Any) -> np.ndarray:
        return observation.nothing  # type: ignore[no-any-return]


@pytest.mark.slow
def test_own_objects_act_in_every_process_as_in_one(tiny_suite: Path, tmp_path: Path) -> None:
    speed = 0.01
    own = {
        "class": Forward(0.03),
        "function": CallablePolicy(lambda seen: np.pad(np.full((len(seen), 1), speed), ((0, 0), (11, 1)))),
    }
    rollout(config(tiny_suite, tmp_path / "one", *own), own, progress=False)
    rollout(config(tiny_suite, tmp_path / "three", *own, processes=3), own, progress=False)
    assert_same_run(tmp_path / "one", tmp_path / "three")
    assert len(list((tmp_path / "three").glob("rows-*.jsonl"))) == 3


@pytest.mark.slow
def test_a_changed_own_object_does_not_continue_a_run(tiny_suite: Path, tmp_path: Path) -> None:
    def run(policy: Any, starts: int, **more: Any) -> int:
        return len(
            rollout(
                config(tiny_suite, tmp_path, "mine", starts=starts, **more), {"mine": policy}, progress=False
            )
        )

    policy = Forward(0.03)
    assert run(policy, 1) == 2
    assert run(policy, 2) == 4, "acting has changed what it holds, but not what it is"
    assert run(Forward(0.03), 3, processes=2) == 6
    policy.speed = 0.04
    for changed in (policy, Forward(0.02), CallablePolicy(lambda seen: np.zeros((len(seen), 13)))):
        with pytest.raises(ValueError, match=r"policies was made with mine = .* choose another folder"):
            run(changed, 3)


def test_code_weights_and_captured_values_are_told_apart() -> None:
    import torch

    from real2sim.policies.object_fingerprint import object_fingerprint

    def made(speed: float) -> CallablePolicy:
        return CallablePolicy(lambda seen: np.full((len(seen), 13), speed))

    assert object_fingerprint(made(0.1)) == object_fingerprint(made(0.1))
    networks = [torch.nn.Linear(2, 2) for _ in range(2)]
    policies = [made(0.1), made(0.2), CallablePolicy(lambda seen: seen), CallablePolicy(lambda seen: -seen)]
    policies += [CallablePolicy(network) for network in networks]
    assert len({object_fingerprint(policy) for policy in policies}) == 6
    policies[0].fingerprint = "version 3"  # type: ignore[attr-defined]
    assert object_fingerprint(policies[0]) == "version 3"


def test_an_object_that_cannot_leave_its_process_acts_there(
    tiny_suite: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    policy = Forward()
    policy.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(
        ValueError, match=r"policy 'mine' cannot go to other processes \(TypeError.*processes=1"
    ):
        rollout(config(tiny_suite, tmp_path / "a", "mine", processes=2), {"mine": policy}, progress=False)
    table = rollout(
        config(tiny_suite, tmp_path / "b", "mine", processes=None), {"mine": policy}, progress=False
    )
    assert len(table) == 8
    assert "this rollout uses one process" in caplog.text


@pytest.mark.slow
def test_an_own_object_that_fails_in_a_worker_names_its_line(tiny_suite: Path, tmp_path: Path) -> None:
    policy = Failing()
    with pytest.raises(
        ValueError, match=rf"policy 'mine' failed in act: {__file__}, line \d+: AttributeError"
    ):
        rollout(config(tiny_suite, tmp_path, "mine", processes=2), {"mine": policy}, progress=False)


@pytest.mark.slow
def test_a_server_is_shared_by_all_processes(tiny_suite: Path, tmp_path: Path) -> None:
    from real2sim.policies.random_policy import RandomPolicy
    from real2sim.policies.serve import GREETING, PolicyLane
    from real2sim.policies.servers.policy_wire import policy_server

    robot = Suite.from_folder(tiny_suite).robot
    lanes: list[PolicyLane] = []

    def lane() -> PolicyLane:
        lanes.append(PolicyLane(RandomPolicy(robot)))
        return lanes[-1]

    with policy_server(lane, GREETING) as server:
        place = f"far=ws://127.0.0.1:{server.socket.getsockname()[1]}"
        rollout(config(tiny_suite, tmp_path / "one", place), progress=False)
        assert len(lanes) == 2
        rollout(config(tiny_suite, tmp_path / "two", place, processes=2), progress=False)
    assert len(lanes) == 2 + 2 * 2
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert json.loads((tmp_path / "two/run.json").read_text()).get("unseeded", []) == []


@pytest.mark.slow
def test_a_server_that_is_not_told_seeds_is_named(tiny_suite: Path, tmp_path: Path) -> None:
    from real2sim.policies.random_policy import RandomPolicy
    from real2sim.policies.serve import PolicyLane
    from real2sim.policies.servers.policy_wire import policy_server

    robot = Suite.from_folder(tiny_suite).robot
    with policy_server(lambda: PolicyLane(RandomPolicy(robot)), {"convention": "real2sim"}) as server:
        place = f"far=ws://127.0.0.1:{server.socket.getsockname()[1]}"
        rollout(config(tiny_suite, tmp_path, place, starts=1, processes=2), progress=False)
    assert RunFolder(tmp_path).settings()["unseeded"] == ["far"]
