"""A race: episodes go to the policies whose order is still open, and decisions may be looked at at any time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from real2sim.report.betting import SHARES, log_growth, log_mixture

Until = Literal["ranking", "best", "groups"]
TOP_SHARE = 0.8
"""Share of alpha that goes to finding the best policy alone, where groups or a ranking are asked for."""
MARGIN_SHARE = 0.2
"""Share of alpha that goes to showing that two policies are within the margin, where one is given."""
OPTIMISM = 1.0
"""Standard errors by which a pair may do better in future than it did so far; it is given up if it would not be
decided even then.  At -0.5 nine in ten races of the drawer suite end before the last policy is told from the rest."""
TOP_OPTIMISM = 2.0
"""The same for the best policy and its rivals: few policies, and the question that is asked most."""


@dataclass(frozen=True)
class Question:
    """What a race is to decide, and how surely."""

    until: Until = "groups"
    """`best`: which policy is the best.  `groups`: groups of which each is better than the next; pairs that are not
    expected to be told apart with the starts that there are, are given up.  `ranking`: a group for every policy,
    giving nothing up."""
    alpha: float = 0.05
    """Chance that anything that is called decided is wrong, over all policies and all looks."""
    margin: float | None = None
    """Points of success rate below which two policies need not be told apart."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {self.alpha}")
        if self.margin is not None and not 0 < self.margin < 100:
            raise ValueError(f"the margin must lie between 0 and 100 points, got {self.margin}")


@dataclass(frozen=True)
class Schedule:
    """How many starts a race runs in each round, and how many there are."""

    starts: int
    """Starts of every task that there are."""
    first: int = 8
    """Starts of every task in the first round, which all policies run."""
    step: int = 4
    """Starts of every task in each later round."""
    budget: int | None = None
    """Episodes that may be made at most, over all policies and tasks."""

    def __post_init__(self) -> None:
        for name in ("starts", "first", "step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Round:
    """Episodes to be made next: ``policies`` (indices) on turns ``begin`` to ``end`` of every task."""

    policies: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Cut:
    """A place in the order of policies, between ``above`` (indices, best first) and all the others."""

    above: tuple[int, ...]
    state: Literal["decided", "within margin", "open", "given up"]


class Race:
    """Asks for rounds of paired episodes and decides from what they gave; everything follows from the outcomes.

    A policy that has left the race does not come back.  So who runs a turn is known before the turn, and capital
    that follows the leader is a fair bet.
    """

    def __init__(self, policies: int, tasks: int, question: Question, schedule: Schedule) -> None:
        if policies < 2:
            raise ValueError(f"a race needs at least 2 policies, got {policies}")
        if tasks < 1:
            raise ValueError("a race needs at least 1 task, got none")
        first = policies * tasks * min(schedule.first, schedule.starts)
        if schedule.budget is not None and schedule.budget < first:
            raise ValueError(
                f"a budget of {schedule.budget} episodes does not reach for the first round; {policies} policies on "
                f"{min(schedule.first, schedule.starts)} starts of {tasks} task(s) are {first} episodes"
            )
        self.question, self.schedule, self.tasks = question, schedule, tasks
        self.running = np.ones(policies, bool)
        self.turns = np.zeros(policies, int)
        self.successes = np.zeros(policies)
        self.judged = np.zeros(policies, int)
        """Episodes (k,) with a verdict, over all tasks."""
        k, shares = policies, len(SHARES)
        self._met = np.zeros((k, k))
        self._wins = np.zeros((k, k))
        self._pairs = np.zeros((shares, k, k))
        self._leader = np.zeros((shares, k))
        self._near = np.zeros((shares, k, k))
        self.log_better = np.zeros((k, k))
        """Largest log evidence so far (k k) that the row's policy is better than the column's."""
        self.log_not_best = np.zeros(k)
        """Largest log evidence so far (k,) that some policy is better than this one."""
        self.log_near = np.zeros((k, k))
        """Largest log evidence so far (k k) that the row's policy is less than the margin ahead of the column's."""
        self._hopeful = np.ones(policies + 1, bool)

    @property
    def rates(self) -> np.ndarray:
        """Success rate (k,) of the judged episodes over tasks; 0 before the first round."""
        return self.successes / np.maximum(1, self.judged)

    @property
    def episodes(self) -> int:
        """Episodes made so far."""
        return int(self.turns.sum()) * self.tasks

    @property
    def order(self) -> np.ndarray:
        """Policies (k,), best first."""
        return np.argsort(-self.rates, kind="stable")

    def next_round(self) -> Round | None:
        """The episodes to be made next; None where all is decided, or no starts or budget are left."""
        if not self.running.any():
            return None
        begin = int(self.turns.max())
        end = min(begin + (self.schedule.step if begin else self.schedule.first), self.schedule.starts)
        if self.schedule.budget is not None:
            affordable = (self.schedule.budget - self.episodes) // (int(self.running.sum()) * self.tasks)
            end = min(end, begin + affordable)
        if end <= begin:
            return None
        return Round(tuple(np.flatnonzero(self.running).tolist()), begin, end)

    def add(self, outcomes: np.ndarray) -> None:
        """Take the outcomes (turns tasks policies) of a round, 0 or 1, and decide who goes on.

        Policies are those of the round, in its order.  NaN means that there is no verdict: nothing is bet on a pair in
        a turn in which one of its episodes has none, so what is decided is about the others.
        """
        x = np.asarray(outcomes, float)
        members = np.flatnonzero(self.running)
        if (
            x.ndim != 3
            or x.shape[1:] != (self.tasks, len(members))
            or not np.isin(x[~np.isnan(x)], (0, 1)).all()
        ):
            raise ValueError(
                f"expected outcomes 0, 1 or NaN shaped (turns, {self.tasks}, {len(members)}), got {x.shape}"
            )
        for turn in x:
            self._bet(turn, members)
        self.running = self._still_needed()

    def candidates(self) -> np.ndarray:
        """Policies that may still be the best (indices)."""
        best = np.flatnonzero(self.log_not_best < self._top_level())
        # The best of all is thrown out with a chance of at most alpha; then the one that did best stays.
        return best if len(best) else self.order[:1]

    def cuts(self) -> list[Cut]:
        """The places between neighbours in the order by rate, best first, and what is known of each."""
        order, near = self.order, self.near()
        better = self.better()
        found = []
        for k in range(1, len(order)):
            above, below = order[:k], order[k:]
            if better[np.ix_(above, below)].all():
                state: Literal["decided", "within margin", "open", "given up"] = "decided"
            elif near[above[-1], below[0]]:
                state = "within margin"
            else:
                state = "open" if self._hopeful[k] else "given up"
            found.append(Cut(tuple(above.tolist()), state))
        return found

    def groups(self) -> list[tuple[int, ...]]:
        """Policies (indices) in groups, best first: every policy is proven better than all of later groups."""
        order = self.order.tolist()
        ends = [len(cut.above) for cut in self.cuts() if cut.state == "decided"]
        return [tuple(order[a:b]) for a, b in zip([0, *ends], [*ends, len(order)], strict=True)]

    def better(self) -> np.ndarray:
        """Which policies (rows) are shown to be better than which (columns), bool (k k), for the use in cuts.

        A wrong cut puts two neighbours of the true order on the wrong sides, or between equals, so only their k - 1
        comparisons count, each in two directions.  The best alone is also found by the capital that follows the
        leader.
        """
        k = len(self.turns)
        share = (1 - TOP_SHARE) * self._order_alpha()
        better = self.log_better >= math.log(2 * (k - 1) / share)
        left = self.candidates()
        if len(left) == 1:
            better[left[0]] = True
            better[left[0], left[0]] = False
        return better

    def near(self) -> np.ndarray:
        """Which pairs are shown to differ by less than the margin, bool (k k)."""
        k = len(self.turns)
        if self.question.margin is None:
            return np.zeros((k, k), bool)
        level = math.log(k * (k - 1) / 2 / (MARGIN_SHARE * self.question.alpha))
        return (np.minimum(self.log_near, self.log_near.T) >= level) & ~np.eye(k, dtype=bool)

    def _order_alpha(self) -> float:
        return self.question.alpha * (1 - (MARGIN_SHARE if self.question.margin is not None else 0))

    def _top_level(self) -> float:
        """Log evidence at which a policy is known not to be the best.

        For `best` the error is that the winner is not one of the best.  A group of its own also says that there is
        just one: where m are equally good, m - 1 of them have to be thrown out, with a chance of at most
        m / (m - 1) <= 2 times the level.
        """
        alpha = self._order_alpha()
        return math.log(1 / alpha) if self.question.until == "best" else math.log(2 / (TOP_SHARE * alpha))

    def _bet(self, outcomes: np.ndarray, members: np.ndarray) -> None:
        """One turn (tasks members): all capital grows or shrinks."""
        accounts = np.arange(len(SHARES))
        difference = outcomes[:, :, None] - outcomes[:, None, :]
        met = ~np.isnan(difference).any(axis=0)
        difference = np.where(met, difference, 0)
        others = ~np.eye(len(members), dtype=bool)
        # Against "this policy is the best" the bet is on whoever else leads by now, equally on several that do.
        score = np.where(others, self.rates[members][None, :], -1.0)
        leads = (score == score.max(axis=1, keepdims=True)) & others
        weight = leads / np.maximum(leads.sum(axis=1, keepdims=True), 1)
        ahead = np.einsum("ij,tji->ti", weight, difference)
        self._leader[:, members] += log_growth(ahead)
        self._pairs[np.ix_(accounts, members, members)] += log_growth(difference)
        if self.question.margin is not None:
            near = np.where(met, log_growth(-difference, -self.question.margin / 100), 0)
            self._near[np.ix_(accounts, members, members)] += near
            self.log_near = np.maximum(self.log_near, log_mixture(self._near))
        self.log_better = np.maximum(self.log_better, log_mixture(self._pairs))
        self.log_not_best = np.maximum(self.log_not_best, log_mixture(self._leader))
        self._wins[np.ix_(members, members)] += (difference > 0).sum(axis=0)
        self._met[np.ix_(members, members)] += met
        self.successes[members] += np.nansum(outcomes, axis=0)
        self.judged[members] += (~np.isnan(outcomes)).sum(axis=0)
        self.turns[members] += 1

    def _still_needed(self) -> np.ndarray:
        """Which of the running policies take part in something that is still open, bool (k,)."""
        needed = np.zeros(len(self.turns), bool)
        if self.question.until == "best":
            left = self.candidates()
            if len(left) > 1 and not (self.near()[np.ix_(left, left)] | np.eye(len(left), dtype=bool)).all():
                needed[left] = True
            return needed & self.running
        order, better = self.order, self.better()
        pursued = self.question.until == "ranking"
        hopeless = np.zeros_like(better) if pursued else self._hopeless_pairs()
        # A pair of which one has left the race can no longer be told apart.
        hopeless |= ~self.running[:, None] | ~self.running[None, :]
        first, *others = self.cuts()
        for k, cut in enumerate(others, start=2):
            if cut.state in ("decided", "within margin"):
                continue
            pairs = np.ix_(order[:k], order[k:])
            pending = ~better[pairs]
            self._hopeful[k] = not (pending & hopeless[pairs]).any()
            if self._hopeful[k]:
                needed[order[:k][pending.any(axis=1)]] = True
                needed[order[k:][pending.any(axis=0)]] = True
        if first.state in ("open", "given up"):
            left = self.candidates()
            self._hopeful[1] = pursued or self._best_may_be_found(left)
            needed[left] |= self._hopeful[1]
        return needed & self.running

    def _future(self, optimism: float) -> np.ndarray:
        """Log growth (shares k k) of the capital on row against column, if the turns left go ``optimism`` better."""
        turns = np.minimum.outer(self.turns, self.turns)
        n = np.maximum(1, self._met * self.tasks)
        win, lose = self._wins / n, self._wins.T / n
        hoped, feared = _score_bound(win, n, optimism), _score_bound(lose, n, -optimism)
        share = SHARES[:, None, None]
        left = (self._most_turns() - turns) * self.tasks * self._met / np.maximum(1, turns)
        growth: np.ndarray = left * (hoped * np.log1p(share) + feared * np.log1p(-share))
        return growth

    def _hopeless_pairs(self) -> np.ndarray:
        """Pairs (k k) that are not expected to be decided with the turns left."""
        level = math.log(2 * (len(self.turns) - 1) / ((1 - TOP_SHARE) * self._order_alpha()))
        return log_mixture(self._pairs + self._future(OPTIMISM)) < level

    def _best_may_be_found(self, left: np.ndarray) -> bool:
        """Whether one of the candidates ``left`` may still throw out all the others."""
        beaten = log_mixture(self._leader[:, None, :] + self._future(TOP_OPTIMISM)) >= self._top_level()
        return bool((beaten | np.eye(len(beaten), dtype=bool))[np.ix_(left, left)].all(axis=1).any())

    def _most_turns(self) -> int:
        """Turns that a policy may have run in the end, with the present number of policies."""
        if self.schedule.budget is None:
            return self.schedule.starts
        more = (self.schedule.budget - self.episodes) // max(1, int(self.running.sum()) * self.tasks)
        return min(self.schedule.starts, int(self.turns.max()) + more)


def _score_bound(rate: np.ndarray, n: np.ndarray, z: float) -> np.ndarray:
    """End of the score interval of a rate from ``n`` trials, ``z`` standard errors up or down (Wilson 1927)."""
    root = np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    bound: np.ndarray = (rate + z**2 / (2 * n) + z * root) / (1 + z**2 / n)
    return np.clip(bound, 0, 1)
