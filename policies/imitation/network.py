"""The network of an imitation policy: encoder, memory, decoder; the heads are in a file of their own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.heads import make_head

GRID_MAPS = 8
GROUPS = 8


class Encoder(nn.Module):
    """Feature maps (n c h w) of pictures (n 3 h w) in [-1, 1]; an instruction (n e) steers every layer (FiLM)."""

    def __init__(self, channels: tuple[int, ...], embedding: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.film = nn.ModuleList()
        before = 3
        for index, filters in enumerate(channels):
            kernel = 5 if index == 0 else 3
            self.convolutions.append(nn.Conv2d(before, filters, kernel, stride=2, padding=kernel // 2))
            self.norms.append(nn.GroupNorm(math.gcd(filters, GROUPS), filters))
            self.film.append(nn.Linear(embedding, 2 * filters))
            before = filters
        self.last = nn.Conv2d(before, before, 3, padding=1)

    def forward(self, pictures: Tensor, instruction: Tensor) -> Tensor:
        x = pictures
        for convolution, norm, film in zip(self.convolutions, self.norms, self.film, strict=True):
            scale, offset = film(instruction)[..., None, None].chunk(2, dim=1)
            x = torch.relu(norm(convolution(x)) * (1 + scale) + offset)
        maps: Tensor = self.last(x)
        return maps


class Keypoints(nn.Module):
    """Where each map is strongest (n 2c): the mean place under a softmax over its cells, in [-1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.full((channels,), 1.5))

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        weights = (maps.flatten(2) * self.sharpness.exp()[:, None]).softmax(-1).unflatten(-1, (height, width))
        rows = torch.linspace(-1, 1, height, device=maps.device)
        columns = torch.linspace(-1, 1, width, device=maps.device)
        return torch.cat([(weights.sum(3) * rows).sum(2), (weights.sum(2) * columns).sum(2)], dim=1)


class Grid(nn.Module):
    """Eight maps, cell by cell (n 8hw)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, GRID_MAPS, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.mix(maps)).flatten(1)


class ChunkDecoder(nn.Module):
    """One vector per action of a chunk (n k d): learned queries that attend to tokens (n s d)."""

    def __init__(self, width: int, heads: int, layers: int, chunk: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(chunk, width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers, norm=nn.LayerNorm(width))

    def forward(self, tokens: Tensor) -> Tensor:
        plan: Tensor = self.decoder(self.queries.expand(len(tokens), -1, -1), tokens)
        return plan


class ImitationNetwork(nn.Module):
    """Frames, an instruction and proprioception in, one vector per action of the chunk out."""

    action_mean: Tensor
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor
    state_mean: Tensor
    state_std: Tensor
    frame_mean: Tensor
    frame_std: Tensor

    def __init__(self, config: ImitationConfig) -> None:
        super().__init__()
        self.config = config
        last, width = config.channels[-1], config.width
        halvings = 2 ** len(config.channels)
        cells = [(-(-tile.height // halvings)) * (-(-tile.width // halvings)) for tile in config.tiles]
        self.encoders = nn.ModuleList(Encoder(config.channels, config.embedding) for _ in config.tiles)
        self.extra = nn.Linear(config.embedding + config.state, width)
        if config.decoder == "transformer":
            self.token = nn.Linear(last, width)
            self.places = nn.Parameter(0.02 * torch.randn(config.frames, sum(cells), width))
            self.plan: nn.Module = ChunkDecoder(width, config.heads, config.layers, config.chunk)
        else:
            self.pooling = nn.ModuleList(
                Keypoints(last) if config.pooling == "keypoints" else Grid(last) for _ in config.tiles
            )
            pooled = sum(2 * last if config.pooling == "keypoints" else GRID_MAPS * count for count in cells)
            self.picture = nn.Linear(pooled, width)
            self.fuse = nn.Sequential(
                nn.LayerNorm(config.frames * width),
                nn.ReLU(),
                nn.Linear(config.frames * width, width),
                nn.ReLU(),
            )
            self.memory = nn.GRU(width, config.recurrent, batch_first=True) if config.recurrent else None
            self.plan = nn.Sequential(
                nn.Linear(config.recurrent or width, width), nn.ReLU(), nn.Linear(width, config.chunk * width)
            )
        self.head = make_head(config)
        for name, count in (("action", config.actions), ("state", config.state)):
            self.register_buffer(f"{name}_mean", torch.zeros(count))
            self.register_buffer(f"{name}_std", torch.ones(count))
        for name in ("action_low", "action_high"):
            self.register_buffer(name, torch.tensor(getattr(config, name)), persistent=False)
        self.register_buffer("frame_mean", torch.full((3, *config.image_size), 127.5))
        self.register_buffer("frame_std", torch.full((3, 1, 1), 127.5))

    def look(self, frames: Tensor, sentences: Tensor, state: Tensor | None = None) -> Tensor:
        """What is kept of each frame: one vector (n d), or with the transformer one token per cell and one for the rest
        (n s d).

        ``frames`` are uint8 (n h w 3), ``sentences`` (n e), ``state`` (n m).
        """
        config = self.config
        pictures = (frames.permute(0, 3, 1, 2).float() - self.frame_mean) / self.frame_std
        maps = [
            encoder(
                pictures[:, :, tile.top : tile.top + tile.height, tile.left : tile.left + tile.width],
                sentences,
            )
            for encoder, tile in zip(self.encoders, config.tiles, strict=True)
        ]
        known = [sentences]
        if config.state:
            if state is None:
                raise ValueError(
                    f"this policy reads {config.state} numbers of proprioception and was given none"
                )
            known.append((state - self.state_mean) / self.state_std.clamp_min(1e-6))
        extra = self.extra(torch.cat(known, dim=1))
        if config.decoder == "transformer":
            cells = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
            return torch.cat([self.token(torch.relu(cells)), extra[:, None]], dim=1)
        pooled = torch.cat([pool(one) for pool, one in zip(self.pooling, maps, strict=True)], dim=1)
        looked: Tensor = self.picture(pooled) + extra
        return looked

    def plans(self, seen: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """One vector per action (b t k d) for each of t moments, from what is kept of their frames
        (b t+frames-1 ...), the oldest first; and what the recurrent unit remembers (1 b r)."""
        config = self.config
        moments = seen.shape[1] - config.frames + 1
        windows = torch.stack([seen[:, i : i + moments] for i in range(config.frames)], dim=2)
        if config.decoder == "transformer":
            placed = windows.flatten(0, 1).clone()
            placed[:, :, :-1] += self.places
            return self.plan(placed.flatten(1, 2)).unflatten(0, (len(seen), moments)), None
        fused = self.fuse(windows.flatten(2))
        if self.memory is not None:
            fused, hidden = self.memory(fused, hidden)
        return self.plan(fused).unflatten(-1, (config.chunk, config.width)), hidden

    def forward(self, frames: Tensor, sentences: Tensor, state: Tensor | None = None) -> Tensor:
        """One vector per action (b t k d) for frames uint8 (b t+frames-1 h w 3), one sentence (b e) per sequence and
        proprioception (b t+frames-1 m)."""
        length = frames.shape[1]
        each = sentences[:, None].expand(-1, length, -1).flatten(0, 1)
        seen = self.look(frames.flatten(0, 1), each, None if state is None else state.flatten(0, 1))
        return self.plans(seen.unflatten(0, (len(frames), length)))[0]

    def loss(self, plan: Tensor, actions: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Mean loss of plans (b t k d) for actions (b t k n), of which ``known`` (b t k) have a label."""
        scaled = (actions - self.action_mean) / self.action_std.clamp_min(1e-6)
        # A number that never varied in the data is not learned; it is answered as it was.
        scaled = torch.where(self.action_std > 0, scaled, 0.0)
        loss: Tensor = self.head.loss(plan.flatten(0, 1), scaled.flatten(0, 1), known.flatten(0, 1), rng)
        return loss

    def act(self, plan: Tensor, noise: Tensor | None) -> Tensor:
        """Actions (b k n) in the robot's units for plans (b k d); ``noise`` (b z) is what the head draws from."""
        actions: Tensor = self.head.act(plan, noise) * self.action_std + self.action_mean
        config = self.config
        if config.action_low:
            actions = torch.maximum(actions, self.action_low)
        if config.action_high:
            actions = torch.minimum(actions, self.action_high)
        return actions
