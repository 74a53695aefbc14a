"""How many episodes, real trials and policies a difference takes, before anything runs."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from real2sim.checks import check_kinds, check_whole
from real2sim.report.betting import SHARES
from real2sim.report.rates import wilson
from real2sim.report.sequential import MOST_EPISODES, episodes_to_separate

SMALLEST_CHANCE = 1e-9
MOST = 1000
"""Policies, and trials of each; Fisher's exact test takes long for more."""


@dataclass(frozen=True)
class PlanConfig:
    """Say how many episodes, real trials and policies a difference takes, before anything runs."""

    difference: float = 10.0
    """Difference of success rates that is to be found, in points."""
    rate: float = 50.0
    """Success rate, in percent, around which the two policies lie."""
    policies: int = 2
    """Policies that are compared, each with each."""
    alpha: float = 0.05
    """Chance of any false difference among all pairs."""
    power: float = 0.8
    """Chance of finding the difference if it is there."""
    discordance: float | None = None
    """Percent of starts on which just one of the two policies succeeds; by default as if they succeeded independently
    of each other, which shared starts usually improve on."""
    trials: int = 20
    """Real trials per policy that can be afforded."""
    correlation: float = 0.9
    """Pearson's r between simulated and real rates that is expected."""
    correlation_above: float = 0.0
    """What r is to be shown to exceed."""

    def __post_init__(self) -> None:
        check_kinds(self)
        low, high = self.rates
        if not (self.difference > 0 and low >= 0 and high <= 1):
            raise ValueError(
                f"two policies {self.difference:g} points apart around {self.rate:g} % would have rates of "
                f"{100 * low:g} and {100 * high:g} %; both have to lie within 0 and 100 %, with a difference above 0"
            )
        for name in ("alpha", "power"):
            if not SMALLEST_CHANCE <= getattr(self, name) <= 1 - SMALLEST_CHANCE:
                raise ValueError(
                    f"{name} must lie between 0 and 1, by at least {SMALLEST_CHANCE:g}, got {getattr(self, name)}"
                )
        if self.power <= self.alpha:
            raise ValueError(
                f"power is {self.power:g} and alpha {self.alpha:g}; expected a power above alpha, such as 0.8, as a "
                "test finds something by mistake that often"
            )
        for name in ("policies", "trials"):
            check_whole(name, getattr(self, name), 2, MOST)
        if not -1 < self.correlation_above < self.correlation < 1:
            raise ValueError(
                f"expected -1 < correlation-above < correlation < 1, got {self.correlation_above} and "
                f"{self.correlation}"
            )
        d = 100 * self.share_discordant
        # 100 * 0.29 is a hair below 29.
        if not self.difference - 1e-9 <= d <= 100 + 1e-9:
            raise ValueError(
                f"discordance must lie between the difference ({self.difference:g} %) and 100 %, got {d:g}"
            )

    @property
    def rates(self) -> tuple[float, float]:
        """The worse and the better rate, as shares."""
        return (self.rate - self.difference / 2) / 100, (self.rate + self.difference / 2) / 100

    @property
    def share_discordant(self) -> float:
        """Share of starts on which just one succeeds."""
        if self.discordance is not None:
            return self.discordance / 100
        low, high = self.rates
        return low * (1 - high) + high * (1 - low)


@dataclass(frozen=True)
class Plan:
    """What a difference takes; None where it would be more than a million."""

    config: PlanConfig
    paired: int | None
    """Simulated episodes per policy on shared starts, for one pair (exact McNemar test)."""
    paired_family: int | None
    """The same, when all pairs are compared (level shared among them)."""
    race: int
    """Episodes per policy after which a race is expected to have the evidence for a pair of all those policies."""
    unpaired: int | None
    """Real trials per policy, not on shared starts, for one pair."""
    fewest_apart: int | None
    """Trials by which two policies must differ at least to be told apart at all with ``trials`` each."""
    apart_in_the_middle: int | None
    """The same where both succeed about as often as ``rate``."""
    detectable: float | None
    """Points that are found with the asked power with ``trials`` each, around ``rate``; None if even 100 are not."""
    interval: tuple[float, float]
    """95 % interval of a rate seen as ``rate`` in ``trials``."""
    policies: int
    """Policies needed to show the correlation."""


def make_plan(config: PlanConfig) -> Plan:
    """Everything that `PlanConfig` asks for."""
    low, high = config.rates
    gap, discordance = high - low, config.share_discordant
    pairs = config.policies * (config.policies - 1) // 2
    successes = round(config.trials * config.rate / 100)
    bounds = wilson(np.array([successes]), np.array([config.trials]))
    return Plan(
        config,
        paired=episodes_to_separate(low, high, gap, discordance, config.power, config.alpha),
        paired_family=episodes_to_separate(low, high, gap, discordance, config.power, config.alpha / pairs),
        race=race_starts(gap, discordance, config.alpha / (2 * (config.policies - 1))),
        unpaired=episodes_to_separate(low, high, power=config.power, alpha=config.alpha),
        fewest_apart=smallest_significant(config.trials, config.alpha),
        apart_in_the_middle=smallest_significant(config.trials, config.alpha, around=successes),
        detectable=detectable_difference(config.trials, config.rate / 100, config.power, config.alpha),
        interval=(float(bounds[0][0]), float(bounds[1][0])),
        policies=policies_for_correlation(
            config.correlation, config.correlation_above, config.power, config.alpha
        ),
    )


def race_starts(difference: float, discordance: float, alpha: float) -> int:
    """Starts after which the capital of `betting` is expected to reach 1/alpha, with the best share to bet.

    log(1/alpha) over the mean growth per start, max over f of w log(1 + f) + l log(1 - f), where w and l are the shares
    of starts that just one policy wins.
    """
    win, lose = (discordance + difference) / 2, (discordance - difference) / 2
    growth = (win * np.log1p(SHARES) + lose * np.log1p(-SHARES)).max()
    # The bets are spread over shares, of which a few near the best one carry the growth.
    return math.ceil((math.log(1 / alpha) + math.log(len(SHARES)) / 2) / growth) if growth > 0 else 10**9


@functools.lru_cache(maxsize=4)
def fisher_rejects(trials: int, alpha: float) -> np.ndarray:
    """Which outcomes (k1, k2), each of ``trials``, Fisher's exact test calls different, bool (n+1 n+1)."""
    n = trials
    rejects = np.zeros((n + 1, n + 1), bool)
    for total in range(2 * n + 1):
        k = np.arange(max(0, total - n), min(n, total) + 1)
        chance = stats.hypergeom.pmf(k, 2 * n, total, n)
        ordered = np.sort(chance)
        p = np.cumsum(ordered)[np.searchsorted(ordered, chance * (1 + 1e-7), side="right") - 1]
        rejects[k, total - k] = p <= alpha
    rejects.flags.writeable = False
    return rejects


def smallest_significant(trials: int, alpha: float = 0.05, around: int | None = None) -> int | None:
    """Fewest successes by which two policies can differ and be told apart, wherever that is easiest.

    ``around``: where both have about so many successes, half of the difference above and half below.  None if no
    outcome will do.
    """
    rejects = fisher_rejects(trials, alpha)
    for gap in range(1, trials + 1):
        lower = np.arange(trials + 1 - gap)
        if around is not None:
            lower = np.clip([around - gap // 2], 0, trials - gap)
        if rejects[lower, lower + gap].any():
            return gap
    return None


def fisher_power(trials: int, first: float, second: float, alpha: float = 0.05) -> float:
    """Chance that Fisher's exact test tells two policies of these rates apart with ``trials`` each."""
    k = np.arange(trials + 1)
    a, b = stats.binom.pmf(k, trials, first), stats.binom.pmf(k, trials, second)
    return float(a @ fisher_rejects(trials, alpha) @ b)


def detectable_difference(trials: int, rate: float, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """Difference in points, around ``rate``, that Fisher's exact test finds with probability ``power``.

    Where ``rate`` is near 0 or 1, the difference extends to the other side.
    """
    rejects = fisher_rejects(trials, alpha)
    k = np.arange(trials + 1)

    def excess(gap: float) -> float:
        low = min(max(rate - gap / 2, 0.0), 1 - gap)
        first, second = stats.binom.pmf(k, trials, low), stats.binom.pmf(k, trials, low + gap)
        return float(first @ rejects @ second) - power

    if excess(1.0) < 0:
        return None
    return 100 * float(optimize.brentq(excess, 1e-9, 1.0, xtol=1e-4))


def policies_for_correlation(
    correlation: float, above: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Independent policies with which a true correlation is shown to exceed ``above``.

    ((z_{1 - alpha/2} + z_power) / (atanh r - atanh r0))^2 + 3, Fisher's z (1921); at least 4.
    """
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    return max(4, math.ceil((z / (math.atanh(correlation) - math.atanh(above))) ** 2 + 3))


def plan_lines(plan: Plan) -> str:
    """The plan as sentences."""
    config = plan.config
    low, high = (100 * value for value in config.rates)
    sure = f"{100 * config.power:g} % chance of finding it, {100 * config.alpha:g} % of a false one"
    n = config.trials
    race = plan.race if plan.race <= MOST_EPISODES else None
    lines = [
        f"To tell a policy of {high:g} % from one of {low:g} % ({sure}):",
        f"  simulated, shared starts, one pair: {_count(plan.paired, 'episodes per policy')}",
        f"  simulated, shared starts, all pairs of {config.policies} policies: "
        f"{_count(plan.paired_family, 'episodes per policy')}",
        f"  simulated, `real2sim rank`, {config.policies} policies: "
        + ("" if race is None else "about ")
        + _count(race, "episodes per policy of that pair"),
        f"  real trials, one pair: {_count(plan.unpaired, 'per policy')}",
        f"With {n} real trials per policy:",
        f"  a rate seen as {config.rate:g} % lies between {100 * plan.interval[0]:.0f} and "
        f"{100 * plan.interval[1]:.0f} % (95 %)",
    ]
    if plan.fewest_apart is None:
        lines.append("  no outcome whatever tells two policies apart")
    else:
        at_best = f"  at best, a difference of {100 * plan.fewest_apart / n:.0f} points ({plan.fewest_apart} of {n})"
        middle = plan.apart_in_the_middle
        around = "" if middle is None else f"; around {config.rate:g} %, one of {100 * middle / n:.0f} points"
        lines.append(f"{at_best} can be shown to be real{around}")
    found = (
        "no difference" if plan.detectable is None else f"a true difference of {plan.detectable:.0f} points"
    )
    lines.append(f"  {found} is found with {100 * config.power:g} % chance")
    lines.append(
        f"To show that r is above {config.correlation_above:g} where it is {config.correlation:g}: {plan.policies} "
        "policies, each from a training run of its own"
    )
    return "\n".join(lines)


def _count(value: int | None, unit: str) -> str:
    return "more than a million" if value is None else f"{value} {unit}"
