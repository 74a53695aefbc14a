"""Configuration of the causal U-Net, for the released weights and for small models trained here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from real2sim.checks import check_finite, check_sizes

# Settings of the published configuration files that this implementation has in exactly one form.
_FIXED: dict[str, tuple[Any, ...]] = {
    "transformer_depth": (1,),
    "use_linear": (True,),
    "temporal_conv": (True,),
    "temporal_attention": (True,),
    "temporal_selfatt_only": (True,),
    "use_relative_position": (False,),
    "use_causal_attention": (True,),
    "tempspatial_aware": (False,),
    "image_cross_attention_scale_learnable": (False,),
    "conv_resample": (True,),
    "resblock_updown": (False,),
    "num_classes": (None,),
    "num_heads": (-1,),
    "dims": (2,),
    # These two save memory and leave the result alone.
    "use_checkpoint": (True, False),
    "use_fp16": (True, False),
}

# Published name -> field of UNetConfig.
_RENAMED = {
    "default_fs": "default_fps",
    "fs_condition": "fps_condition",
    "temporal_length": "window",
    "addition_attention": "init_attention",
    "use_scale_shift_norm": "scale_shift_norm",
    "text_context_len": "text_tokens",
}

_SAME_NAME = (
    "in_channels",
    "out_channels",
    "model_channels",
    "attention_resolutions",
    "num_res_blocks",
    "channel_mult",
    "dropout",
    "num_head_channels",
    "context_dim",
    "image_cross_attention",
)


_COUNTS = (
    "in_channels",
    "out_channels",
    "model_channels",
    "num_res_blocks",
    "num_head_channels",
    "window",
    "feed_forward_mult",
    "norm_groups",
)


@dataclass(frozen=True)
class UNetConfig:
    """Configuration of a :class:`~real2sim.vid2world.network.unet.CausalUNet`; the defaults are the released RT-1
    model."""

    in_channels: int = 8
    """Channels of the input: the noisy latent and, concatenated after it, the condition frame."""
    out_channels: int = 4
    model_channels: int = 320
    """Width of the first level; the embeddings are four times as wide."""
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    """Width of each level in units of ``model_channels``; each level halves the resolution."""
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (1, 2, 4)
    """Downsampling factors (not pixels) whose levels have attention; the middle block always has it."""
    num_head_channels: int = 64
    dropout: float = 0.1

    context_dim: int | None = 1024
    """Width of the text and image tokens; None leaves out all cross-attention."""
    image_cross_attention: bool = True
    """Image tokens follow the text tokens in the context and have keys and values of their own."""
    text_tokens: int = 77
    image_tokens_per_frame: int = 16

    action_dim: int | None = 13
    """Numbers per action; None leaves actions out."""
    discrete_actions: bool = False
    """Actions are zeros and ones that a table of vectors is multiplied by first, as in the CS:GO model."""
    fps_condition: bool = True
    default_fps: int = 3
    """Frame rate assumed when a call does not name one."""

    window: int = 16
    """Frames that attention over time reaches, the current one included."""
    temporal_norm: Literal["window", "frame"] = "window"
    """Norm statistics between frames: over all frames of the call, as the released weights need, or over each
    frame alone, which makes the network strictly causal and its cache exact."""
    temporal_convs: int = 4
    """Convolutions over time after each residual block; 0 leaves them out."""
    temporal_attentions: int = 2
    """Attention layers over time in each temporal transformer; 0 leaves the transformers out."""
    feed_forward_mult: int = 4
    init_attention: bool = True
    """A temporal transformer (always eight heads) directly after the first convolution."""
    spatial_attention: bool = True
    """Attention over the pixels of a frame wherever there is attention over time."""

    norm_groups: int = 32
    scale_shift_norm: bool = False
    """The embedding scales and shifts the normalised features instead of being added before the norm."""
    position_map: tuple[int, int] | None = None
    """Height and width of a learned map added after the first convolution; it fixes the input size."""
    height_causal_output: bool = True
    """The last convolution sees its own row and the two above, as in the released weights."""
    state_dim: int | None = None
    """Numbers of the robot's state per frame; None leaves the state out."""
    learned_map: int = 0
    """Channels of a coarse map that a small network predicts from the state, added after the first convolution; 0
    leaves it out."""
    learned_points: int = 0
    """Soft points that a small network places in the image from the state, added after the first convolution; 0
    leaves them out."""

    def __post_init__(self) -> None:
        if self.temporal_norm not in ("window", "frame"):
            raise ValueError(f'temporal_norm must be "window" or "frame", got {self.temporal_norm!r}')
        check_sizes(self, *_COUNTS, "channel_mult")
        check_sizes(self, "num_res_blocks", high=64)
        check_sizes(self, "temporal_convs", "temporal_attentions", low=0, high=64)
        check_sizes(self, "learned_map", "learned_points", low=0)
        check_sizes(self, "text_tokens", "image_tokens_per_frame", "default_fps", low=0)
        for name in ("context_dim", "action_dim", "state_dim", "position_map"):
            if getattr(self, name) is not None:
                check_sizes(self, name)
        check_finite("dropout", self.dropout, 0, 1)
        if not 1 <= len(self.channel_mult) <= 16:
            raise ValueError(f"channel_mult must name 1 to 16 levels, got {len(self.channel_mult)}")
        for name in ("learned_map", "learned_points"):
            if getattr(self, name) and self.state_dim is None:
                raise ValueError(f"{name} is drawn from a state; it needs state_dim")
        for mult in self.channel_mult:
            width = mult * self.model_channels
            for name in ("norm_groups", "num_head_channels"):
                if width % getattr(self, name):
                    raise ValueError(
                        f"{name} must divide the width of every level, but {getattr(self, name)} "
                        f"does not divide {width}"
                    )
        if self.discrete_actions and self.action_dim is None:
            raise ValueError("discrete_actions needs action_dim, the number of zeros and ones")

    def check_input(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError if the network cannot take an input of this shape (b c t h w)."""
        if shape[1] != self.in_channels:
            raise ValueError(
                f"x has {shape[1]} channels, expected {self.in_channels} in the layout b c t h w"
            )
        size, factor = shape[-2:], 2 ** (len(self.channel_mult) - 1)
        if size[0] % factor or size[1] % factor:
            raise ValueError(f"height and width must be multiples of {factor}, got {size[0]} x {size[1]}")
        if self.position_map is not None and size != tuple(self.position_map):
            built = " x ".join(str(length) for length in self.position_map)
            raise ValueError(f"this model was built for inputs of {built}, got {size[0]} x {size[1]}")

    @classmethod
    def tiny(cls) -> UNetConfig:
        """The released architecture with every part present: two levels of 16 and 32 channels."""
        return cls(
            model_channels=16,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(1, 2),
            num_head_channels=8,
            context_dim=16,
            norm_groups=8,
            dropout=0.0,
        )

    @classmethod
    def small(cls, *, height: int = 16, width: int = 16) -> UNetConfig:
        """A strictly causal model of under two million parameters for 4 x 4 patches of 64 x 64 RGB frames."""
        return cls(
            in_channels=96,
            out_channels=48,
            model_channels=32,
            channel_mult=(1, 2, 2),
            num_res_blocks=1,
            attention_resolutions=(4,),
            num_head_channels=16,
            dropout=0.0,
            context_dim=None,
            image_cross_attention=False,
            fps_condition=False,
            window=16,
            temporal_norm="frame",
            temporal_convs=2,
            temporal_attentions=1,
            feed_forward_mult=2,
            init_attention=False,
            norm_groups=8,
            scale_shift_norm=True,
            position_map=(height, width),
            height_causal_output=False,
        )

    @classmethod
    def from_published(cls, settings: Mapping[str, Any]) -> UNetConfig:
        """The configuration a published ``unet_config`` describes.

        Raises ValueError naming the first setting that this implementation does not have.
        """
        absent = ("image_cross_attention", "init_attention", "fps_condition")
        values: dict[str, Any] = dict.fromkeys(absent, False)
        for name, value in settings.items():
            if name in _FIXED:
                if value not in _FIXED[name]:
                    known = _FIXED[name][0]
                    raise ValueError(f"U-Net setting {name}={value!r} is not supported, only {known!r} is")
            elif name == "action_emb":
                continue
            elif name == "action_dim":
                values[name] = value if settings.get("action_emb", False) else None
            elif name in _RENAMED:
                values[_RENAMED[name]] = value
            elif name in _SAME_NAME:
                values[name] = tuple(value) if isinstance(value, list | tuple) else value
            else:
                raise ValueError(
                    f"U-Net setting {name}={value!r} is unknown; was it written for another architecture?"
                )
        if not settings.get("action_emb", False):
            values["action_dim"] = None
        return cls(**values)
