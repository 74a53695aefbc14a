"""Similarity of single frames: PSNR, SSIM and LPIPS of predicted against recorded frames, uint8 (n t h w 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

CHUNK = 64
"""Frames per batch of a metric."""


def squared_error(recorded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean squared error (n t) in grey levels (0..255) squared."""
    check_alike(recorded, predicted)
    difference = recorded.astype(np.float64) - predicted.astype(np.float64)
    return np.asarray(np.square(difference).mean(axis=(2, 3, 4)))


def psnr(recorded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (n t) in decibels, infinite for equal frames: 10 log10(255^2 / error)."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255.0**2 / squared_error(recorded, predicted))


def ssim(recorded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Structural similarity (n t), 1 for equal frames (Wang et al. 2004; torchmetrics)."""
    torchmetrics_for("SSIM")
    from torchmetrics.functional.image import structural_similarity_index_measure

    def compare(real: Tensor, drawn: Tensor) -> Tensor:
        values = structural_similarity_index_measure(drawn, real, data_range=1.0, reduction="none")
        assert isinstance(values, Tensor)
        return values

    return _per_frame(recorded, predicted, compare, 0.0, 1.0)


def lpips(
    recorded: np.ndarray,
    predicted: np.ndarray,
    network: Path | None = None,
    net: Literal["alex", "vgg"] = "alex",
) -> np.ndarray:
    """Learned perceptual distance (n t), 0 for equal frames (Zhang et al. 2018).

    ``network`` is a TorchScript file that gives n distances of two batches of images (n 3 h w) in [-1, 1].
    Without one torchmetrics' AlexNet or VGG is used, which needs torchvision and its weights.
    """
    if network is not None:
        script = load_script(network, "LPIPS", "--lpips")
        return _per_frame(recorded, predicted, lambda a, b: script(a, b).flatten(), -1.0, 1.0)
    torchmetrics_for("LPIPS")
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        metric: Any = LearnedPerceptualImagePatchSimilarity(net_type=net, reduction="none")
    except (ImportError, OSError) as error:
        raise ImportError(
            "LPIPS needs torchvision and its weights, which are not here; install torchvision, "
            "or name a TorchScript file of the network with --lpips"
        ) from error
    return _per_frame(recorded, predicted, lambda a, b: metric(a, b).flatten(), -1.0, 1.0)


def load_script(path: Path, metric: str, option: str) -> Any:
    """A network from a TorchScript file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{metric} needs its network, but {path} does not exist; name the file with {option}"
        )
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise ValueError(
            f"{path} cannot be read as TorchScript, which {metric} needs; copy it again"
        ) from error


def torchmetrics_for(metric: str) -> None:
    """Raise the error that says how to install torchmetrics, if it is not there."""
    try:
        import torchmetrics  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{metric} needs torchmetrics; install it with pip install 'real2sim[metrics]'"
        ) from error


def check_alike(recorded: np.ndarray, predicted: np.ndarray) -> None:
    """Refuse videos that cannot be compared frame by frame."""
    if recorded.shape != predicted.shape or recorded.ndim != 5 or recorded.shape[-1] != 3:
        raise ValueError(
            f"recorded {recorded.shape} and predicted {predicted.shape} need the same shape (n t h w 3)"
        )


@torch.inference_mode()
def _per_frame(
    recorded: np.ndarray, predicted: np.ndarray, compare: Any, low: float, high: float
) -> np.ndarray:
    check_alike(recorded, predicted)
    pairs = [video.reshape(-1, *video.shape[2:]) for video in (recorded, predicted)]
    values = []
    for first in range(0, len(pairs[0]), CHUNK):
        real, drawn = (
            torch.from_numpy(np.ascontiguousarray(video[first : first + CHUNK])).permute(0, 3, 1, 2).float()
            for video in pairs
        )
        scaled = [low + (high - low) * images / 255 for images in (real, drawn)]
        values.append(compare(*scaled).double().numpy())
    return np.concatenate(values).reshape(recorded.shape[:2])
