"""Published checkpoint files of every common form, read without running code from them.

Lightning and plain ``torch.save`` files, DeepSpeed's ``{"module": ...}``, safetensors under any name, and sharded
safetensors (a folder, or its index).  What a file holds is told from its first bytes, never from its name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from real2sim.files import read_json, reading
from real2sim.model_folder import type_name
from real2sim.vid2world.released.torch_files import read_torch

LOG = logging.getLogger(__name__)

INDEX_ENDING = ".safetensors.index.json"
STATE_KEYS = ("state_dict", "module")
"""Where Lightning and DeepSpeed keep the tensors."""
WRAPPERS = ("_forward_module.", "module.")
"""What DeepSpeed and distributed training put in front of each name."""
HARMLESS_PREFIXES = ("model_ema.",)
HARMLESS_ENDINGS = (".attn_mask", ".causal_mask")
HARMLESS_NAMES = frozenset(("logvar", "lvlb_weights"))

STORED_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """All weights of a published checkpoint by name, wrappers and harmless extras left out.

    Raises FileNotFoundError or ValueError with one sentence if the file is damaged, is of another form, holds more
    than tensors and plain values, or a weight is not a finite floating-point number.
    """
    if path.is_dir():
        tensors = _read_shards(_index_of(path))
    elif not path.is_file():
        # Pipes and devices are refused, whatever else is no file is not there.
        with reading(path, "a published checkpoint"):
            raise FileNotFoundError(path)
    elif path.name.endswith(INDEX_ENDING):
        tensors = _read_shards(path)
    elif _is_safetensors(path):
        tensors = _read_safetensors(path)
    else:
        tensors = _state_dict(read_torch(path), path)
    return _checked(_without_extras(_without_wrappers(tensors)), path)


def _is_safetensors(path: Path) -> bool:
    with reading(path, "a published checkpoint"), path.open("rb") as file:
        head = file.read(9)
    # Eight bytes with the header's length, then the header: a JSON object.
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with reading(path, "tensors of a model"):
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
    values = read_json(index, "an index of safetensors shards")
    names = values.get("weight_map") if isinstance(values, dict) else None
    if (
        not isinstance(names, dict)
        or not names
        or not all(isinstance(shard, str) for shard in names.values())
    ):
        raise ValueError(
            f"{index} is no index of safetensors shards (no weight_map with a file for each tensor in it); "
            "copy it again"
        )
    homes: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(names.values())):
        path = index.parent / shard
        if Path(shard).name != shard or shard in ("", ".."):
            raise ValueError(f"{index} names the shard {shard!r}; shards must lie beside their index")
        if not path.is_file():
            state = "is no file" if path.exists() else "does not exist"
            raise FileNotFoundError(f"{path} {state}, but {index.name} names it; copy all shards")
        for name, tensor in _read_safetensors(path).items():
            if name in tensors:
                raise ValueError(
                    f"tensor {name!r} lies in two shards of {index}, {homes[name]} and {shard}, expected it in one; "
                    "copy all shards again into an empty folder"
                )
            tensors[name], homes[name] = tensor, shard
    missing = sorted(set(names) - set(tensors))
    if missing:
        raise ValueError(f"{index} lists tensor {missing[0]!r}, which no shard holds; copy all shards again")
    return tensors


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    values = content if isinstance(content, Mapping) else None
    for key in STATE_KEYS:
        if values is not None and isinstance(values.get(key), Mapping):
            values = values[key]
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"{path} holds no tensors by name; expected a checkpoint with a state_dict")
    for name, value in values.items():
        if not isinstance(value, Tensor):
            found = "nothing (None)" if value is None else f"of type {type(value).__name__}"
            raise ValueError(
                f"{path}: {_short(str(name))} is {found}, expected a tensor for every name, or a state_dict of "
                "tensors; name the checkpoint itself"
            )
        if value.is_meta:
            raise ValueError(
                f"{path}: tensor {_short(str(name))} is stored without its numbers, expected a dense tensor; get "
                "the whole checkpoint"
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
        odd = "quantized" if tensor.is_quantized else "nested" if tensor.is_nested else None
        if odd or tensor.layout != torch.strided:
            stored = odd or str(tensor.layout)
            raise ValueError(f"{path}: tensor {_short(name)} is stored as {stored}, expected a dense tensor")
        if tensor.dtype not in STORED_TYPES:
            known = ", ".join(type_name(kind) for kind in STORED_TYPES)
            raise ValueError(
                f"{path}: tensor {_short(name)} is {type_name(tensor.dtype)}, expected floating-point weights "
                f"({known}); choose a checkpoint that is stored so"
            )
        # Models are built in float32; a dimension without stride repeats one number, however long it says it is.
        once = tensor[tuple(slice(0, 1) if step == 0 else slice(None) for step in tensor.stride())]
        bad = once.numel() - int(torch.isfinite(once.float()).sum())
        if bad:
            raise ValueError(
                f"{path}: tensor {_short(name)} has {bad} of {once.numel()} numbers that are not finite, or are beyond "
                "float32; the file is damaged or its training failed, choose another checkpoint"
            )
    return tensors


def _short(name: str) -> str:
    """A tensor's name as it is shown."""
    return repr(name if len(name) <= 200 else f"{name[:197]}...")
