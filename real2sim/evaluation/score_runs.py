"""Scoring runs with a judge, as one step of an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from real2sim.checks import check_device, check_kinds
from real2sim.episodes.run_folder import RunFolder, file_name
from real2sim.evaluation.launch import exact_float32
from real2sim.evaluation.unchanged import check_rows
from real2sim.simulation.suite import Suite, load_suite

if TYPE_CHECKING:
    from real2sim.simulation.contracts import Judge

logger = logging.getLogger(__name__)

JUDGE_FOLDER = "judge"
GATE_FOLDER = "gate"


@dataclass(frozen=True)
class ScoreConfig:
    """Let a judge decide which episodes of a run succeeded."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders."""
    judge: str | None = None
    """Model folder of a judge, a CSV file with human labels, or ``openai:URL#model=NAME``, a vision-language model
    behind a server; by default the judge of the run's suite."""
    labels: tuple[Path, ...] = ()
    """CSV files with labels of the runs' episodes, to compare the judge with; the report shows how often it errs."""
    gate: Path | None = None
    """Model folder of a validity gate, which says from which frame on each episode is unlike real video; by default the
    gate of the run's suite, if it has one."""
    unclear: Literal["exclude", "failure"] = "exclude"
    """Episodes that people labelled unclear: no verdict, or a failure, as in Vid2World's paper.  Without a label there
    is no verdict either way."""
    device: str = "cpu"
    """Where classifier and gate run: ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``."""

    def __post_init__(self) -> None:
        check_kinds(self)


def score_runs(config: ScoreConfig) -> list[Path]:
    """Score each run and return the score files."""
    if not config.runs:
        raise ValueError("no run folder was given; name at least one")
    check_named_once(config.runs)
    check_device(config.device)
    _check_labels(config)
    # As rollouts are drawn: verdicts should be the processor's.
    with exact_float32() if config.device != "cpu" else nullcontext():
        files = [_score(run, config) for run in config.runs]
        for run in config.runs:
            folder = config.gate or suite_gate(run)
            if folder is not None:
                from real2sim.success.gate_runs import check_run
                from real2sim.success.validity import ValidityGate

                files.append(check_run(run, ValidityGate.from_folder(folder, device=config.device)))
    return files


def check_named_once(runs: Sequence[Path]) -> None:
    """ValueError if two of the paths are one folder."""
    known: dict[Path, Path] = {}
    for run in runs:
        other = known.setdefault(run.resolve(), run)
        if other is not run:
            raise ValueError(f"{run} is named twice, and its episodes would count twice; name each run once")


def _check_labels(config: ScoreConfig) -> None:
    """ValueError if people's labels name no episode of the runs, or one that several of them have, before anything is
    judged; those of other episodes are counted aloud."""
    from real2sim.success.labels import UNCLEAR, HumanLabels

    if config.judge is not None and config.judge.endswith(".csv"):
        judges = [_open(run, config) for run in config.runs]
        given = [judge.labels for judge in judges if isinstance(judge, HumanLabels)]
        _check_named(config.runs, [Path(config.judge)], given)
    if config.labels:
        given = [_labels(run, config) for run in config.runs]
        _check_named(config.runs, config.labels, given)
        if set().union(*(labels.values() for labels in given)) == {UNCLEAR}:
            raise ValueError(
                f"{', '.join(map(str, config.labels))}: every episode is unclear or raters differ on it, so there is "
                "nothing to compare the judge with; leave out --labels, or label more episodes"
            )


def _check_named(runs: Sequence[Path], files: Sequence[Path], given: Sequence[Mapping[str, str]]) -> None:
    """The same for the labels that ``files`` gave to each run."""
    from real2sim.success.labels import is_blind, read_labels

    owners: dict[str, Path] = {}
    shared: dict[str, tuple[Path, Path]] = {}
    for run in runs:
        for row in RunFolder(run).rows():
            first = owners.setdefault(str(row["episode"]), run)
            if first is not run:
                shared[str(row["episode"])] = (first, run)
    for path in files if shared else ():
        named = [] if is_blind(path) else [row["episode"] for row in read_labels(path, runs) if row["label"]]
        both = next((episode for episode in named if episode in shared), None)
        if both is not None:
            raise ValueError(
                f"{path} labels {both!r}, which is an episode of {shared[both][0]} and of {shared[both][1]}; score one "
                "run at a time, with its own labels"
            )
    called = ", ".join(map(str, files))
    labelled = {episode for labels in given for episode in labels}
    foreign = sorted(labelled - owners.keys())
    if foreign and len(foreign) == len(labelled):
        raise ValueError(
            f"{called} labels {foreign[0]!r} and no episode of {', '.join(map(str, runs))}; name the run "
            "whose episodes were labelled"
        )
    if foreign:
        logger.warning(
            "%s labels %d episodes that are not in the runs, among them %s", called, len(foreign), foreign[0]
        )


def _others(run: Path, config: ScoreConfig) -> list[Path]:
    return [other for other in config.runs if other != run]


def _labels(run: Path, config: ScoreConfig) -> dict[str, str]:
    """What people say of a run's episodes, to compare its judge with."""
    from real2sim.success.labels import episode_labels

    return episode_labels(config.labels, [run], _others(run, config)) if config.labels else {}


def _score(run: Path, config: ScoreConfig) -> Path:
    from real2sim.success import compared
    from real2sim.success.score import score
    from real2sim.success.vlm_judge import VLMJudge

    folder = RunFolder(run)
    rows = folder.rows()
    check_rows(folder, rows)
    episodes = {str(row["episode"]) for row in rows}
    labels = {episode: label for episode, label in _labels(run, config).items() if episode in episodes}
    judge = _open(run, config)
    judge = _strict(judge) if config.unclear == "failure" else judge
    asks = isinstance(judge, VLMJudge)
    scores = score(run, judge, batch=16 if asks else 64)
    if isinstance(judge, VLMJudge):
        for line in judge.costs.lines():
            logger.info("%s", line)
    facts = compared.compare_with_labels(run, scores, judge, labels) if labels else None
    if facts is not None:
        logger.info("%s", compared.comparison_line(judge.name, facts))
    if facts is not None or asks:
        compared.write_comparison(run, judge, compared.VISION_LANGUAGE_MODEL if asks else "judge", facts)
        if said := compared.unproven(run, judge.name, {judge.digest}):
            logger.warning("%s", said)
    return scores


def _open(run: Path, config: ScoreConfig) -> Judge:
    return open_judge_of(run, config.judge, config.device, _others(run, config))


def open_judge_of(
    run: Path, judge: Path | str | None, device: str = "cpu", others: Sequence[Path] = ()
) -> Judge:
    """The judge that is named for a run, by default that of its suite; answers of a model are kept in the run.

    ``others`` are runs whose blind labels may stand in the same file.
    """
    from real2sim.success.judge import open_judge
    from real2sim.success.vlm_judge import VLMJudge

    found = open_judge(judge or suite_judge(run), device, folders=[run], others=others)
    if isinstance(found, VLMJudge):
        found.keep_answers(answers_file(run, found.name))
    return found


def judge_of_starts(
    run: Path, judge: Path | str | None, suite: Suite, tasks: Sequence[str], device: str = "cpu"
) -> Judge:
    """The judge that is named for a run, by default the suite's, once it can judge those ``tasks``: what is wrong with
    it is raised before episodes are drawn that nobody could judge."""
    from real2sim.success.judge import check_answers

    found = open_judge_of(run, judge or judge_of(suite), device)
    starts = [suite.starts(task)[0] for task in tasks]
    check_answers(found, {start.instruction: start.frame for start in starts})
    return found


def note_model_judge(run: Path, judge: Judge) -> None:
    """Keep in a run that a vision-language model judges it, and say so where too few labels back it."""
    from real2sim.success import compared

    compared.write_comparison(run, judge, compared.VISION_LANGUAGE_MODEL, None)
    if said := compared.unproven(run, judge.name, {judge.digest}):
        logger.warning("%s", said)


def answers_file(run: Path, judge: str) -> Path:
    """Where the answers of a vision-language model about a run are kept."""
    return run / f"answers-{file_name(judge)}.jsonl"


def _strict(judge: Judge) -> Judge:
    """Labels with every unclear one as a failure."""
    from real2sim.success.labels import HumanLabels

    if not isinstance(judge, HumanLabels):
        raise ValueError(
            f"--unclear failure is for a CSV with people's labels, the judge is {judge.name!r}; give --judge "
            "labels.csv, or give --unclear to `real2sim report`"
        )
    return judge.unclear_as_failures()


def suite_judge(run: Path) -> Path:
    """The judge of the suite that a run was made in."""
    return judge_of(load_suite(RunFolder(run).suite()))


def judge_of(suite: Suite) -> Path:
    """The judge of a suite; FileNotFoundError if it has none."""
    folder = suite.folder / JUDGE_FOLDER
    if not folder.is_dir():
        raise FileNotFoundError(
            f"suite {suite.name!r} has no judge in {folder}; name one with --judge, "
            "or train one with `real2sim train classifier`"
        )
    return folder


def suite_gate(run: Path) -> Path | None:
    """The validity gate of the suite that a run was made in; None where it has none or is not here."""
    try:
        folder = load_suite(RunFolder(run).suite()).folder / GATE_FOLDER
    except (ValueError, FileNotFoundError):
        # Human labels need no suite, and a run may be scored where its suite is not.
        return None
    return folder if folder.is_dir() else None
