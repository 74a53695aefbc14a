"""Evidence by betting: how strongly paired outcomes speak against one policy being no better than another.

A gambler with capital 1 bets before every start that the first policy will do better than the second.  If it is no
better, the capital does not grow on average, so the chance that it *ever* reaches 1/alpha is at most alpha (Ville
1939): it may be looked at after every start, and a run may be stopped or prolonged on what is seen.  Such a capital
is called an e-process against the hypothesis (Ramdas, Grünwald, Vovk & Shafer 2023, "Game-theoretic statistics and
safe anytime-valid inference").  The bets on bounded outcomes are those of Waudby-Smith & Ramdas (2024, "Estimating
means of bounded random variables by betting", JRSS-B 86).
"""

from __future__ import annotations

import numpy as np

SHARES = np.array([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
"""Shares f of the capital that are bet, in equal parts from the beginning.

In a pair whose one-sided starts are won with probability q the best share is 2q - 1 (Kelly 1956); the average over
shares has at worst a tenth of what the best of them has.
"""


def log_growth(difference: np.ndarray, null: float = 0.0) -> np.ndarray:
    """Log of the factor by which each share's capital grows in one turn, (shares ...) from differences (tasks ...).

    A turn is one start of every task, a difference is the first policy's outcome minus the second's, in [-1, 1].
    The hypothesis is that the difference, averaged over tasks, has a mean of at most ``null``.  The factor is

        prod over tasks (1 + l (x - null)),   l = f / (1 + null),

    with the same l for all tasks of a turn, so that its mean is at most prod (1 + l (m_task - null)) <= 1 where
    the m_task average to at most null (inequality of arithmetic and geometric means).  It is therefore a fair bet
    on the mean over tasks, and only at the end of a turn.
    """
    if not -1 < null < 1:
        raise ValueError(f"a difference of success rates lies between -1 and 1, the null is {null}")
    x = np.asarray(difference, float)
    share = (SHARES / (1 + null)).reshape(-1, *[1] * x.ndim)
    return np.log1p(share * (x - null)).sum(axis=1)


def log_mixture(log_capital: np.ndarray) -> np.ndarray:
    """Log of the whole capital (...) from the log capital of every share (shares ...)."""
    top = log_capital.max(axis=0)
    mean: np.ndarray = np.exp(log_capital - top).mean(axis=0)
    return top + np.log(mean)


def log_evidence(differences: np.ndarray, null: float = 0.0) -> np.ndarray:
    """Log evidence (turns ...) after each turn that the mean difference is above ``null``.

    ``differences`` are (turns tasks ...).  With one task and ``null`` 0, only starts where just one policy
    succeeded count, as in McNemar's test: with b and c of them the capital is the mean over f of
    (1 + f)^b (1 - f)^c, the likelihood of a coin with q = (1 + f) / 2 over that of a fair one.
    """
    x = np.asarray(differences, float)
    steps = np.stack([log_growth(turn, null) for turn in x], axis=1)
    return log_mixture(np.cumsum(steps, axis=1))
