"""Similarity of sets of frames and videos: Frechet distances between network features (FID, FVD)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.metrics.frames import check_alike, load_script, torchmetrics_for

BATCH = 16
SHORTEST_VIDEO = 10
"""Frames below which I3D, which halves time repeatedly, has nothing left to pool."""


class Inception(nn.Module):
    """Features (n f) of uint8 images (n 3 h w)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.options = _accepted(network, return_features=True)
        self.num_features = int(self(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape[-1])

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, **self.options)


class I3D(nn.Module):
    """Features (n f) of uint8 videos (n 3 t h w)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.options = _accepted(network, rescale=False, resize=True, return_features=True)
        self.num_features = int(self(torch.zeros(1, 3, 16, 64, 64, dtype=torch.uint8)).shape[-1])

    def forward(self, videos: Tensor) -> Tensor:
        return self.network(videos.float() / 127.5 - 1, **self.options)


def fid(recorded: np.ndarray, predicted: np.ndarray, network: Path | None) -> np.ndarray:
    """Frechet Inception distance (t) between recorded and predicted frames of one time (Heusel et al. 2017).

    ``network`` is a TorchScript file of Inception v3 that takes uint8 images (n 3 h w), such as StyleGAN2's
    ``inception-2015-12-05.pt``.
    """
    check_alike(recorded, predicted)
    extractor = Inception(_network(network, "FID", "Inception v3", "--inception"))
    pairs = (_images(recorded), _images(predicted))
    return np.array(
        [_distance(extractor, *(video[:, :, frame] for video in pairs)) for frame in range(pairs[0].shape[2])]
    )


def fvd(recorded: np.ndarray, predicted: np.ndarray, network: Path | None) -> np.ndarray:
    """Frechet video distance (t) between recorded and predicted videos up to a frame (Unterthiner 2018).

    NaN while a video is shorter than ``SHORTEST_VIDEO``.  ``network`` is a TorchScript file of I3D that takes
    videos (n 3 t h w) in [-1, 1], such as StyleGAN-V's ``i3d_torchscript.pt``.
    """
    check_alike(recorded, predicted)
    extractor = I3D(_network(network, "FVD", "I3D", "--i3d"))
    pairs = (_images(recorded), _images(predicted))
    frames = pairs[0].shape[2]
    values = np.full(frames, np.nan)
    for frame in range(SHORTEST_VIDEO - 1, frames):
        values[frame] = _distance(extractor, *(video[:, :, : frame + 1] for video in pairs))
    return values


class FrechetDistance:
    """A Frechet distance of samples that are added one after the other."""

    def __init__(self, extractor: nn.Module, per_frame: bool) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        self._metric = FrechetInceptionDistance(feature=extractor)
        self._per_frame = per_frame

    @torch.inference_mode()
    def add(self, recorded: np.ndarray, predicted: np.ndarray) -> None:
        """Videos uint8 (n t h w 3): each frame is a sample, or each video."""
        check_alike(recorded, predicted)
        for videos, real in ((recorded, True), (predicted, False)):
            samples = _images(videos)
            if self._per_frame:
                samples = samples.transpose(1, 2).flatten(0, 1)
            for first in range(0, len(samples), BATCH):
                self._metric.update(samples[first : first + BATCH], real=real)

    def value(self) -> float:
        """The distance of all samples so far."""
        return float(self._metric.compute())


def frame_distance(network: Path | None) -> FrechetDistance:
    """FID over all frames pooled; ``network`` as in `fid`."""
    return FrechetDistance(Inception(_network(network, "FID", "Inception v3", "--inception")), per_frame=True)


def video_distance(network: Path | None) -> FrechetDistance:
    """FVD over whole videos; ``network`` as in `fvd`."""
    return FrechetDistance(I3D(_network(network, "FVD", "I3D", "--i3d")), per_frame=False)


@torch.inference_mode()
def _distance(extractor: nn.Module, recorded: Tensor, predicted: Tensor) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    if len(recorded) < 2:
        raise ValueError(f"a Frechet distance needs at least 2 episodes, got {len(recorded)}")
    metric = FrechetInceptionDistance(feature=extractor)
    for samples, real in ((recorded, True), (predicted, False)):
        for first in range(0, len(samples), BATCH):
            metric.update(samples[first : first + BATCH], real=real)
    return float(metric.compute())


def _network(path: Path | None, metric: str, name: str, option: str) -> Any:
    torchmetrics_for(metric)
    if path is None:
        raise ValueError(f"{metric} needs the weights of {name}; name a TorchScript file of it with {option}")
    return load_script(path, metric, option)


def _accepted(network: Any, **options: bool) -> dict[str, bool]:
    """The options that a TorchScript network's forward has."""
    known = {argument.name for argument in network.forward.schema.arguments}
    return {name: value for name, value in options.items() if name in known}


def _images(videos: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(videos)).permute(0, 4, 1, 2, 3)
