"""What ``torch.save`` has written, opened without running code from it and compared with what it says of itself."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from real2sim.failures import one_line
from real2sim.files import reading

OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch before 1.6 begin: a pickle of their magic number."""
PICKLE, TORCHSCRIPT = "/data.pkl", "/constants.pkl"
"""Ends of the names of the records that hold the values, and, beside them, those of a compiled program."""


def read_torch(path: Path) -> Any:
    """The content of a file of ``torch.save``; ValueError with one sentence if it is damaged or holds code."""
    with reading(path, "a published checkpoint"), path.open("rb") as file:
        head = file.read(len(OLD_MAGIC))
    archive = head[:2] == b"PK"
    if not archive and head != OLD_MAGIC:
        raise ValueError(
            f"{path} is neither a file that torch.save writes nor safetensors (its first bytes are "
            f"{head[:8].hex(' ') or 'missing'}); copy it again, or name the checkpoint itself"
        )
    # Only a path of a plain record can be mapped into memory; torch goes by the name too.
    mapped = archive and check_archive(path) and path.suffix != ".safetensors"
    try:
        with (
            torch.serialization.safe_globals(_numpy_scalars()),
            path.open("rb") as file,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            source: Any = path if mapped else file
            content = torch.load(source, map_location="cpu", mmap=mapped or None, weights_only=True)
            short = _short_record(path) if archive else None
    except pickle.UnpicklingError as error:
        if "GLOBAL " not in str(error):
            raise ValueError(
                f"{path} cannot be read as a checkpoint (its pickle is damaged, or holds more than tensors and plain "
                "values); copy it again"
            ) from error
        raise ValueError(
            f"{path} holds more than tensors and plain values ({str(error).split('GLOBAL ', 1)[1].split()[0]}), and "
            "reading it could run foreign code; expected a checkpoint that torch.load(weights_only=True) accepts"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Damaged pickles raise whatever their values lead to.
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({_first_words(error)}); copy it again"
        ) from error
    if short is not None:
        raise ValueError(f"{path}: {short}; copy the file again")
    return content


def check_archive(path: Path) -> bool:
    """Compare every record with its checksum, as damaged weights are numbers too; true if none is compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            damaged = archive.testzip()
    except Exception as error:  # A damaged directory holds any text and any number.
        raise ValueError(
            f"{path} begins as an archive and cannot be read as one ({_first_words(error)}), so it is truncated or "
            "damaged; copy it again"
        ) from error
    if damaged is not None:
        raise ValueError(f"{path}: record {damaged!r} is damaged (its CRC-32 differs); copy the file again")
    names = [record.filename for record in records]
    twice = (
        next((name for name in names if names.count(name) > 1), None)
        if len(set(names)) < len(names)
        else None
    )
    if twice is not None:
        raise ValueError(
            f"{path}: record {twice!r} occurs twice, expected every record once; copy the file again"
        )
    if any(name.endswith(TORCHSCRIPT) for name in names):
        raise ValueError(
            f"{path} is a compiled program (TorchScript), expected a checkpoint that torch.save wrote; name the "
            "checkpoint itself"
        )
    if not any(name.endswith(PICKLE) for name in names):
        raise ValueError(
            f"{path} is an archive without data.pkl, so torch.save did not write it so; copy it again, or name the "
            "checkpoint itself"
        )
    return all(record.compress_type == zipfile.ZIP_STORED for record in records)


def _short_record(path: Path) -> str | None:
    """What is wrong with the first record of another length than its numbers: torch reads on behind a short one."""
    with zipfile.ZipFile(path) as archive:
        sizes = {record.filename: record.file_size for record in archive.infolist()}
        pickled = next(name for name in sizes if name.endswith(PICKLE))
        with archive.open(pickled) as file:
            storages = _Storages(file)
            storages.load()
    for key, asked in storages.asked.items():
        name = f"{pickled.removesuffix(PICKLE)}/data/{key}"
        if sizes.get(name, asked) < asked:
            return f"record {name!r} has {sizes[name]} bytes, its numbers need {asked}"
    return None


class _Storages(pickle.Unpickler):
    """Collects how many bytes each storage of a pickle asks for; nothing that the pickle names is called."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.asked: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        kind = getattr(torch, name, None) if module == "torch" else None
        return type(name, (_Named,), {"itemsize": getattr(getattr(kind, "dtype", None), "itemsize", 1)})

    def persistent_load(self, pid: Any) -> Any:
        _, kind, key, _, count = pid
        self.asked[str(key)] = max(self.asked.get(str(key), 0), int(count) * kind.itemsize)
        return None


class _Named:
    """Stands for any class and any value of one."""

    itemsize = 1

    def __new__(cls, *values: Any, **named: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *values: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, name: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def __hash__(self) -> int:
        return 0


def _first_words(error: BaseException) -> str:
    lines = one_line(error).split(". ")
    return lines[0][:200] if str(error) else type(error).__name__


def _numpy_scalars() -> list[Any]:
    """What a pickled numpy number consists of: Lightning stores metrics so."""
    core = getattr(np, "_core", None) or np.core
    kinds = {
        type(np.dtype(kind))
        for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    }
    scalar = core.multiarray.scalar
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *kinds,
    ]
