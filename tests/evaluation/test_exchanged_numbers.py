"""Numbers of an answer that follow the recording of another number."""

from __future__ import annotations

import numpy as np
import pytest

from real2sim.evaluation.exchanged_numbers import find_exchanged

THREE = np.eye(3)


def moments(
    rng: np.random.Generator, count: int, correlation: float, mixed: np.ndarray = THREE
) -> tuple[np.ndarray, np.ndarray]:
    """Answered and recorded numbers (count 1 3) that correlate so; ``mixed`` makes the recorded ones of one another."""
    recorded = rng.standard_normal((count, 3)) @ mixed
    recorded /= np.linalg.norm(mixed, axis=0)
    noise = rng.standard_normal((count, 3)) * np.sqrt(1 / correlation**2 - 1)
    return (recorded + noise)[:, None], recorded[:, None]


def share_found(count: int, correlation: float, order: list[int], cases: int = 40) -> float:
    """In how many cases exactly the numbers are found whose places were exchanged."""
    rng = np.random.default_rng(0)
    moved = {place for place, number in enumerate(order) if place != number}
    hits = 0
    for _ in range(cases):
        answered, recorded = moments(rng, count, correlation)
        found = find_exchanged(answered[..., order], recorded)
        hits += {number for ring in found for number in ring.numbers} == moved
    return hits / cases


@pytest.mark.parametrize(
    ("count", "correlation", "least"), [(10, 0.97, 0.95), (20, 0.8, 0.9), (50, 0.6, 0.9), (100, 0.4, 0.9)]
)
def test_two_exchanged_numbers_are_found_the_weaker_they_follow_the_more_moments_that_takes(
    count: int, correlation: float, least: float
) -> None:
    assert share_found(count, correlation, [1, 0, 2]) >= least


def test_three_numbers_in_a_ring_are_found() -> None:
    assert share_found(80, 0.6, [1, 2, 0], cases=20) >= 0.9
    answered, recorded = moments(np.random.default_rng(0), 40, 0.9)
    (ring,) = find_exchanged(answered[..., [1, 2, 0]], recorded)
    assert ring.numbers == (0, 1, 2)
    assert min(ring.correlations) > 0.7


@pytest.mark.parametrize("count", [10, 40])
@pytest.mark.parametrize("correlation", [0.1, 0.4, 0.8])
def test_numbers_that_follow_their_own_recordings_however_weakly_are_hardly_ever_called_exchanged(
    count: int, correlation: float
) -> None:
    assert share_found(count, correlation, [0, 1, 2], cases=100) >= 0.97


def test_recordings_that_resemble_each_other_do_not_make_numbers_look_exchanged() -> None:
    rng = np.random.default_rng(0)
    mixed = THREE + 0.6 * (1 - THREE)
    alarms = sum(bool(find_exchanged(*moments(rng, 40, 0.5, mixed))) for _ in range(60))
    assert alarms <= 1


def test_a_number_that_is_constant_takes_part_in_no_exchange() -> None:
    answered, recorded = moments(np.random.default_rng(0), 40, 0.9)
    answered = answered[..., [1, 0, 2]]
    answered[..., 1] = 0.01
    assert find_exchanged(answered, recorded) == []


def test_one_number_or_none_is_never_exchanged() -> None:
    answered, recorded = moments(np.random.default_rng(0), 10, 0.9)
    for width in (0, 1):
        assert find_exchanged(answered[..., :width], recorded[..., :width]) == []
