"""The causal video U-Net of Vid2World (arXiv 2505.14357), for the released weights and for small models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from real2sim.vid2world.network.blocks import (
    Stage,
    attention_at,
    residual_block,
    temporal_transformer,
    transformers_of,
)
from real2sim.vid2world.network.compiled import compiled
from real2sim.vid2world.network.conditions import Conditions, split_context
from real2sim.vid2world.network.embedding import ActionTable, action_mlp, embedding_mlp, sinusoid
from real2sim.vid2world.network.frame_cache import FrameCache, Timeline
from real2sim.vid2world.network.learned_map import LearnedMap
from real2sim.vid2world.network.learned_points import LearnedPoints
from real2sim.vid2world.network.norm import FrameNorm, NormalisedSiLU
from real2sim.vid2world.network.residual import Downsample, HeightCausalConv, Upsample, added
from real2sim.vid2world.network.transformer import zero
from real2sim.vid2world.network.unet_config import UNetConfig

INIT_ATTENTION_HEADS = 8  # of the transformer at the entrance, at every width


class CausalUNet(nn.Module):
    """Predicts one tensor per frame from noisy frames, their noise levels and the actions that led to them.

    A frame is influenced by itself and by frames before it; with ``temporal_norm="window"``, as in
    the released model, norm statistics also carry a little from later frames to earlier ones.
    Parameter names are those of the published checkpoints.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self._blanks: dict[tuple[object, ...], tuple[Tensor, ...]] = {}
        channels, width = config.model_channels, 4 * config.model_channels
        self.time_embed = embedding_mlp(channels, width)
        if config.fps_condition:
            self.fps_embedding = embedding_mlp(channels, width)
        if config.action_dim is not None and config.discrete_actions:
            self.action_emb_preprocess = ActionTable(config.action_dim, channels)
            self.action_emb_proj = embedding_mlp(channels, width)
        elif config.action_dim is not None:
            self.action_emb_proj = action_mlp(config.action_dim, channels, width)

        first = config.channel_mult[0] * channels
        if config.state_dim is not None:
            self.state_emb_proj = action_mlp(config.state_dim, channels, width)
            if config.learned_map:
                self.learned_map = LearnedMap(config.state_dim, config.learned_map, first)
            if config.learned_points:
                self.learned_points = LearnedPoints(config.state_dim, config.learned_points, first)
        stem = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.input_blocks = nn.ModuleList([nn.ModuleList([stem])])
        if config.position_map is not None:
            self.position_map = nn.Parameter(torch.zeros(1, first, *config.position_map))
        if config.init_attention:
            inner = INIT_ATTENTION_HEADS * config.num_head_channels
            self.init_attn = Stage([temporal_transformer(config, first, inner, convolution=True)])

        skips = [first]
        now = first
        for level, mult in enumerate(config.channel_mult):
            for _ in range(config.num_res_blocks):
                stage = Stage([residual_block(config, now, mult * channels)])
                now = mult * channels
                stage.extend(attention_at(config, now, 2**level))
                self.input_blocks.append(stage)
                skips.append(now)
            if level + 1 < len(config.channel_mult):
                self.input_blocks.append(Stage([Downsample(now)]))
                skips.append(now)

        transformers = transformers_of(config, now)
        self.middle_block = Stage(
            [residual_block(config, now, now), *transformers, residual_block(config, now, now)]
        )

        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(config.channel_mult))):
            for block in range(config.num_res_blocks + 1):
                stage = Stage([residual_block(config, now + skips.pop(), mult * channels)])
                now = mult * channels
                stage.extend(attention_at(config, now, 2**level))
                if level > 0 and block == config.num_res_blocks:
                    stage.append(Upsample(now))
                self.output_blocks.append(stage)

        last: nn.Module
        if config.height_causal_output:
            last = HeightCausalConv(now, config.out_channels)
            zero(last.conv2d)
        else:
            last = nn.Conv2d(now, config.out_channels, 3, padding=1)
            zero(last)
        self.out = nn.Sequential(FrameNorm(config.norm_groups, now, eps=1e-5), NormalisedSiLU(), last)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        actions: Tensor | None = None,
        action_mask: Tensor | None = None,
        fps: Tensor | None = None,
        *,
        states: Tensor | None = None,
        per_frame_context: bool | None = None,
        gradient_checkpointing: bool = False,
    ) -> Tensor:
        """Prediction (b out t h w) for all frames of ``x`` (b in t h w) at once, in the precision of ``x``.

        ``timesteps`` (b) or (b t) are noise levels, integer or real, on the scale of 1000 diffusion steps.
        ``actions`` (b t action_dim) are already shifted: ``actions[:, i]`` led to frame i.
        ``action_mask`` (b t) multiplies the embedded actions. ``fps`` (b) is the frame rate. ``states``
        (b t state_dim) are the robot's at the moment of each frame.

        ``context`` (b tokens dim) holds the text tokens, then image tokens. By default each frame
        sees its own image tokens if there are exactly ``image_tokens_per_frame`` for each frame of ``x``
        and all of them otherwise, as in the released model; ``per_frame_context`` decides it by hand.

        ``gradient_checkpointing`` keeps only the input of each block for the backward pass and computes the rest
        again there: the same gradients with less memory, for about a third more time.

        Raises ValueError if the weights need their norm window and ``x`` has more frames than that.
        """
        if self.config.temporal_norm == "window" and x.shape[2] > self.config.window:
            raise ValueError(
                f"x has {x.shape[2]} frames, but these weights have a window of {self.config.window}; "
                "pass the last frames only"
            )
        conditions = (context, actions, action_mask, fps, per_frame_context, states)
        return self._pass(x, timesteps, None, None, *conditions, recompute=gradient_checkpointing)[0]

    def step(
        self,
        x: Tensor,
        timesteps: Tensor,
        cache: FrameCache | None,
        context: Tensor | None = None,
        actions: Tensor | None = None,
        action_mask: Tensor | None = None,
        fps: Tensor | None = None,
        *,
        states: Tensor | None = None,
        per_frame_context: bool | None = None,
        remember: int | None = None,
    ) -> tuple[Tensor, FrameCache]:
        """Prediction (b out n h w) for ``n`` new frames, and the cache with these frames in it.

        The arguments are those of :meth:`forward`, for the new frames only. While a frame is being denoised
        the returned cache is thrown away; a last pass over the finished frame keeps it. Only the first
        ``remember`` of the new frames enter the returned cache; None stands for all.

        With ``temporal_norm="frame"`` the result equals that of :meth:`forward` over the whole sequence. With
        ``"window"`` it is an approximation: a past frame keeps the norm statistics it was written with,
        although frames that came later are now in its window; ``docs/vid2world.md`` says what that costs.
        """
        cache = cache if cache is not None else FrameCache()
        if cache.lanes is not None and x.shape[0] != cache.lanes * cache.branches:
            raise ValueError(
                f"x has {x.shape[0]} rows, but the cache holds {cache.lanes} lanes "
                f"for {cache.branches} branches"
            )
        conditions = (context, actions, action_mask, fps, per_frame_context, states)
        return self._pass(x, timesteps, cache, remember, *conditions)

    def blank_cache(self, lanes: int, height: int, width: int) -> FrameCache:
        """The cache before the first frame of ``height`` by ``width``, with room for a whole window.

        Raises ValueError if norms run over the window: empty places would count in their statistics.
        """
        if self.config.temporal_norm != "frame":
            raise ValueError('a cache can begin blank with temporal_norm="frame" only; begin with None')
        weight = next(self.parameters())
        place = (height, width, weight.dtype, weight.device)
        if place not in self._blanks:
            # The layers know best what they keep, so a pass over blank frames asks them.
            frames = max(1, self.config.window - 1)
            x = torch.zeros(1, self.config.in_channels, frames, height, width, device=weight.device)
            no_actions = torch.zeros(1, frames, self.config.action_dim or 0, device=weight.device)
            states = None
            if self.config.state_dim is not None:
                states = torch.zeros(1, frames, self.config.state_dim, device=weight.device)
            with torch.inference_mode():
                # Not the compiled pass, which would compile this shape for once.
                known = CausalUNet._pass(
                    self, x, x.new_zeros(1), FrameCache(), None, None, no_actions, None, None, None, states
                )[1]
            self._blanks[place] = tuple(torch.zeros_like(tensor) for tensor in known.tensors)
        seen = torch.zeros(lanes, dtype=torch.int64, device=weight.device)
        return FrameCache(tuple(tensor.repeat_interleave(lanes, 0) for tensor in self._blanks[place]), seen)

    def compile_passes(self) -> None:
        """Compile what a pass does for the shapes that it meets: less time for a frame, a minute for each new shape.

        Raises ValueError if there is no compiler.
        """
        self._pass = compiled(self._pass, next(self.parameters()).device)  # type: ignore[method-assign]

    def _pass(
        self,
        x: Tensor,
        timesteps: Tensor,
        past: FrameCache | None,
        remember: int | None,
        context: Tensor | None,
        actions: Tensor | None,
        action_mask: Tensor | None,
        fps: Tensor | None,
        per_frame_context: bool | None,
        states: Tensor | None,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, FrameCache]:
        """Prediction (b out n h w) for the frames of ``x``, and the cache with the first ``remember`` of them in it."""
        lanes, _, frames, height, width = x.shape
        self.config.check_input(tuple(x.shape))
        timeline = Timeline(frames, self.config.window, past, remember)
        embedding = self._embed(timesteps, lanes, frames, actions, action_mask, fps)
        if self.config.state_dim is not None:
            if states is None:
                raise ValueError(
                    "this model needs the robot's state at each frame; pass states (b t state_dim)"
                )
            states = states.to(embedding.dtype).flatten(0, 1)
            embedding = embedding + self.state_emb_proj(states)
        dtype = embedding.dtype
        context = None if context is None else context.to(dtype)
        text, image = split_context(self.config, context, lanes, frames, per_frame_context)
        conditions = Conditions(embedding, timeline, text, image, recompute)

        h = x.to(dtype).permute(0, 2, 3, 4, 1).reshape(lanes * frames, height, width, -1)
        h = h.permute(0, 3, 1, 2)
        h = self.input_blocks[0][0](h)  # type: ignore[index]
        if self.config.position_map is not None:
            h = added(h, self.position_map)
        if self.config.learned_map:
            h = added(h, self.learned_map(states, height, width))
        if self.config.learned_points:
            h = added(h, self.learned_points(states, height, width))
        if self.config.init_attention:
            h = self.init_attn(h, conditions)
        skips = [h]
        for stage in self.input_blocks[1:]:
            h = stage(h, conditions)
            skips.append(h)
        h = self.middle_block(h, conditions)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), conditions)
        out = self.out(h).to(x.dtype)
        out = out.permute(0, 2, 3, 1).reshape(lanes, frames, height, width, -1).permute(0, 4, 1, 2, 3)
        return out, timeline.cache()

    def _embed(
        self,
        timesteps: Tensor,
        lanes: int,
        frames: int,
        actions: Tensor | None,
        action_mask: Tensor | None,
        fps: Tensor | None,
    ) -> Tensor:
        config, channels = self.config, self.config.model_channels
        dtype = next(self.time_embed.parameters()).dtype
        embedding = self.time_embed(sinusoid(timesteps.flatten(), channels).to(dtype))
        embedding = embedding.view(lanes, -1, embedding.shape[-1]).expand(lanes, frames, -1)
        if config.fps_condition:
            if fps is None:
                fps = torch.full((lanes,), config.default_fps, device=timesteps.device)
            embedding = embedding + self.fps_embedding(sinusoid(fps, channels).to(dtype))[:, None]
        if config.action_dim is not None:
            if actions is None:
                raise ValueError("this model needs actions; pass one per frame, zeros for the first")
            action_embedding = (
                self.action_emb_preprocess(actions) if config.discrete_actions else actions.to(dtype)
            )
            action_embedding = self.action_emb_proj(action_embedding)
            if action_mask is not None:
                action_embedding = action_embedding * action_mask.to(action_embedding.dtype).unsqueeze(-1)
            embedding = embedding + action_embedding
        return embedding.flatten(0, 1)
