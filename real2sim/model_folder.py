"""A trained model on disk: ``config.json``, ``model.safetensors`` and a model card, read and written as one thing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from real2sim.files import read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

Config = TypeVar("Config")

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"


def config_to_dict(config: Any) -> dict[str, Any]:
    """A frozen dataclass as JSON-ready values (paths become strings)."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    result: dict[str, Any] = plain(config)
    return result


def config_from_dict(cls: type[Config], values: Any, where: str = "config") -> Config:
    """The dataclass ``cls`` from JSON values: lists become tuples, nested dataclasses are built.

    Raises ValueError naming an unknown or missing field and the place it was found.
    """
    if not isinstance(values, Mapping):
        raise ValueError(
            f"{where}: expected an object with the fields of {cls.__name__}, found {type(values).__name__}"
        )
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}; {cls.__name__} has {', '.join(fields)}")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"{where}: field {missing[0]!r} of {cls.__name__} is missing")
    kinds = typing.get_type_hints(cls)
    return cls(**{name: _typed(kinds[name], value, f"{where}.{name}") for name, value in values.items()})


def _typed(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        present = [argument for argument in arguments if argument is not type(None)]
        return _typed(present[0], value, where) if len(present) == 1 else _tuples(value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return config_from_dict(kind, value, where)
    if origin is tuple and isinstance(value, list):
        inner = arguments[0] if arguments else Any
        return tuple(_typed(inner, item, where) for item in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping) and len(arguments) == 2:
        return {key: _typed(arguments[1], item, where) for key, item in value.items()}
    if kind is Path and isinstance(value, str):
        return Path(value)
    return _tuples(value)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def write_folder(
    folder: Path, kind: str, config: Any, tensors: Mapping[str, Tensor], card: str, *, half: bool = False
) -> None:
    """Write a model folder in one move; ``half`` stores floating-point tensors as float16.

    A folder that is already there is replaced only after the new one is complete.
    """
    import torch
    from safetensors.torch import save_file

    stored = {
        name: (tensor.half() if half and tensor.dtype == torch.float32 else tensor)
        .detach()
        .cpu()
        .contiguous()
        .clone()
        for name, tensor in tensors.items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        text = json.dumps({"kind": kind, "config": config_to_dict(config)}, indent=2)
        (fresh / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        (fresh / CARD_FILE).write_text(card.rstrip() + "\n", encoding="utf-8")
        save_file(stored, fresh / WEIGHTS_FILE)
        (fresh / WEIGHTS_FILE).chmod(0o644)
        if folder.exists():
            os.replace(folder, Path(scratch) / "old")
        os.replace(fresh, folder)
        shutil.rmtree(Path(scratch) / "old", ignore_errors=True)


def read_kind(folder: Path) -> str:
    """What kind of model a folder holds, e.g. ``"world_model"``."""
    values = read_json(Path(folder) / CONFIG_FILE)
    if not isinstance(values, dict) or "kind" not in values:
        raise ValueError(
            f"{Path(folder) / CONFIG_FILE} has no field 'kind'; is this a real2sim model folder?"
        )
    return str(values["kind"])


def read_config(folder: Path, kind: str, cls: type[Config]) -> Config:
    """The configuration of a model folder, which must be of the given kind."""
    found = read_kind(folder)
    path = Path(folder) / CONFIG_FILE
    if found != kind:
        raise ValueError(f"{path} holds a model of kind {found!r}, expected {kind!r}")
    return config_from_dict(cls, read_json(path).get("config"), str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, floating-point ones as float32."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected the weights of the model there")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}); the file may be truncated, copy it again"
        ) from error
    return {
        name: tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        for name, tensor in tensors.items()
    }


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a module's weights from a safetensors file (or model folder); every name and shape must agree."""
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    load_tensors(module, read_tensors(path), str(path))


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Strict ``load_state_dict`` whose error is one sentence about the first disagreement."""
    expected = module.state_dict()
    missing = sorted(set(expected) - set(tensors))
    unknown = sorted(set(tensors) - set(expected))
    if missing or unknown:
        name, state = (missing[0], "missing") if missing else (unknown[0], "not part of the model")
        raise ValueError(
            f"{where}: tensor {name!r} is {state} ({len(missing)} missing, {len(unknown)} left over); "
            "was it written for another configuration?"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{where}: tensor {name!r} has shape {tuple(tensor.shape)}, the configuration asks for "
                f"{tuple(expected[name].shape)}; was it written for another configuration?"
            )
    module.load_state_dict(dict(tensors), strict=True)


def folder_fingerprint(folder: Path) -> str:
    """Hash of a model folder's configuration and weights, in however many files they lie."""
    digest = hashlib.sha256()
    weights = sorted(path.name for path in folder.glob("*.safetensors")) or [WEIGHTS_FILE]
    for name in (CONFIG_FILE, *weights):
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist; a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}"
            )
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
