"""Worlds whose truth is known, in which every interval and test of the report is tried many times.

``python tests/report/simulated_worlds.py`` prints the table of docs/statistics.md; ``test_coverage.py`` asserts
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from real2sim.report.correlation import kendall, pearson, spearman
from real2sim.report.gaps import agreement_by_length
from real2sim.report.jackknife import (
    FEWEST_RUNS_FOR_RANKS,
    cluster_t_interval,
    correlation_interval,
    leave_one_out,
    size_interval,
)
from real2sim.report.judge_error import JudgeError, balanced_accuracy_interval, rogan_gladen
from real2sim.report.noise_ceiling import noise_ceiling
from real2sim.report.paired_tests import compare_policies, mcnemar_exact, stratified_exact
from real2sim.report.permutation import permutation_test
from real2sim.report.prediction_powered import prediction_powered_mean
from real2sim.report.rank_violation import mmrv, mmrv_interval
from real2sim.report.ranking import FAMILY_ERROR, posterior_draws
from real2sim.report.rates import newcombe, wilson
from real2sim.report.sequential import confidence_sequence, episodes_to_separate, sequential_test
from real2sim.report.true_rates import binomial_noise, true_correlation, true_gap


@dataclass(frozen=True)
class Trial:
    """Outcome of one interval or test in one world."""

    what: str
    world: str
    kind: str
    """coverage, error or power."""
    measured: float
    least: float
    most: float
    times: int = 0
    """How often it was drawn; 0 if every outcome was added up."""

    @property
    def kept(self) -> bool:
        """Within the limits, give or take three standard errors of the simulation."""
        slack = 3 * np.sqrt(self.measured * (1 - self.measured) / self.times) if self.times else 0.0
        return bool(self.least - slack <= self.measured <= self.most + slack)


def coverage(what: str, world: str, hits: list[bool] | np.ndarray, least: float) -> Trial:
    return Trial(what, world, "coverage", float(np.mean(hits)), least, 1.0, len(hits))


def error(what: str, world: str, hits: list[bool] | np.ndarray, most: float) -> Trial:
    return Trial(what, world, "error", float(np.mean(hits)), 0.0, most, len(hits))


def rates_exact() -> list[Trial]:
    """Wilson and Newcombe, by adding up all outcomes instead of drawing."""
    out = []
    for n in (20, 50, 100):
        k = np.arange(n + 1)
        low, high = wilson(k, np.full(n + 1, n))
        grid = np.linspace(0.02, 0.98, 193)
        held = [float((stats.binom.pmf(k, n, p) * ((low <= p) & (p <= high))).sum()) for p in grid]
        what, mean = "Wilson interval of a rate", float(np.mean(held))
        out.append(Trial(what, f"n = {n}, mean over rates 0.02 to 0.98", "coverage", mean, 0.945, 1.0))
        out.append(Trial(what, f"n = {n}, worst rate", "coverage", min(held), 0.9, 1.0))
    for p, q in ((0.5, 0.5), (0.9, 0.8), (0.3, 0.05)):
        k, m = np.arange(61), np.arange(101)
        a, b = wilson(k, np.full(61, 60)), wilson(m, np.full(101, 100))
        sim = tuple(v[:, None] for v in (k / 60, *a))
        real = tuple(v[None, :] for v in (m / 100, *b))
        low, high = newcombe(sim, real)
        chance = stats.binom.pmf(k, 60, p)[:, None] * stats.binom.pmf(m, 100, q)[None, :]
        held = (chance * ((low <= p - q) & (p - q <= high))).sum()
        world = f"rates {p} and {q}, n = 60 and 100"
        out.append(Trial("Newcombe interval of a gap", world, "coverage", float(held), 0.94, 1.0))
    return out


@dataclass(frozen=True)
class Geometry:
    """A population of policies, how many of them are drawn, and how often each is run."""

    runs: int
    extra: int = 0
    """Checkpoints of the first training run beside its first."""
    tasks: int = 1
    noise: float = 0.1
    """Standard deviation of what the simulator does to a policy's rate; half as much again on each task."""
    episodes: int = 20
    trials: int = 20
    unrelated: bool = False
    paired: bool = False
    """Both worlds start from the same frames, on which outcomes resemble each other."""

    def __str__(self) -> str:
        policies = f"{self.runs} training runs" + (
            f", one with {self.extra + 1} checkpoints" if self.extra else ""
        )
        kind = "unrelated simulator" if self.unrelated else f"simulator noise {self.noise}"
        starts = ", shared starts" if self.paired else ""
        tasks = f"{self.tasks} task{'s pooled' if self.tasks > 1 else ''}"
        return f"{policies}, {tasks}, {kind}, n = {self.episodes} and {self.trials}{starts}"

    @property
    def families(self) -> np.ndarray:
        """Training run of every point."""
        runs = np.r_[np.zeros(self.extra, int), np.arange(self.runs)]
        return np.repeat(runs, self.tasks)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """True (simulated, real) rates (size points) of policies drawn at random."""
        runs, policies = self.runs, self.runs + self.extra
        owner = np.r_[np.zeros(self.extra, int), np.arange(runs)]

        def spread(scale: float, *shape: int) -> np.ndarray:
            return rng.normal(0, scale, (size, *shape))

        def world() -> np.ndarray:
            skill = rng.uniform(0, 1, (size, runs))[:, owner, None] + spread(0.1, policies, 1)
            return skill + (spread(0.1, policies, self.tasks) if self.tasks > 1 else 0)

        hard = np.linspace(-0.15, 0.15, self.tasks) if self.tasks > 1 else np.zeros(1)
        real, half = world() + hard, self.noise / 2
        if self.unrelated:
            sim = world() + hard
        else:
            sim = real + spread(self.noise, runs)[:, owner, None] + spread(half, policies, self.tasks)
        return np.clip(sim, 0, 1).reshape(size, -1), np.clip(real, 0, 1).reshape(size, -1)

    def measure(
        self, rng: np.random.Generator, sim: np.ndarray, real: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measured rates, and the covariance of their noise as the report estimates it, of true rates (..., points)."""
        if not self.paired:
            shape = np.broadcast_shapes(sim.shape)
            return (
                rng.binomial(self.episodes, sim) / self.episodes,
                rng.binomial(self.trials, real) / self.trials,
                np.zeros(shape),
            )
        # A start succeeds in both worlds if it is easy enough: one uniform number per start is behind both outcomes.
        luck = rng.random((*sim.shape, self.trials))
        own = np.where(rng.random(luck.shape) < 0.5, luck, rng.random(luck.shape))
        a, b = (own < sim[..., None]) * 1.0, (luck < real[..., None]) * 1.0
        shared = ((a * b).mean(-1) - a.mean(-1) * b.mean(-1)) / (self.trials - 1)
        return a.mean(-1), b.mean(-1), shared


GEOMETRIES = (
    Geometry(4),
    Geometry(4, tasks=2),
    Geometry(5, tasks=2, noise=0.3),
    Geometry(8),
    Geometry(8, noise=0.3),
    Geometry(8, episodes=100, trials=100),
    Geometry(8, tasks=2),
    Geometry(8, tasks=2, noise=0.3, episodes=50, trials=100),
    Geometry(8, tasks=2, noise=0.02),
    Geometry(8, tasks=2, unrelated=True),
    Geometry(8, tasks=2, episodes=50, trials=50, paired=True),
    Geometry(16),
    Geometry(16, tasks=2),
    Geometry(16, tasks=2, episodes=50, trials=100),
    Geometry(16, tasks=2, noise=0.3, episodes=50, trials=100),
    Geometry(13, extra=3, tasks=2),
    Geometry(13, extra=3, tasks=2, episodes=50, trials=100),
)


def correlations(times: int, geometries: tuple[Geometry, ...] = GEOMETRIES) -> list[Trial]:
    """Intervals of every measure that asks about other training runs: held by the whole population's value?"""
    out = []
    for number, world in enumerate(geometries):
        rng = np.random.default_rng([1, number])
        true_sim, true_real = world.draw(rng, 20_000)
        big_sim, big_real, _ = world.measure(rng, true_sim, true_real)
        gap, true_gap_size = np.abs(big_sim - big_real).mean(), np.abs(true_sim - true_real).mean()
        truth = {
            "Interval of r": pearson(big_sim, big_real),
            "Interval of r of the true rates": pearson(true_sim, true_real),
            "Interval of Spearman's rho": spearman(big_sim[:4000], big_real[:4000]),
            "Interval of Kendall's tau": kendall(big_sim[:2000], big_real[:2000]),
            "t interval of the mean gap": float((big_sim - big_real).mean()),
            "Log t interval of the mean absolute gap": float(gap),
            "Interval of the mean absolute gap of the true rates": float(true_gap_size),
        }
        held: dict[str, list[bool]] = {name: [] for name in truth}
        sims, reals, shared = world.measure(rng, *world.draw(rng, times))
        for sim, real, covariance in zip(sims, reals, shared, strict=True):
            for name, (low, high) in intervals(sim, real, covariance, world).items():
                held[name].append(low - 1e-9 <= truth[name] <= high + 1e-9)
        out += [
            coverage(name, str(world), hits, 0.93) for name, hits in held.items() if len(hits) > times / 4
        ]
    return out


def intervals(
    sim: np.ndarray, real: np.ndarray, shared: np.ndarray, world: Geometry
) -> dict[str, tuple[float, float]]:
    """Every interval that the report would print for these rates; what it does not print is left out."""
    families = world.families
    found: dict[str, tuple[float, float]] = {}
    noise = binomial_noise(
        (sim, np.full(len(sim), world.episodes)), (real, np.full(len(real), world.trials)), shared
    )
    assert noise is not None
    low, high = correlation_interval(pearson(sim, real), leave_one_out(pearson, sim, real, families))
    if not np.isnan(low):
        found["Interval of r"] = low, high
        corrected = true_correlation(sim, real, noise, (pearson(sim, real), low, high))
        if corrected is not None:
            found["Interval of r of the true rates"] = corrected[1:]
    if world.runs >= FEWEST_RUNS_FOR_RANKS:
        for name, function in (("Spearman's rho", spearman), ("Kendall's tau", kendall)):
            low, high = correlation_interval(
                function(sim, real), leave_one_out(function, sim, real, families)
            )
            if not np.isnan(low):
                found[f"Interval of {name}"] = low, high
    gaps = sim - real
    found["t interval of the mean gap"] = cluster_t_interval(gaps, families)
    low, high = found["Log t interval of the mean absolute gap"] = size_interval(np.abs(gaps), families)
    found["Interval of the mean absolute gap of the true rates"] = true_gap(
        gaps, noise, (float(np.abs(gaps).mean()), low, high)
    )[1:]
    return found


def violations(times: int) -> list[Trial]:
    out = []
    rng = np.random.default_rng(2)
    ladder = np.linspace(0.1, 0.9, 8)
    swapped = ladder[[1, 0, 2, 3, 5, 4, 7, 6]]
    worlds = {
        "perfect simulator": (ladder, ladder),
        "neighbours swapped": (swapped, ladder),
        "better half reversed": (np.concatenate([ladder[:4], ladder[:3:-1]]), ladder),
        "reversed": (ladder[::-1], ladder),
        "all real rates 0.5": (ladder, np.full(8, 0.5)),
    }
    for name, (sim, real) in worlds.items():
        for n in (50, 200):
            truth, held = mmrv(sim, real), []
            counts = np.full(8, float(n))
            for _ in range(times):
                low, high = mmrv_interval(
                    (rng.binomial(n, sim), counts), (rng.binomial(n, real), counts), draws=1000
                )
                held.append(low <= truth <= high)
            out.append(coverage("Interval of MMRV", f"{name}, 8 policies, n = {n}", held, 0.95))
    for n in (25, 100):
        inside = []
        for _ in range(times):
            counts = np.full(8, float(n))
            sim, real = rng.binomial(n, ladder), rng.binomial(n, ladder)
            ceiling = noise_ceiling(real, counts, counts, draws=500)
            inside.append(ceiling.pearson_low <= pearson(sim, real) <= ceiling.pearson_high)
        out.append(coverage("Range of r of a perfect simulator", f"8 policies, n = {n}", inside, 0.93))
    return out


def judges(times: int) -> list[Trial]:
    out = []
    rng = np.random.default_rng(3)
    for rate, se, sp, n, labels in (
        (0.5, 0.95, 0.95, 60, 150), (0.1, 0.92, 0.97, 60, 150),
        (0.95, 0.9, 0.9, 100, 60), (0.02, 0.98, 0.98, 50, 300),
    ):  # fmt: skip
        world = f"rate {rate}, sensitivity {se}, specificity {sp}, n = {n}, {labels} labels"
        corrected, balanced = [], []
        for _ in range(times):
            positives = labels // 2
            good, bad = rng.binomial(positives, se), rng.binomial(labels - positives, sp)
            judge = JudgeError("", "", good, positives - good, labels - positives - bad, bad)
            seen = rng.binomial(n, rate * se + (1 - rate) * (1 - sp))
            _, low, high = rogan_gladen(np.array(float(seen)), np.array(float(n)), judge)
            corrected.append(low <= rate <= high)
            low, high = balanced_accuracy_interval(judge)
            balanced.append(low <= (se + sp) / 2 <= high)
        out.append(coverage("Corrected rate (Lang–Reiczigel)", world, corrected, 0.94))
        out.append(coverage("Balanced accuracy of the judge", world, balanced, 0.94))
    return out


def few_trials(times: int) -> list[Trial]:
    out = []
    rng = np.random.default_rng(4)
    for rate in (0.1, 0.5, 0.9):
        for agreement in (0.7, 0.95):
            for n in (20, 60):
                held = []
                for _ in range(times):
                    truth = rng.random(n + 200) < rate
                    seen = np.where(rng.random(n + 200) < agreement, truth, ~truth).astype(float)
                    found = prediction_powered_mean(truth[:n].astype(float), seen[:n], seen[n:])
                    held.append(found.low <= rate <= found.high)
                world = (
                    f"rate {rate}, simulator right in {agreement:.0%}, {n} real trials, 200 further starts"
                )
                out.append(coverage("Prediction-powered rate", world, held, 0.94))
    return out


def rankings(times: int) -> list[Trial]:
    out = []
    rng = np.random.default_rng(5)
    for p in ((0.5, 0.5), (0.05, 0.9)):
        held = []
        for _ in range(times):
            low, high = np.quantile(
                posterior_draws(rng.binomial(50, [p]), np.full((1, 2), 50), 2000), [0.025, 0.975]
            )
            held.append(low <= np.mean(p) <= high)
        out.append(
            coverage("Credible interval of a policy's rate", f"two tasks at {p[0]} and {p[1]}", held, 0.94)
        )
    for shared in (True, False):
        wrong = []
        for _ in range(max(times // 4, 100)):
            hard = rng.random(60)
            rows = pd.DataFrame(
                {
                    "policy": np.repeat([f"p{i}" for i in range(6)], 60),
                    "task": "x",
                    "success": (np.tile(hard, 6) * 0.5 + rng.random(360) * 0.5 < 0.5).astype(float),
                }
            )
            if shared:
                rows["start"] = np.tile(np.arange(60), 6).astype(str)
            p_family = compare_policies(rows, [f"p{i}" for i in range(6)]).table["p_family"]
            wrong.append(bool((p_family <= FAMILY_ERROR).any()))
        kind = "paired" if shared else "unpaired"
        out.append(
            error(f"Letters: any false difference, {kind}", "6 equal policies, 60 starts", wrong, 0.05)
        )
    wrong = []
    for _ in range(times):
        a, b = rng.random(50) < 0.6, rng.random(50) < 0.6
        wrong.append(float(mcnemar_exact(np.array((a & ~b).sum()), np.array((b & ~a).sum()))) <= 0.05)
    out.append(error("Exact McNemar test", "equal policies at 0.6, 50 starts", wrong, 0.05))
    wrong = []
    for _ in range(times):
        one, two = rng.binomial([40, 60], [0.2, 0.8]), rng.binomial([60, 40], [0.2, 0.8])
        wrong.append(stratified_exact(np.c_[one, [40, 60]], np.c_[two, [60, 40]]) <= 0.05)
    out.append(
        error("Exact test on counts per task", "equal policies, unequal tasks and counts", wrong, 0.05)
    )
    wrong = [permutation_test(rng.random(6), rng.random(6)).p <= 0.05 for _ in range(times)]
    out.append(error("Permutation test of r", "6 policies, simulator unrelated", wrong, 0.05))
    return out


def stopping(times: int) -> list[Trial]:
    out = []
    rng = np.random.default_rng(6)
    stopped = [
        sequential_test(rng.random(1000) < 0.6, rng.random(1000) < 0.6) is not None for _ in range(times)
    ]
    world = "equal policies at 0.6, looked at after each of 1000 starts"
    out.append(error("Sequential test: ever a false difference", world, stopped, 0.05))
    found = [sequential_test(rng.random(300) < 0.7, rng.random(300) < 0.5) is not None for _ in range(times)]
    out.append(Trial("Sequential test: difference found", "0.7 against 0.5, up to 300 starts", "power",
                     float(np.mean(found)), 0.9, 1.0))  # fmt: skip
    held = []
    n = np.arange(1, 201)
    for _ in range(max(times // 20, 50)):
        k = np.cumsum(rng.random(200) < 0.3)
        low, high = confidence_sequence(k, n)
        held.append(bool(((low <= 0.3) & (high >= 0.3)).all()))
    out.append(
        coverage("Confidence sequence of a rate", "rate 0.3, at all times up to 200 episodes", held, 0.95)
    )
    n = episodes_to_separate(0.6, 0.4)
    hits = []
    for _ in range(times):
        a, b = rng.binomial(n, 0.6), rng.binomial(n, 0.4)
        hits.append(stratified_exact(np.array([[a, n]]), np.array([[b, n]])) <= 0.05)
    out.append(
        Trial("Episodes needed, unpaired", f"0.6 against 0.4: {n}", "power", float(np.mean(hits)), 0.76, 0.88)
    )
    n = episodes_to_separate(0.6, 0.5, 0.1, 0.3)
    b = rng.multinomial(n, [0.2, 0.1, 0.7], size=times)
    hits = mcnemar_exact(b[:, 0], b[:, 1]) <= 0.05
    out.append(Trial("Episodes needed, paired", f"0.2 against 0.1 one-sided: {n}", "power", float(np.mean(hits)),
                     0.77, 0.86))  # fmt: skip
    return out


def horizons(times: int) -> list[Trial]:
    rng = np.random.default_rng(7)
    claims = []
    for _ in range(times):
        pairs = pd.DataFrame(
            {"steps": rng.integers(5, 20, 300), "agree": (rng.random(300) < 0.9).astype(float)}
        )
        claims.append(not agreement_by_length(pairs).statement.startswith("At no length"))
    return [
        error("Length past which not to trust: false claim", "agreement 0.9 at every length", claims, 0.05)
    ]


WORLDS: dict[str, Callable[[int], list[Trial]]] = {
    "rates": lambda times: rates_exact(),
    "correlations": correlations,
    "violations": lambda times: violations(max(times // 5, 100)),
    "judges": judges,
    "few trials": few_trials,
    "rankings": rankings,
    "stopping": stopping,
    "horizons": lambda times: horizons(max(times // 4, 100)),
}


def main() -> None:
    print("| interval or test | world | wanted | measured |\n| --- | --- | --- | --- |")
    for make in WORLDS.values():
        for t in make(2000):
            wanted = {
                "coverage": "0.95",
                "error": f"≤ {t.most:.2f}",
                "power": "0.8" if t.most < 1 else "high",
            }[t.kind]
            mark = "" if t.kept else " **missed**"
            print(f"| {t.what} | {t.world} | {wanted} | {t.measured:.3f}{mark} |", flush=True)


if __name__ == "__main__":
    main()
