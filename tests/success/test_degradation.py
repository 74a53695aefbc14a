from __future__ import annotations

import pytest
import torch

from real2sim.success.degradation import DegradationConfig, degrade, ghost, shift


def clips(count: int = 12) -> torch.Tensor:
    return torch.rand(count, 3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_same_generator_gives_the_same_degradation() -> None:
    first = degrade(clips(), DegradationConfig(), torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        first, degrade(clips(), DegradationConfig(), torch.Generator().manual_seed(3)), rtol=0, atol=0
    )
    other = degrade(clips(), DegradationConfig(), torch.Generator().manual_seed(4))
    assert not torch.equal(first, other)


def test_frames_stay_in_range_and_the_originals_stay_as_they_are() -> None:
    frames = clips()
    before = frames.clone()
    degraded = degrade(frames, DegradationConfig(noise=1.0, colour=0.9), torch.Generator().manual_seed(0))
    assert degraded.shape == frames.shape
    assert degraded.abs().max() <= 1
    torch.testing.assert_close(frames, before, rtol=0, atol=0)


def test_clean_episodes_are_left_alone() -> None:
    config = DegradationConfig(clean=1.0)
    torch.testing.assert_close(
        degrade(clips(), config, torch.Generator().manual_seed(0)), clips(), rtol=0, atol=0
    )


def test_the_first_frame_is_only_shifted_and_recoloured() -> None:
    config = DegradationConfig(clean=0.0, probability=1.0, shift=0, colour=0.0)
    degraded = degrade(clips(), config, torch.Generator().manual_seed(0))
    torch.testing.assert_close(degraded[:, 0], clips()[:, 0], rtol=0, atol=1e-6)
    assert (degraded[:, 1:] - clips()[:, 1:]).abs().mean() > 0.01


def test_a_shift_moves_all_frames_of_an_episode_alike() -> None:
    frames = clips(1)[:, :1].expand(1, 3, 3, 16, 16)
    moved = shift(frames, 2, torch.tensor([True]), torch.Generator().manual_seed(5))
    assert not torch.equal(moved, frames)
    torch.testing.assert_close(moved[:, 0], moved[:, 2], rtol=0, atol=0)


def test_impossible_chances_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^probability must be at most 1"):
        DegradationConfig(probability=1.5)
    with pytest.raises(ValueError, match=r"^blur must be at least 0"):
        DegradationConfig(blur=-1)


def test_a_ghost_comes_from_the_frame_before() -> None:
    """Frames that grow brighter stay between their own brightness and that of the frame before."""
    levels = torch.tensor([-0.8, -0.3, 0.4, 0.9])
    frames = levels.view(1, 4, 1, 1, 1).expand(6, 4, 3, 4, 4).contiguous()
    mixed = ghost(frames, torch.Generator().manual_seed(0)).mean(dim=(2, 3, 4))
    torch.testing.assert_close(mixed[:, 0], levels[:1].expand(6))
    assert (mixed[:, 1:] <= levels[1:] + 1e-6).all()
    assert (mixed[:, 1:] >= levels[:-1] - 1e-6).all()
    assert (mixed[:, 1:] < levels[1:] - 1e-3).any()
