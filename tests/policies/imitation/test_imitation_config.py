"""What no imitation policy can be is refused by the name of its field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from real2sim.policies.imitation.config import ImitationConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", (-1, 16)),
        ("image_size", (16, 10**30)),
        ("channels", ()),
        ("channels", (8, -1)),
        ("heads", 0),
        ("layers", 10**7),
        ("components", 10**30),
        ("diffusion_steps", 10**7),
        ("temperature", float("nan")),
        ("temperature", 1e30),
        ("state", -1),
        ("actions", True),
        ("width", 1.5),
    ],
)
def test_a_number_that_no_policy_has_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(ImitationConfig.tiny(), **{field: value})


def test_bounds_whose_low_end_lies_above_the_high_one_are_refused() -> None:
    tiny = ImitationConfig.tiny()
    with pytest.raises(ValueError, match="action_low has 2 where action_high has 1"):
        replace(tiny, action_low=(2.0,) * tiny.actions, action_high=(1.0,) * tiny.actions)
