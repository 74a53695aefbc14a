"""Files of a converted Vid2World model, from a folder or the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from real2sim.checksums import SUMS_FILE, check_checksum
from real2sim.files import reading
from real2sim.model_folder import CONFIG_FILE, check_weights, type_name
from real2sim.vid2world.released.checkpoint import CAPTION_FILE, COMPONENTS

FORMATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Number formats of weights, as the header of a safetensors file names them."""


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """A safetensors file is read; FileNotFoundError or ValueError if it is missing or broken."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; was the folder copied completely?")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; was the folder of the model copied completely?")
    try:
        with reading(path, "tensors of a model"):
            yield
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors ({error}); copy it again") from error


def read_tensors(path: Path, device: str | torch.device) -> dict[str, Tensor]:
    """All tensors of a safetensors file; FileNotFoundError or ValueError if it is missing or broken."""
    with _opening(path):
        tensors = load_file(path, device=str(device))
    check_weights(tensors, str(path), "convert the checkpoint again")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(
                f"{path}: tensor {name!r} is {type_name(tensor.dtype)}, expected floating-point weights; convert the "
                "checkpoint again"
            )
    check_checksum(path)
    return tensors


def common_type(paths: Iterable[Path]) -> torch.dtype:
    """The number format that holds those of all tensors in safetensors files; float64 only where all are.

    Only the files' headers are read; FileNotFoundError or ValueError if one is missing or broken.
    """
    kinds: set[torch.dtype] = set()
    for path in paths:
        with _opening(path), safe_open(path, framework="pt") as stored:
            named = {stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118
        kinds |= {FORMATS[name] for name in named if name in FORMATS}
    widest = reduce(torch.promote_types, kinds, torch.bfloat16 if torch.bfloat16 in kinds else torch.float16)
    return torch.float32 if widest == torch.float64 and len(kinds) > 1 else widest


def downloaded(hub_id: str) -> Path:
    """A local copy of a converted model on the Hugging Face Hub."""
    if hub_id.count("/") != 1:
        raise FileNotFoundError(f"{hub_id} is neither a folder nor a Hub id such as someone/vid2world-rt1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    patterns = [
        CONFIG_FILE,
        CAPTION_FILE,
        SUMS_FILE,
        *(f"{component}.safetensors" for component in COMPONENTS),
    ]
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        first = str(error).splitlines()[0]
        raise FileNotFoundError(
            f"{hub_id} is no folder here and cannot be had from the Hub ({first})"
        ) from error
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"{hub_id} holds no converted model; download its checkpoint and run real2sim convert vid2world"
        )
    return folder
