"""Success rates published by others, as data for the same statistics (sources in ``data/README.md``)."""

from __future__ import annotations

from importlib import resources

import pandas as pd

from real2sim.report.rates import published_comparison


def _table(name: str) -> pd.DataFrame:
    with (resources.files("real2sim.report") / "data" / name).open(encoding="utf-8") as file:
        return pd.read_csv(file)


def simpler_real_rates() -> pd.DataFrame:
    """Real rates of the SIMPLER study: policy, task, subtask, success_rate, n_trials, source."""
    return _table("simpler_real_rates.csv")


def simpler_simulated_rates() -> pd.DataFrame:
    """Simulated rates of the SIMPLER study (visual matching), in the same columns."""
    return _table("simpler_simulated_rates.csv")


def simpler_families() -> dict[str, str]:
    """Policy -> training run; three of SIMPLER's policies are checkpoints of one."""
    table = _table("simpler_families.csv")
    return dict(zip(table["policy"], table["family"], strict=True))


def simpler_comparison() -> pd.DataFrame:
    """SIMPLER's simulated and real rates side by side (see ``compare_rates``), one set per robot."""
    simulated = simpler_simulated_rates()
    rows = published_comparison(simulated, simpler_real_rates(), simpler_families())
    robot = simulated.drop_duplicates("task").set_index("task")["suite"]
    rows["set"] = rows["task"].map(robot)
    return rows
