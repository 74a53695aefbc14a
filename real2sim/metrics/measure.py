"""The command ``real2sim metrics``: predicted against recorded video, over the horizon."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from real2sim.built_in import ASSETS, shipped_suites
from real2sim.checks import check_device, check_kinds, check_seed, check_sizes
from real2sim.episodes.npz import dataset_files, dataset_robot, read_npz
from real2sim.episodes.states import read_states
from real2sim.files import write_text
from real2sim.files_together import write_together
from real2sim.metrics.curves import action_following_curve, mean_curve, plain_curve, plot_curves
from real2sim.metrics.prediction import (
    other_actions,
    predict_rollouts,
    predict_single_steps,
    predict_together,
)
from real2sim.vid2world.load import DrawsTogether, LoadedWorldModel, knows_state, load_model
from real2sim.vid2world.model_robot import check_model_robot

LOG = logging.getLogger(__name__)

NETWORKS = {"lpips": "lpips", "inception": "fid", "i3d": "fvd"}
"""Options with the file of a network, and the metric that looks through it."""
PUBLISHED = ("psnr", "ssim", "lpips", "fid", "fvd")
"""Metrics of ``--protocol vid2world``."""
Metric = Literal["psnr", "ssim", "lpips", "fid", "fvd", "action_following", "static_error", "edge_sharpness"]
Prediction = Literal["autoregressive", "single_step", "together", "still"]


@dataclass(frozen=True)
class MetricsConfig:
    """Compare a world model's video with recorded video."""

    data: Path
    """Dataset folder with recorded episodes, one npz each."""
    out: Path
    """Folder for metrics.csv and metrics.png."""
    model: Path | None = None
    """World model folder, or the name of a shipped suite for its own; it draws every episode from the start frame and
    the recorded actions."""
    predicted: Path | None = None
    """Instead of a model: dataset folder with predicted episodes under the names of the recorded ones."""
    metrics: tuple[Metric, ...] = ("psnr", "action_following")
    """PSNR and action following need no further package; the others need the extra [metrics]."""
    predictions: tuple[Prediction, ...] = ("autoregressive", "still")
    """What is compared: ``autoregressive`` (each frame from the model's own past), ``single_step`` (each from the
    recorded frame before it), ``together`` (released models: all frames of a window denoised at once), ``still``
    (the start frame repeated), which a useful model has to beat."""
    protocol: Literal["horizon", "vid2world"] = "horizon"
    """``horizon``: every metric frame by frame.  ``vid2world``: as the paper's Table 1, one number per metric: windows
    of 16 frames with frame 0, at random places of 1,024 episodes, pictures with their black bars, through an mp4, LPIPS
    of VGG, FID over all frames, FVD over windows (docs/checkpoints.md)."""
    horizon: int = 15
    """Frames that are compared; shorter episodes are left out."""
    episodes: int | None = None
    """Episodes that are compared: by default the first 64 by name, with ``--protocol vid2world`` 1,024 at random."""
    frames: int = 16
    """``--protocol vid2world``: frames per window; RECON's published windows have 20."""
    first_frames: int = 1
    """``--protocol vid2world``: recorded frames that a window begins with; 4 for CS:GO and RECON."""
    lpips_net: Literal["vgg", "alex"] = "vgg"
    """``--protocol vid2world``: network of LPIPS; RECON's published numbers use alex."""
    picture_size: tuple[int, int] | None = None
    """``--protocol vid2world`` with ``--predicted``: height and width of the picture, bars included, e.g. 320 512."""
    batch: int = 16
    """Episodes that are drawn together."""
    seed: int = 0
    lpips: Path | None = None
    """TorchScript file of the LPIPS network; by default torchmetrics' own, which needs torchvision."""
    inception: Path | None = None
    """TorchScript file of Inception v3, for FID."""
    i3d: Path | None = None
    """TorchScript file of I3D, for FVD."""
    panel: tuple[Path, ...] = ()
    """Policy folders whose actions on recorded and on drawn frames are compared (docs/consistency.md); panel.csv."""
    device: str = "cpu"
    """Where the model runs."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_seed("seed", self.seed)
        if (self.model is None) == (self.predicted is None):
            raise ValueError("name either --model or --predicted, what the recorded video is compared with")
        if self.predicted is not None and "action_following" in self.metrics:
            raise ValueError(
                "action following needs a model that can be asked again with other actions, not --predicted"
            )
        if not self.metrics:
            raise ValueError("name at least one metric")
        for name in ("horizon", "batch", "frames", "first_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {self.episodes}")
        if self.first_frames >= self.frames:
            raise ValueError(
                f"first_frames is {self.first_frames} and a window has {self.frames} frames; at least one must be drawn"
            )
        foreign = [name for name in self.metrics if name not in PUBLISHED]
        if self.protocol == "vid2world" and foreign:
            raise ValueError(
                f"{foreign[0].replace('_', ' ')} is not part of the published protocol, which has "
                f"{', '.join(PUBLISHED)}; leave it out of --metrics"
            )
        if self.picture_size is not None:
            check_sizes(self, "picture_size", high=8192)
        if not self.predictions:
            raise ValueError("name at least one prediction")
        for name, metric in NETWORKS.items():
            path = getattr(self, name)
            if path is not None and metric not in self.metrics:
                raise ValueError(
                    f"--{name} is the network of {metric}, which is not asked for; add it to "
                    f"--metrics or leave --{name} out"
                )


def _model_folder(model: Path | None) -> Path | None:
    """The folder that is named, or the world model of the shipped suite that is."""
    if model is None or model.is_dir():
        return model
    if str(model) not in shipped_suites():
        raise FileNotFoundError(
            f"there is no world model in {model}; expected the folder of one, or one of the shipped suites "
            f"({', '.join(shipped_suites())}) for its own"
        )
    return ASSETS / model / "world_model"


def measure(config: MetricsConfig) -> pd.DataFrame:
    """Write ``metrics.csv`` and ``metrics.png``; give the rows of the former.

    Columns: metric, prediction, frame (1 is the first predicted one), value, low and high (95 %), episodes.
    With ``protocol="vid2world"`` one row per metric: protocol, metric, value, low, high, episodes, frames.
    """
    check_device(config.device)
    config = replace(config, model=_model_folder(config.model))
    for name in NETWORKS:
        path = getattr(config, name)
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"--{name} is {path}, which is no file; expected a TorchScript network")
    if config.protocol == "vid2world":
        return _measure_published(config)
    count = 64 if config.episodes is None else config.episodes
    chosen, images, actions = _read(dataset_files(config.data), config.horizon, count)
    recorded = images[:, 1:]
    curves: list[pd.DataFrame] = []
    if config.predicted is not None:
        files = [config.predicted / path.name for path in chosen]
        absent = [path for path in files if not path.is_file()]
        if absent:
            raise FileNotFoundError(
                f"{absent[0]} does not exist; every recorded episode needs a predicted one"
            )
        others = _read(files, config.horizon, count)[1]
        if others.shape != images.shape:
            raise ValueError(
                f"{config.predicted} holds episodes {others.shape}, {config.data} {images.shape}"
            )
        predictions = {
            "autoregressive": others[:, 1:],
            "still": np.repeat(images[:, :1], config.horizon, axis=1),
        }
    else:
        assert config.model is not None
        check_model_robot(config.model, dataset_robot(config.data), f"dataset {config.data}")
        model = load_model(config.model, config.device)
        states = read_states(chosen, model.state_names, config.horizon + 1) if knows_state(model) else None
        predictions = _predictions(config, model, images, actions, states)
        if "action_following" in config.metrics:
            drawn = predictions.get("autoregressive")
            if drawn is None:
                drawn = predict_rollouts(model, images, actions, config.seed, config.batch, states)
            from real2sim.metrics.frames import squared_error

            misled = predict_rollouts(
                model, images, other_actions(actions, config.seed), config.seed, config.batch, states
            )
            true, shuffled = (squared_error(recorded, video) for video in (drawn, misled))
            curves.append(action_following_curve(true, shuffled, config.seed))
    for metric in config.metrics:
        if metric != "action_following":
            curves.extend(_curves(config, metric, images, predictions))
    rows = pd.concat(curves, ignore_index=True)
    table, figure = config.out / "metrics.csv", config.out / "metrics.png"
    write_together({table: rows.to_csv(index=False).encode(), figure: _figure(rows)})
    return rows


def _predictions(
    config: MetricsConfig,
    model: LoadedWorldModel,
    images: np.ndarray,
    actions: np.ndarray,
    states: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Only what is asked for is drawn."""
    if "together" in config.predictions and not isinstance(model, DrawsTogether):
        raise ValueError(
            f"{config.model} cannot draw all frames of a window together; leave 'together' out of --predictions"
        )
    arguments = (model, images, actions, config.seed, config.batch)
    predictions: dict[str, np.ndarray] = {}
    for name in config.predictions:
        if name == "autoregressive":
            predictions[name] = predict_rollouts(*arguments, states=states)
        elif name == "single_step":
            predictions[name] = predict_single_steps(*arguments, states=states)
        elif name == "together":
            assert isinstance(model, DrawsTogether)
            predictions[name] = predict_together(model, *arguments[1:])
        else:
            predictions[name] = np.repeat(images[:, :1], config.horizon, axis=1)
    return predictions


def _measure_published(config: MetricsConfig) -> pd.DataFrame:
    from real2sim.metrics.published_protocol import Recordings, measure_published

    model = None if config.model is None else load_model(config.model, config.device)
    rows = measure_published(config, Recordings(config.data, config.predicted), model)
    write_text(config.out / "metrics.csv", rows.to_csv(index=False))
    return rows


def _curves(
    config: MetricsConfig, metric: Metric, images: np.ndarray, predictions: dict[str, np.ndarray]
) -> Iterator[pd.DataFrame]:
    from real2sim.metrics import distributions, frames, moving_parts

    start, recorded = images[:, 0], images[:, 1:]
    for name, predicted in predictions.items():
        if metric == "psnr":
            yield mean_curve(metric, name, frames.psnr(recorded, predicted))
        elif metric == "ssim":
            yield mean_curve(metric, name, frames.ssim(recorded, predicted))
        elif metric == "lpips":
            yield mean_curve(metric, name, frames.lpips(recorded, predicted, config.lpips))
        elif metric == "fid":
            values = distributions.fid(recorded, predicted, config.inception)
            yield plain_curve(metric, name, values, len(recorded))
        elif metric == "fvd":
            values = distributions.fvd(recorded, predicted, config.i3d)
            yield plain_curve(metric, name, values, len(recorded))
        elif metric == "static_error":
            yield mean_curve(metric, name, moving_parts.static_error(start, recorded, predicted))
        elif metric == "edge_sharpness":
            yield mean_curve(metric, name, moving_parts.edge_sharpness(start, recorded, predicted))
        else:
            raise ValueError(f"unknown metric {metric!r}")


def _read(files: Sequence[Path], horizon: int, episodes: int) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """The first episodes that are long enough: files, images (n horizon+1 h w 3), actions (n horizon 13)."""
    robot = dataset_robot(files[0].parent)
    chosen: list[Path] = []
    images: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    short = 0
    for path in files:
        if len(images) == episodes:
            break
        episode = read_npz(path)
        if len(episode["image"]) <= horizon:
            short += 1
            continue
        chosen.append(path)
        images.append(episode["image"][: horizon + 1])
        actions.append(robot.world_actions(robot.per_frame(episode["action"][:horizon].astype(np.float32))))
    if not images:
        raise ValueError(
            f"{files[0].parent} has no episode with more than {horizon} frames; choose a shorter --horizon"
        )
    if short:
        LOG.info("%d episodes have fewer than %d frames and were left out", short, horizon + 1)
    return chosen, np.stack(images), np.stack(actions)


def _figure(rows: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    plot_curves(rows).savefig(file, format="png", dpi=150)
    return file.getvalue()
