"""RT-1 as published, run by a current TensorFlow; needs the extra 'tf'."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from published_rt1 import DATA, STATES, UNKNOWN_TYPE, recorded, write_saved_model

from real2sim.actions import FIELDS, unpack
from real2sim.evaluation.check_policy import CheckPolicy, check_policy
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.saved_model import SavedModelRT1
from real2sim.policies.serve import ServePolicy, _maker
from real2sim.simulation.observation import observe_frames

# TensorFlow is imported where it is used: in one process with Mesa's software renderer it crashes.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="the tests of TensorFlow files need the extra 'tf'"
)
BOTH = ["close drawer", "open drawer"]
TABLE = InstructionTable.random(BOTH, 512)


@pytest.mark.parametrize("layout", STATES)
def test_each_lane_carries_its_own_state_whatever_it_holds(tmp_path: Path, layout: str) -> None:
    write_saved_model(tmp_path / "model", layout, recorded(), foreign_type=layout == "images", probe=True)
    policy = SavedModelRT1(tmp_path / "model", TABLE)
    policy.reset(BOTH)
    frames = np.stack([np.full((256, 320, 3), value, np.uint8) for value in (10, 20)])
    for step in range(3):
        got = unpack(policy.act(observe_frames(frames)))
        for name in ("world_vector", "terminate_episode", "base_displacement_vector"):
            np.testing.assert_allclose(got[name], np.stack([recorded()[name][step]] * 2), atol=1e-6)
        np.testing.assert_allclose(got["gripper_closedness_action"], [[10], [20]], atol=1e-4)
        np.testing.assert_array_equal(got["base_displacement_vertical_rotation"], 0)
        np.testing.assert_array_equal(got["rotation_delta"], np.stack([TABLE[name][:3] for name in BOTH]))
    policy.reset(["open drawer"])
    first = policy.act(observe_frames(np.zeros((1, 64, 64, 3), np.uint8)))
    np.testing.assert_allclose(first[0, FIELDS["world_vector"]], recorded()["world_vector"][0], atol=1e-6)
    policy.close()


def test_gripper_commands_in_the_dead_zone_are_zero_unless_it_is_switched_off(tmp_path: Path) -> None:
    said = recorded()
    said["gripper_closedness_action"][:, 0] = [0.0039, -0.0039, 0.0118, -0.0118, 1, -1, 0.5, 0]
    write_saved_model(tmp_path / "model", "tokens", said)
    heard = {}
    for policy in (SavedModelRT1(tmp_path / "model", TABLE), SavedModelRT1(tmp_path / "model", TABLE, 0)):
        policy.reset(["open drawer"])
        seen = observe_frames(np.zeros((1, 256, 320, 3), np.uint8))
        heard[policy] = [float(policy.act(seen)[0, 3]) for _ in range(8)]
        policy.close()
    with_zone, without = heard.values()
    assert without == pytest.approx([0.0039, -0.0039, 0.0118, -0.0118, 1, -1, 0.5, 0])
    assert with_zone == [0, 0, *without[2:]]


def test_a_type_that_nobody_registered_stops_the_plain_loader_only(tmp_path: Path) -> None:
    import tensorflow as tf

    write_saved_model(tmp_path / "model", "tokens", recorded(), foreign_type=True)
    with pytest.raises(ValueError, match=rf"{UNKNOWN_TYPE}.*has not been registered"):
        tf.saved_model.load(str(tmp_path / "model"))
    np.savez(tmp_path / "model" / "embeddings.npz", **TABLE)
    policy = SavedModelRT1(tmp_path / "model")
    policy.reset(["open drawer"])
    assert policy.act(observe_frames(np.zeros((1, 256, 320, 3), np.uint8))).shape == (1, 13)
    policy.close()


def test_an_export_of_tf_agents_is_run_without_tf_agents() -> None:
    import tensorflow as tf

    folder = DATA / "agents_export"
    with pytest.raises(ValueError, match=r"tfp\.distributions.*has not been registered"):
        tf.saved_model.load(str(folder))
    policy = SavedModelRT1(folder, {"close drawer": np.full(512, 0.5), "open drawer": np.full(512, -1)})
    policy.reset(BOTH)
    colours = np.array([[255, 0, 0], [0, 102, 51]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (2, 256, 320, 3))
    share = colours / 255  # the graph sums 81,920 pixels in float32: three digits are right
    for step in range(5):
        got = unpack(policy.act(observe_frames(frames)))
        np.testing.assert_allclose(got["world_vector"], 0.5 * share * (step + 1) / 6, atol=1e-3)
        np.testing.assert_allclose(got["gripper_closedness_action"], [[0.5], [-1]], atol=1e-6)
        seen = step / 6 * share.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(got["rotation_delta"], np.repeat(seen, 3, axis=1), atol=1e-3)
        np.testing.assert_array_equal(got["terminate_episode"], [[step >= 3, step < 3, 0]] * 2)
    policy.close()
    assert "tf_agents" not in sys.modules
    assert "tensorflow_probability" not in sys.modules


def test_a_saved_model_can_be_checked_before_a_rollout(tiny_suite: Path, tmp_path: Path) -> None:
    write_saved_model(tmp_path / "rt1main", "images", recorded())
    np.savez(tmp_path / "rt1main" / "embeddings.npz", **TABLE)
    check = check_policy(CheckPolicy(str(tmp_path / "rt1main"), str(tiny_suite)))
    assert check.answered.shape == (10, 1, 13)
    np.testing.assert_allclose(
        check.answered[0, 0, FIELDS["world_vector"]], recorded()["world_vector"][0], atol=1e-6
    )
    assert check.recorded is not None


def test_connections_share_the_graph_and_not_the_state(tmp_path: Path) -> None:
    np.savez(tmp_path / "table.npz", **TABLE)
    make = _maker(ServePolicy(str(DATA / "agents_export"), embeddings=tmp_path / "table.npz"), None)
    first, second = make(), make()
    frame = np.full((1, 256, 320, 3), 255, np.uint8)
    first.reset(["close drawer"])
    first.act(observe_frames(frame))
    second.reset(["open drawer"])
    assert unpack(second.act(observe_frames(frame)))["world_vector"][0, 0] == pytest.approx(0.5 / 6, abs=2e-4)
    assert unpack(first.act(observe_frames(frame)))["world_vector"][0, 0] == pytest.approx(1 / 6, abs=2e-4)


def test_a_folder_that_is_no_rt1_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    with pytest.raises(FileNotFoundError, match=r"holds no saved_model\.pb"):
        SavedModelRT1(tmp_path, TABLE)
    with pytest.raises(FileNotFoundError, match=r"embeddings\.npz is missing; .*convert embeddings"):
        SavedModelRT1(DATA / "agents_export")
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with pytest.raises(ValueError, match="has no signature 'action'"):
        SavedModelRT1(tmp_path / "other", TABLE)
