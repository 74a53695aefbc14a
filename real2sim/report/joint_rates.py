"""True rates of both worlds, from a posterior in which simulation may follow reality.

Measured orders differ by the noise of few episodes alone. A posterior that takes every rate for itself adds that
noise a second time: with sixteen policies it sees a simulator that misorders them where there is a perfect one.
Here both rates of a policy are drawn from one bivariate normal distribution on the angle scale asin(sqrt(rate)),
whose spreads and correlation are themselves estimated: where simulated rates follow the real ones more closely
than chance would let them, noise is taken for noise, and where they do not, nothing is (Efron & Morris 1975; Fay &
Herriot 1979). On that scale a rate of n episodes has the variance 1 / (4n + 2), whatever it is (Freeman & Tukey
1950; Anscombe 1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SPREADS, ANGLES = 16, 32
LARGEST_SPREAD = math.pi / 4
"""Half of the angles' range: rates that are 0 and 1 in equal parts."""
MOST_SHARED = 0.95
"""Largest correlation of the noise of both worlds that is believed."""

Side = tuple[np.ndarray, np.ndarray]
"""Successes and episodes (n,) of one world."""


def angles(side: Side) -> Side:
    """Angles (n,) of rates and their variances; successes by Anscombe's correction."""
    successes, episodes = side
    return np.arcsin(np.sqrt((successes + 0.375) / (episodes + 0.75))), 1 / (4 * episodes + 2)


@dataclass(frozen=True)
class Population:
    """Covariances (g,) that the angles of true rates may have: real, simulated, between them."""

    real: np.ndarray
    sim: np.ndarray
    between: np.ndarray

    @classmethod
    def grid(cls) -> Population:
        """Spreads evenly from 0 to `LARGEST_SPREAD`, correlations as sines of even angles.

        The arc-sine prior of a correlation (Fosdick & Raftery 2012) gives the distance to a perfect order, like each
        spread, an even density near 0 (Gelman 2006).
        """
        spreads = (np.arange(SPREADS) + 0.5) / SPREADS * LARGEST_SPREAD
        turns = np.sin(((np.arange(ANGLES) + 0.5) / ANGLES - 0.5) * math.pi)
        real, sim, turn = (axis.ravel() for axis in np.meshgrid(spreads, spreads, turns, indexing="ij"))
        return cls(real**2, sim**2, turn * real * sim)

    def chosen(self, places: np.ndarray) -> Population:
        """Those at ``places``, as columns."""
        return Population(*(part[places][:, None] for part in (self.real, self.sim, self.between)))


def draw_angles(
    sim: Side, real: Side, draws: int, rng: np.random.Generator, shared: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior draws (draws, n) of the angles of true simulated and real rates of policies on one task.

    ``shared`` is the correlation of the noise of both worlds, above 0 where they share start frames.  Means have a flat
    prior and are integrated out when the population is drawn from its grid.
    """
    (y, noise_y), (x, noise_x) = angles(sim), angles(real)
    both = min(max(shared, 0.0), MOST_SHARED) * np.sqrt(noise_x * noise_y)
    grid = Population.grid()
    log_likelihood, mean, precision = _populations(grid, x, y, noise_x, noise_y, both)
    weights = np.exp(log_likelihood - log_likelihood.max())
    places = rng.choice(len(weights), draws, p=weights / weights.sum())
    spread = grid.chosen(places)
    # Means (2,) of the population, given its covariance.
    mean, precision = mean[:, places], precision[:, places]
    size = precision[0] * precision[1] - precision[2] ** 2
    centre = _normal(mean, np.stack([precision[1], precision[0], -precision[2]]) / size, rng)
    # Angles of each policy, given the population: the normal distribution that shrinks both towards its line.
    total = spread.real + noise_x, spread.sim + noise_y, spread.between + both
    size = total[0] * total[1] - total[2] ** 2
    of_real = (
        (spread.real * total[1] - spread.between * total[2]) / size,
        (spread.between * total[0] - spread.real * total[2]) / size,
    )
    of_sim = (
        (spread.between * total[1] - spread.sim * total[2]) / size,
        (spread.sim * total[0] - spread.between * total[2]) / size,
    )
    off = x - centre[0][:, None], y - centre[1][:, None]
    expected = np.stack(
        [
            centre[0][:, None] + of_real[0] * off[0] + of_real[1] * off[1],
            centre[1][:, None] + of_sim[0] * off[0] + of_sim[1] * off[1],
        ]
    )
    left = np.stack(
        [
            spread.real - of_real[0] * spread.real - of_real[1] * spread.between,
            spread.sim - of_sim[0] * spread.between - of_sim[1] * spread.sim,
            spread.between - of_real[0] * spread.between - of_real[1] * spread.sim,
        ]
    )
    drawn = _normal(expected, left, rng)
    return drawn[1], drawn[0]


def _populations(
    grid: Population, x: np.ndarray, y: np.ndarray, noise_x: np.ndarray, noise_y: np.ndarray, both: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log likelihood (g,), means (2, g) and precisions of the means (3, g) of every population of the grid.

    Policies of equal noise enter by their sums alone.
    """
    kinds, which = np.unique(np.stack([noise_x, noise_y, both], axis=1), axis=0, return_inverse=True)
    which = which.ravel()
    log_size, square = np.zeros_like(grid.real), np.zeros_like(grid.real)
    precision, pull = np.zeros((3, len(square))), np.zeros((2, len(square)))
    for kind, (of_x, of_y, of_both) in enumerate(kinds):
        a, b = x[which == kind], y[which == kind]
        real, sim, between = grid.real + of_x, grid.sim + of_y, grid.between + of_both
        size = real * sim - between**2
        p, q, r = sim / size, real / size, -between / size
        log_size += len(a) * np.log(size)
        precision += len(a) * np.stack([p, q, r])
        pull += np.stack([p * a.sum() + r * b.sum(), r * a.sum() + q * b.sum()])
        square += p * (a @ a) + 2 * r * (a @ b) + q * (b @ b)
    size = precision[0] * precision[1] - precision[2] ** 2
    mean = np.stack(
        [
            (precision[1] * pull[0] - precision[2] * pull[1]) / size,
            (precision[0] * pull[1] - precision[2] * pull[0]) / size,
        ]
    )
    left = square - pull[0] * mean[0] - pull[1] * mean[1]
    return -0.5 * (log_size + np.log(size) + left), mean, precision


def _normal(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws of pairs (2, ...) with covariances (3, ...): first, second, between."""
    first = np.sqrt(np.maximum(covariance[0], 1e-12))
    slope = covariance[2] / first
    rest = np.sqrt(np.maximum(covariance[1] - slope**2, 0.0))
    z = rng.standard_normal(mean.shape)
    return np.stack([mean[0] + first * z[0], mean[1] + slope * z[0] + rest * z[1]])
