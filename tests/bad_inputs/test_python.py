"""Arguments that Python code may hand over by mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch

import real2sim
from real2sim.actions import pack
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.policies.random_policy import RandomPolicy
from real2sim.report.report import make_report
from real2sim.success.classifier import SuccessClassifier
from real2sim.success.judge import open_judge
from real2sim.success.train_classifier import ClassifierTraining
from real2sim.success.train_gate import GateTraining
from real2sim.vid2world import SamplerConfig, Vid2World

OPTIONS = [
    {"starts": 2.5}, {"starts": None}, {"starts": True}, {"lanes": None}, {"lanes": "all"}, {"lanes": 1.5},
    {"seed": "abc"}, {"seed": math.nan}, {"seed": 1.0}, {"seed": -1}, {"processes": 1.5}, {"processes": "2"},
    {"policies": "random"}, {"policies": None}, {"policies": (None,)}, {"tasks": (5,)}, {"world": None}, {"world": 5},
    {"sampling": 5}, {"shuffled": "x"}, {"consistency": None}, {"suite": None}, {"device": None}, {"out": 5},
    {"threads": math.inf}, {"out": ""}, {"memory_limit": "a", "lanes": "auto"}, {"world": ""}, {"out": Path("a\0b")},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_another_type(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        real2sim.RolloutConfig(**{"out": tmp_path, **options})


def test_paths_may_be_text_and_several_names_a_list(tmp_path: Path) -> None:
    config = real2sim.RolloutConfig(str(tmp_path), policies=["random"], suite=tmp_path)  # type: ignore[arg-type]
    assert (config.out, config.policies, config.suite) == (tmp_path, ("random",), str(tmp_path))
    from real2sim.evaluation.report_runs import ReportConfig

    report = ReportConfig(runs=[str(tmp_path)], out=str(tmp_path))  # type: ignore[arg-type,list-item]
    assert report.runs == (tmp_path,)


def ragged(actions: np.ndarray) -> Any:
    return [list(actions[0]), [0.0]]


def broken_disk(actions: np.ndarray) -> Any:
    raise OSError(28, "No space left on device", "/elsewhere")


ANSWERS: list[tuple[Callable[[np.ndarray], Any], str]] = [
    (ragged, "no array of numbers"),
    (lambda actions: None, r"of type NoneType, expected \(2, 13\)"),
    (lambda actions: actions * np.nan, "is nan"),
    (lambda actions: actions.astype(str), "of type <U"),
    (lambda actions: actions.astype(complex), "of type complex"),
    (lambda actions: actions[:, :3], "actions have shape"),
    (lambda actions: actions[0], "actions have shape"),
    (lambda actions: 3, "actions have shape"),
]


@pytest.mark.parametrize(("answer", "complaint"), ANSWERS)
def test_answers_of_a_policy_that_are_no_actions(
    tiny_suite: Path, tmp_path: Path, answer: Callable[[np.ndarray], Any], complaint: str
) -> None:
    policy = CallablePolicy(lambda seen: answer(np.zeros((len(seen.frames), 13), np.float32)))
    config = real2sim.RolloutConfig(
        tmp_path, policies=("mine",), suite=str(tiny_suite), starts=2, processes=1
    )
    with pytest.raises(ValueError, match=complaint):
        real2sim.rollout(config, {"mine": policy}, progress=False)


@pytest.mark.parametrize("kind", ["grad", "bfloat16", "list"])
def test_answers_that_are_actions_in_another_form_are_taken(
    tiny_suite: Path, tmp_path: Path, kind: str
) -> None:
    def answer(seen: Any) -> Any:
        zeros = torch.zeros(len(seen.frames), 13)
        return {"grad": zeros.requires_grad_(), "bfloat16": zeros.bfloat16(), "list": zeros.tolist()}[kind]

    config = real2sim.RolloutConfig(
        tmp_path, policies=("mine",), suite=str(tiny_suite), starts=1, processes=1
    )
    assert len(real2sim.rollout(config, {"mine": CallablePolicy(answer)}, progress=False)) == 2


@pytest.mark.slow
def test_an_error_of_a_policy_is_not_blamed_on_the_run_folder(tiny_suite: Path, tmp_path: Path) -> None:
    policy = CallablePolicy(lambda seen: broken_disk(seen.frames))
    config = real2sim.RolloutConfig(
        tmp_path, policies=("mine",), suite=str(tiny_suite), starts=1, processes=2
    )
    with pytest.raises(ValueError, match=r"policy 'mine' failed in act: .*/elsewhere") as raised:
        real2sim.rollout(config, {"mine": policy}, progress=False)
    assert str(tmp_path) not in str(raised.value)


def test_an_environment_takes_actions_of_torch_and_refuses_other_devices(tiny_suite: Path) -> None:
    env = gymnasium.make("real2sim/WorldModel-v0", suite=str(tiny_suite), disable_env_checker=True)
    env.reset(seed=0)
    env.step(torch.zeros(13, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="device is 'tpu'"):
        gymnasium.make("real2sim/WorldModel-v0", suite=str(tiny_suite), device="tpu")


@pytest.mark.parametrize("path", [5, None, 1.5])
def test_a_run_is_named_by_a_path(path: Any) -> None:
    with pytest.raises(ValueError, match="a run folder is named by a path"):
        real2sim.load_run(path)


EPISODES = pd.DataFrame(
    {
        "policy": ["a", "b"] * 4,
        "task": "t",
        "start": list("11223344"),
        "success": [True, False] * 4,
        "steps": 3,
    }
)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (None, "expected a table"),
        ([1, 2], "expected a table"),
        (EPISODES.assign(policy=[math.nan, *EPISODES["policy"][1:]]), "policy"),
        (EPISODES.assign(steps="many"), "steps"),
        (EPISODES.assign(success=7), "expected true or false"),
        (EPISODES.assign(task=[[1]] * 8), "task of row 1 is of type list, expected a name as text"),
        (EPISODES.assign(start=[{}, *"1223344"]), "start of row 1 is of type dict, expected a name as text"),
        (EPISODES.assign(policy=[*"abababa", b"b"]), "policy of row 8 is of type bytes, expected"),
        (EPISODES.assign(seed=[*"1234567", "x"]), "seed of row 8 is 'x', expected a whole number"),
        (EPISODES.assign(seed=[*range(7), [1]]), "seed of row 8 is .1., expected a whole number"),
        (EPISODES.assign(seed=-1), "seed of row 1 is -1, expected a whole number of at least 0"),
        (EPISODES.assign(family=True), "family of row 1 is of type bool, expected"),
    ],
)
def test_tables_that_are_no_episodes(tmp_path: Path, table: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        real2sim.make_report(table, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


RATES = pd.DataFrame({"policy": ["a", "b"], "task": "t", "success_rate": [2, 0.5]})


def test_seeds_that_are_partly_text_are_numbers() -> None:
    episodes = EPISODES.assign(seed=["1", "1", 2, 2.0, None, None, 4, 4])
    assert real2sim.make_report(episodes).episodes["seed"].tolist() == [1, 1, 2, 2, None, None, 4, 4]


def test_real_rates_whose_tasks_are_no_names(tmp_path: Path) -> None:
    real = pd.DataFrame(
        {"policy": ["a", "b"], "task": [["t"], ["t"]], "successes": [1, 2], "episodes": [3, 3]}
    )
    with pytest.raises(ValueError, match="task of row 1 is of type list, expected a name as text"):
        real2sim.make_report(EPISODES, real, out=tmp_path / "out")


def test_a_judge_asks_for_instructions_that_are_text(tiny_suite: Path) -> None:
    judge = SuccessClassifier.from_folder(tiny_suite / "judge")
    with pytest.raises(ValueError, match="instruction None, expected text"):
        judge.judge(["a"], [np.zeros((3, 16, 16, 3), np.uint8)], [None])  # type: ignore[list-item]


def test_a_world_model_asks_for_lanes_and_actions_that_are_numbers(tiny_suite: Path) -> None:
    from real2sim.vid2world.world_model import WorldModel

    model = WorldModel.from_folder(tiny_suite / "world_model")
    with pytest.raises(ValueError, match="at least one lane"):
        model.reset(np.zeros((0, 16, 16, 3), np.uint8), [])
    state = model.reset(np.zeros((1, 16, 16, 3), np.uint8), [0])
    with pytest.raises(ValueError, match="actions"):
        model.step(state, np.full((1, 13), 1e30))


def test_a_policy_acts_on_observations_alone(tiny_suite: Path) -> None:
    from real2sim.actions import rt1_robot
    from real2sim.policies.replay import ReplayPolicy
    from real2sim.policies.rt1.policy import RT1Policy
    from real2sim.simulation.observation import observe, observe_frames

    frames = np.zeros((1, 16, 16, 3), np.uint8)
    replay = ReplayPolicy(np.zeros((1, 3, 13), np.float32))
    for policy in (
        RT1Policy.from_folder(tiny_suite / "policies" / "late"),
        RandomPolicy(rt1_robot()),
        replay,
    ):
        policy.reset(["close drawer"])
        for given in (None, frames, {"image": frames}):
            with pytest.raises(ValueError, match=r"acts on an Observation, got a .*observe_frames makes one"):
                policy.act(given)  # type: ignore[arg-type]
    for make in (observe_frames, lambda frames: observe(rt1_robot(), frames, ["close drawer"])):
        with pytest.raises(ValueError, match=r"frames are a (NoneType|list); expected uint8"):
            make(None)
        with pytest.raises(ValueError, match=r"frames are a (NoneType|list); expected uint8"):
            make([[0]])


def test_a_trained_policy_asks_for_an_instruction(tiny_suite: Path) -> None:
    from real2sim.policies.rt1.policy import RT1Policy

    policy = RT1Policy.from_folder(tiny_suite / "policies" / "late")
    with pytest.raises(ValueError, match="at least one instruction"):
        policy.reset([])


def test_a_random_policy_is_made_for_a_robot() -> None:
    from real2sim.actions import rt1_robot

    assert RandomPolicy(rt1_robot())


@pytest.mark.parametrize("options", ["x", ["start"], {1: 2}])
def test_options_of_an_environment_that_are_no_mapping_of_known_names(tiny_suite: Path, options: Any) -> None:
    from real2sim.envs.world_model_env import WorldModelVectorEnv

    env = WorldModelVectorEnv(1, suite=str(tiny_suite), task="close_drawer")
    with pytest.raises(ValueError, match=r"expected a mapping with task, start|unknown option '1'"):
        env.reset(seed=0, options=options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"normalized_actions": "no"}, "normalized_actions must be True or False, got 'no'"),
        ({"normalized_actions": None}, "normalized_actions must be True or False"),
        ({"terminate": 0}, "terminate must be True or False, got 0"),
        ({"sampling": {"steps": 2}}, "sampling is {'steps': 2}, expected a real2sim.SamplingOverrides"),
    ],
)
def test_arguments_of_an_environment_of_another_kind(
    tiny_suite: Path, options: dict[str, Any], complaint: str
) -> None:
    from real2sim.envs.world_model_env import WorldModelEnv

    with pytest.raises(ValueError, match=re.escape(complaint)):
        WorldModelEnv(suite=str(tiny_suite), **options)


@pytest.mark.parametrize("options", [{"history": "x"}, {"precision": "float16"}, {"compile": "yes"}])
def test_sampling_overrides_are_of_the_kinds_that_they_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))} is "):
        real2sim.SamplingOverrides(**options)


def test_a_refused_reset_leaves_the_environment_as_it_was(tiny_suite: Path) -> None:
    from real2sim.envs.world_model_env import WorldModelEnv, WorldModelVectorEnv

    refusals: tuple[dict[str, Any], ...] = (
        {"seed": 5, "options": {"start": "x"}},
        {"options": {"episode_seed": -1}},
    )
    for lanes in (WorldModelEnv, WorldModelVectorEnv):
        begun = []
        for disturbed in (False, True):
            env: Any = lanes(suite=str(tiny_suite), judge=None)
            env.reset(seed=1)
            for refusal in refusals if disturbed else ():
                with pytest.raises(ValueError, match=r"has no start|episode_seed must be"):
                    env.reset(**refusal)
            if disturbed and lanes is WorldModelVectorEnv:
                with pytest.raises(ValueError, match="seed must be"):
                    env.reset(seed=[-1])
                with pytest.raises(ValueError, match="seed must be a whole number"):
                    env.reset(seed=np.array(3))
            begun.append(str(env.reset()[1]))
        assert begun[0] == begun[1]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: real2sim.rollout({"out": "x"}), "config is of type dict, expected a real2sim.RolloutConfig"),
        (
            lambda: real2sim.rollout(RolloutConfig(out=Path("o")), ["a"]),
            "expected a mapping of names to policies",
        ),
        (lambda: open_judge(5), "a judge is named by text or a path, got 5"),
        (lambda: Vid2World.from_pretrained(None), "a model is named by text or a path, got None"),
        (lambda: SamplerConfig(steps=2.5), "steps must be a whole number, got 2.5"),
        (lambda: SamplerConfig(eta="x"), "eta must be a finite number, got 'x'"),
        (lambda: pack(5), "fields are of type int, expected a mapping"),
        (lambda: pack({"world_vector": "abc"}), "world_vector is no array of numbers"),
        (
            lambda: pack({"world_vector": np.zeros((2, 3)), "rotation_delta": np.zeros((3, 3))}),
            "fields have shapes that do not go together: world_vector (2, 3), rotation_delta (3, 3)",
        ),
        (lambda: make_report(pd.DataFrame(), "x", notes=5), "notes are of type int"),
        (lambda: make_report(EPISODES, title=5), "title is of type int, expected text"),
        (lambda: make_report(EPISODES, real_name=None), "real_name is of type NoneType, expected text"),  # type: ignore[arg-type]
        (lambda: make_report(EPISODES, out=5), "the folder of a report is named by text or a path, got 5"),
        (
            lambda: make_report(EPISODES, judge_labels=5),
            "judge_labels are of type int, expected a list of (name",
        ),
        (
            lambda: make_report(EPISODES, judge_labels=["a"]),
            "judge_labels are of type list, expected a list of (na",
        ),
        (lambda: make_report(EPISODES, RATES), "a on t has a rate of 2; a rate must lie between 0 and 1"),
        (lambda: make_report(pd.DataFrame(), "x", provenance=object), "provenance is of type type, expected"),
        (
            lambda: make_report(pd.DataFrame(), "x", frames=()),
            "frames are of type tuple, expected a function",
        ),
        (lambda: make_report(pd.DataFrame(), "x", invalid=[]), "invalid episodes can be as-judged"),
    ],
)
def test_calls_with_values_of_another_kind(call: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        call()


def test_what_was_learned_measures_nothing() -> None:
    data = (Path("d"), Path("./d"))
    with pytest.raises(ValueError, match="d is named twice, in --data and in --data; name each folder once"):
        GateTraining(data=data, out=Path("o"))
    with pytest.raises(ValueError, match="d is named twice, in --data and in --heldout"):
        ClassifierTraining(data=data[:1], out=Path("o"), heldout=data[1:])


@pytest.mark.parametrize("policy", [5, None, "random", lambda seen: seen, object()])
def test_a_policy_of_a_rollout_resets_and_acts(tiny_suite: Path, tmp_path: Path, policy: Any) -> None:
    config = real2sim.RolloutConfig(tmp_path / "out", policies=("mine",), suite=str(tiny_suite), starts=1)
    with pytest.raises(
        ValueError, match=r"policy 'mine' is of type \w+, expected an object with reset and act"
    ):
        real2sim.rollout(config, {"mine": policy}, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", ["2", 1.5, True])
def test_starts_of_a_suite_are_counted(tiny_suite: Path, count: Any) -> None:
    from real2sim.simulation.suite import load_suite

    with pytest.raises(ValueError, match="the number of starts must be a whole number"):
        load_suite(str(tiny_suite)).starts("close_drawer", count)


def test_a_suite_that_is_a_number() -> None:
    from real2sim.simulation.suite import load_suite

    with pytest.raises(ValueError, match="named by text or a path, got 3"):
        load_suite(3)  # type: ignore[arg-type]


class Strange:
    """A value that can neither be compared nor tested."""

    def __eq__(self, other: object) -> bool:
        raise TypeError

    def __bool__(self) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value", [None, "2", [], {}, Strange(), np.array([]), np.array(["a"]), 2 + 0j, object]
)
def test_a_field_that_is_a_number_or_a_choice_takes_nothing_else(tmp_path: Path, value: Any) -> None:
    from real2sim.evaluation.horizon import HorizonConfig
    from real2sim.report.planning import PlanConfig
    from real2sim.robot_parts import ActionNumber, Camera
    from real2sim.simulation.suite_config import Task

    makers: list[tuple[Callable[[], Any], str]] = [
        (lambda: real2sim.RolloutConfig(tmp_path, skip=value), "skip must be a whole number, got"),
        (
            lambda: real2sim.RolloutConfig(tmp_path, starts=value),
            "starts is .*, expected a whole number or 'all'",
        ),
        (lambda: PlanConfig(alpha=value), "alpha must be a finite number, got"),
        (lambda: HorizonConfig(tmp_path, episodes=value), "episodes must be a whole number, got"),
        (lambda: ActionNumber("a", low=value), "low must be a finite number, got"),
        (lambda: Camera("front", value, 8), "height must be a whole number, got"),
    ]
    if not isinstance(value, str):
        makers.append((lambda: Task("close", value, 3), "instruction is .*, expected text"))
    for make, complaint in makers:
        with pytest.raises(ValueError, match=complaint):
            make()


def test_numbers_and_text_of_numpy_become_those_of_python(tmp_path: Path) -> None:
    config = real2sim.RolloutConfig(
        tmp_path, starts=np.int64(2), skip=np.int32(1), shuffled=np.bool_(True), suite=np.str_("drawer"),
        sampling=real2sim.SamplingOverrides(eta=np.float32(0.5), history=np.str_("cached")),
    )  # fmt: skip
    kept = (config.starts, config.skip, config.shuffled, config.sampling.eta, config.sampling.history)
    assert kept == (2, 1, True, 0.5, "cached")
    assert [type(value) for value in kept] == [int, int, bool, float, str]


@pytest.mark.parametrize(
    "options",
    [{"use_async_envs": "x"}, {"n_envs": "2"}, {"n_envs": True}, {"n_envs": 0}, {"clip_actions": 1}],
)
def test_environments_for_lerobot_are_asked_for_by_a_number_and_by_flags(
    tiny_suite: Path, options: dict[str, Any]
) -> None:
    from real2sim.envs.lerobot import make_env

    with pytest.raises(ValueError, match=next(iter(options))):
        make_env(**{"n_envs": 1, **options}, suite=str(tiny_suite), task="close_drawer")
