"""Video metrics say what they should about videos whose likeness is known."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from real2sim.episodes.arrays import write_arrays
from real2sim.metrics.curves import COLUMNS, action_following_curve, mean_curve, plain_curve
from real2sim.metrics.distributions import SHORTEST_VIDEO, fid, fvd
from real2sim.metrics.frames import lpips, psnr, squared_error, ssim
from real2sim.metrics.measure import MetricsConfig, measure
from real2sim.metrics.prediction import other_actions, predict_rollouts, predict_single_steps
from real2sim.vid2world.world_model import WorldModel
from real2sim.vid2world.world_model_config import WorldModelConfig
from tests.vid2world.robot_states import model_config, write_episodes

RNG = np.random.default_rng(0)


def videos(episodes: int = 3, frames: int = 4, size: int = 16) -> np.ndarray:
    return RNG.integers(0, 256, (episodes, frames, size, size, 3), dtype=np.uint8)


class Counter:
    """A world that adds the action's first number to every pixel and remembers how often it was asked."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self, frames: np.ndarray, seeds: Sequence[int]) -> Any:
        self.resets += 1
        return frames

    def step(self, state: Any, actions: np.ndarray) -> tuple[np.ndarray, Any]:
        frames = (state.astype(int) + actions[:, 0].astype(int)[:, None, None, None]).clip(0, 255)
        return frames.astype(np.uint8), frames.astype(np.uint8)


def counted(episodes: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Episodes of the counting world."""
    actions = np.zeros((episodes, frames, 13), np.float32)
    actions[..., 0] = np.arange(1, episodes + 1)[:, None]
    start = RNG.integers(0, 100, (episodes, 1, 16, 16, 3)).astype(np.uint8)
    steps = np.concatenate([np.zeros((episodes, 1)), actions[..., 0].cumsum(axis=1)], axis=1)
    return (start + steps[:, :, None, None, None]).astype(np.uint8), actions


def test_rollouts_of_a_perfect_model_equal_the_recording() -> None:
    images, actions = counted(5, 6)
    for predict in (predict_rollouts, predict_single_steps):
        assert np.array_equal(predict(Counter(), images, actions, batch=2), images[:, 1:])


def test_rollouts_see_only_the_start_frame_and_single_steps_every_frame() -> None:
    images, actions = counted(4, 6)
    spoiled = images.copy()
    spoiled[:, 3] = 0
    model = Counter()
    assert np.array_equal(predict_rollouts(model, spoiled, actions), images[:, 1:])
    assert model.resets == 1
    changed = predict_single_steps(model, spoiled, actions) != images[:, 1:]
    assert changed.any(axis=(0, 2, 3, 4)).tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("episodes", [2, 3, 10])
def test_shuffled_actions_are_somebody_elses(episodes: int) -> None:
    actions = RNG.normal(size=(episodes, 4, 13))
    shuffled = other_actions(actions, seed=1)
    assert (shuffled != actions).all()
    assert sorted(shuffled[:, 0, 0]) == sorted(actions[:, 0, 0])


def test_psnr_of_a_constant_difference_has_a_closed_form() -> None:
    recorded = np.full((2, 3, 8, 8, 3), 100, np.uint8)
    assert psnr(recorded, recorded + 10) == pytest.approx(20 * np.log10(255 / 10))
    assert np.isinf(psnr(recorded, recorded)).all()


def test_psnr_equals_torchmetrics() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    recorded, predicted = videos(), videos()
    reference = peak_signal_noise_ratio(
        torch.from_numpy(predicted[1, 2]).float(), torch.from_numpy(recorded[1, 2]).float(), data_range=255.0
    )
    assert psnr(recorded, predicted)[1, 2] == pytest.approx(float(reference), abs=1e-4)


def test_ssim_is_one_for_equal_frames_and_falls_with_noise() -> None:
    recorded = np.tile(np.linspace(0, 255, 16, dtype=np.uint8)[:, None, None], (2, 3, 1, 16, 3))
    noisy = recorded.copy()
    noisy[:, 1:] ^= RNG.integers(0, 32, noisy[:, 1:].shape, dtype=np.uint8)
    values = ssim(recorded, noisy)
    assert values.shape == (2, 3)
    assert values[:, 0] == pytest.approx(1.0, abs=1e-6)
    assert (values[:, 1:] < 0.999).all()


class Distance(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean(dim=[1, 2, 3], keepdim=True)


class ImageFeatures(nn.Module):
    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        features = torch.stack([x.float().mean(dim=[1, 2, 3]), x.float().std(dim=[1, 2, 3])], dim=1)
        return features if return_features else features[:, :1]


class VideoFeatures(nn.Module):
    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = False, return_features: bool = False
    ) -> Tensor:
        if rescale or not resize or not return_features:
            return torch.zeros(x.shape[0], 1)
        return torch.stack([x.mean(dim=[1, 2, 3, 4]), x[:, :, -1].mean(dim=[1, 2, 3])], dim=1)


def script(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


def test_lpips_takes_a_network_from_a_file(tmp_path: Path) -> None:
    recorded = np.zeros((2, 3, 8, 8, 3), np.uint8)
    values = lpips(recorded, recorded + 255, script(Distance(), tmp_path / "lpips.pt"))
    assert values == pytest.approx(np.full((2, 3), 2.0))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


def test_fid_is_the_frechet_distance_of_the_features_at_each_frame(tmp_path: Path) -> None:
    recorded, predicted = videos(12, 3), videos(12, 3) // 2
    values = fid(recorded, predicted, script(ImageFeatures(), tmp_path / "inception.pt"))

    def features(images: np.ndarray) -> np.ndarray:
        return np.stack([images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3), ddof=1)], axis=1)

    expected = [frechet(features(recorded[:, t]), features(predicted[:, t])) for t in range(3)]
    assert values == pytest.approx(expected, rel=1e-3)
    assert fid(recorded, recorded, tmp_path / "inception.pt") == pytest.approx(0, abs=1e-4)


def test_fvd_compares_videos_up_to_each_frame_and_waits_until_they_are_long_enough(tmp_path: Path) -> None:
    recorded, predicted = videos(12, 12), videos(12, 12) // 2
    values = fvd(recorded, predicted, script(VideoFeatures(), tmp_path / "i3d.pt"))
    assert np.isnan(values[: SHORTEST_VIDEO - 1]).all()

    def features(clips: np.ndarray) -> np.ndarray:
        scaled = clips / 127.5 - 1
        return np.stack([scaled.mean(axis=(1, 2, 3, 4)), scaled[:, -1].mean(axis=(1, 2, 3))], axis=1)

    for frame in range(SHORTEST_VIDEO - 1, 12):
        expected = frechet(features(recorded[:, : frame + 1]), features(predicted[:, : frame + 1]))
        assert values[frame] == pytest.approx(expected, rel=1e-3)


def test_networks_that_are_not_there_are_asked_for_by_name(tmp_path: Path) -> None:
    clips = videos()
    with pytest.raises(ValueError, match="Inception v3; name a TorchScript file of it with --inception"):
        fid(clips, clips, None)
    with pytest.raises(ValueError, match="I3D; name a TorchScript file of it with --i3d"):
        fvd(clips, clips, None)
    with pytest.raises(FileNotFoundError, match="--i3d"):
        fvd(clips, clips, tmp_path / "absent.pt")
    (tmp_path / "broken.pt").write_bytes(b"no network")
    with pytest.raises(ValueError, match="cannot be read as TorchScript"):
        lpips(clips, clips, tmp_path / "broken.pt")


def test_mean_curve_has_students_interval() -> None:
    rows = mean_curve("psnr", "autoregressive", np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]]))
    assert rows["value"].tolist() == [3.0, 2.0]
    assert rows["high"][0] - 3.0 == pytest.approx(4.302653 * 2 / np.sqrt(3), rel=1e-5)
    assert rows["high"][1] == 2.0
    assert rows["episodes"].tolist() == [3, 3]
    assert tuple(rows.columns) == COLUMNS == tuple(plain_curve("fid", "still", np.zeros(2), 3).columns)


def test_action_following_is_one_for_a_perfect_model_and_zero_for_a_deaf_one() -> None:
    images, actions = counted(6, 5)
    true = squared_error(images[:, 1:], predict_rollouts(Counter(), images, actions))
    shuffled = squared_error(images[:, 1:], predict_rollouts(Counter(), images, other_actions(actions)))
    perfect = action_following_curve(true, shuffled)
    assert (perfect["value"] == 1).all()
    deaf = action_following_curve(shuffled, shuffled)
    assert (deaf["value"] == 0).all()
    noisy = action_following_curve(RNG.random((30, 4)), 1 + RNG.random((30, 4)))
    assert ((noisy["low"] < noisy["value"]) & (noisy["value"] < noisy["high"])).all()


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    images, actions = counted(5, 5)
    for number in range(5):
        arrays = {"image": images[number], "action": np.concatenate([actions[number], actions[number, :1]])}
        write_arrays(folder / f"{number}.npz", arrays)
    return folder


def test_a_world_model_is_measured_into_a_table_and_a_figure(recorded: Path, tmp_path: Path) -> None:
    WorldModel(WorldModelConfig.tiny()).save(tmp_path / "model", "# Tiny")
    config = MetricsConfig(
        recorded,
        tmp_path / "out",
        model=tmp_path / "model",
        predictions=("autoregressive", "single_step", "still"),
        horizon=3,
        episodes=4,
        batch=3,
    )
    rows = measure(config)
    assert set(rows["metric"]) == {"psnr", "action_following"}
    assert set(rows["prediction"]) == {"autoregressive", "single_step", "still"}
    assert (rows["episodes"] == 4).all()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "metrics.csv"), rows, check_dtype=False)
    assert (tmp_path / "out" / "metrics.png").read_bytes().startswith(b"\x89PNG")
    first = rows[rows["frame"] == 1].set_index(["metric", "prediction"])["value"]
    # The first frame has the same past in both.
    assert first["psnr", "autoregressive"] == first["psnr", "single_step"]


def test_models_that_draw_whole_windows_are_measured_so_too(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whole(Counter):
        def draw_together(self, frames: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
            assert len(frames) == len(actions) == len(seeds)
            return np.repeat(frames[:, None], actions.shape[1], axis=1)

    monkeypatch.setattr("real2sim.metrics.measure.load_model", lambda folder, device: Whole())
    monkeypatch.setattr("real2sim.metrics.measure.check_model_robot", lambda *sides: None)
    config = MetricsConfig(
        recorded,
        tmp_path / "out",
        model=tmp_path,
        metrics=("psnr",),
        predictions=("autoregressive", "together", "still"),
        horizon=3,
        batch=2,
    )
    rows = measure(config)
    values = rows.set_index(["prediction", "frame"])["value"]
    assert np.array_equal(values["together"], values["still"])
    assert np.isinf(values["autoregressive"]).all()


def test_only_the_predictions_that_are_asked_for_are_drawn(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Counter()
    monkeypatch.setattr("real2sim.metrics.measure.load_model", lambda folder, device: model)
    monkeypatch.setattr("real2sim.metrics.measure.check_model_robot", lambda *sides: None)
    rows = measure(MetricsConfig(recorded, tmp_path / "out", model=tmp_path, metrics=("psnr",), horizon=3))
    assert set(rows["prediction"]) == {"autoregressive", "still"}
    assert model.resets == 1
    with pytest.raises(ValueError, match="cannot draw all frames of a window together"):
        measure(MetricsConfig(recorded, tmp_path / "x", model=tmp_path, predictions=("together",), horizon=3))


def test_predicted_episodes_are_matched_by_name(recorded: Path, tmp_path: Path) -> None:
    config = MetricsConfig(
        recorded, tmp_path / "out", predicted=recorded, metrics=("psnr", "ssim"), horizon=4
    )
    rows = measure(config)
    perfect = rows[rows["prediction"] == "autoregressive"].set_index(["metric", "frame"])["value"]
    assert np.isinf(perfect["psnr"]).all()
    assert perfect["ssim"].to_numpy() == pytest.approx(1.0, abs=1e-6)
    (tmp_path / "fewer").mkdir()
    with pytest.raises(FileNotFoundError, match="every recorded episode needs a predicted one"):
        measure(
            MetricsConfig(
                recorded, tmp_path / "x", predicted=tmp_path / "fewer", metrics=("psnr",), horizon=4
            )
        )


def test_settings_that_cannot_work_are_refused(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either --model or --predicted"):
        MetricsConfig(recorded, tmp_path)
    with pytest.raises(ValueError, match="asked again with other actions"):
        MetricsConfig(recorded, tmp_path, predicted=recorded)
    with pytest.raises(ValueError, match="choose a shorter --horizon"):
        measure(MetricsConfig(recorded, tmp_path, predicted=recorded, metrics=("psnr",), horizon=50))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_lpips_without_torchvision_says_what_to_do() -> None:
    with pytest.raises(ImportError, match="install torchvision, or name a TorchScript file"):
        lpips(videos(), videos())


def test_models_that_know_a_robots_state_are_given_the_recorded_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = WorldModel(model_config("state"))
    data = write_episodes(tmp_path / "data", 2)
    model.save(tmp_path / "model", "# Card")
    config = MetricsConfig(
        data=data,
        model=tmp_path / "model",
        out=tmp_path / "out",
        metrics=("psnr", "action_following", "static_error", "edge_sharpness"),
        predictions=("autoregressive", "single_step"),
        horizon=3,
    )
    assert set(measure(config)["prediction"]) >= {"autoregressive", "single_step"}


def test_the_name_of_a_shipped_suite_stands_for_its_world_model(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no world model in nobody; .* shipped suites \(drawer, so101\)"
    ):
        measure(MetricsConfig(tmp_path / "data", tmp_path / "out", Path("nobody")))
    # The model is found; what is missing is the data.
    with pytest.raises((FileNotFoundError, ValueError), match="data"):
        measure(MetricsConfig(tmp_path / "data", tmp_path / "out", Path("so101")))
