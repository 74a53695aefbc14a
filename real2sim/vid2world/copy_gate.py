"""Pixels that nothing changes are copied from the start frame, not drawn again."""

from __future__ import annotations

from torch import Tensor


def copy_unchanged(prediction: Tensor, start: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Latents of frames ``share * new + (1 - share) * start`` (b c t h w), and the shares (b p*p t h w), one per pixel.

    ``prediction`` holds new latents and, behind them, what decides the shares: a sigmoid stretched from [0, 1] to
    [-0.1, 1.1] and cut off there, so that it reaches 0 and 1 (Louizos et al. 2018, section 2.2).  Its gradient is that
    of the sigmoid everywhere, or a pixel that is copied could never learn to change.
    """
    new, gate = prediction.split([3 * patch**2, patch**2], dim=1)
    soft = 1.2 * gate.sigmoid() - 0.1
    share = soft + (soft.clamp(0, 1) - soft).detach() if soft.requires_grad else soft.clamp(0, 1)
    # The pixels of a patch follow one another within each of three colours.
    pixels = share.repeat(1, 3, 1, 1, 1)
    return pixels * new + (1 - pixels) * start, share
