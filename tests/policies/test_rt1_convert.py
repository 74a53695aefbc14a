"""Reading TensorFlow's files; needs the extra 'tf'."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published_rt1 import DATA, recorded, write_saved_model
from safetensors.numpy import load_file

from real2sim.actions import FIELDS, ActionBounds
from real2sim.episodes.arrays import write_arrays
from real2sim.policies.rt1.config import RT1Config, efficientnet_blocks
from real2sim.policies.rt1.convert import ConvertRT1, config_from_variables, convert_rt1
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.policies.rt1.tf_variables import saved_model_keys
from real2sim.simulation.observation import observe_frames

# TensorFlow is imported where it is used: in one process with Mesa's software renderer it crashes.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="the tests of TensorFlow files need the extra 'tf'"
)

SIZES = RT1Config(
    stem=8, blocks=efficientnet_blocks(0.25, 0.3), top=320, layers=2, width=128, heads=4, head_width=16
)


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
    assert policy.network.config == replace(SIZES, gripper_dead_zone=0.01)
    golden = load_file(DATA / "tiny_rollout.safetensors")
    policy.reset(["a"])
    for step, frame in enumerate(golden["frames"]):
        np.testing.assert_allclose(
            policy.act(observe_frames(frame[None]))[0, FIELDS["world_vector"]],
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


def test_a_source_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a TensorFlow checkpoint or SavedModel"):
        convert_rt1(ConvertRT1(tmp_path / "nothing", tmp_path / "out"))


KERNEL = "agent/_actor_network/_transformer/_output_tokens/kernel"
CONV = "agent/_actor_network/_image_tokenizer/_tokenizer/conv1x1/kernel"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (KERNEL, np.zeros((128, 256), np.int32), "is int32, expected floating-point weights"),
        (KERNEL, np.full((128, 256), np.nan, np.float32), "has 32768 of 32768 numbers that are not finite"),
        (KERNEL, np.full((128, 256), 1e300), "or are beyond float32"),
        (KERNEL, np.zeros(7, np.float32), "has shape (128,), the configuration asks for (7,)"),
        (CONV, np.zeros((1, 1), np.float32), "do not have the shapes of an RT-1 network (one has too few"),
        (
            "agent/_actor_network/_action_token_emb/kernel",
            np.float32(1),
            "(one has too few or too many dimensions)",
        ),
        ("agent/_actor_network/_action_token_emb/bias", np.zeros(3, np.float32), "has shape (3,)"),
    ],
)
def test_a_variable_that_no_rt1_has_is_named_with_its_file(
    name: str, value: np.ndarray, sentence: str, tmp_path: Path
) -> None:
    write_tree(tmp_path / "ckpt-1", {**variables(), name: value})
    with pytest.raises(ValueError, match=str(tmp_path / "ckpt-1")) as raised:
        convert_rt1(ConvertRT1(tmp_path / "ckpt-1", tmp_path / "out"))
    assert sentence in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("end", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("kept", [0, 300])
def test_a_checkpoint_that_is_cut_off_is_named(end: str, kept: int, tmp_path: Path) -> None:
    write_tree(tmp_path / "ckpt-1", variables())
    file = tmp_path / f"ckpt-1{end}"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        ValueError, match=r"ckpt-1 cannot be read as a TensorFlow checkpoint \(.*copy its \.index"
    ):
        convert_rt1(ConvertRT1(tmp_path / "ckpt-1", tmp_path / "out"))


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already and is no RT-1 policy"):
        convert_rt1(ConvertRT1(tmp_path / "ckpt-1", tmp_path / "out"))
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("vector", [np.zeros(3), np.full(512, np.nan), np.full(512, 1e300), np.array("a")])
def test_embeddings_that_are_none_are_named_with_their_file(vector: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", a=vector)
    with pytest.raises(ValueError, match=r"e\.npz: the vector of 'a' .*expected 512 finite numbers, as"):
        InstructionTable.from_npz(tmp_path / "e.npz", 512)


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
