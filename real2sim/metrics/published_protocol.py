"""Video metrics exactly as Vid2World's Table 1 computes them (``real2sim metrics --protocol vid2world``).

What differs from the project's own way: windows of 16 frames at random places of up to 1,024 episodes, frame 0
included; pixels are those of the model's picture with its black bars; both videos go through an mp4 first; LPIPS is
VGG's; FID pools all frames, FVD takes whole windows.  The numbers stand beside published ones; they flatter, as bars
and frame 0 are easy.  Which 1,024 episodes the published run drew cannot be known: the seed of this one is stated.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from tqdm import tqdm

from real2sim.metrics.prediction import episode_seeds

if TYPE_CHECKING:
    from real2sim.metrics.measure import MetricsConfig

COLUMNS = ("protocol", "metric", "value", "low", "high", "episodes", "frames")
CRF = "10"
"""Constant rate factor of the mp4 that DynamiCrafter's evaluation scripts write."""
EPISODES = 1024
"""Windows of the published numbers."""
HIGHEST_PSNR = 100.0
"""Decibels that equal frames count as; their true value is infinite."""


def windows(lengths: Sequence[int], frames: int, episodes: int, seed: int) -> list[tuple[int, int]]:
    """(episode, first frame) of up to ``episodes`` windows, one per episode, at random places.

    Episodes shorter than ``frames`` are passed over.
    """
    rng = np.random.default_rng(seed)
    long = [number for number in rng.permutation(len(lengths)).tolist() if lengths[number] >= frames]
    return [(number, int(rng.integers(lengths[number] - frames + 1))) for number in long[:episodes]]


def through_mp4(frames: np.ndarray) -> np.ndarray:
    """Frames uint8 (t h w 3) after H.264 in 4:2:0 with a constant rate factor of 10."""
    import av

    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": CRF})
        stream.height, stream.width = even.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    content.seek(0)
    with av.open(content, "r") as film:
        decoded = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    return np.stack(decoded)[:, :height, :width]


def as_pictures(frames: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Frames uint8 (t h w 3) as the model's pictures with bars, uint8 (t H W 3); unchanged if ``size`` is None."""
    if size is None:
        return frames
    from real2sim.vid2world.released.letterbox import frames_to_pixels

    pixels = frames_to_pixels(torch.from_numpy(np.ascontiguousarray(frames)), size)
    return _to_bytes(pixels)


def measure_published(config: MetricsConfig, episodes: Recordings, model: Any) -> pd.DataFrame:
    """One row per metric: psnr, ssim, lpips, fid, fvd as asked for.

    Means over episodes carry Student's 95 % interval; FID and FVD belong to all windows together and have none.
    """
    chosen = windows(episodes.lengths(), config.frames, config.episodes or EPISODES, config.seed)
    if not chosen:
        raise ValueError(
            f"{episodes.folder} has no episode with {config.frames} frames; choose fewer --frames"
        )
    if len(chosen) < 2:
        raise ValueError(
            f"{episodes.folder} has one episode with {config.frames} frames; expected at least 2"
        )
    collected = _Collector(config)
    pairs = _pairs(config, episodes, model, chosen)
    for recorded, predicted in tqdm(pairs, total=len(chosen), desc="windows", unit="window"):
        collected.add(through_mp4(recorded), through_mp4(predicted))
    return collected.rows(len(chosen))


class Recordings:
    """Recorded (and perhaps predicted) episodes of dataset folders, one at a time."""

    def __init__(self, folder: Path, predicted: Path | None = None) -> None:
        from real2sim.episodes.npz import dataset_files, dataset_robot

        self.folder, self.predicted = folder, predicted
        self.files, self._robot = dataset_files(folder), dataset_robot(folder)

    def lengths(self) -> list[int]:
        """Frames of every episode."""
        return [_frames_in(path) for path in self.files]

    def window(self, number: int, first: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames (t h w 3) of a window, and the actions (t-1 a) between them."""
        from real2sim.episodes.npz import read_npz

        episode = read_npz(self.files[number], ["image", "action"])
        actions = np.asarray(episode["action"], np.float32)[first : first + frames - 1]
        robot = self._robot
        return episode["image"][first : first + frames], robot.world_actions(robot.per_frame(actions))

    def other(self, number: int, first: int, frames: int) -> np.ndarray:
        """The predicted frames (t h w 3) of a window."""
        from real2sim.episodes.npz import read_npz

        assert self.predicted is not None
        path = self.predicted / self.files[number].name
        images = read_npz(path, ["image"])["image"]
        if len(images) < first + frames:
            raise ValueError(
                f"{path} has {len(images)} frames, the recorded episode more; expected at least {first + frames}"
            )
        return images[first : first + frames]


def _frames_in(path: Path) -> int:
    """Number of frames of an episode, from the header of its array alone."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("image.npy") as file:
            major, _ = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, _ = read(file)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} has no readable array 'image' ({error}); copy it again") from error
    return int(shape[0])


def _pairs(
    config: MetricsConfig, episodes: Recordings, model: Any, chosen: Sequence[tuple[int, int]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Recorded and predicted pictures uint8 (t H W 3) of each window."""
    size = getattr(model.config, "picture_size", None) if model is not None else config.picture_size
    if model is None:
        for number, first in chosen:
            recorded, _ = episodes.window(number, first, config.frames)
            yield as_pictures(recorded, size), as_pictures(episodes.other(number, first, config.frames), size)
        return
    seeds = episode_seeds(config.seed, len(chosen))
    for start in range(0, len(chosen), config.batch):
        batch = [episodes.window(*place, config.frames) for place in chosen[start : start + config.batch]]
        images = np.stack([frames for frames, _ in batch])
        actions = np.stack([actions for _, actions in batch])
        drawn = draw_windows(model, images, actions, seeds[start : start + len(batch)], config.first_frames)
        for recorded, predicted in zip(images, drawn, strict=True):
            yield as_pictures(recorded, size), predicted


def draw_windows(
    model: Any, images: np.ndarray, actions: np.ndarray, seeds: Sequence[int], first_frames: int = 1
) -> np.ndarray:
    """Pictures uint8 (b t H W 3) of windows that begin with ``first_frames`` recorded frames.

    The given frames appear as the model's first stage gives them back, as in the published videos, where all frames are
    decoded from latents.
    """
    given = first_frames - 1
    past = () if given == 0 else (images[:, :given], actions[:, :given])
    state = model.reset(images[:, given], seeds, *past)
    pictures = [*_given(model, state, images[:, :first_frames])]
    for frame in range(given, actions.shape[1]):
        drawn, state = model.step(state, actions[:, frame])
        pictures.append(_to_bytes(state.pictures[:, -1]) if hasattr(state, "pictures") else drawn)
    return np.stack(pictures, axis=1)


def _given(model: Any, state: Any, frames: np.ndarray) -> Iterator[np.ndarray]:
    if not hasattr(state, "pictures"):
        yield from (frames[:, i] for i in range(frames.shape[1]))
        return
    with torch.inference_mode():
        for i in range(frames.shape[1]):
            yield _to_bytes(model.autoencoder.decode(state.latents[:, :, i].to(model.dtype)).float())


def _to_bytes(pixels: torch.Tensor) -> np.ndarray:
    """uint8 (b H W 3) of pixels (b 3 H W) in [-1, 1]."""
    values = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.asarray(values.permute(0, 2, 3, 1).cpu().numpy())


class _Collector:
    """Sums up metrics window by window, so that memory does not grow with their number."""

    def __init__(self, config: MetricsConfig) -> None:
        self.config = config
        self.values: dict[str, list[float]] = {
            name: [] for name in config.metrics if name in ("psnr", "ssim", "lpips")
        }
        self.distances: dict[str, Any] = {}
        if "fid" in config.metrics:
            from real2sim.metrics.distributions import frame_distance

            self.distances["fid"] = frame_distance(config.inception)
        if "fvd" in config.metrics:
            from real2sim.metrics.distributions import video_distance

            self.distances["fvd"] = video_distance(config.i3d)

    def add(self, recorded: np.ndarray, predicted: np.ndarray) -> None:
        """One window: pictures uint8 (t H W 3)."""
        from real2sim.metrics import frames

        pair = (recorded[None], predicted[None])
        for name, values in self.values.items():
            if name == "psnr":
                values.append(float(np.minimum(frames.psnr(*pair), HIGHEST_PSNR).mean()))
            elif name == "ssim":
                values.append(float(frames.ssim(*pair).mean()))
            else:
                values.append(float(frames.lpips(*pair, self.config.lpips, net=self.config.lpips_net).mean()))
        for distance in self.distances.values():
            distance.add(*pair)

    def rows(self, windows: int) -> pd.DataFrame:
        """The table."""
        rows = []
        for name in self.config.metrics:
            if name in self.values:
                values = np.array(self.values[name])
                half_width = stats.t.ppf(0.975, windows - 1) * values.std(ddof=1) / np.sqrt(windows)
                row = (values.mean(), values.mean() - half_width, values.mean() + half_width)
            else:
                row = (self.distances[name].value(), np.nan, np.nan)
            rows.append(("vid2world", name, *row, windows, windows * self.config.frames))
        return pd.DataFrame(rows, columns=list(COLUMNS))
