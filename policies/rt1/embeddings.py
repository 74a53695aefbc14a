"""Sentence embeddings from the dataset that a policy was trained on, or from the encoder that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.rlds.episodes import RLDSEpisodes
from real2sim.policies.rt1.instructions import add_embedding
from real2sim.policies.rt1.saved_model import import_tensorflow

WIDTH = 512
SAME_ENCODER = 1e-3
"""Largest difference between an encoder's vector and the dataset's: the vectors have length 1."""


@dataclass(frozen=True)
class ConvertEmbeddings:
    """Collect one sentence embedding per instruction: from an RLDS dataset, an encoder, or both (extra 'tf')."""

    out: Path
    """npz file to write: one array of 512 numbers per instruction."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of one version of the dataset, with features.json, e.g. fractal20220817_data/0.1.0."""
    split: str = "train"
    """Which episodes, in TensorFlow Datasets' own words, e.g. train[:1000]."""
    encoder: Path | None = None
    """Folder of the Universal Sentence Encoder (RT-1: universal-sentence-encoder-large, version 5) as a SavedModel;
    it must give the dataset's vectors again, if a dataset is named too."""
    instructions: tuple[str, ...] = ()
    """Instructions for the encoder."""


def convert_embeddings(config: ConvertEmbeddings) -> int:
    """Write the file and return the number of instructions."""
    if config.data is None and config.encoder is None:
        raise ValueError("name an RLDS dataset, or an --encoder and its --instructions")
    vectors: dict[str, np.ndarray] = {}
    if config.data is not None:
        vectors = collect_embeddings(tqdm(dataset_embeddings(config.data, config.split), unit="episode"))
        if not vectors:
            raise ValueError(f"split {config.split!r} of {config.data} holds no episode")
    unknown = [text for text in config.instructions if text not in vectors]
    if config.encoder is not None:
        encode = load_encoder(config.encoder)
        if vectors:
            check_encoder(encode, vectors)
        vectors |= dict(zip(unknown, encode(unknown), strict=True)) if unknown else {}
    elif unknown:
        raise ValueError(f"the dataset has no instruction {unknown[0]!r}; an --encoder can embed it")
    if not vectors:
        raise ValueError("the encoder was given no --instructions")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(config.out, vectors)
    return len(vectors)


def dataset_embeddings(folder: Path, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Instruction and embedding (512,) of each episode of an RLDS dataset; no frame is read.

    Raises ValueError for a dataset without embeddings.
    """
    episodes = RLDSEpisodes(folder, split)
    if episodes.layout.embedding is None:
        raise ValueError(f"{folder} has no feature natural_language_embedding; expected RT-1's features")
    for number in range(len(episodes)):
        tables = episodes.tables(number)
        assert tables.embedding is not None
        yield tables.instruction, tables.embedding


def collect_embeddings(episodes: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Instruction -> vector of several episodes, the first one of each instruction."""
    vectors: dict[str, np.ndarray] = {}
    for instruction, vector in episodes:
        add_embedding(vectors, instruction, vector)
    return vectors


def load_encoder(folder: Path) -> Callable[[Sequence[str]], np.ndarray]:
    """The Universal Sentence Encoder in a folder: n texts -> vectors (n 512) float32."""
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(
            f"{folder} holds no saved_model.pb; expected the unpacked Universal Sentence Encoder"
        )
    tf = import_tensorflow()
    model = tf.saved_model.load(str(folder))

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors = np.asarray(model(tf.constant(list(texts))), np.float32)
        if vectors.shape != (len(texts), WIDTH):
            raise ValueError(
                f"the encoder in {folder} makes {vectors.shape} of {len(texts)} texts, expected {WIDTH} each"
            )
        return vectors

    return encode


def check_encoder(encode: Callable[[Sequence[str]], np.ndarray], vectors: Mapping[str, np.ndarray]) -> None:
    """Raise a ValueError unless the encoder gives known vectors again; eight instructions are enough to tell."""
    names = list(vectors)[:8]
    difference = np.abs(encode(names) - np.stack([vectors[name] for name in names])).max()
    if not difference <= SAME_ENCODER:
        raise ValueError(
            f"the encoder is not the one that made the dataset's embeddings: they differ by up to {difference:.2g}"
        )
