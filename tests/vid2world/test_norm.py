"""The norms of the U-Net against the library's group norm."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from real2sim.vid2world.network.frame_cache import Timeline
from real2sim.vid2world.network.norm import FrameNorm, WindowNorm, _Normalise


def frames(offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 8, 4, 5, generator=generator) * 2 + offset


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_frame_norm_is_group_norm_also_far_from_zero(offset: float) -> None:
    norm = FrameNorm(4, 8)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    expected = F.group_norm(frames(offset).double(), 4, norm.weight.double(), norm.bias.double())
    tolerance = 1e-5 if offset == 0 else 2e-4
    torch.testing.assert_close(norm(frames(offset)), expected.float(), rtol=0, atol=tolerance)


def test_scale_and_shift_follow_the_norm() -> None:
    norm, scale, shift = FrameNorm(4, 8), torch.randn(6, 8), torch.randn(6, 8)
    expected = F.group_norm(frames(), 4) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(norm(frames(), scale, shift), expected)


def test_window_norm_takes_its_statistics_over_all_frames_of_a_lane() -> None:
    lanes = frames().reshape(2, 3, 8, 4, 5)
    expected = F.group_norm(lanes.transpose(1, 2), 4).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(WindowNorm(4, 8).over_time(frames(), Timeline(3, 16)), expected)


@pytest.mark.parametrize("shared", [True, False])
def test_gradients_are_those_of_finite_differences(shared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 5, 6), (3, 6), (3, 6))
    x, gain, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    if shared:
        gain, bias = gain[:1].clone(), bias[:1].clone()
    for tensor in (x, gain, bias):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(_Normalise.apply, (x, gain, bias, 3, 1e-5))


def test_half_precision_features_are_normalised_in_float32() -> None:
    norm = FrameNorm(4, 8)
    out = norm(frames(30.0).bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), norm(frames(30.0).bfloat16().float()), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("offset", [0.0, 3.0])
@pytest.mark.parametrize("pixels", [(4, 5), (16, 20)])
def test_sampling_normalises_as_training_does(offset: float, pixels: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 8, *pixels, generator=generator) + offset
    scale, shift = torch.randn(2, 6, 8, generator=generator)
    norm, window = FrameNorm(4, 8), WindowNorm(4, 8)
    torch.nn.init.normal_(norm.weight)
    calls = (
        lambda: norm(x),
        lambda: norm(x, scale, shift),
        lambda: norm(x.contiguous(memory_format=torch.channels_last), scale, shift),
        lambda: window.over_time(x, Timeline(3, 16)),
    )
    for call in calls:
        trained = call()
        with torch.inference_mode():
            torch.testing.assert_close(call(), trained.detach(), rtol=0, atol=1e-5 if offset == 0 else 1e-4)
