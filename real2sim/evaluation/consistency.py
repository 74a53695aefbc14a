"""Which policies a simulator can speak for: consistency is measured with a run, and judged by the suite's threshold.

A suite that has recorded episodes (a dataset folder ``recorded``) lets every rollout in a world model measure how far
apart each policy's actions on recorded and on drawn frames are.  ``consistency.json`` of the suite says how large that
may be before simulated and real rates part, as far as that has been found out with other policies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from real2sim.episodes.npz import dataset_robot
from real2sim.files import read_json, write_json, write_text
from real2sim.metrics.policy_consistency import (
    BEGINS,
    DEPTHS,
    RecordedEpisodes,
    draw_again,
    measure_consistency,
)
from real2sim.model_folder import config_from_dict
from real2sim.policies.trained import check_policy_folders, load_policy
from real2sim.robot import read_robot
from real2sim.simulation.suite import Suite
from real2sim.vid2world.load import load_model
from real2sim.worlds import PHYSICS_WORLD, ModelWorld, open_world

if TYPE_CHECKING:
    import pandas as pd

    from real2sim.evaluation.policy_source import PolicySource
    from real2sim.evaluation.rollout_config import RolloutConfig
    from real2sim.metrics.measure import MetricsConfig

RECORDED_FOLDER = "recorded"
CONSISTENCY_FILE = "consistency.json"
NOT_JUDGED = "this simulator cannot judge"
"""The set of policies beyond the threshold."""
PANEL_EPISODES = 24
ACTING = ("rt1", "imitation", "python", "remote")
"""Kinds of policies that look at frames."""


@dataclass(frozen=True)
class ConsistencyLimit:
    """How large a policy's lasting difference may be, and what that rests on."""

    threshold: float
    """Lasting difference, in half ranges of the robot's action, beyond which a simulator is not believed."""
    policies: int
    """Policies on which it was fitted."""
    source: str
    """Which policies and which world model these were."""

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"threshold must be above 0, got {self.threshold}")


def read_limit(suite: Suite) -> ConsistencyLimit | None:
    """The suite's threshold; None where none has been fitted."""
    path = suite.folder / CONSISTENCY_FILE
    return config_from_dict(ConsistencyLimit, read_json(path), str(path)) if path.is_file() else None


def unmeasured(config: RolloutConfig, suite: Suite, sources: Sequence[PolicySource]) -> list[PolicySource]:
    """Policies of a run that are to be measured and have not been.

    None in physics, without recorded episodes, and for robots whose policies are given a state, which is not recorded
    frame by frame in the world's terms.
    """
    if not config.consistency or config.world == PHYSICS_WORLD or suite.robot.state_from is not None:
        return []
    if not (suite.folder / RECORDED_FOLDER).is_dir():
        return []
    known = _measured(config.out)
    return [source for source in sources if source.kind in ACTING and source.name not in known]


def _measured(run: Path) -> dict[str, Any]:
    """What was measured with a run; policies measured before lasting differences were are left out."""
    path = run / CONSISTENCY_FILE
    values = read_json(path) if path.is_file() else {"policies": {}}
    policies = values.get("policies") if isinstance(values, dict) else None
    if not isinstance(policies, dict) or not all(
        isinstance(tasks, dict) and all(isinstance(task, dict) for task in tasks.values())
        for tasks in policies.values()
    ):
        raise ValueError(
            f"{path} holds no policies with their tasks; remove the file, the next `real2sim rollout` "
            "measures them again"
        )
    return {
        policy: tasks
        for policy, tasks in policies.items()
        if all("lasting" in values for values in tasks.values())
    }


def measure_run(
    config: RolloutConfig, suite: Suite, sources: Sequence[PolicySource], device: str = "cpu"
) -> None:
    """Measure the policies of a run that have not been measured yet, and write ``consistency.json`` into it.

    A policy acts on the episodes that were recorded for its task, or on all where none were.
    """
    missing, known = unmeasured(config, suite, sources), _measured(config.out)
    if missing:
        recorded = RecordedEpisodes.from_folder(suite.folder / RECORDED_FOLDER, suite)
        world = open_world(config.world, suite, device, config.sampling)
        redrawn = draw_again(world, recorded, seed=config.seed)
        for source in missing:
            make = source.load(device)
            known[source.name] = {}
            for name in source.tasks:
                task = suite.task(name)
                places = recorded.of(name) or range(len(recorded))
                told = [task.instruction] * len(places)
                measured = measure_consistency(
                    source.name,
                    make([]),
                    suite.robot,
                    recorded.part(places),
                    redrawn.part(places),
                    told,
                    name,
                )
                values = asdict(measured)
                values["at_depth"] = {str(depth): value for depth, value in measured.at_depth.items()}
                known[source.name][name] = values
            write_json(config.out / CONSISTENCY_FILE, {"episodes": len(recorded), "policies": known})


def check_panel(config: MetricsConfig) -> None:
    """Raise what keeps `panel` from measuring, before anything is drawn."""
    if config.model is None:
        raise ValueError("a panel of policies acts on frames that a model draws; name it with --model")
    check_policy_folders(config.panel)
    recorded = RecordedEpisodes.from_folder(config.data, count=config.episodes or PANEL_EPISODES)
    steps, needed = recorded.actions.shape[1], min(BEGINS) + max(DEPTHS)
    if steps < needed:
        raise ValueError(
            f"the episodes that {config.data} begins with have {steps} steps, a panel needs {needed}; leave "
            "--panel out or name recordings of longer episodes"
        )


def panel(config: MetricsConfig) -> pd.DataFrame:
    """Consistency of a panel of policies in a world model, on recorded episodes with their own instructions.

    Writes ``panel.csv``; columns: policy, distance, after 1, 5 and 10 drawn frames, shift, lasting, moments.
    """
    import pandas as pd

    check_panel(config)
    assert config.model is not None
    robot = read_robot(config.model) or dataset_robot(config.data)
    recorded = RecordedEpisodes.from_folder(config.data, count=config.episodes or PANEL_EPISODES)
    redrawn = draw_again(
        ModelWorld(load_model(config.model, config.device), robot), recorded, seed=config.seed
    )
    rows = []
    for folder in config.panel:
        policy = load_policy(folder, config.device)
        found = measure_consistency(
            folder.name, policy, robot, recorded, redrawn, recorded.instructions, "all"
        )
        after = {f"after {depth}": value for depth, value in found.at_depth.items()}
        rows.append(
            {
                "policy": found.policy,
                "distance": found.distance,
                **after,
                "shift": found.shift,
                "lasting": found.lasting,
                "moments": found.moments,
            }
        )
    table = pd.DataFrame(rows)
    write_text(config.out / "panel.csv", table.to_csv(index=False))
    return table


def lasting_differences(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, float]:
    """Policy -> its largest lasting difference over the tasks."""
    return {
        policy: max(float(values["lasting"]) for values in tasks.values())
        for policy, tasks in measured.items()
        if tasks
    }


def run_differences(run: Path) -> dict[str, float]:
    """What was measured with a run: policy -> lasting difference; empty for runs without."""
    return lasting_differences(_measured(run))


def set_apart(
    episodes: pd.DataFrame, measured: Mapping[str, float], limit: ConsistencyLimit | None
) -> tuple[pd.DataFrame, list[str]]:
    """The episodes, those of policies beyond the limit as a set of their own, and sentences for the report.

    Nothing is set apart without a limit; that is then said, and so is the number of policies that were not measured.
    """
    if not measured:
        return episodes, []
    acting = episodes.loc[episodes["set"] == "policies", "policy"].unique()
    unmeasured = sorted(set(acting) - set(measured))
    missing = f"; not measured: {', '.join(unmeasured)}" if unmeasured else ""
    if limit is None:
        order = sorted(measured.items(), key=lambda item: item[1])
        said = ", ".join(f"{name} {value:.2f}" for name, value in order)
        return episodes, [
            f"Policy consistency, the lasting difference of actions on recorded and on drawn frames: {said}{missing}. "
            "This suite has no threshold, so every policy is ranked."
        ]
    beyond = sorted(name for name in acting if measured.get(name, 0.0) > limit.threshold)
    apart = episodes["policy"].isin(beyond) & (episodes["set"] == "policies")
    episodes = episodes.assign(set=episodes["set"].where(~apart, NOT_JUDGED))
    named = ", ".join(f"{name} {measured[name]:.2f}" for name in beyond)
    consequence = f" ({named}); {NOT_JUDGED} them, and they are not ranked" if beyond else ""
    return episodes, [
        f"Policy consistency: {len(beyond)} of {len(acting)} policies lie beyond the threshold "
        f"{limit.threshold:.2f}{consequence}{missing}. It was fitted on {limit.policies} policies ({limit.source})."
    ]
