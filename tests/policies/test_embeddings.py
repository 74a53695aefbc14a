from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.arrays import write_arrays
from real2sim.policies.rt1.embeddings import ConvertEmbeddings, collect_embeddings, convert_embeddings
from real2sim.policies.rt1.instructions import InstructionTable

SAMPLE = Path(__file__).parents[1] / "data/fractal_tiny/fractal20220817_data/0.1.0"


def episode(text: str, value: float) -> tuple[str, np.ndarray]:
    return text, np.full(512, value, np.float32)


def test_each_instruction_is_collected_once_and_read_back(tmp_path: Path) -> None:
    episodes = [episode("open drawer", 1), episode("close drawer", 2), episode("open drawer", 1)]
    vectors = collect_embeddings(episodes)
    assert list(vectors) == ["open drawer", "close drawer"]
    write_arrays(tmp_path / "table.npz", vectors)
    table = InstructionTable.from_npz(tmp_path / "table.npz", 512)
    assert (table["close drawer"] == 2).all()


def test_of_two_vectors_for_one_instruction_the_first_is_kept_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    vectors = collect_embeddings([episode("open drawer", 1), episode("open drawer", 2)])
    assert (vectors["open drawer"] == 1).all()
    assert "'open drawer' has more than one embedding" in caplog.text


def test_a_dataset_without_embeddings_is_named(tmp_path: Path) -> None:
    data = tmp_path / "0.1.0"
    shutil.copytree(SAMPLE, data)
    text = (data / "features.json").read_text()
    (data / "features.json").write_text(text.replace("natural_language_embedding", "another"))
    with pytest.raises(ValueError, match="no feature natural_language_embedding"):
        convert_embeddings(ConvertEmbeddings(tmp_path / "table.npz", data))


def test_without_a_dataset_and_an_encoder_there_is_nothing_to_collect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name an RLDS dataset, or an --encoder"):
        convert_embeddings(ConvertEmbeddings(tmp_path / "table.npz", instructions=("open drawer",)))
