"""How unlike the frames that a judge was taught on an episode looks, so that a judge can say "no verdict".

Three numbers per frame.  *Residual*: frames are averaged to 16 x 16 cells, principal components of real frames explain
what may vary there, and what they leave over is measured in each cell's own spread (a cell of the still background may
hardly change, one the arm crosses may).  *Detail*: noise has more of it than real frames, a washed-out frame less.
*Colour*: a grey frame has none.  Each is compared with what held-out real episodes reach: the conformal quantile (Vovk
et al. 2005; Angelopoulos & Bates 2023, eq. 1), shared out over the five limits (Bonferroni).  Beyond one of them a
judge gives no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.checksums import check_checksum, write_checksums
from real2sim.files import atomic_write, reading

UNLIKENESS_FILE = "unlikeness.safetensors"
CELLS = 16
"""Rows and columns of cells that a frame is averaged to."""
COMPONENTS = 48
"""Principal components at the most."""
FLOOR = 0.01
"""Smallest spread of a cell, as a share of full brightness: less is noise of the camera."""
FARTHEST = 9.0
"""Squared left-over of a cell, in spreads, beyond which it is off, however far."""
SMALLEST_FIT = 40
"""Real episodes below which nothing is fitted."""


LIMITS = ("residual_high", "detail_low", "detail_high", "colour_low", "colour_high")


@dataclass(frozen=True)
class Unlikeness:
    """Fitted on real frames; an episode whose `score` is above 1 is unlike them."""

    mean: np.ndarray
    """Mean frame (d) of cells, d = 3 x 16 x 16, in [0, 1]."""
    components: np.ndarray
    """Principal components (k d)."""
    spread: np.ndarray
    """Root mean square of what the components leave over, per cell (d)."""
    residual_high: float
    """Largest mean squared left-over of a frame, in spreads."""
    detail_low: float
    """Least mean difference of neighbouring pixels, and (``detail_high``) most."""
    detail_high: float
    colour_low: float
    """Least mean difference between a pixel's strongest and weakest colour, and (``colour_high``) most."""
    colour_high: float
    refused: float
    """Share of further real episodes that the limits refuse at the most, on average (alpha)."""
    episodes: int
    """Held-out real episodes that the limits come from."""

    def score(self, frames: np.ndarray) -> np.ndarray:
        """Unlikeness (b) of episodes, the largest of the given frames uint8 (b t h w 3)."""
        flat = _flat(frames)
        fine, colour = detail(flat), saturation(flat)
        residual = mean_residual(flat, self.mean, self.components, self.spread)
        ratios = (
            residual / self.residual_high,
            fine / self.detail_high,
            _below(fine, self.detail_low),
            colour / self.colour_high,
            _below(colour, self.colour_low),
        )
        return np.asarray(np.max(ratios, axis=0).reshape(frames.shape[:2]).max(axis=1))

    def unlike(self, frames: np.ndarray) -> np.ndarray:
        """Whether there can be no verdict, bool (b), on frames uint8 (b t h w 3)."""
        return self.score(frames) > 1

    @property
    def digest(self) -> bytes:
        """Changes whenever another episode might be refused."""
        arrays = [np.asarray(getattr(self, field.name), np.float32) for field in fields(self)]
        return b"".join(array.tobytes() for array in arrays)

    def save(self, folder: Path) -> None:
        """Write ``unlikeness.safetensors`` into a judge's folder."""
        from safetensors.numpy import save

        tensors = {field.name: np.array(getattr(self, field.name), np.float32) for field in fields(self)}
        with atomic_write(Path(folder) / UNLIKENESS_FILE) as file:
            file.write(save(tensors))
        write_checksums(Path(folder))


def read_unlikeness(folder: Path) -> Unlikeness | None:
    """The measure of a judge's folder; None if it has none."""
    path = Path(folder) / UNLIKENESS_FILE
    if not path.is_file():
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        with reading(path, "what a judge knows of ordinary frames"):
            tensors = load_file(path)
        check_checksum(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}); copy the judge's folder again"
        ) from error
    wanted = {field.name for field in fields(Unlikeness)}
    if set(tensors) != wanted or not all(np.isfinite(array).all() for array in tensors.values()):
        raise ValueError(
            f"{path} does not hold the finite arrays {', '.join(sorted(wanted))}; copy the judge's folder again"
        )
    cells = 3 * CELLS**2
    for name, array in tensors.items():
        expected = {
            "mean": (cells,),
            "spread": (cells,),
            "components": (len(tensors["components"]), cells),
        }.get(name, ())
        if array.shape != expected:
            raise ValueError(f"{path}: {name} has shape {array.shape}, expected {expected}")
    values: dict[str, Any] = {
        name: array.astype(np.float64) if array.ndim else float(array) for name, array in tensors.items()
    }
    return Unlikeness(**{**values, "episodes": int(values["episodes"])})


def fit_unlikeness(
    frames: np.ndarray,
    *,
    refused: float = 0.01,
    seed: int = 0,
    soften: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Unlikeness:
    """Fit on real episodes, given as the frames a judge looks at, uint8 (e t h w 3).

    Half of the episodes give the components, a quarter the spreads, a quarter the limits, so that at most ``refused``
    of further real episodes are refused on average.  With few episodes a limit is their extreme value, and the share
    larger: it is kept in the result.  ``soften`` imitates the defects that the judge was taught to see through: the
    least detail is that of softened frames, since drawn frames are softer than real ones.

    Raises ValueError below 40 episodes.
    """
    if not 0 < refused < 1:
        raise ValueError(f"refused must be a share between 0 and 1, got {refused}")
    if len(frames) < SMALLEST_FIT:
        raise ValueError(
            f"{len(frames)} real episodes are too few to know real frames by; expected {SMALLEST_FIT}"
        )
    order = np.random.default_rng(seed).permutation(len(frames))
    first, second, third = np.split(order, [len(order) // 2, 3 * len(order) // 4])
    refused = max(refused, len(LIMITS) / (len(third) + 1))
    seen = cells(_flat(frames[first]))
    mean = seen.mean(axis=0)
    components = np.linalg.svd(seen - mean, full_matrices=False)[2][:COMPONENTS]
    left = _left_over(cells(_flat(frames[second])), mean, components)
    spread = np.sqrt((left**2).mean(axis=0) + FLOOR**2)

    def per_episode(values: np.ndarray) -> np.ndarray:
        return values.reshape(len(third), -1)

    held = _flat(frames[third])
    residual = per_episode(mean_residual(held, mean, components, spread))
    fine, colour = per_episode(detail(held)), per_episode(saturation(held))
    softest = fine if soften is None else per_episode(detail(_flat(soften(frames[third]))))
    share = refused / len(LIMITS)
    return Unlikeness(
        mean=mean,
        components=components,
        spread=spread,
        residual_high=conformal_quantile(residual.max(axis=1), share),
        detail_low=-conformal_quantile(-softest.min(axis=1), share),
        detail_high=conformal_quantile(fine.max(axis=1), share),
        colour_low=-conformal_quantile(-colour.min(axis=1), share),
        colour_high=conformal_quantile(colour.max(axis=1), share),
        refused=refused,
        episodes=len(third),
    )


def conformal_quantile(scores: Sequence[float] | np.ndarray, alpha: float) -> float:
    """Smallest value that a further score exceeds with a probability of at most ``alpha``.

    The ceil((n + 1) (1 - alpha))-th smallest of n exchangeable scores (split conformal prediction).

    Raises ValueError if n is too small for ``alpha``.
    """
    values = np.sort(np.asarray(scores, np.float64))
    # Rounded first: 100 * (1 - 0.05) is 95.00000000000001.
    place = math.ceil(round((len(values) + 1) * (1 - alpha), 9))
    if place > len(values):
        raise ValueError(
            f"{len(values)} scores cannot bound a further one at {alpha:g}; expected at least "
            f"{math.ceil(1 / alpha) - 1}"
        )
    return float(values[place - 1])


def cells(frames: np.ndarray) -> np.ndarray:
    """Mean colours (n 768) in [0, 1] of the 16 x 16 cells of frames uint8 (n h w 3)."""
    rows = _averages(frames.shape[1])
    columns = _averages(frames.shape[2])
    averaged = np.einsum("rh,nhwc->nrwc", rows, frames.astype(np.float32) / 255, optimize=True)
    return np.asarray(
        np.einsum("sw,nrwc->nrsc", columns, averaged, optimize=True).reshape(len(frames), -1), np.float64
    )


def detail(frames: np.ndarray) -> np.ndarray:
    """Mean absolute difference (n) of neighbouring pixels, down plus across, of frames uint8 (n h w 3)."""
    values = frames.astype(np.float32) / 255
    down = np.abs(np.diff(values, axis=1)).mean(axis=(1, 2, 3))
    across = np.abs(np.diff(values, axis=2)).mean(axis=(1, 2, 3))
    return np.asarray(down + across, np.float64)


def saturation(frames: np.ndarray) -> np.ndarray:
    """Mean difference (n) between the strongest and the weakest colour of a pixel, of frames uint8 (n h w 3)."""
    # A maximum over an axis of three numbers takes ten times as long.
    red, green, blue = np.moveaxis(frames.astype(np.float32) / 255, 3, 0)
    strongest = np.maximum(np.maximum(red, green), blue)
    weakest = np.minimum(np.minimum(red, green), blue)
    return np.asarray((strongest - weakest).mean(axis=(1, 2)), np.float64)


def mean_residual(
    frames: np.ndarray, mean: np.ndarray, components: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Mean squared left-over (n) of frames uint8 (n h w 3), in spreads, at most 9 per cell.

    The bound makes it a matter of area: a rare posture of the arm is far off in few cells, a broken frame in most.
    """
    ratios = (_left_over(cells(frames), mean, components) / spread) ** 2
    return np.asarray(np.minimum(ratios, FARTHEST).mean(axis=1))


def _left_over(seen: np.ndarray, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    centred = seen - mean
    return np.asarray(centred - centred @ components.T @ components)


def _averages(side: int) -> np.ndarray:
    """Weights (16 side) that average a side of pixels to cells; pixels between two cells count in part."""
    edges = np.linspace(0, side, CELLS + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _below(values: np.ndarray, limit: float) -> np.ndarray:
    """How far values lie below a limit: above 1 if they do."""
    return (limit + FLOOR**2) / (values + FLOOR**2)


def _flat(frames: np.ndarray) -> np.ndarray:
    return frames.reshape(-1, *frames.shape[2:])
