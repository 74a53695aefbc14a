"""Arguments that a policy may be given by mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from real2sim.actions import rt1_robot
from real2sim.policies.callable_policy import CallablePolicy
from real2sim.policies.chunks import ChunkBuffer
from real2sim.policies.random_policy import RandomPolicy
from real2sim.policies.replay import ReplayPolicy
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.policies.trained import load_policy
from real2sim.simulation.observation import observe_frames
from real2sim.success.classifier import SuccessClassifier
from real2sim.vid2world.world_model import WorldModel

ZEROS = np.zeros((1, 3, 13), np.float32)


@pytest.fixture(scope="module")
def policies(tiny_suite: Path) -> list[Any]:
    callable_policy = CallablePolicy(lambda seen: np.zeros((len(seen.frames), 13)))
    trained = RT1Policy.from_folder(tiny_suite / "policies" / "late")
    return [ReplayPolicy(ZEROS), RandomPolicy(rt1_robot()), callable_policy, trained]


@pytest.mark.parametrize(
    "instructions", [None, 5, "close drawer", b"a", [], [1], [None], [b"a"], {"a": 1}, np.array("a")]
)
def test_instructions_are_one_text_for_each_lane(policies: list[Any], instructions: Any) -> None:
    for policy in policies:
        with pytest.raises(ValueError, match="instruction"):
            policy.reset(instructions)


@pytest.mark.parametrize("seeds", [1, None, "1", [1.5], [-1], [2**63], [None], [True], [[1], [2, 3]]])
def test_seeds_are_one_whole_number_for_each_lane(policies: list[Any], seeds: Any) -> None:
    for policy in policies[1::2]:
        with pytest.raises(ValueError, match="seed"):
            policy.seed(seeds)


@pytest.mark.parametrize(
    "frames", [np.ma.array(np.zeros((1, 4, 4, 3), np.uint8), mask=True), np.zeros((1, 0, 4, 3), np.uint8)]
)
def test_frames_are_whole_pictures(policies: list[Any], frames: np.ndarray) -> None:
    for policy in policies:
        policy.reset(["close drawer"])
        with pytest.raises(ValueError, match="frames"):
            policy.act(observe_frames(frames))


@pytest.mark.parametrize(
    "actions",
    [
        None,
        "a",
        {"a": ZEROS},
        ZEROS * np.nan,
        ZEROS + np.inf,
        ZEROS.astype(str),
        ZEROS.astype("M8[s]"),
        ZEROS.astype(float) + 1e300,
        np.ma.array(ZEROS, mask=True),
    ],
)
def test_recordings_and_chunks_are_finite_numbers(actions: Any) -> None:
    with pytest.raises(ValueError, match=r"the recording|actions have shape"):
        ReplayPolicy(actions)
    with pytest.raises(ValueError, match="lane 0"):
        ChunkBuffer(1).put(0, actions[0] if isinstance(actions, np.ndarray) else actions)


def test_recordings_may_be_tensors() -> None:
    policy = ReplayPolicy(torch.zeros(1, 3, 13, dtype=torch.bfloat16))  # type: ignore[arg-type]
    policy.reset(["close drawer"])
    assert policy.act(observe_frames(np.zeros((1, 4, 4, 3), np.uint8))).dtype == np.float32


def mixed_widths() -> None:
    chunks = ChunkBuffer(2)
    chunks.put(0, np.zeros((1, 3)))
    chunks.put(1, np.zeros((1, 4)))
    chunks.take_all()


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ChunkBuffer(1.5), "lanes must be a whole number"),  # type: ignore[arg-type]
    (lambda: ChunkBuffer(1, execute="all"), "execute must be a whole number"),  # type: ignore[arg-type]
    (lambda: ChunkBuffer(2).take(5), "lane is 5, expected one of 2 lanes"),
    (lambda: ChunkBuffer(2).put(-1, ZEROS[0]), "lane must be at least 0"),
    (mixed_widths, "have 3, 4 numbers per action"),
    (lambda: ChunkBuffer(0).take_all(), "no actions at all"),
    (lambda: RandomPolicy("rt1"), "robot is of type str"),  # type: ignore[arg-type]
    (lambda: RandomPolicy(rt1_robot(), seed=1.5), "seed must be a whole number"),  # type: ignore[arg-type]
    (lambda: CallablePolicy(5), "of type int, expected a function"),  # type: ignore[arg-type]
    (lambda: CallablePolicy(len, requires=0), "requires is of type int"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "complaint"), WRONG)
def test_what_policies_are_made_of(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


@pytest.mark.parametrize("temperature", [np.nan, np.inf, "a", True, [1], -1, 1e-320])
def test_a_temperature_is_a_number_to_divide_by(tiny_suite: Path, temperature: Any) -> None:
    with pytest.raises(ValueError, match="temperature"):
        RT1Policy.from_folder(tiny_suite / "policies" / "late", temperature)


@pytest.mark.parametrize("folder", [None, 5, b"x", "a\0b"])
@pytest.mark.parametrize(
    "load",
    [load_policy, RT1Policy.from_folder, SuccessClassifier.from_folder, WorldModel.from_folder],
)
def test_a_model_is_named_by_text_or_a_path(load: Callable[[Any], Any], folder: Any) -> None:
    with pytest.raises(ValueError, match=r"is named by text or a path|holds a NUL character"):
        load(folder)


def test_a_device_is_one_that_there_is(tiny_suite: Path) -> None:
    for load, place in ((load_policy, "policies/late"), (SuccessClassifier.from_folder, "judge")):
        with pytest.raises(ValueError, match="device is 'tpu'"):
            load(tiny_suite / place, device="tpu")  # type: ignore[operator]
