from __future__ import annotations

import numpy as np
import pytest
import torch

from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.demonstrations import DemonstrationSet
from real2sim.policies.imitation.network import ImitationNetwork


def small_object_anywhere() -> np.ndarray:
    """uint8 (64 64 64 3): one background, a white square of 8 pixels at 64 places."""
    background = np.random.default_rng(0).integers(0, 255, size=(64, 64, 3), dtype=np.uint8)
    frames = np.repeat(background[None], 64, axis=0)
    for index in range(64):
        row, column = index // 8 * 7, index % 8 * 7
        frames[index, row : row + 8, column : column + 8] = 255
    return frames


@pytest.mark.parametrize("pooling", ["keypoints", "grid"])
def test_an_untrained_network_answers_differently_where_a_small_object_moves(pooling: str) -> None:
    # Without normalisation the difference shrinks from layer to layer, to a ten-thousandth, and nothing is learned.
    torch.manual_seed(0)
    network = ImitationNetwork(ImitationConfig(pooling=pooling))  # type: ignore[arg-type]
    frames = small_object_anywhere()
    mean, deviation = DemonstrationSet([frames], [], []).picture()
    network.frame_mean.copy_(torch.from_numpy(mean))
    network.frame_std.copy_(torch.from_numpy(deviation))
    with torch.no_grad():
        actions = network.act(network(torch.from_numpy(frames[:, None]), torch.ones(64, 16))[:, 0], None)
    assert (actions.std(0) / actions.abs().mean()).mean() > 0.02


def test_the_picture_of_demonstrations_is_their_mean_and_the_spread_around_it() -> None:
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, size=(length, 4, 6, 3), dtype=np.uint8) for length in (3, 5)]
    mean, deviation = DemonstrationSet(frames, [], []).picture()
    pixels = np.concatenate(frames).astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean(0).transpose(2, 0, 1), rtol=1e-5)
    np.testing.assert_allclose(deviation[:, 0, 0], (pixels - pixels.mean(0)).std(axis=(0, 1, 2)), rtol=1e-5)


def test_the_picture_of_a_large_set_takes_frames_of_every_episode_and_a_dark_camera_keeps_a_spread_of_one() -> (
    None
):
    frames = [np.full((50, 2, 2, 3), index % 2, np.uint8) for index in range(100)]
    mean, deviation = DemonstrationSet(frames, [], []).picture()
    np.testing.assert_allclose(mean, 0.5, atol=0.01)
    np.testing.assert_array_equal(deviation, 1.0)
