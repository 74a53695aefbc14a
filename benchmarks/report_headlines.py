"""How often each headline of the report is given in worlds whose truth is known, and how often it is false.

    python -m benchmarks.report_headlines --draws 200 > headlines.md

Every world has k independent training runs on one task with n simulated and n real episodes each, and is drawn anew
every time:

* *good*: the simulator's true rates are the real ones;
* *top half reversed*: the same, but the better half of the policies is in the opposite order;
* *unrelated*: the simulator's rates are the real ones in a random order;
* *near-ties*: all true rates lie within 4 points, unrelated to each other;
* *just too noisy*: errors of 15 points (standard deviation) are added to the real rates, of 100 such simulators the one
  whose true MMRV is the least above the limit of "ranks".

Real rates are a ladder from 0.1 to 0.9, or uniform at random where ``--layout random`` says so.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd

from real2sim.report.agreement import Measure
from real2sim.report.correlation import pearson
from real2sim.report.gaps import PAIR_COLUMNS, policy_pairs
from real2sim.report.jackknife import FEWEST_RUNS, correlation_interval, leave_one_out
from real2sim.report.permutation import Permutation, permutation_test
from real2sim.report.rank_violation import mmrv, mmrv_interval
from real2sim.report.rates import compare_rates
from real2sim.report.verdict import (
    CHANCE,
    LOOKS_RIGHT,
    NO_EVIDENCE,
    RANKED_MMRV,
    RANKS,
    REVERSED,
    SEPARATES,
    TOO_FEW,
    headline,
)

WORLDS = ("good", "top half reversed", "unrelated", "near-ties", "just too noisy")
POLICIES, EPISODES = (3, 4, 6, 8, 16), (20, 50, 100)
NAMES = {
    RANKS: "ranks", SEPARATES: "separates", LOOKS_RIGHT: "looks right", NO_EVIDENCE: "no evidence",
    REVERSED: "wrong way round", TOO_FEW: "too few",
}  # fmt: skip
FALSE = {
    "good": (NO_EVIDENCE, REVERSED),
    "top half reversed": (RANKS, REVERSED),
    "unrelated": (RANKS, SEPARATES, REVERSED),
    "near-ties": (RANKS, SEPARATES, REVERSED),
    "just too noisy": (RANKS, REVERSED),
}
"""Headlines that are not true in a world.  "No evidence" in a good world is a lack of power, not a false claim; it is
counted to show how often it happens.  "Looks right" says itself that it cannot be relied on."""
NO_PAIRS = pd.DataFrame(columns=PAIR_COLUMNS)


@dataclass(frozen=True)
class Evidence:
    """What the headline of one draw rests on."""

    points: int
    permutation: Permutation
    pearson: Measure
    mmrv_within: Measure
    mae_points: Measure


def true_rates(rng: np.random.Generator, world: str, k: int, layout: str) -> tuple[np.ndarray, np.ndarray]:
    """True (simulated, real) rates of one draw, real ones rising."""
    real = np.linspace(0.1, 0.9, k) if layout == "ladder" else np.sort(rng.uniform(0, 1, k))
    sim = real.copy()
    if world == "top half reversed":
        sim[k // 2 :] = real[k // 2 :][::-1]
    if world == "unrelated":
        sim = rng.permutation(real)
    if world == "near-ties":
        sim, real = 0.6 + rng.uniform(-0.02, 0.02, (2, k))
    if world == "just too noisy":
        others = [np.clip(real + rng.normal(0, 0.15, k), 0, 1) for _ in range(100)]
        sim = min(others, key=lambda other: (mmrv(other, real) <= RANKED_MMRV, mmrv(other, real)))
    return sim, real


def draw(rng: np.random.Generator, world: str, k: int, n: int, layout: str) -> str:
    """The headline of one report on a world.

    What a rule does not need any more is not computed: the rules are looked at in the order of `headline`.
    """
    counts = [rng.binomial(n, side).astype(float) for side in true_rates(rng, world, k, layout)]
    sim, real = counts[0] / n, counts[1] / n
    test = permutation_test(sim, real)
    r, low, high = pearson(sim, real), np.nan, np.nan
    if k >= FEWEST_RUNS:
        low, high = correlation_interval(r, leave_one_out(pearson, sim, real, np.arange(k)))
    size, order, pairs = np.full(k, float(n)), Measure(np.nan), NO_PAIRS
    if test.floor <= CHANCE and test.p <= CHANCE:
        order = Measure(mmrv(sim, real), *mmrv_interval((counts[0], size), (counts[1], size), draws=1000))
    if order.high <= RANKED_MMRV:
        names = pd.DataFrame({"policy": [f"p{i}" for i in range(k)], "task": "task"})
        tables = [names.assign(successes=count, episodes=float(n), rate=count / n) for count in counts]
        pairs = policy_pairs(compare_rates(tables[0].assign(set="set", family=names["policy"]), tables[1]))
    gap = Measure(float(100 * np.abs(sim - real).mean()))
    return headline(Evidence(k, test, Measure(r, low, high), order, gap), pairs)[1]


def shares(world: str, k: int, n: int, draws: int, layout: str = "ladder", seed: int = 0) -> dict[str, float]:
    """Share of draws that got each headline."""
    rng = np.random.default_rng([seed, WORLDS.index(world), k, n])
    said = [draw(rng, world, k, n, layout) for _ in range(draws)]
    return {name: said.count(name) / draws for name in NAMES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=200, help="reports per world")
    parser.add_argument("--layout", choices=("ladder", "random"), default="ladder", help="how real rates lie")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=WORLDS)
    parser.add_argument("--policies", nargs="+", type=int, choices=POLICIES, default=POLICIES, help="k")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"| world | k | n | {' | '.join(NAMES.values())} | false |")
    print("| --- |" + " --- |" * (len(NAMES) + 3))
    for world in arguments.worlds:
        for k in arguments.policies:
            for n in EPISODES:
                found = shares(world, k, n, arguments.draws, arguments.layout, arguments.seed)
                cells = " | ".join(f"{found[name]:.3f}" for name in NAMES)
                false = sum(found[name] for name in FALSE[world])
                print(f"| {world} | {k} | {n} | {cells} | {false:.3f} |", flush=True)


if __name__ == "__main__":
    main()
