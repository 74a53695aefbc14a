from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from real2sim.actions import FIELDS, ActionBounds, pack, unpack
from real2sim.policies.rt1.action_tokens import bin_width, detokenize, tokenize
from real2sim.policies.rt1.config import RT1Config

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
