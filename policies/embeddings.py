"""Sentence embeddings out of the dataset that a policy was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.rlds import read_rlds


@dataclass(frozen=True)
class ConvertEmbeddings:
    """Collect one sentence embedding per instruction from an RLDS dataset (extra 'tf')."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of one version of the dataset, with features.json, e.g. fractal20220817_data/0.1.0."""
    out: Path
    """npz file to write: one array of 512 numbers per instruction."""
    split: str = "train"
    """Which episodes, in TensorFlow Datasets' own words, e.g. train[:1000]."""


def convert_embeddings(config: ConvertEmbeddings) -> int:
    """Write the file and give the number of instructions."""
    vectors = collect_embeddings(tqdm(read_rlds(config.data, config.split), unit="episode"))
    if not vectors:
        raise ValueError(f"split {config.split!r} of {config.data} holds no episode")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(config.out, vectors)
    return len(vectors)


def collect_embeddings(episodes: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Instruction -> vector of RLDS episodes; one instruction with two vectors is an error."""
    vectors: dict[str, np.ndarray] = {}
    for episode in episodes:
        observation = episode["steps"]["observation"]
        if "natural_language_embedding" not in observation:
            raise ValueError(
                "the dataset has no feature natural_language_embedding; expected RT-1's features"
            )
        text = np.asarray(observation["natural_language_instruction"]).reshape(-1)[0]
        name = text.decode("utf-8") if isinstance(text, bytes) else str(text)
        vector = np.asarray(observation["natural_language_embedding"], np.float32)[0]
        if name in vectors and not np.allclose(vectors[name], vector, atol=1e-4):
            raise ValueError(f"instruction {name!r} has two different embeddings in the dataset")
        vectors.setdefault(name, vector)
    return vectors
