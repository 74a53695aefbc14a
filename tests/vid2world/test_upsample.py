"""Enlarging features: repeated pixels and a convolution, in one transposed convolution where nothing is learned."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from real2sim.vid2world.network.conditions import Conditions
from real2sim.vid2world.network.frame_cache import Timeline
from real2sim.vid2world.network.residual import Upsample

CONDITIONS = Conditions(torch.zeros(2, 4), Timeline(1, 1), None, None, False)


def frames() -> torch.Tensor:
    return torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0))


def written_out(layer: Upsample) -> torch.Tensor:
    return F.conv2d(
        frames().repeat_interleave(2, 2).repeat_interleave(2, 3),
        layer.conv.weight,
        layer.conv.bias,
        padding=1,
    )


def test_sampling_enlarges_as_training_does() -> None:
    layer = Upsample(6)
    trained = layer(frames(), CONDITIONS)
    torch.testing.assert_close(trained, written_out(layer))
    with torch.inference_mode():
        torch.testing.assert_close(layer(frames(), CONDITIONS), trained.detach(), rtol=0, atol=1e-5)


def test_weights_that_change_or_move_are_seen() -> None:
    layer = Upsample(6)
    with torch.no_grad():
        layer(frames(), CONDITIONS)
        layer.conv.weight.mul_(2)
        torch.testing.assert_close(layer(frames(), CONDITIONS), written_out(layer), rtol=0, atol=1e-5)
        layer.conv.weight.data = torch.randn(6, 6, 3, 3)
        torch.testing.assert_close(layer(frames(), CONDITIONS), written_out(layer), rtol=0, atol=1e-5)
        layer.load_state_dict(Upsample(6).state_dict())
        torch.testing.assert_close(layer(frames(), CONDITIONS), written_out(layer), rtol=0, atol=1e-5)


def test_half_precision_is_left_to_the_library() -> None:
    layer = Upsample(6).bfloat16()
    with torch.inference_mode():
        enlarged = layer(frames().bfloat16(), CONDITIONS)
    assert enlarged.dtype == torch.bfloat16 and enlarged.shape == (2, 6, 10, 14)
