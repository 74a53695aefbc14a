"""From RT-1's dataset format to a trained policy, and the encoder of its sentences."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from real2sim.actions import ActionBounds
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.demonstrations import Demonstrations, load_demonstrations
from real2sim.policies.rt1.embeddings import ConvertEmbeddings, convert_embeddings
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import RT1Policy
from real2sim.policies.rt1.train import PolicyTraining, train_policy
from real2sim.simulation.observation import observe_frames

DATA = Path(__file__).parents[1] / "data/fractal_tiny/fractal20220817_data/0.1.0"
NETWORK = replace(RT1Config.tiny(), embedding=512, history=2, camera_size=(256, 320), bounds=ActionBounds())


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rlds") / "npz"
    convert_rlds(ConvertRLDS(DATA, folder))
    return folder


def embeddings_of_the_dataset() -> dict[str, np.ndarray]:
    """The sample's numbers are made up: each step has another vector, and the first one counts."""
    found: dict[str, np.ndarray] = {}
    episodes = RLDSEpisodes(DATA)
    for number in range(len(episodes)):
        tables = episodes.tables(number)
        assert tables.embedding is not None
        found.setdefault(tables.instruction, tables.embedding)
    return found


def test_a_policy_learns_from_rlds_with_the_datasets_own_instructions(
    converted: Path, tmp_path: Path
) -> None:
    data = Demonstrations(converted)
    (folder,) = train_policy(PolicyTraining(data, tmp_path, network=NETWORK, steps=4, batch=4, keep_every=2))
    policy = RT1Policy.from_folder(folder)
    episodes = [read_npz(path, ("instruction", "embedding")) for path in dataset_files(converted)]
    assert set(policy.instructions) == {str(episode["instruction"]) for episode in episodes}
    for name, vector in policy.instructions.items():
        # Shipped in half precision, as the rest of the folder.
        said = [episode["embedding"] for episode in episodes if str(episode["instruction"]) == name]
        assert min(np.abs(vector - other).max() for other in said) < 5e-3
    episode = read_npz(dataset_files(converted)[0], ("image", "instruction"))
    policy.reset([str(episode["instruction"])])
    assert policy.act(observe_frames(episode["image"][:1])).shape == (1, 13)


def test_the_step_that_ends_an_episode_is_learned(converted: Path) -> None:
    book = load_demonstrations(Demonstrations(converted), NETWORK)
    for demonstration in book.demonstrations:
        assert len(demonstration.tokens) == len(book.frames[demonstration.frames])
        # 0 terminates, 1 moves the arm.
        assert demonstration.tokens[:, 0].tolist() == [1] * (len(demonstration.tokens) - 1) + [0]


needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="an encoder is a SavedModel, which needs the extra 'tf'",
)


def write_encoder(folder: Path, known: dict[str, np.ndarray], shift: float = 0.0) -> None:
    """A text encoder with the call of the Universal Sentence Encoder that knows some texts by heart."""
    import tensorflow as tf

    names, vectors = list(known), np.stack(list(known.values())) + np.float32(shift)

    class Encoder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts: tf.Tensor) -> tf.Tensor:
            same = tf.cast(texts[:, None] == tf.constant(names), tf.float32)
            other = 1.0 - tf.reduce_sum(same, axis=1, keepdims=True)
            return same @ tf.constant(vectors) + other / 512**0.5

    tf.saved_model.save(Encoder(), str(folder))


@needs_tensorflow
def test_an_encoder_adds_instructions_that_the_dataset_lacks(tmp_path: Path) -> None:
    known = embeddings_of_the_dataset()
    write_encoder(tmp_path / "encoder", known)
    out = tmp_path / "table.npz"
    both = ConvertEmbeddings(
        out, DATA, encoder=tmp_path / "encoder", instructions=("fly to the moon", *known)
    )
    assert convert_embeddings(both) == len(known) + 1
    table = InstructionTable.from_npz(out, 512)
    assert set(table) == {"fly to the moon", *known}
    np.testing.assert_array_equal(table[next(iter(known))], next(iter(known.values())))
    alone = ConvertEmbeddings(out, encoder=tmp_path / "encoder", instructions=("fly to the moon",))
    assert convert_embeddings(alone) == 1


@needs_tensorflow
def test_another_encoder_than_the_datasets_is_refused(tmp_path: Path) -> None:
    write_encoder(tmp_path / "encoder", embeddings_of_the_dataset(), shift=0.01)
    with pytest.raises(ValueError, match="not the one that made the dataset's embeddings"):
        convert_embeddings(ConvertEmbeddings(tmp_path / "t.npz", DATA, encoder=tmp_path / "encoder"))
    with pytest.raises(FileNotFoundError, match="unpacked Universal Sentence Encoder"):
        convert_embeddings(ConvertEmbeddings(tmp_path / "t.npz", encoder=tmp_path, instructions=("a",)))
