"""Whether a world model, a judge, policies and training data go with a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from real2sim.actions import rt1_robot
from real2sim.checks import expanded
from real2sim.episodes.keep_out import kept_out, read_keep_out
from real2sim.episodes.npz import dataset_files, read_npz
from real2sim.evaluation.findings import Finding
from real2sim.evaluation.policy_source import PolicySource
from real2sim.evaluation.suite_sources import first_frame
from real2sim.model_folder import check_weights_files, read_config, read_kind
from real2sim.robot import read_robot
from real2sim.robot_match import check_same_robot
from real2sim.simulation.suite import Start, Suite
from real2sim.vid2world.load import MODEL, RELEASED
from real2sim.vid2world.model_robot import model_config
from real2sim.wording import did_you_mean
from real2sim.worlds import PHYSICS


def world_findings(world: str | None, suite: Suite) -> Iterator[Finding]:
    """Whether a world model draws the suite's robot; its configuration is read, and whether its weights are whole."""
    if world is None or world == PHYSICS:
        return
    folder = suite.folder / MODEL if world == MODEL else expanded(world)
    kind = read_kind(folder)
    if kind not in (MODEL, RELEASED):
        yield Finding(True, f"{folder} holds a {kind}, expected a world model")
        return
    robot = read_robot(folder)
    if robot is not None:
        check_same_robot(robot, f"the world model in {folder}", suite.robot, f"suite {suite.name!r}")
    size = model_config(folder).image_size
    height, width = suite.robot.canvas_size
    if size != (height, width):
        yield Finding(
            True,
            f"the world model in {folder} draws frames of {size[0]} x {size[1]} pixels, the suite has "
            f"{height} x {width}",
        )
        return
    if robot is None and suite.robot.action_names != rt1_robot().action_names:
        yield Finding(
            True,
            f"the world model in {folder} has no robot.json, so it is told RT-1's 13 numbers; the suite's robot has "
            f"{', '.join(suite.robot.action_names[:4])} ...",
        )
        return
    check_weights_files(folder)
    yield Finding(False, f"the world model in {folder} fits")


def judge_findings(judge: Path | None, suite: Suite, starts: dict[str, list[Start]]) -> Iterator[Finding]:
    """Whether a judge knows the suite's frames and instructions."""
    if judge is None:
        yield Finding(False, "no judge: episodes are to be judged by people or by one named with --judge")
        return
    if judge.suffix == ".csv":
        yield Finding(False, f"{judge} holds people's labels, which name episodes of a run")
        return
    from real2sim.success.classifier import KIND, ClassifierConfig
    from real2sim.success.goals import goal_index

    config = read_config(judge, KIND, ClassifierConfig)
    check_weights_files(judge)
    if config.image_size != suite.robot.canvas_size:
        yield Finding(
            True,
            f"the judge in {judge} looks at frames of {config.image_size[0]} x {config.image_size[1]} pixels, the "
            f"suite has {suite.robot.canvas_size[0]} x {suite.robot.canvas_size[1]}",
        )
    bad = False
    for instruction in sorted({start.instruction for items in starts.values() for start in items}):
        try:
            goal_index(config.goals, instruction)
        except ValueError as error:
            bad = True
            yield Finding(True, f"{judge}: {error}")
    if not bad:
        yield Finding(False, f"the judge in {judge} knows all instructions")


def policy_findings(source: PolicySource, suite: Suite, starts: dict[str, list[Start]]) -> Iterator[Finding]:
    """Whether a policy knows the suite's instructions; that it fits the robot has been checked."""
    if source.kind != "rt1":
        yield Finding(False, f"policy {source.name} fits")
        return
    policy = source.load("cpu")([])
    known = getattr(policy, "instructions", None)
    told = sorted({start.instruction for items in starts.values() for start in items})
    unknown = [] if known is None else [instruction for instruction in told if instruction not in known]
    if unknown:
        near = did_you_mean(unknown[0], list(known))  # type: ignore[arg-type]
        yield Finding(
            True,
            f"policy {source.name} has no embedding of {unknown[0]!r}{near}"
            f"{f', nor of {len(unknown) - 1} other instructions' if len(unknown) > 1 else ''}; add them with "
            "`real2sim convert embeddings`",
        )
    else:
        yield Finding(False, f"policy {source.name} fits and knows all instructions")


def family_findings(sources: Sequence[PolicySource]) -> Iterator[Finding]:
    """How many independent trainings the policies are."""
    trained = [source for source in sources if source.kind not in ("replay", "random")]
    families = {source.family for source in trained}
    if trained:
        text = (
            f"{len(trained)} policies come from {len(families)} training runs ({', '.join(sorted(families))})"
        )
        yield Finding(False, f"{text}; say otherwise with FAMILY:NAME=PLACE")


def data_findings(folder: Path, suite: Suite, starts: dict[str, list[Start]]) -> Iterator[Finding]:
    """Whether a training saw episodes that starts come from."""
    files, out = dataset_files(folder), kept_out(folder)
    sources = read_keep_out(suite.folder)
    frames = {start.frame.tobytes(): start for items in starts.values() for start in items}
    seen = []
    size = suite.robot.canvas_size
    for path in files:
        if path.name in out:
            continue
        source, first = read_npz(path, (), ("source",)).get("source"), first_frame(path)
        if first.shape[:2] != size:
            yield Finding(
                True,
                f"{path} has frames of {first.shape[0]} x {first.shape[1]} pixels, the suite has {size[0]} x {size[1]}"
                " and a model that is trained there draws other frames; convert the data to the suite's size",
            )
            return
        if (source is not None and str(source) in sources) or first.tobytes() in frames:
            seen.append(path.name)
    if seen:
        yield Finding(
            True,
            f"{len(seen)} episodes in {folder} are starts of the suite, e.g. {seen[0]}; a training that saw them "
            "has seen the answers: make the suite from this folder, or convert the data with --keep-out",
        )
    else:
        yield Finding(
            False, f"none of the {len(files) - len(out)} episodes in {folder} that trainings see is a start"
        )
