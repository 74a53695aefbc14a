"""RT-1's image network: EfficientNet whose blocks are conditioned on a sentence (FiLM).

Padding, epsilon and the order of operations follow the published network; see Brohan et al. 2022,
section 5.1, and Tan & Le 2019 for EfficientNet.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from real2sim.policies.rt1.config import Block

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def prepare_images(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (n 3 h w), 0 to 255, of uint8 frames (n h w 3): stretched to ``size``, not cropped."""
    images = frames.movedim(-1, 1).float()
    if images.shape[2:] == tuple(size):
        return images
    return F.interpolate(images / 255, size=size, mode="bilinear", align_corners=False) * 255


def letterbox(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (n h w 3) uint8 scaled into ``size`` with their aspect kept and black bars beside them.

    As TensorFlow's ``resize_with_pad`` followed by a cast: bilinear, no antialiasing, fractions cut off.
    """
    height, width = size
    if tuple(frames.shape[1:3]) == (height, width):
        return frames
    inner, (top, left) = letterbox_place((frames.shape[1], frames.shape[2]), size)
    scaled = F.interpolate(frames.movedim(-1, 1).float(), size=inner, mode="bilinear", align_corners=False)
    boxed = F.pad(scaled, (left, width - inner[1] - left, top, height - inner[0] - top))
    return boxed.clamp(0, 255).to(torch.uint8).movedim(1, -1)


def letterbox_place(frame: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of the scaled frame inside ``size``, and its top left corner.

    TensorFlow rounds the padding of the *unrounded* frame down, in float32, so the bars can differ by one pixel
    from what the rounded frame would ask for.
    """
    sides = np.asarray(frame, np.float32)
    box = np.asarray(size, np.float32)
    exact = sides / (sides / box).max()
    corner = np.floor((box - exact) / np.float32(2)).astype(int)
    inner = np.floor(exact).astype(int)
    return (int(inner[0]), int(inner[1])), (max(0, int(corner[0])), max(0, int(corner[1])))


class Film(nn.Module):
    """Scales and shifts features (n c h w) by a projection of the sentence embedding (n e).

    Both projections begin at zero, so that a fresh layer changes nothing.
    """

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.add = nn.Linear(embedding, channels)
        self.mult = nn.Linear(embedding, channels)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        return (1 + self.mult(sentence)[:, :, None, None]) * features + self.add(sentence)[:, :, None, None]


class PaddedConv(nn.Conv2d):
    """A convolution without bias that pads as Keras' EfficientNet does for inputs of unknown size.

    With stride 2 that is one row and column less before than after, whatever the parity of the input.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        even = kernel // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel, stride, padding=even, groups=groups, bias=False)
        before, after = kernel // 2 - 1, kernel // 2
        self.sides = (before, after, before, after) if stride == 2 else None

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if self.sides is None else F.pad(input, self.sides))


class BatchNorm(nn.Module):
    """Batch normalisation with exactly the four published tensors (torch's own class also counts batches)."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            eps=1e-3,
        )


class FilmBlock(nn.Module):
    """Mobile inverted bottleneck with squeeze-and-excitation, then FiLM (also after the residual sum)."""

    def __init__(self, block: Block, embedding: int, norm_momentum: float) -> None:
        super().__init__()
        hidden = block.hidden
        if block.expand != 1:
            self.expand = PaddedConv(block.filters_in, hidden, 1)
            self.expand_norm = BatchNorm(hidden, norm_momentum)
        self.depthwise = PaddedConv(hidden, hidden, block.kernel, block.stride, groups=hidden)
        self.depthwise_norm = BatchNorm(hidden, norm_momentum)
        self.squeeze = nn.Conv2d(hidden, block.squeezed, 1)
        self.excite = nn.Conv2d(block.squeezed, hidden, 1)
        self.project = PaddedConv(hidden, block.filters_out, 1)
        self.project_norm = BatchNorm(block.filters_out, norm_momentum)
        self.film = Film(embedding, block.filters_out)
        self.widens = block.expand != 1
        self.residual = block.stride == 1 and block.filters_in == block.filters_out

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        x = features
        if self.widens:
            x = F.silu(self.expand_norm(self.expand(x)))
        x = F.silu(self.depthwise_norm(self.depthwise(x)))
        weight = F.silu(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))
        x = x * self.excite(weight).sigmoid()
        x = self.project_norm(self.project(x))
        if self.residual:
            x = x + features
        return self.film(x, sentence)


class FilmConv(nn.Module):
    """A plain convolution in the place of a bottleneck, then FiLM (also after the residual sum)."""

    def __init__(self, block: Block, embedding: int, norm_momentum: float) -> None:
        super().__init__()
        self.conv = PaddedConv(block.filters_in, block.filters_out, block.kernel, block.stride)
        self.norm = BatchNorm(block.filters_out, norm_momentum)
        self.film = Film(embedding, block.filters_out)
        self.residual = block.stride == 1 and block.filters_in == block.filters_out

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        x = F.silu(self.norm(self.conv(features)))
        if self.residual:
            x = x + features
        return self.film(x, sentence)


class FilmEfficientNet(nn.Module):
    """Feature map (n top h' w') of images (n 3 h w), 0 to 255, conditioned on a sentence (n e)."""

    mean: Tensor
    variance: Tensor
    deviation: Tensor

    def __init__(
        self, stem: int, blocks: tuple[Block, ...], top: int, embedding: int, norm_momentum: float = 0.01
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        # Keras stores the standard deviation in the place of the variance and divides by its root twice.
        self.register_buffer("variance", torch.tensor(IMAGENET_STD))
        self.register_buffer("deviation", torch.tensor(IMAGENET_STD), persistent=False)
        self.stem = PaddedConv(3, stem, 3, stride=2)
        self.stem_norm = BatchNorm(stem, norm_momentum)
        self.blocks = nn.ModuleList(
            (FilmBlock if block.expand else FilmConv)(block, embedding, norm_momentum) for block in blocks
        )
        self.top = PaddedConv(blocks[-1].filters_out, top, 1)
        self.top_norm = BatchNorm(top, norm_momentum)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor, sentence: Tensor) -> Tensor:
        mean, variance = self.mean[:, None, None], self.variance[:, None, None]
        x = (images / 255 - mean) / variance.sqrt() / self.deviation.sqrt()[:, None, None]
        x = F.silu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x, sentence)
        return F.silu(self.top_norm(self.top(x)))


class ImageTokenizer(nn.Module):
    """Features (n positions c), one per cell of the last map, of images (n 3 h w) and a sentence (n e)."""

    def __init__(
        self, net: FilmEfficientNet, top: int, width: int, embedding: int, map_size: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self.net = net
        self.project = nn.Conv2d(top, width, 1, bias=False)
        self.film = Film(embedding, width)
        self.position = nn.Parameter(0.5 * torch.randn(width, *map_size)) if map_size else None

    def forward(self, images: Tensor, sentence: Tensor) -> Tensor:
        features = self.film(self.project(self.net(images, sentence)), sentence)
        if self.position is not None:
            features = features + self.position
        return features.flatten(2).transpose(1, 2)
