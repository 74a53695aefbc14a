"""A trained model on disk: ``config.json``, ``model.safetensors`` and a model card, read and written as one thing."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from real2sim.checks import as_path
from real2sim.checksums import check_checksum, write_checksums
from real2sim.files import atomic_folder, read_json, reading, write_json, write_text, writing
from real2sim.strict import as_json, from_values

if TYPE_CHECKING:
    import torch
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

    Raises ValueError naming the file or argument, the field, what was found and what is allowed.
    """
    return from_values(cls, values, where)


def write_folder(
    folder: Path,
    kind: str,
    config: Any,
    tensors: Mapping[str, Tensor],
    card: str,
    *,
    half: bool = False,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a model folder in one move; ``half`` stores floating-point tensors as float16.

    ``texts`` are further files by name, such as ``robot.json``.  A folder that is already there is replaced only after
    the new one is complete.
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
    check_weights(stored, f"the weights for {folder}", "train the model again")
    with atomic_folder(folder) as fresh:
        write_json(fresh / CONFIG_FILE, {"kind": kind, "config": config_to_dict(config)})
        write_text(fresh / CARD_FILE, card.rstrip() + "\n")
        for name, text in texts.items():
            write_text(fresh / name, text)
        with writing(folder):
            save_file(stored, fresh / WEIGHTS_FILE)
        (fresh / WEIGHTS_FILE).chmod(0o644)
        write_checksums(fresh)


def read_kind(folder: Path) -> str:
    """What kind of model a folder holds, e.g. ``"world_model"``."""
    path = as_path("a model", folder) / CONFIG_FILE
    values = read_json(path)
    if not isinstance(values, dict) or "kind" not in values:
        raise ValueError(f"{path} has no field 'kind'; is this a real2sim model folder?")
    if not isinstance(values["kind"], str):
        raise ValueError(
            f"{path}: field kind is {as_json(values['kind'])}, expected the name of a kind of model"
        )
    return values["kind"]


def read_config(folder: Path, kind: str, cls: type[Config]) -> Config:
    """The configuration of a model folder, which must be of the given kind."""
    found = read_kind(folder)
    path = Path(folder) / CONFIG_FILE
    if found != kind:
        raise ValueError(f"{path} holds a model of kind {found!r}, expected {kind!r}")
    values = read_json(path)
    unknown = sorted(set(values) - {"kind", "config"})
    if unknown:
        raise ValueError(
            f"{path}: unknown field {unknown[0]!r}; expected kind and config, notes belong in {CARD_FILE}"
        )
    return config_from_dict(cls, values.get("config"), str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, floating-point ones as float32."""
    import torch
    from safetensors.torch import load_file

    with _reading_weights(path):
        tensors = load_file(path)
    check_weights(tensors, str(path), "copy the file again, or train the model again")
    check_checksum(path)
    return {
        name: tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        for name, tensor in tensors.items()
    }


def check_weights(tensors: Mapping[str, Tensor], where: str, remedy: str) -> None:
    """ValueError unless all numbers are real and finite, and weights are of a type that keeps them as they are."""
    for name, tensor in tensors.items():
        if tensor.is_complex():
            raise ValueError(f"{where}: tensor {name!r} holds complex numbers, expected real ones; {remedy}")
        if not tensor.is_floating_point():
            continue
        if tensor.element_size() < 2:
            raise ValueError(
                f"{where}: tensor {name!r} holds {_kind(tensor)}, expected float16, bfloat16, float32 or "
                f"float64; {remedy}"
            )
        if not bool(tensor.float().isfinite().all()):
            beyond = " or numbers beyond float32" if tensor.element_size() > 4 else ""
            raise ValueError(
                f"{where}: tensor {name!r} holds NaN or infinity{beyond}, expected finite numbers; {remedy}"
            )


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a module's weights from a safetensors file (or model folder); every name and shape must agree."""
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    load_tensors(module, read_tensors(path), str(path))


def _check_shapes(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
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
        if tensor.is_floating_point() != expected[name].is_floating_point():
            raise ValueError(
                f"{where}: tensor {name!r} holds {_kind(tensor)}, the configuration asks for {_kind(expected[name])}; "
                "was the file converted?"
            )
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{where}: tensor {name!r} has shape {tuple(tensor.shape)}, the configuration asks for "
                f"{tuple(expected[name].shape)}; was it written for another configuration?"
            )


def type_name(kind: torch.dtype) -> str:
    """A number format as it is shown: float16, not torch.float16."""
    return str(kind).removeprefix("torch.")


def _kind(tensor: Tensor) -> str:
    return f"{type_name(tensor.dtype)} numbers"


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Strict ``load_state_dict`` whose error is one sentence about the first disagreement."""
    _check_shapes(module, tensors, where)
    module.load_state_dict(dict(tensors), strict=True)


def check_whole_file(path: Path) -> None:
    """Raise a ValueError where a safetensors file is cut off or holds something else; no weights are read."""
    from safetensors import safe_open

    with _reading_weights(path), safe_open(path, framework="np"):
        pass


def weights_files(folder: Path) -> list[Path]:
    """The files with a model folder's weights, each found to be whole; no weights are read."""
    files = sorted(folder.glob("*.safetensors")) or [folder / WEIGHTS_FILE]
    for path in files:
        _check_there(path)
        check_whole_file(path)
    return files


def check_weights_files(folder: Path) -> None:
    """Raise a ValueError unless the files with a model folder's weights are whole, and those that were written."""
    for path in weights_files(folder):
        check_checksum(path)


def folder_fingerprint(folder: Path) -> str:
    """Hash of a model folder's configuration and weights, in however many files they lie."""
    digest = hashlib.sha256()
    _check_there(folder / CONFIG_FILE)
    for path in (folder / CONFIG_FILE, *weights_files(folder)):
        check_checksum(path, [digest])
    return digest.hexdigest()[:16]


@contextmanager
def _reading_weights(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the weights of the model in a file")
    try:
        with reading(path, "the weights of the model"):
            yield
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}); the file may be truncated, copy it again"
        ) from error


def _check_there(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}"
        )
