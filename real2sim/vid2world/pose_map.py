"""A robot's state drawn into the image: links and edges as lines, by forward kinematics and a pinhole camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from real2sim.checks import check_finite, check_vector

Vector = tuple[float, ...]
NEAREST = 0.05
"""Points closer to the camera than this, in metres, are drawn as if they were here."""
IN_CACHE = 4
"""States that a processor draws at a time: more do not stay in its cache, and take up to twice as long each."""
FARTHEST = 1e6
"""Metres; no camera sees as far."""
THINNEST = 0.75
"""Radius in pixels, or patches if there is one value for each, below which lines get no thinner, so that none falls
between them."""


@dataclass(frozen=True)
class Link:
    """A rigid body, fixed to its parent or moved by one joint; it may belong to the robot or to an object."""

    name: str
    parent: str | None
    """None stands for the world."""
    position: Vector
    """In the parent's frame, metres."""
    rotation: Vector = (1.0, 0.0, 0.0, 0.0)
    """In the parent's frame, a quaternion (w x y z)."""
    joint: str | None = None
    """State number that moves it."""
    moves: Literal["turn", "slide"] = "turn"
    """About the axis in radians, or along it in metres."""
    axis: Vector = (0.0, 0.0, 1.0)
    """In the link's own frame."""

    def __post_init__(self) -> None:
        where = f"pose_map: link {self.name!r}"
        check_vector(f"{where}: position", self.position, 3, FARTHEST)
        check_vector(f"{where}: rotation", self.rotation, 4, FARTHEST, direction=True)
        check_vector(f"{where}: axis", self.axis, 3, FARTHEST, direction=True)


@dataclass(frozen=True)
class Line:
    """A thick line from one point of a link to another."""

    channel: int
    link: str
    begin: Vector
    end: Vector
    radius: float
    """Metres."""

    def __post_init__(self) -> None:
        where = f"pose_map: a line of link {self.link!r}"
        check_vector(f"{where}: begin", self.begin, 3, FARTHEST)
        check_vector(f"{where}: end", self.end, 3, FARTHEST)
        check_finite(f"{where}: radius", self.radius, 1e-6, FARTHEST)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    position: Vector
    """Metres."""
    forward: Vector
    """Direction of view."""
    up: Vector
    """Direction of the image's upper side, perpendicular to ``forward``."""
    field_of_view: float
    """From the lower to the upper side, degrees."""

    def __post_init__(self) -> None:
        check_vector("pose_map: the camera's position", self.position, 3, FARTHEST)
        for name, value in (("forward", self.forward), ("up", self.up)):
            check_vector(f"pose_map: the camera's {name}", value, 3, FARTHEST, direction=True)
        length = math.hypot(*self.forward) * math.hypot(*self.up)
        across = sum(a * b for a, b in zip(self.forward, self.up, strict=True)) / length
        if abs(across) > 0.999999:
            raise ValueError(
                f"pose_map: the camera's up {self.up} lies along its forward {self.forward}; expected the direction "
                "of the image's upper side"
            )
        check_finite("pose_map: the camera's field_of_view", self.field_of_view, 0.01, 179)


@dataclass(frozen=True)
class PoseMapConfig:
    """What is drawn of a state, and where the camera stands."""

    links: tuple[Link, ...]
    """Parents first."""
    lines: tuple[Line, ...]
    camera: Camera
    per: Literal["pixel", "patch"] = "pixel"
    """A value for each pixel of a frame, or one for each of the patches that the network works on: less to draw."""

    def __post_init__(self) -> None:
        if self.per not in ("pixel", "patch"):
            raise ValueError(f'pose_map: per must be "pixel" or "patch", got {self.per!r}')
        known: set[str] = set()
        for link in self.links:
            if link.parent is not None and link.parent not in known:
                raise ValueError(f"pose_map: link {link.name!r} comes before its parent {link.parent!r}")
            if link.name in known:
                raise ValueError(f"pose_map: there are two links {link.name!r}")
            known.add(link.name)
        unknown = [line.link for line in self.lines if line.link not in known]
        if unknown:
            raise ValueError(f"pose_map: a line lies on link {unknown[0]!r}, which is not among the links")
        channels = {line.channel for line in self.lines}
        if channels != set(range(len(channels))) or not channels:
            raise ValueError(
                f"pose_map: channels must be numbered 0, 1, ... without gaps, got {sorted(channels)}"
            )

    @property
    def channels(self) -> int:
        """Images that are drawn."""
        return 1 + max(line.channel for line in self.lines)

    def inputs(self, patch: int) -> int:
        """Channels of the network's input that they become, where a frame is cut into patches of this side."""
        return self.channels * (patch**2 if self.per == "pixel" else 1)

    @property
    def joints(self) -> tuple[str, ...]:
        """State numbers that are looked at."""
        return tuple(link.joint for link in self.links if link.joint is not None)


class PoseMap(nn.Module):
    """Draws states (n numbers) as images (n channels height width) in [0, 1].

    A line is 1 on its middle, a half at its edge, and falls to 0 at twice its radius; where lines of one channel cross,
    the larger value stays.  Nothing hides anything.  With ``patch`` p images are drawn as `torch.nn.PixelUnshuffle`
    would cut them, (n channels*p^2 height/p width/p), or at the middles of the patches, (n channels height/p width/p),
    if the configuration has one value per patch.
    """

    _rows: Tensor
    _columns: Tensor
    _crosses: Tensor
    _axes: Tensor
    _offsets: Tensor
    _turns: Tensor
    _ends: Tensor
    _radii: Tensor
    _links: Tensor
    _order: Tensor
    _view: Tensor
    _eye: Tensor

    def __init__(
        self, config: PoseMapConfig, names: tuple[str, ...], height: int, width: int, patch: int = 1
    ) -> None:
        super().__init__()
        self.config = config
        self._joints = [None if link.joint is None else names.index(link.joint) for link in config.links]
        order = sorted(range(len(config.lines)), key=lambda place: config.lines[place].channel)
        counts = [sum(line.channel == channel for line in config.lines) for channel in range(config.channels)]
        self._counts = counts
        self._focal = height / 2 / math.tan(math.radians(config.camera.field_of_view) / 2)
        rows, columns = torch.meshgrid(
            torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij"
        )
        rows, columns = _cut(rows, patch), _cut(columns, patch)
        self._thinnest = THINNEST
        if config.per == "patch":
            rows, columns = rows.mean((0, 1)), columns.mean((0, 1))
            self._thinnest *= patch
        links = [link.name for link in config.links]
        axes = torch.stack([_unit(link.axis) for link in config.links])
        fixed = {
            "rows": rows.flatten(),
            "columns": columns.flatten(),
            "crosses": torch.stack([_cross(axis) for axis in axes]),
            "axes": axes,
            "offsets": torch.tensor([link.position for link in config.links]),
            "turns": torch.stack([_matrix(link.rotation) for link in config.links]),
            "ends": torch.tensor([[line.begin, line.end] for line in config.lines]),
            "radii": torch.tensor([line.radius for line in config.lines])[order],
            "view": _view(config.camera),
            "eye": torch.tensor(config.camera.position),
        }
        for name, value in fixed.items():
            self.register_buffer(f"_{name}", value.float(), persistent=False)
        lines = torch.tensor([links.index(line.link) for line in config.lines])
        self.register_buffer("_links", lines, persistent=False)
        self.register_buffer("_order", torch.tensor(order), persistent=False)
        self._size = (config.inputs(patch), height // patch, width // patch)

    def points(self, states: Tensor) -> Tensor:
        """Both ends of every line (n lines 2 3) in the world, metres."""
        frames: dict[str | None, tuple[Tensor, Tensor]] = {}
        one = torch.eye(3, dtype=states.dtype, device=states.device).expand(len(states), 3, 3)
        frames[None] = one, states.new_zeros(len(states), 3)
        for place, (link, joint) in enumerate(zip(self.config.links, self._joints, strict=True)):
            turn, at = frames[link.parent]
            at = at + turn @ self._offsets[place]
            turn = turn @ self._turns[place]
            if joint is not None:
                if link.moves == "slide":
                    at = at + (turn @ self._axes[place]) * states[:, joint, None]
                else:
                    turn = turn @ _about(self._crosses[place], states[:, joint])
            frames[link.name] = turn, at
        turns, places = (
            torch.stack([frames[link.name][part] for link in self.config.links], dim=1)[:, self._links]
            for part in (0, 1)
        )
        return torch.einsum("nlij,lkj->nlki", turns, self._ends) + places[:, :, None]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Image places (... 2: columns to the right and rows downwards from the middle, in pixels) and depths (...) in
        metres, of points (... 3)."""
        seen = (points - self._eye) @ self._view.T
        depth = seen[..., 2].clamp(min=NEAREST)
        return self._focal * seen[..., :2] / depth[..., None], depth

    def forward(self, states: Tensor) -> Tensor:
        places, depths = self.project(self.points(states.float())[:, self._order])
        if states.device.type != "cpu":
            return self._drawn(places, depths)
        few = zip(places.split(IN_CACHE), depths.split(IN_CACHE), strict=True)
        return torch.cat([self._drawn(*states) for states in few])

    def _drawn(self, places: Tensor, depths: Tensor) -> Tensor:
        """Images of lines, those of one channel after another, between ``places`` (n lines 2 2) at ``depths`` (n lines
        2)."""
        begin, along = places[:, :, 0], places[:, :, 1] - places[:, :, 0]
        length = along.square().sum(-1, keepdim=True).clamp(min=1e-6)
        # All of (n lines pixels), in few passes over memory: how far along a line each pixel lies, and how far beside.
        right = self._columns - begin[..., :1]
        down = self._rows - begin[..., 1:]
        share = (right * (along[..., :1] / length)).addcmul_(down, along[..., 1:] / length).clamp_(0, 1)
        right.addcmul_(share, along[..., :1], value=-1)
        down.addcmul_(share, along[..., 1:], value=-1)
        away = right.square_().addcmul_(down, down).sqrt_()
        narrow = (depths / (2 * self._focal * self._radii[:, None])).clamp(max=1 / (2 * self._thinnest))
        slope = share.mul_(narrow[..., 1:] - narrow[..., :1]).add_(narrow[..., :1])
        values = away.mul_(slope).neg_().add_(1).clamp_(min=0)
        channels = [lines.amax(dim=1) for lines in values.split(self._counts, dim=1)]
        return torch.stack(channels, dim=1).view(len(places), *self._size)


def _cut(image: Tensor, patch: int) -> Tensor:
    """An image (height width) as patches (p p height/p width/p)."""
    return image.unflatten(1, (-1, patch)).unflatten(0, (-1, patch)).permute(1, 3, 0, 2)


def _matrix(quaternion: Vector) -> Tensor:
    length = math.hypot(*quaternion)
    w, x, y, z = (value / length for value in quaternion)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.tensor(rows)


def _unit(axis: Vector) -> Tensor:
    direction = torch.tensor(axis).float()
    return direction / direction.norm()


def _cross(axis: Tensor) -> Tensor:
    """The matrix (3 3) that multiplies crosswise by ``axis``."""
    x, y, z = axis.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _about(cross: Tensor, angles: Tensor) -> Tensor:
    """Rotations (n 3 3) by ``angles`` (n) about the unit axis of ``cross`` (Rodrigues' formula)."""
    sine, cosine = angles.sin()[:, None, None], angles.cos()[:, None, None]
    return (
        torch.eye(3, dtype=cross.dtype, device=cross.device) + sine * cross + (1 - cosine) * (cross @ cross)
    )


def _view(camera: Camera) -> Tensor:
    """Rows: right, down and forward in the world."""
    forward = torch.tensor(camera.forward).double()
    forward = forward / forward.norm()
    up = torch.tensor(camera.up).double()
    right = torch.linalg.cross(forward, up)
    right = right / right.norm()
    return torch.stack([right, torch.linalg.cross(forward, right), forward])
