"""Cohen's kappa, pinned by values known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from real2sim.success.rater_agreement import RaterAgreement, cohens_kappa, compare_raters
from real2sim.success.rater_file import Rating


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        # Both tables of the article "Cohen's kappa" of Wikipedia on equal shares and unequal agreement, and its first.
        ([[20, 5], [10, 15]], 0.4),
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        # Cohen 1960, table 1 (two psychologists, three diagnoses, 200 patients): .492.
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.492),
    ],
)
def test_kappa_is_the_published_one(counts: list[list[int]], kappa: float) -> None:
    assert cohens_kappa(np.array(counts))[0] == pytest.approx(kappa, abs=5e-4)


def test_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    cells = np.array([[0.35, 0.08, 0.02], [0.06, 0.30, 0.04], [0.03, 0.02, 0.10]])
    chance = cells.sum(0) @ cells.sum(1)
    truth = (np.trace(cells) - chance) / (1 - chance)
    covered = 0
    for _ in range(400):
        interval = cohens_kappa(rng.multinomial(150, cells.ravel()).reshape(3, 3))[1]
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.92 <= covered / 400 <= 0.98


def test_nothing_is_claimed_where_nothing_was_measured() -> None:
    assert cohens_kappa(np.zeros((3, 3))) == (None, None)
    assert cohens_kappa(np.array([[7, 0], [0, 0]])) == (None, None)
    assert cohens_kappa(np.array([[4, 0], [0, 3]])) == (1.0, None)
    silent = RaterAgreement(("ann", "ben"), np.zeros((3, 3), int))
    assert silent.line() == "ann and ben: no episode labelled by both; agreement not measured"
    constant = RaterAgreement(("ann", "ben"), np.diag([7, 0, 0]))
    assert "7 of 7 labelled alike; Cohen's kappa not measured" in constant.line()


def test_raters_are_compared_on_what_both_have_labelled() -> None:
    labels = {"ann": "ssffu", "ben": "sfff", "cleo": "s"}
    words = {"s": "success", "f": "failure", "u": "unclear"}
    ratings = [
        Rating(f"c{number}", rater, words[letter])
        for rater, letters in labels.items()
        for number, letter in enumerate(letters)
    ]
    pairs = compare_raters(ratings)
    assert [(pair.raters, pair.episodes, pair.alike) for pair in pairs] == [
        (("ann", "ben"), 4, 3),
        (("ann", "cleo"), 1, 1),
        (("ben", "cleo"), 1, 1),
    ]
    assert pairs[0].kappa == pytest.approx(0.5)
    assert (
        pairs[0].line().startswith("ann and ben: 3 of 4 labelled alike, Cohen's kappa 0.50 (95 % interval -")
    )
    assert compare_raters([Rating("c", "ann", "success")]) == []


def test_a_variance_of_zero_makes_no_noise(recwarn: pytest.WarningsRecorder) -> None:
    assert cohens_kappa(np.array([[0, 4], [0, 4]])) == (0.0, None)
    assert not recwarn.list
