from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from real2sim.policies.rt1.instructions import InstructionTable, add_embedding


def test_an_unknown_instruction_lists_the_nearest_known_ones() -> None:
    table = InstructionTable.random(["close drawer", "open drawer"], 8)
    with pytest.raises(ValueError, match=r"unknown instruction .close the drawer..*close drawer"):
        table["close the drawer"]


def test_random_vectors_are_signs_and_depend_on_the_instruction_alone() -> None:
    both = InstructionTable.random(["close drawer", "open drawer"], 32)
    alone = InstructionTable.random(["open drawer"], 32)
    np.testing.assert_array_equal(both["open drawer"], alone["open drawer"])
    assert set(np.abs(both["close drawer"])) == {1.0}
    assert not np.allclose(both["close drawer"], both["open drawer"])


def test_a_table_survives_as_tensors() -> None:
    table = InstructionTable.random(["pick up the blue cup", "öffne die Schublade"], 4)
    tensors = table.tensors()
    again = InstructionTable.from_tensors(tensors, "here")
    assert not tensors
    assert list(again) == list(table)
    for name in table:
        np.testing.assert_array_equal(again[name], table[name])


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 finite numbers"):
        InstructionTable({"a": np.zeros(3)}, 4)


@pytest.mark.parametrize(("difference", "warned"), [(5e-5, False), (1e-3, True)])
def test_embeddings_that_differ_by_more_than_rounding_are_told_of(
    caplog: pytest.LogCaptureFixture, difference: float, warned: bool
) -> None:
    vectors = {"open": np.zeros(4, np.float32)}
    add_embedding(vectors, "open", np.full(4, difference, np.float32))
    assert bool(caplog.records) == warned
    assert not vectors["open"].any()


def test_embeddings_of_another_length_are_answered_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'a' has 512 numbers, the network takes 16; give --network\.embedding 512"
    ):
        InstructionTable.of_dataset({"a": np.zeros(512, np.float32)}, 16, tmp_path)
