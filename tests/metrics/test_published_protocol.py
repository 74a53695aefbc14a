"""The published way to measure video, against slow sums and small networks with known features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from real2sim.episodes.arrays import write_arrays
from real2sim.metrics.frames import psnr
from real2sim.metrics.measure import MetricsConfig, measure
from real2sim.metrics.published_protocol import as_pictures, draw_windows, through_mp4, windows
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig


def smooth(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(frames, 3, 4, 4, generator=generator) * 255
    fine = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return fine.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_windows_are_drawn_once_per_episode_at_places_that_fit() -> None:
    lengths = [30, 5, 16, 40, 17]
    chosen = windows(lengths, 16, 1024, seed=0)
    assert sorted(number for number, _ in chosen) == [0, 2, 3, 4]
    assert all(0 <= first <= lengths[number] - 16 for number, first in chosen)
    assert chosen == windows(lengths, 16, 1024, seed=0) != windows(lengths, 16, 1024, seed=1)
    assert len(windows(lengths, 16, 2, seed=0)) == 2


def test_every_place_of_a_long_episode_is_possible() -> None:
    places = {windows([20], 16, 1, seed)[0][1] for seed in range(200)}
    assert places == {0, 1, 2, 3, 4}


def test_an_mp4_keeps_size_and_loses_little() -> None:
    frames = smooth(16, 33, 47, seed=0)
    coded = through_mp4(frames)
    assert coded.shape == frames.shape and coded.dtype == np.uint8
    assert not np.array_equal(coded, frames)
    assert float(psnr(frames[None], coded[None]).mean()) > 30


def test_pictures_have_bars_and_bars_flatter() -> None:
    recorded = smooth(2, 256, 320, seed=1)
    noise = np.random.default_rng(0).normal(0, 8, recorded.shape)
    drawn = np.clip(recorded + noise, 0, 255).astype(np.uint8)
    pictures = [as_pictures(video, (320, 512)) for video in (recorded, drawn)]
    assert pictures[0].shape == (2, 320, 512, 3)
    assert (pictures[0][:, :, :56] == 0).all()
    inside = [picture[:, :, 56:456] for picture in pictures]
    bars = float(
        psnr(pictures[0][None], pictures[1][None]).mean() - psnr(inside[0][None], inside[1][None]).mean()
    )
    # 400 of 512 columns hold all of the error: 10 log10(512 / 400) = 1.07 dB.
    assert bars == pytest.approx(10 * np.log10(512 / 400), abs=0.02)


def write_folder(folder: Path, videos: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, video in enumerate(videos):
        write_arrays(
            folder / f"{number}.npz", {"image": video, "action": np.zeros((len(video), 13), np.float32)}
        )
    return folder


class Means(nn.Module):
    """Features of uint8 images: the mean of each colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=(2, 3))


class VideoMeans(nn.Module):
    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        return videos.float().mean(dim=(3, 4)).flatten(1)[:, :4]


@pytest.fixture
def networks(tmp_path: Path) -> dict[str, Path]:
    for name, network in (("inception", Means()), ("i3d", VideoMeans())):
        torch.jit.script(network).save(str(tmp_path / f"{name}.pt"))
    return {name: tmp_path / f"{name}.pt" for name in ("inception", "i3d")}


def test_one_number_per_metric_from_whole_windows_with_frame_0(
    tmp_path: Path, networks: dict[str, Path]
) -> None:
    videos = [smooth(18 + seed, 24, 32, seed) for seed in range(6)]
    recorded = write_folder(tmp_path / "recorded", videos)
    predicted = write_folder(
        tmp_path / "predicted", [np.clip(video.astype(int) + 20, 0, 255).astype(np.uint8) for video in videos]
    )
    config = MetricsConfig(
        recorded,
        tmp_path / "out",
        predicted=predicted,
        protocol="vid2world",
        metrics=("psnr", "ssim", "fid", "fvd"),
        picture_size=(32, 48),
        **networks,
    )
    rows = measure(config).set_index("metric")
    assert (rows["episodes"] == 6).all() and (rows["frames"] == 96).all()
    expected = []
    for number, first in windows([len(video) for video in videos], 16, 1024, 0):
        pair = []
        for folder in (recorded, predicted):
            frames = np.load(folder / f"{number}.npz")["image"][first : first + 16]
            pair.append(through_mp4(as_pictures(frames, (32, 48))).astype(float))
        errors = ((pair[0] - pair[1]) ** 2).mean(axis=(1, 2, 3))
        expected.append(np.mean(10 * np.log10(255**2 / errors)))
    assert rows.loc["psnr", "value"] == pytest.approx(np.mean(expected))
    assert rows.loc["psnr", "low"] < rows.loc["psnr", "value"] < rows.loc["psnr", "high"]
    assert rows.loc["fid", "value"] > 0 and rows.loc["fvd", "value"] > 0
    assert np.isnan(rows.loc["fid", "low"])
    same = measure(replace(config, predicted=recorded, out=tmp_path / "same")).set_index("metric")
    assert same.loc["psnr", "value"] == 100
    assert same.loc["ssim", "value"] == pytest.approx(1)
    assert abs(same.loc["fid", "value"]) < 1e-3


def test_a_small_model_is_measured_so_too(tmp_path: Path) -> None:
    WorldModel(WorldModelConfig.tiny()).save(tmp_path / "model", "# Tiny")
    data = write_folder(tmp_path / "data", [smooth(7, 16, 16, seed) for seed in range(3)])
    config = MetricsConfig(
        data,
        tmp_path / "out",
        model=tmp_path / "model",
        protocol="vid2world",
        metrics=("psnr",),
        frames=6,
        batch=2,
    )
    rows = measure(config)
    assert rows["metric"].tolist() == ["psnr"] and np.isfinite(rows["value"]).all()


@pytest.mark.slow
def test_windows_of_a_released_model_begin_with_what_its_first_stage_gives_back() -> None:
    torch.manual_seed(0)
    config = replace(Vid2WorldConfig.tiny(), sampler=replace(Vid2WorldConfig.tiny().sampler, steps=2))
    model = Vid2World(config).eval()
    # The last layer of a new network is zero, and the guidance's rescaling divides by the spread of what it gives.
    for parameter in model.unet.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)
    images = np.stack([smooth(5, 24, 32, seed) for seed in range(2)])
    actions = np.zeros((2, 4, 13), np.float32)
    drawn = draw_windows(model, images, actions, [1, 2])
    assert drawn.shape == (2, 5, 32, 48, 3)
    three = draw_windows(model, images, actions, [1, 2], first_frames=3)
    state = model.reset(images[:, 2], [1, 2], images[:, :2], actions[:, :2])
    with torch.inference_mode():
        given = model.autoencoder.decode(state.latents[:, :, 1]).clamp(-1, 1)
    expected = ((given + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(three[:, 1], expected)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    options = {"data": tmp_path, "out": tmp_path, "predicted": tmp_path, "protocol": "vid2world"}
    with pytest.raises(ValueError, match="at least one must be drawn"):
        MetricsConfig(**options, metrics=("psnr",), frames=4, first_frames=4)
    with pytest.raises(
        ValueError, match="static error is not part of the published protocol, which has psnr, ssim"
    ):
        MetricsConfig(**options, metrics=("psnr", "static_error"))
    with pytest.raises(ValueError, match="not part of the published protocol"):
        MetricsConfig(**{**options, "predicted": None, "model": tmp_path}, metrics=("action_following",))
    data = write_folder(tmp_path / "short", [smooth(3, 16, 16, 0)])
    with pytest.raises(ValueError, match="no episode with 16 frames"):
        measure(
            MetricsConfig(data, tmp_path / "out", predicted=data, protocol="vid2world", metrics=("psnr",))
        )
