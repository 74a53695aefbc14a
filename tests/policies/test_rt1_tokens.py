from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from real2sim.actions import FIELDS, ActionBounds, pack, unpack
from real2sim.policies.rt1.action_tokens import bin_width, detokenize, tokenize
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.convert import ConvertRT1
from real2sim.policies.rt1.saved_model import GRIPPER_DEAD_ZONE
from real2sim.robot import ActionNumber

ORDER = RT1Config().action_order
GOLDEN = load_file(Path(__file__).parents[1] / "data/rt1/action_tokenizer.safetensors")
BOUNDS = ActionBounds(world_vector=(-0.06, 0.06))


def test_tokens_of_published_examples_are_equal() -> None:
    fields = {name: GOLDEN[f"tokenize/in/{name}"] for name in FIELDS}
    np.testing.assert_array_equal(tokenize(pack(fields), ORDER, ActionBounds()), GOLDEN["tokenize/out"])


def test_actions_of_published_tokens_are_equal() -> None:
    actions = unpack(detokenize(GOLDEN["detokenize/in"], ORDER, ActionBounds()))
    for name in FIELDS:
        np.testing.assert_allclose(actions[name], GOLDEN[f"detokenize/out/{name}"], rtol=0, atol=5e-7)


@given(st.lists(st.integers(0, 255), min_size=11, max_size=11))
def test_a_token_read_back_is_off_by_one_bin_at_most_and_never_upwards(values: list[int]) -> None:
    tokens = np.array([values[0] % 3, *values[1:]])
    again = tokenize(
        detokenize(tokens, ORDER, BOUNDS),
        ORDER,
        BOUNDS,
    )
    assert ((tokens - again >= 0) & (tokens - again <= 1)).all()
    assert again[0] == tokens[0]


@given(st.lists(st.floats(-0.06, 0.06), min_size=3, max_size=3))
def test_a_displacement_survives_to_within_one_bin(move: list[float]) -> None:
    bounds = BOUNDS
    action = pack({"world_vector": move})
    after = detokenize(tokenize(action, ORDER, bounds), ORDER, bounds)
    assert np.abs(after - action)[FIELDS["world_vector"]].max() <= bin_width(-0.06, 0.06) * 1.001


def test_the_first_and_last_bins_are_the_bounds() -> None:
    bounds = BOUNDS
    low = detokenize(np.zeros(11, int), ORDER, bounds)
    high = detokenize(np.array([0, *[255] * 10]), ORDER, bounds)
    not_mode = np.r_[0:7, 10:13]
    np.testing.assert_allclose(low[not_mode], bounds.low[not_mode], atol=1e-6)
    np.testing.assert_allclose(high[not_mode], bounds.high[not_mode], atol=1e-6)


@pytest.mark.parametrize(("token", "mode"), [(0, 0), (1, 1), (2, 2), (3, 0), (255, 0)])
def test_mode_tokens_above_two_mean_terminate(token: int, mode: int) -> None:
    tokens = np.array([token, *[128] * 10])
    assert detokenize(tokens, ORDER, ActionBounds())[FIELDS["terminate_episode"]].argmax() == mode


def grips(config: RT1Config, tokens: Sequence[int]) -> list[float]:
    """Gripper commands of actions in which only the gripper's token differs."""
    place = 1 + 3 + 3  # after mode, world vector and rotation
    named = np.full((len(tokens), 11), 100)
    named[:, 0], named[:, place] = 1, tokens
    commands: list[float] = config.actions_of(named)[:, FIELDS["gripper_closedness_action"]].ravel().tolist()
    return commands


def test_a_dead_zone_of_the_gripper_takes_the_two_middle_bins_and_no_others() -> None:
    tokens = [0, 126, 127, 128, 129, 255]
    plain = grips(RT1Config.tiny(), tokens)
    assert plain[2:4] == pytest.approx([-1 / 255, 1 / 255], abs=1e-6)
    with_zone = grips(replace(RT1Config.tiny(), gripper_dead_zone=0.01), tokens)
    assert with_zone == [*plain[:2], 0, 0, *plain[4:]]


def test_published_policies_get_the_dead_zone_and_ours_keep_every_command() -> None:
    assert RT1Config().gripper_dead_zone == RT1Config.small().gripper_dead_zone == 0
    assert ConvertRT1(Path("a"), Path("b")).gripper_dead_zone == GRIPPER_DEAD_ZONE == 0.01


def test_a_dead_zone_is_for_rt1_s_action_only() -> None:
    with pytest.raises(ValueError, match=r"gripper_dead_zone is 0\.01 and the robot has not RT-1's action"):
        replace(RT1Config.tiny(), action=(ActionNumber("joint"),), gripper_dead_zone=0.01)
