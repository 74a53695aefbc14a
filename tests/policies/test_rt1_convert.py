"""Reading TensorFlow's files; needs the extra 'tf'."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from real2sim.actions import FIELDS, ActionBounds
from real2sim.episodes.arrays import write_arrays
from real2sim.policies.instructions import InstructionTable
from real2sim.policies.rt1 import RT1Policy
from real2sim.policies.rt1_config import RT1Config, efficientnet_blocks
from real2sim.policies.rt1_convert import ConvertRT1, config_from_variables, convert_rt1
from real2sim.policies.rt1_saved_model import SavedModelRT1
from real2sim.policies.rt1_variables import saved_model_keys

# TensorFlow is imported where it is used: in one process with Mesa's software renderer it crashes.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="the tests of TensorFlow files need the extra 'tf'"
)

DATA = Path(__file__).parents[1] / "data/rt1"
SIZES = RT1Config(
    stem=8, blocks=efficientnet_blocks(0.25, 0.3), top=320, layers=2, width=128, heads=4, head_width=16
)
STATES: dict[str, dict[str, tuple[type, list[int]]]] = {
    "images": {
        "image": (np.uint8, [6, 256, 320, 3]),
        "action_tokens": (np.int32, [6, 11, 1, 1]),
        "t": (np.int32, [1]),
    },
    "tokens": {
        "context_image_tokens": (np.float32, [6, 8, 1, 512]),
        "action_tokens": (np.int32, [6, 11, 1, 1]),
        "seq_idx": (np.int32, [1]),
    },
}


def variables() -> dict[str, np.ndarray]:
    return load_file(DATA / "tiny_weights.safetensors")


def write_tree(path: Path, values: dict[str, np.ndarray]) -> None:
    """A checkpoint whose keys are the names, as TensorFlow's object tree makes them."""
    import tensorflow as tf

    root = tf.Module()
    for name, value in values.items():
        *parents, leaf = name.split("/")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                setattr(node, parent, tf.Module())
            node = getattr(node, parent)
        setattr(node, leaf, tf.Variable(value))
    children = {name: getattr(root, name) for name in {key.split("/")[0] for key in values}}
    tf.train.Checkpoint(**children).write(str(path))


def write_saved_model(folder: Path, layout: str, actions: dict[str, np.ndarray]) -> None:
    """A SavedModel with RT-1's two signatures that plays recorded actions and keeps count in its state."""
    import tensorflow as tf

    v1 = tf.compat.v1
    clock = "t" if layout == "images" else "seq_idx"
    with tf.Graph().as_default(), v1.Session() as session:
        batch = v1.placeholder(tf.int32, [], "batch_size")
        initial = {
            name: tf.zeros(tf.concat([[batch], shape], 0), kind)
            for name, (kind, shape) in STATES[layout].items()
        }
        inputs = {
            "0/observation/image": v1.placeholder(tf.uint8, [None, 256, 320, 3]),
            "0/observation/natural_language_embedding": v1.placeholder(tf.float32, [None, 512]),
            "0/observation/natural_language_instruction": v1.placeholder(tf.string, [None]),
            "0/step_type": v1.placeholder(tf.int32, [None]),
        }
        inputs |= {
            f"1/{name}": v1.placeholder(kind, [None, *shape])
            for name, (kind, shape) in STATES[layout].items()
        }
        time = inputs[f"1/{clock}"]
        outputs = {
            f"action/{name}": tf.gather(tf.constant(rows), time[:, 0]) for name, rows in actions.items()
        }
        outputs |= {f"state/{name}": tf.identity(inputs[f"1/{name}"]) for name in STATES[layout]}
        outputs[f"state/{clock}"] = time + 1
        # Reads what it is fed, so that a missing or wrong input would be noticed.
        seen = tf.reduce_mean(tf.cast(inputs["0/observation/image"], tf.float32), axis=[1, 2])
        outputs["action/rotation_delta"] += 0 * seen
        info = v1.saved_model.utils.build_tensor_info

        def signature(given: dict[str, Any], got: dict[str, Any]) -> Any:
            return v1.saved_model.build_signature_def(
                {k: info(v) for k, v in given.items()}, {k: info(v) for k, v in got.items()}, "m"
            )

        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "action": signature(inputs, outputs),
                "get_initial_state": signature({"batch_size": batch}, initial),
            },
        )
        builder.save()


def recorded() -> dict[str, np.ndarray]:
    golden = load_file(DATA / "tiny_rollout.safetensors")
    return {name: golden[f"a/action/{name}"] for name in FIELDS}


def golden_episode(path: Path) -> None:
    golden = load_file(DATA / "tiny_rollout.safetensors")
    frames = golden["frames"]
    write_arrays(
        path, {"image": frames, "action": np.zeros((8, 13), np.float32), "instruction": np.array("a")}
    )
    np.savez(path.with_name("embeddings.npz"), a=golden["embedding/a"])


def test_a_checkpoint_becomes_a_folder_that_acts_as_published(tmp_path: Path) -> None:
    beside = {"agent/_actor_optimizer/_iterations": np.int64(7), "global_step": np.int64(7)}
    write_tree(tmp_path / "ckpt-1", variables() | beside)
    golden_episode(tmp_path / "episode.npz")
    folder = convert_rt1(ConvertRT1(tmp_path / "ckpt-1", tmp_path / "out", tmp_path / "embeddings.npz"))
    assert "not verified" in (folder / "README.md").read_text()
    policy = RT1Policy.from_folder(folder)
    assert policy.network.config == SIZES
    golden = load_file(DATA / "tiny_rollout.safetensors")
    policy.reset(["a"])
    for step, frame in enumerate(golden["frames"]):
        np.testing.assert_allclose(
            policy.act(frame[None])[0, FIELDS["world_vector"]],
            golden["a/action/world_vector"][step],
            atol=1e-6,
        )


def test_the_numbered_variables_of_a_saved_model_are_recognised(tmp_path: Path) -> None:
    write_saved_model(tmp_path / "model", "images", recorded())
    (tmp_path / "model" / "variables").mkdir(exist_ok=True)
    values = variables()
    numbered = {key: values[name] for key, name in saved_model_keys(SIZES).items()}
    write_tree(tmp_path / "model" / "variables" / "variables", {"model_variables/0": np.int64(7), **numbered})
    golden_episode(tmp_path / "episode.npz")
    convert = ConvertRT1(
        tmp_path / "model", tmp_path / "out", tmp_path / "embeddings.npz", verify=tmp_path / "episode.npz"
    )
    card = (convert_rt1(convert) / "README.md").read_text()
    assert "verified: all tokens agree with the SavedModel on the 8 frames" in card
    other = recorded()
    other["world_vector"] = other["world_vector"][::-1].copy()
    write_saved_model(tmp_path / "other", "images", other)
    (tmp_path / "other" / "variables").mkdir(exist_ok=True)
    write_tree(tmp_path / "other" / "variables" / "variables", numbered)
    convert = ConvertRT1(
        tmp_path / "other", tmp_path / "out", tmp_path / "embeddings.npz", verify=tmp_path / "episode.npz"
    )
    assert "NOT equal to the SavedModel" in (convert_rt1(convert) / "README.md").read_text()


@pytest.mark.parametrize("layout", ["images", "tokens"])
def test_a_saved_model_carries_its_own_state_lane_by_lane(tmp_path: Path, layout: str) -> None:
    write_saved_model(tmp_path / "model", layout, recorded())
    policy = SavedModelRT1(tmp_path / "model", InstructionTable.random(["close drawer", "open drawer"], 512))
    policy.reset(["close drawer", "open drawer"])
    for step in range(3):
        actions = policy.act(np.zeros((2, 64, 64, 3), np.uint8))
        for name, where in FIELDS.items():
            np.testing.assert_allclose(actions[:, where], np.stack([recorded()[name][step]] * 2), atol=1e-6)
    policy.reset(["open drawer"])
    first = policy.act(np.zeros((1, 256, 320, 3), np.uint8))
    np.testing.assert_allclose(first[0, FIELDS["world_vector"]], recorded()["world_vector"][0], atol=1e-6)
    policy.close()


def test_a_folder_that_is_no_saved_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no saved_model.pb"):
        SavedModelRT1(tmp_path, InstructionTable({}, 512))
    with pytest.raises(FileNotFoundError, match="expected a TensorFlow checkpoint or SavedModel"):
        convert_rt1(ConvertRT1(tmp_path / "nothing", tmp_path / "out"))


def test_sizes_are_read_from_the_weights() -> None:
    assert config_from_variables(variables(), ActionBounds()) == SIZES
    published = json.loads((DATA / "variables_main.json").read_text())["checkpoint"]
    full = {name: np.broadcast_to(np.float32(0), shape) for name, shape in published.items()}
    assert config_from_variables(full, ActionBounds()) == RT1Config()


def test_another_network_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"is this an RT-1 checkpoint"):
        config_from_variables({"dense/kernel": np.zeros((2, 2))}, ActionBounds())
    without = variables()
    del without["agent/_actor_network/_transformer/_layers/1/layernorm2/gamma"]
    with pytest.raises(ValueError, match=r"layernorm2/gamma is missing"):
        config_from_variables(without, ActionBounds())
