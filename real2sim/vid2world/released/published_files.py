"""Published checkpoint files of every common form, read without running code from them.

Lightning and plain ``torch.save`` files, DeepSpeed's ``{"module": ...}``, safetensors under any name, and sharded
safetensors (a folder, or its index).  What a file holds is told from its first bytes, never from its name.
"""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

LOG = logging.getLogger(__name__)

INDEX_ENDING = ".safetensors.index.json"
STATE_KEYS = ("state_dict", "module")
"""Where Lightning and DeepSpeed keep the tensors."""
WRAPPERS = ("_forward_module.", "module.")
"""What DeepSpeed and distributed training put in front of each name."""
HARMLESS_PREFIXES = ("model_ema.",)
HARMLESS_ENDINGS = (".attn_mask", ".causal_mask")
HARMLESS_NAMES = frozenset(("logvar", "lvlb_weights"))

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch before 1.6 begin: a pickle of their magic number."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """All weights of a published checkpoint by name, wrappers and harmless extras left out.

    Raises FileNotFoundError or ValueError with one sentence if the file is damaged, is of another form, holds more
    than tensors and plain values, or a weight is not a finite floating-point number.
    """
    if path.is_dir():
        tensors = _read_shards(_index_of(path))
    elif not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a published checkpoint there")
    elif path.name.endswith(INDEX_ENDING):
        tensors = _read_shards(path)
    elif _is_safetensors(path):
        tensors = _read_safetensors(path)
    else:
        tensors = _state_dict(_read_torch(path), path)
    return _checked(_without_extras(_without_wrappers(tensors)), path)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    # Eight bytes with the header's length, then the header: a JSON object.
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors ({error}); copy it again") from error


def _index_of(folder: Path) -> Path:
    found = sorted(folder.glob(f"*{INDEX_ENDING}"))
    if len(found) == 1:
        return found[0]
    raise ValueError(
        f"{folder} is a folder with {len(found)} files *{INDEX_ENDING}, expected one; name the checkpoint's "
        "file, or a folder of sharded safetensors with its index"
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        names: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(names.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{index} is no index of safetensors shards (no weight_map in it); copy it again"
        ) from error
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        path = index.parent / shard
        if Path(shard).name != shard:
            raise ValueError(f"{index} names the shard {shard!r}; shards must lie beside their index")
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist, but {index.name} names it; copy all shards")
        tensors |= _read_safetensors(path)
    missing = sorted(set(names) - set(tensors))
    if missing:
        raise ValueError(f"{index} lists tensor {missing[0]!r}, which no shard holds; copy all shards again")
    return tensors


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(len(_OLD_TORCH))
    archive = zipfile.is_zipfile(path)
    if not archive and head != _OLD_TORCH:
        start = (
            "it begins as an archive and has no end, so it is truncated"
            if head[:2] == b"PK"
            else "its first "
        )
        if head[:2] != b"PK":
            start += f"bytes are {head[:8].hex(' ') or 'missing'}"
        raise ValueError(
            f"{path} is neither a file that torch.save writes nor safetensors ({start}); copy it again, or name the "
            "checkpoint itself"
        )
    if archive:
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), path.open("rb") as file:
            # torch goes by the name too, and only a path can be mapped into memory.
            mapped = archive and path.suffix != ".safetensors"
            source: Any = path if mapped else file
            return torch.load(source, map_location="cpu", mmap=mapped or None, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values{_named_global(error)}, and reading it could run foreign "
            "code; expected a checkpoint that torch.load(weights_only=True) accepts"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as a checkpoint ({first}); copy it again") from error


def _check_archive(path: Path) -> None:
    """Compare every record with its checksum: damaged weights are numbers too."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        raise ValueError(f"{path} is a damaged archive ({error}); copy it again") from error
    if damaged is not None:
        raise ValueError(f"{path}: record {damaged!r} is damaged (its CRC-32 differs); copy the file again")


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


def _named_global(error: BaseException) -> str:
    words = str(error).split("GLOBAL ", 1)
    return f" ({words[1].split()[0]})" if len(words) == 2 else ""


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    values = content if isinstance(content, Mapping) else None
    for key in STATE_KEYS:
        if values is not None and isinstance(values.get(key), Mapping):
            values = values[key]
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"{path} holds no tensors by name; expected a checkpoint with a state_dict")
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {name!r} is {type(value).__name__}, expected a tensor for every name")
        if value.is_meta:
            raise ValueError(
                f"{path}: tensor {str(name)!r} is stored without its numbers, expected a dense tensor; get the whole "
                "checkpoint"
            )
    return {str(name): value for name, value in values.items()}


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors


def _without_extras(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    extras = [
        name
        for name in tensors
        if name in HARMLESS_NAMES or name.startswith(HARMLESS_PREFIXES) or name.endswith(HARMLESS_ENDINGS)
    ]
    if extras:
        LOG.info("%d tensors that no frame depends on are left out, such as %s", len(extras), extras[0])
    return {name: tensor for name, tensor in tensors.items() if name not in set(extras)}


def _checked(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise ValueError(f"{path}: tensor {name!r} is stored as {tensor.layout}, expected a dense tensor")
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{path}: tensor {name!r} is {kind}, expected floating-point weights")
        bad = tensor.numel() - int(torch.isfinite(tensor).sum())
        if bad:
            raise ValueError(
                f"{path}: tensor {name!r} has {bad} of {tensor.numel()} numbers that are not finite; the file is "
                "damaged or its training failed, choose another checkpoint"
            )
    return tensors
