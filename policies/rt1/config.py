"""Sizes and conventions of an RT-1 network; the defaults are the published rt1main."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import tyro

from real2sim.actions import FIELDS, ActionBounds, rt1_robot
from real2sim.checks import check_finite, check_sizes, check_temperature
from real2sim.policies.rt1.action_tokens import (
    detokenize,
    detokenize_numbers,
    tokenize,
    tokenize_numbers,
    without_small_grips,
)
from real2sim.robot import ActionNumber, Robot


@dataclass(frozen=True)
class Block:
    """One block of the image network, followed by FiLM: EfficientNet's mobile inverted bottleneck.

    ``expand`` 0 means one plain convolution instead, which a CPU computes several times faster.
    """

    kernel: int
    filters_in: int
    filters_out: int
    expand: int
    stride: int

    def __post_init__(self) -> None:
        check_sizes(self, "filters_in", "filters_out")
        check_sizes(self, "kernel", "stride", high=64)
        check_sizes(self, "expand", low=0, high=64)

    @property
    def hidden(self) -> int:
        """Channels of the depthwise convolution."""
        return self.filters_in * self.expand

    @property
    def squeezed(self) -> int:
        """Channels of the squeeze-and-excitation bottleneck, a quarter of the input's."""
        return max(1, self.filters_in // 4)


def round_filters(filters: int, width: float) -> int:
    """Filters times ``width``, to a multiple of eight and never more than a tenth smaller (EfficientNet)."""
    wanted = filters * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def efficientnet_blocks(width: float, depth: float) -> tuple[Block, ...]:
    """Blocks of EfficientNet-B0 scaled in width and depth; B3 is (1.2, 1.4)."""
    blocks = []
    # Kernel, repeats, filters in and out, expansion, stride: Tan & Le 2019, table 1.
    for kernel, repeats, filters_in, filters_out, expand, stride in (
        (3, 1, 32, 16, 1, 1),
        (3, 2, 16, 24, 6, 2),
        (5, 2, 24, 40, 6, 2),
        (3, 3, 40, 80, 6, 2),
        (5, 3, 80, 112, 6, 1),
        (5, 4, 112, 192, 6, 2),
        (3, 1, 192, 320, 6, 1),
    ):
        first, rest = round_filters(filters_in, width), round_filters(filters_out, width)
        for i in range(math.ceil(repeats * depth)):
            blocks.append(Block(kernel, rest if i else first, rest, expand, 1 if i else stride))
    return tuple(blocks)


@dataclass(frozen=True)
class RT1Config:
    """Everything that decides the shape of an RT-1 network and the meaning of its tokens."""

    image_size: tuple[int, int] = (300, 300)
    """Height and width that camera frames are stretched to."""
    camera_size: tuple[int, int] | None = (256, 320)
    """Height and width that frames are brought to before that, with black bars where the aspect differs; the
    published policies were trained on such pictures. None takes frames as they are."""
    stem: int = round_filters(32, 1.2)
    """Filters of the first convolution, which halves the image."""
    blocks: tuple[Block, ...] = efficientnet_blocks(1.2, 1.4)
    top: int = round_filters(1280, 1.2)
    """Filters of the last convolution of EfficientNet."""
    position_map: bool = False
    """Add a learned map to the features that TokenLearner pools. The published network has none: at 300
    pixels the padding of its 26 blocks tells each cell where it lies, in a shallow stem it cannot."""
    embedding: int = 512
    """Length of the sentence embedding that conditions the image network."""
    token_width: int = 512
    """Length of an image token."""
    tokens: int = 8
    """Image tokens per frame that TokenLearner keeps."""
    token_learner_hidden: int = 64
    layers: int = 8
    width: int = 512
    """Width of the transformer."""
    heads: int = 8
    head_width: int = 128
    feed_forward: int = 0
    """Hidden width, with GELU, of the feed-forward part; 0 is the published one, a single linear map."""
    vocabulary: int = 256
    """Bins per action dimension."""
    history: int = 6
    """Frames the transformer sees."""
    action_embedding: bool = True
    """Keep the embedding of action tokens, which the published code has and multiplies by zero."""
    action_order: tuple[str, ...] = (
        "terminate_episode",
        "world_vector",
        "rotation_delta",
        "gripper_closedness_action",
        "base_displacement_vertical_rotation",
        "base_displacement_vector",
    )
    """Order of the fields in the action tokens."""
    bounds: ActionBounds = field(default_factory=ActionBounds)
    """What the first and the last bin of each field mean."""
    action: Annotated[tuple[ActionNumber, ...], tyro.conf.Suppress] = ()
    """Action numbers of a robot that has not RT-1's action: each is one token, with the bins between its bounds, and
    ``action_order`` and ``bounds`` are not used.  Empty for RT-1's action."""
    actions_per_frame: int = 1
    """K: actions that are named at once, for robots other than RT-1's."""
    gripper_dead_zone: float = 0.0
    """Gripper commands smaller than this, either way, become 0; for RT-1's action alone. 0.01 is what SIMPLER does with
    published policies on the Google robot: the two middle bins mean +-0.0039, and nothing is to be done."""
    temperature: float = 0.0
    """How a bin is chosen when acting: 0 takes the likeliest, as published; above 0 the bin is drawn from the
    softmax at this temperature."""

    def __post_init__(self) -> None:
        check_sizes(
            self, "image_size", "stem", "top", "embedding", "token_width", "tokens", "token_learner_hidden", "width",
            "heads", "head_width", "vocabulary",
        )  # fmt: skip
        check_sizes(self, "layers", "history", high=1024)
        check_sizes(self, "feed_forward", low=0)
        if self.camera_size is not None:
            check_sizes(self, "camera_size")
        check_temperature(self.temperature)
        check_finite("gripper_dead_zone", self.gripper_dead_zone, 0, 1)
        if self.gripper_dead_zone and self.action:
            raise ValueError(
                f"gripper_dead_zone is {self.gripper_dead_zone:g} and the robot has not RT-1's action; leave it at 0"
            )
        if len(self.blocks) > 1024:
            raise ValueError(f"there are {len(self.blocks)} blocks, expected at most 1024")
        if sorted(self.action_order) != sorted(FIELDS):
            raise ValueError(
                f"action_order must name each of {', '.join(FIELDS)} once, got {self.action_order}"
            )
        if self.actions_per_frame < 1 or (self.actions_per_frame > 1 and not self.action):
            raise ValueError(
                f"actions_per_frame is {self.actions_per_frame}; RT-1's action is one per frame, and another robot's "
                "needs action"
            )
        if not self.blocks or self.blocks[0].filters_in != self.stem:
            raise ValueError(
                f"the first block must take the {self.stem} filters of the stem, got {self.blocks[:1]}"
            )
        if min(self.feature_size) < 1:
            least = 1 << self._halvings
            raise ValueError(
                f"image_size is {self.image_size[0]} x {self.image_size[1]} pixels, of which the network's strides "
                f"leave nothing; give at least {least} x {least}"
            )
        for before, after in zip(self.blocks, self.blocks[1:], strict=False):
            if before.filters_out != after.filters_in:
                raise ValueError(
                    f"a block gives {before.filters_out} filters, the next one takes {after.filters_in}"
                )

    @property
    def action_tokens(self) -> int:
        """Tokens per frame: for RT-1's action one for the mode (terminate, arm, base) and one for each other number;
        for other robots one for each number of each action."""
        return len(self.action) * self.actions_per_frame if self.action else 11

    def tokens_of(self, actions: np.ndarray) -> np.ndarray:
        """Tokens (... tokens) int64 of the actions of a frame, (... n) or (... K n) for K above 1."""
        if not self.action:
            return tokenize(actions, self.action_order, self.bounds, self.vocabulary)
        per_frame = actions if self.actions_per_frame > 1 else actions[..., None, :]
        return tokenize_numbers(per_frame, self.action, self.vocabulary)

    def actions_of(self, tokens: np.ndarray) -> np.ndarray:
        """Actions float32 (... n), or (... K n) for K above 1, of the tokens of a frame."""
        if not self.action:
            actions = detokenize(tokens, self.action_order, self.bounds, self.vocabulary)
            return without_small_grips(actions, self.gripper_dead_zone)
        actions = detokenize_numbers(tokens, self.action, self.vocabulary)
        return actions if self.actions_per_frame > 1 else actions[..., 0, :]

    def for_robot(self, robot: Robot) -> RT1Config:
        """The same for another robot: its action, and the size of its canvas where frames are taken as they are."""
        size = self.image_size
        if self.camera_size is None:
            least = 1 << self._halvings
            size = tuple(max(side, least) for side in robot.canvas_size)  # type: ignore[assignment]
        if robot.action_names == rt1_robot().action_names and robot.actions_per_frame == 1:
            return replace(
                self, image_size=size, bounds=ActionBounds.of_robot(robot), action=(), actions_per_frame=1
            )
        return replace(self, image_size=size, action=robot.action, actions_per_frame=robot.actions_per_frame)

    @property
    def _halvings(self) -> int:
        # The stem and each strided block give side // 2, because of how they pad.
        return 1 + sum(block.stride == 2 for block in self.blocks)

    @property
    def feature_size(self) -> tuple[int, int]:
        """Height and width of the last feature map."""
        return self.image_size[0] >> self._halvings, self.image_size[1] >> self._halvings

    @classmethod
    def tiny(cls) -> RT1Config:
        """Toy size for tests, at 32 x 32 pixels."""
        return cls(
            image_size=(32, 32),
            camera_size=None,
            stem=8,
            blocks=(Block(3, 8, 8, 1, 2), Block(3, 8, 8, 2, 1)),
            top=16,
            position_map=True,
            embedding=16,
            token_width=16,
            tokens=2,
            token_learner_hidden=8,
            layers=1,
            width=16,
            heads=2,
            head_width=8,
            history=3,
            bounds=ActionBounds(world_vector=(-0.06, 0.06)),
        )

    @classmethod
    def small(cls) -> RT1Config:
        """A third of a million parameters, for frames of about 64 x 64 pixels; `for_robot` fits it to a robot."""
        return cls(
            image_size=(64, 64),
            camera_size=None,
            stem=24,
            blocks=(
                Block(3, 24, 40, 0, 2),
                Block(3, 40, 64, 0, 2),
                Block(3, 64, 64, 0, 1),
                Block(3, 64, 96, 0, 2),
            ),
            top=128,
            position_map=True,
            embedding=16,
            token_width=96,
            tokens=8,
            token_learner_hidden=32,
            layers=2,
            width=96,
            heads=4,
            head_width=24,
            feed_forward=192,
            history=1,
            action_embedding=False,
        )
