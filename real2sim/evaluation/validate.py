"""Is a world model good enough, before any policy is evaluated?  Held-out recordings are drawn again and compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from real2sim.checks import check_device, check_seed, check_whole
from real2sim.episodes.npz import dataset_robot
from real2sim.evaluation.replays import FEWEST, Replay, draw_replays, frame_error
from real2sim.evaluation.score_runs import GATE_FOLDER, JUDGE_FOLDER
from real2sim.files_together import write_together
from real2sim.metrics.policy_consistency import RecordedEpisodes, draw_again, measure_consistency
from real2sim.model_folder import CONFIG_FILE
from real2sim.policies.trained import check_policy_folders, load_policy
from real2sim.robot import Robot
from real2sim.simulation.contracts import Judge, World
from real2sim.simulation.suite import Suite, load_suite
from real2sim.vid2world.load import MODEL

if TYPE_CHECKING:
    import pandas as pd

    from real2sim.policies.policy import Policy
    from real2sim.report.gaps import LengthTrust
    from real2sim.report.validation import Outcomes, Validation
    from real2sim.success.validity import ValidityGate

LABELS = ".csv"
PAGE_FILE, NUMBERS_FILE = "validation.html", "validation.json"
SHOWN_PAIRS = 4
"""Replays that the page shows beside the recording, those that end otherwise first."""


@dataclass(frozen=True)
class ValidateConfig:
    """Find out how far a world model can be believed, from held-out recordings, before any policy is evaluated."""

    world: Annotated[Path, tyro.conf.Positional]
    """Folder of a world model; or a suite (its folder, or a shipped one's name), whose judge and gate are then used."""
    data: Path
    """Dataset folder with recorded episodes that no training has seen."""
    out: Path = Path("validation")
    """Folder for validation.html and validation.json."""
    judge: str | None = None
    """Model folder of a judge, or ``openai:URL#model=NAME``, for the agreement of outcomes; by default the suite's, if
    a suite is given."""
    gate: Path | None = None
    """Model folder of a validity gate, for action following; by default the suite's, if it has one."""
    policies: tuple[Path, ...] = ()
    """Policy folders whose actions on recorded and on drawn frames are compared."""
    episodes: int = 200
    """Most episodes that are drawn again, the first by name."""
    batch: int = 16
    """Episodes that are drawn together."""
    seed: int = 0
    """Seed of the drawing."""
    device: str = "cpu"
    """Where models run."""

    def __post_init__(self) -> None:
        check_whole("episodes", self.episodes, low=FEWEST)
        check_whole("batch", self.batch)
        check_seed("seed", self.seed)


def validate(config: ValidateConfig) -> Validation:
    """Draw the recordings again, measure, and write the page and the numbers."""
    from real2sim.report.validation import Validation
    from real2sim.report.validation_page import validation_page

    check_device(config.device)
    folder, suite = find_world(config.world)
    check_policy_folders(config.policies)
    robot = dataset_robot(config.data)
    judge_folder, gate_folder = _suite_parts(config, suite)
    judge = None
    if judge_folder is not None and judge_folder.endswith(LABELS):
        raise ValueError(
            f"{judge_folder} holds labels of episodes, which do not look at the video that is drawn; give a judge that "
            "does (`real2sim train classifier`)"
        )
    if judge_folder is not None:
        from real2sim.success.judge import open_judge

        judge = open_judge(judge_folder, config.device)
    gate = None if gate_folder is None else _gate(gate_folder, config)
    policies = [(folder.name, load_policy(folder, config.device)) for folder in config.policies]
    world = _open(folder, robot, config)
    replays = draw_replays(world, robot, config.data, config.episodes, config.batch, config.seed)
    why: dict[str, str] = {}
    outcomes = _outcomes(replays, judge, why)
    horizon = None if judge is None else _horizon(replays, judge, outcomes is not None)
    following = _following(replays, gate, why)
    found = Validation(
        world=str(config.world),
        data=str(config.data),
        episodes=len(replays),
        longest=max(len(replay.actions) for replay in replays),
        error=frame_error(replays),
        outcomes=outcomes,
        horizon=horizon,
        following=following,
        consistency=_consistency(world, robot, policies, config, why),
        why=why,
    )
    pairs = [
        (_caption(replay, outcomes), replay.recorded, replay.drawn) for replay in _shown(replays, outcomes)
    ]
    numbers = json.dumps(found.metrics(), indent=2, allow_nan=False) + "\n"
    page = validation_page(found, pairs)
    write_together({config.out / PAGE_FILE: page.encode(), config.out / NUMBERS_FILE: numbers.encode()})
    return found


def find_world(place: Path) -> tuple[Path, Suite | None]:
    """Folder of the world model, and the suite if one was named."""
    if (place / CONFIG_FILE).is_file():
        return place, None
    try:
        suite = load_suite(str(place))
    except ValueError as error:
        raise FileNotFoundError(
            f"{place} is neither the folder of a world model (no {CONFIG_FILE}) nor a suite; train a world model with "
            "`real2sim train world-model`"
        ) from error
    return suite.folder / MODEL, suite


def _suite_parts(config: ValidateConfig, suite: Suite | None) -> tuple[str | None, Path | None]:
    """The judge and the gate: those that were given, else those of the suite."""
    judge, gate = config.judge, config.gate
    if suite is not None:
        own = suite.folder / JUDGE_FOLDER
        judge = judge or (str(own) if own.is_dir() else None)
        own = suite.folder / GATE_FOLDER
        gate = gate or (own if own.is_dir() else None)
    return judge, gate


def _open(folder: Path, robot: Robot, config: ValidateConfig) -> World:
    from real2sim.vid2world.load import load_model
    from real2sim.vid2world.model_robot import check_model_robot
    from real2sim.worlds import ModelWorld

    check_model_robot(folder, robot, f"dataset {config.data}")
    return ModelWorld(load_model(folder, config.device), robot)


def _judged(
    judge: Judge, replays: Sequence[Replay], videos: Sequence[np.ndarray], chunk: int = 64
) -> np.ndarray:
    """Verdicts (n) as 0, 1 or NaN; the judge sees episodes of one length at a time or of several, as it likes."""
    found = []
    for first in range(0, len(replays), chunk):
        some = replays[first : first + chunk]
        probability = judge.judge(
            [replay.name for replay in some],
            list(videos[first : first + chunk]),
            [replay.instruction for replay in some],
        )
        found.append(np.where(np.isnan(probability), np.nan, probability >= 0.5))
    return np.concatenate(found)


def _outcomes(replays: list[Replay], judge: Judge | None, why: dict[str, str]) -> Outcomes | None:
    import pandas as pd

    from real2sim.report.validation import Outcomes

    known = [replay for replay in replays if replay.success is not None]
    if not known:
        why["outcomes"] = "the recordings do not say whether they succeeded (no array success)"
        return None
    if judge is None:
        why["outcomes"] = "no judge was given (--judge)"
        return None
    table = pd.DataFrame(
        {
            "episode": [replay.name for replay in known],
            "instruction": [replay.instruction for replay in known],
            "steps": [len(replay.actions) for replay in known],
            "recorded": [float(bool(replay.success)) for replay in known],
            "success": _judged(judge, known, [replay.drawn for replay in known]),
            "on_recorded": _judged(judge, known, [replay.recorded[: len(replay.drawn)] for replay in known]),
        }
    )
    if not table["success"].notna().any():
        why["outcomes"] = "the judge has no verdict on any drawn episode"
        return None
    return Outcomes(table)


def _horizon(replays: list[Replay], judge: Judge, known: bool) -> LengthTrust:
    """Agreement of the judge's verdicts on drawn and on recorded frames up to several lengths."""
    import pandas as pd

    from real2sim.report.horizon import agreement_by_horizon

    longest = max(len(replay.actions) for replay in replays)
    rows = []
    for length in sorted({max(1, round(longest * part / 10)) for part in range(1, 11)}):
        some = [replay for replay in replays if len(replay.actions) >= length]
        drawn = _judged(judge, some, [replay.drawn[: length + 1] for replay in some])
        recorded = _judged(judge, some, [replay.recorded[: length + 1] for replay in some])
        for replay, ours, theirs in zip(some, drawn, recorded, strict=True):
            ended = length == len(replay.actions) and replay.success is not None
            truth = float(bool(replay.success)) if ended else theirs
            if not np.isnan([ours, truth]).any():
                rows.append(("replay", replay.instruction, length, ours, truth))
    table = pd.DataFrame(rows, columns=["policy", "task", "steps", "success", "real_success"])
    return agreement_by_horizon(table)


def _gate(folder: Path, config: ValidateConfig) -> ValidityGate:
    from real2sim.success.gate_runs import check_robot
    from real2sim.success.validity import ValidityGate

    gate = ValidityGate.from_folder(folder, device=config.device)
    check_robot(gate, config.data)
    return gate


def _following(
    replays: list[Replay], gate: ValidityGate | None, why: dict[str, str]
) -> dict[str, Any] | None:
    if gate is None:
        why["following"] = "no validity gate was given (--gate; `real2sim train gate` makes one)"
        return None
    found: dict[str, Any] = {"refused_by_design": gate.config.limits.refused}
    for name in ("drawn", "recorded"):
        checks, errors = [], []
        for replay in replays:
            frames = replay.drawn if name == "drawn" else replay.recorded[: len(replay.drawn)]
            checks.append(gate.check(frames, replay.actions))
            errors.append(gate.statistics(frames, replay.actions)[0])
        starts = [check.invalid_from for check in checks if check.invalid_from is not None]
        found[name] = {
            "episodes": len(checks),
            "valid": sum(check.valid for check in checks),
            "error": float(np.median(np.concatenate(errors))),
            "invalid_from": float(np.median(starts)) if starts else None,
        }
    return found


def _consistency(
    world: World,
    robot: Robot,
    policies: Sequence[tuple[str, Policy]],
    config: ValidateConfig,
    why: dict[str, str],
) -> pd.DataFrame | None:
    import pandas as pd

    if not policies:
        why["consistency"] = "no policies were given (--policies)"
        return None
    if robot.state_from is not None:
        why["consistency"] = "policies of this robot are given a state, which is not measured on drawn frames"
        return None
    try:
        recorded = RecordedEpisodes.from_folder(config.data, count=min(config.episodes, 24))
        redrawn = draw_again(world, recorded, seed=config.seed)
    except ValueError as error:
        why["consistency"] = str(error)
        return None
    rows = []
    for name, policy in policies:
        found = asdict(
            measure_consistency(name, policy, robot, recorded, redrawn, recorded.instructions, "all")
        )
        after = {f"after_{depth}": value for depth, value in found.pop("at_depth").items()}
        rows.append(
            {**{key: found[key] for key in ("policy", "distance", "shift", "lasting", "moments")}, **after}
        )
    return pd.DataFrame(rows)


def _shown(replays: list[Replay], outcomes: Outcomes | None) -> list[Replay]:
    """Replays for the page: those that end otherwise first."""
    wrong: set[str] = set()
    if outcomes is not None:
        table = outcomes.replays.dropna(subset=["success"])
        wrong = set(table["episode"][table["success"] != table["recorded"]])
    return sorted(replays, key=lambda replay: (replay.name not in wrong, replay.name))[:SHOWN_PAIRS]


def _caption(replay: Replay, outcomes: Outcomes | None) -> str:
    words = f"{replay.name}, {replay.instruction!r}"
    if outcomes is None:
        return words
    row = outcomes.replays.set_index("episode")
    if replay.name not in row.index:
        return words
    drawn = row.loc[replay.name, "success"]
    said = "no verdict" if np.isnan(drawn) else "success" if drawn else "failure"
    return f"{words}: recorded {'success' if replay.success else 'failure'}, drawn {said}"


def validation_lines(found: Validation, out: Path) -> str:
    """What the command prints at its end."""
    _, headline, words = found.verdict
    missing = [f"not measured, {part}: {reason}" for part, reason in found.why.items()]
    return "\n".join([headline, words, *missing, f"page: {out / PAGE_FILE}, numbers: {out / NUMBERS_FILE}"])
