"""Sentence embeddings of instructions: RT-1 reads an instruction as a vector.

The published policies were trained with the Universal Sentence Encoder (512 numbers); the small policies of
the built-in suite with fixed random vectors of signs, which is all that two instructions need.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from real2sim.episodes.arrays import read_arrays
from real2sim.files import decode, parse_json

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

VECTORS, NAMES = "instructions.vectors", "instructions.names"


def add_embedding(vectors: dict[str, np.ndarray], instruction: str, vector: np.ndarray) -> None:
    """Keep the first vector of an instruction; a warning says when another one is met."""
    known = vectors.setdefault(instruction, vector)
    if known.shape != vector.shape or not np.allclose(known, vector, atol=1e-4):
        log.warning(
            "instruction %r has more than one embedding in the dataset, which an encoder does not do; "
            "the first one is kept",
            instruction,
        )


class InstructionTable(Mapping[str, np.ndarray]):
    """Instruction -> vector (width,) float32; an unknown instruction names the nearest known ones."""

    def __init__(self, vectors: Mapping[str, np.ndarray], width: int) -> None:
        self.width = width
        self._vectors: dict[str, np.ndarray] = {}
        for name, given in vectors.items():
            vector = np.asarray(given)
            if vector.shape != (width,) or vector.dtype.kind not in "fiu":
                raise ValueError(
                    f"the vector of {name!r} is {vector.dtype} {vector.shape}; expected {width} finite numbers"
                )
            with np.errstate(over="ignore"):
                self._vectors[name] = vector.astype(np.float32)
            if not np.isfinite(self._vectors[name]).all():
                raise ValueError(
                    f"the vector of {name!r} holds numbers that are not finite, or are beyond float32; expected "
                    f"{width} finite numbers"
                )

    @classmethod
    def of_dataset(cls, vectors: Mapping[str, np.ndarray], width: int, folder: Path) -> InstructionTable:
        """The vectors that the episodes of a dataset folder hold."""
        for name, vector in vectors.items():
            if vector.ndim == 1 and len(vector) != width:
                raise ValueError(
                    f"{folder}: the embedding of {name!r} has {len(vector)} numbers, the network takes {width}; give "
                    f"--network.embedding {len(vector)}"
                )
        return cls(vectors, width)

    @classmethod
    def random(cls, instructions: Sequence[str], width: int, seed: int = 0) -> InstructionTable:
        """One random vector of -1 and 1 per instruction, from the seed and the instruction alone."""
        vectors = {}
        for name in instructions:
            vectors[name] = 2 * np.random.default_rng([seed, *name.encode()]).integers(2, size=width) - 1
        return cls(vectors, width)

    @classmethod
    def from_npz(cls, path: Path, width: int) -> InstructionTable:
        """The vectors of an npz file that holds one array per instruction."""
        try:
            return cls(read_arrays(path), width)
        except ValueError as error:
            said = str(error)
            if said.startswith(str(path)):
                raise
            raise ValueError(
                f"{path}: {said}, as `real2sim convert embeddings` writes them for each instruction"
            ) from error

    @classmethod
    def from_tensors(cls, tensors: MutableMapping[str, Tensor], where: str) -> InstructionTable:
        """Take the table out of a model's tensors."""
        for name in (VECTORS, NAMES):
            if name not in tensors:
                raise ValueError(
                    f"{where}: tensor {name!r} is missing; the folder holds no instruction table"
                )
        vectors, text = tensors.pop(VECTORS).numpy(), tensors.pop(NAMES)
        if str(text.dtype) != "torch.uint8" or text.ndim != 1:
            raise ValueError(
                f"{where}: tensor {NAMES!r} is {text.dtype} {tuple(text.shape)}, expected the UTF-8 text of a JSON "
                "list as uint8 (n,)"
            )
        place = f"{where}: tensor {NAMES!r}"
        names = parse_json(decode(bytes(text.tolist()), place), place)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{place} holds no list of instructions")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{place} names {twice!r} twice, expected each instruction once")
        if vectors.ndim != 2 or len(vectors) != len(names) or vectors.dtype != np.float32:
            raise ValueError(
                f"{where}: tensor {VECTORS!r} is {vectors.dtype} {vectors.shape}, expected float32 "
                f"({len(names)}, width), a vector for each instruction"
            )
        return cls(dict(zip(names, vectors, strict=True)), vectors.shape[1])

    def tensors(self) -> dict[str, Tensor]:
        """The table as tensors: the vectors (n width) and the names as UTF-8 JSON."""
        import torch

        vectors = (
            np.stack(list(self._vectors.values())) if self._vectors else np.zeros((0, self.width), np.float32)
        )
        names = torch.tensor(list(json.dumps(list(self._vectors)).encode()), dtype=torch.uint8)
        return {VECTORS: torch.from_numpy(vectors), NAMES: names}

    def __getitem__(self, instruction: str) -> np.ndarray:
        if not isinstance(instruction, str):
            raise ValueError(f"an instruction is of type {type(instruction).__name__}, expected text")
        if instruction not in self._vectors:
            near = difflib.get_close_matches(instruction, self._vectors, n=3, cutoff=0.0)
            known = ", ".join(repr(name) for name in near) or "none: the table is empty"
            raise ValueError(
                f"unknown instruction {instruction!r}; the nearest of {len(self)} known ones: {known}"
            )
        return self._vectors[instruction]

    def __contains__(self, instruction: object) -> bool:
        return instruction in self._vectors

    def __iter__(self) -> Iterator[str]:
        return iter(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)
