from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real2sim.actions import FIELDS, WIDTH, ActionBounds, pack, rt1_robot, unpack
from real2sim.simulation.action_checks import check_actions


def test_fields_are_in_alphabetical_order_and_fill_the_vector() -> None:
    assert list(FIELDS) == sorted(FIELDS)
    assert [i for where in FIELDS.values() for i in range(where.start, where.stop)] == list(range(WIDTH))


@given(st.lists(st.floats(-1, 1, width=32), min_size=WIDTH, max_size=WIDTH))
def test_packing_what_was_unpacked_gives_it_back(values: list[float]) -> None:
    action = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(pack(unpack(action)), action)


def test_a_field_that_is_left_out_is_zero() -> None:
    action = pack({"world_vector": [0.01, 0.02, 0.03]})
    assert action[10:].tolist() == pytest.approx([0.01, 0.02, 0.03])
    assert not action[:10].any()


def test_an_unknown_field_or_a_wrong_width_is_named() -> None:
    with pytest.raises(ValueError, match="unknown action field 'gripper'"):
        pack({"gripper": [1.0]})
    with pytest.raises(ValueError, match="world_vector has shape"):
        pack({"world_vector": [1.0]})


def test_terminate_is_the_first_of_the_three_modes() -> None:
    modes = pack({"terminate_episode": np.eye(3)})
    assert rt1_robot().terminates(modes).tolist() == [True, False, False]
    assert not rt1_robot().terminates(np.zeros(WIDTH))


def test_good_actions_pass_unchanged_and_rounding_is_brought_to_the_bound() -> None:
    robot = rt1_robot(bounds=ActionBounds(world_vector=(-0.06, 0.06)))
    actions = np.zeros((2, WIDTH), np.float32)
    actions[1, 10] = np.nextafter(np.float32(0.06), np.float32(1))
    checked = check_actions(actions, robot, policy="p", step=0, lanes=2)[:, 0]
    assert checked[1, 10] == np.float32(0.06)
    assert not checked[0].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.07, 0.061])
def test_a_bad_number_is_reported_with_policy_lane_and_step(bad: float) -> None:
    actions = np.zeros((4, WIDTH))
    actions[2, 11] = bad
    with pytest.raises(ValueError, match=r"policy 'mine', lane 2, step 7: world_vector.y is .*-0.06 to 0.06"):
        check_actions(
            actions, rt1_robot(bounds=ActionBounds(world_vector=(-0.06, 0.06))), policy="mine", step=7
        )


@pytest.mark.parametrize("shape", [(4, 7), (13,), (3, 13)])
def test_a_wrong_shape_is_reported_with_policy_and_step(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"policy 'mine', all lanes, step 3: actions have shape .* expected \(4, 13\)"
    ):
        check_actions(np.zeros(shape), rt1_robot(), policy="mine", step=3, lanes=4)


def test_bounds_must_be_ordered() -> None:
    with pytest.raises(ValueError, match="world_vector"):
        ActionBounds(world_vector=(1.0, -1.0))
