"""The ids that need nothing but what is shipped."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from real2sim.actions import pack


@pytest.mark.parametrize("task", ["Close", "Open", ""])
def test_the_checker_of_gymnasium_has_no_complaint(task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"real2sim:real2sim/Drawer{task}-v0").unwrapped)


def test_doing_nothing_neither_closes_nor_opens_the_drawer() -> None:
    envs = gymnasium.make_vec("real2sim:real2sim/Drawer-v0", num_envs=2)
    envs.reset(seed=0, options={"task": ["close_drawer", "open_drawer"]})
    for _ in range(20):
        _, rewards, _, truncated, infos = envs.step(np.stack([pack({"world_vector": np.zeros(3)})] * 2))
    assert truncated.all()
    assert infos["instruction"].tolist() == ["close drawer", "open drawer"]
    assert rewards.tolist() == [0, 0]
