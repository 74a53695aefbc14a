"""The command line: each command reads one configuration and calls one function of the library with it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Sequence

from real2sim.arguments import parse as _parse
from real2sim.convert_commands import (
    convert_dynamicrafter,
    convert_embeddings,
    convert_lerobot,
    convert_rlds,
    convert_rt1,
    convert_vid2world,
)
from real2sim.failures import (
    EXIT_STOPPED,
    end_progress_bars,
    failure,
    leave_behind,
    output_written,
    reader_gone,
    whole,
)
from real2sim.freed_memory import keep_freed_memory
from real2sim.train_commands import (
    train_classifier,
    train_gate,
    train_imitation,
    train_policy,
    train_world_model,
)
from real2sim.wording import did_you_mean

INTERRUPTED = "Interrupted. Finished episodes and checkpoints are saved; run the command again to resume."


def demo(arguments: Sequence[str]) -> None:
    """Rank the shipped policies inside the shipped world model, next to how they really do."""
    from real2sim.evaluation.demo import DemoConfig, report_text
    from real2sim.evaluation.demo import demo as run_demo

    result = run_demo(config := _parse(DemoConfig, "demo", arguments))
    print(report_text(result, config.out))


def rollout(arguments: Sequence[str]) -> None:
    """Roll policies out and keep every episode in a run folder."""
    from real2sim.evaluation.rollout_config import RolloutConfig
    from real2sim.evaluation.run import rollout as run_rollout

    config = _parse(RolloutConfig, "rollout", arguments)
    table = run_rollout(config)
    counts = table.groupby(["policy", "task"], sort=False).size()
    print("\n".join(f"{policy}, {task}: {count} episodes" for (policy, task), count in counts.items()))
    print(f"{len(table)} episodes in {config.out}; score them with: real2sim score {config.out}")


def score(arguments: Sequence[str]) -> None:
    """Let a judge decide which episodes of a run succeeded."""
    from real2sim.evaluation.score_runs import ScoreConfig, score_runs

    for path in score_runs(_parse(ScoreConfig, "score", arguments)):
        print(f"scores: {path}")


def label(arguments: Sequence[str]) -> None:
    """Label episodes by eye on a local page, blind; says how far several raters agree."""
    from real2sim.pages.label_page import label as label_episodes
    from real2sim.pages.label_session import LabelConfig

    print(label_episodes(_parse(LabelConfig, "label", arguments)))


def view(arguments: Sequence[str]) -> None:
    """Look at the episodes of a run on a local page, beside reality or another policy."""
    from real2sim.pages.view_page import ViewConfig
    from real2sim.pages.view_page import view as view_run

    view_run(_parse(ViewConfig, "view", arguments))


def horizon(arguments: Sequence[str]) -> None:
    """Find out up to how many steps a run's judged outcomes agree with physics."""
    from real2sim.evaluation.horizon import HorizonConfig, horizon_lines, outcomes_along_the_way

    print(horizon_lines(outcomes_along_the_way(_parse(HorizonConfig, "horizon", arguments))))


def validate(arguments: Sequence[str]) -> None:
    """Say how far a world model can be believed, from held-out recordings, before any policy is evaluated."""
    from real2sim.evaluation.validate import ValidateConfig, validation_lines
    from real2sim.evaluation.validate import validate as run_validation

    config = _parse(ValidateConfig, "validate", arguments)
    print(validation_lines(run_validation(config), config.out))


def report(arguments: Sequence[str]) -> None:
    """Say how far simulated success agrees with real success, and how much that proves."""
    from real2sim.evaluation.demo import report_text
    from real2sim.evaluation.report_runs import ReportConfig, report_runs

    result = report_runs(config := _parse(ReportConfig, "report", arguments))
    print(report_text(result, config.out))


def rank(arguments: Sequence[str]) -> None:
    """Rank policies with as few episodes as it takes: those whose order is open run on."""
    from real2sim.evaluation.rank import rank as run_race
    from real2sim.evaluation.rank_config import RankConfig
    from real2sim.evaluation.rank_result import rank_lines, real_agreement
    from real2sim.evaluation.report_runs import RATES_FILE
    from real2sim.simulation.suite import load_suite

    found = run_race(config := _parse(RankConfig, "rank", arguments))
    suite = load_suite(config.suite)
    tasks = config.tasks or tuple(task.name for task in suite.tasks)
    print(rank_lines(found, real_agreement(found, suite.folder / RATES_FILE, tasks)))


def plan(arguments: Sequence[str]) -> None:
    """Say how many episodes, real trials and policies a difference takes."""
    from real2sim.report.planning import PlanConfig, make_plan, plan_lines

    print(plan_lines(make_plan(_parse(PlanConfig, "plan", arguments))))


def collect(arguments: Sequence[str]) -> None:
    """Record physics episodes of scripted controllers, or of policies, as training data."""
    from real2sim.drawer.collect import Collect
    from real2sim.drawer.collect import collect as record

    config = _parse(Collect, "collect", arguments)
    print(f"{record(config)} episodes recorded in {config.out}")


def record_so101(arguments: Sequence[str]) -> None:
    """Record physics episodes of the SO-101 as a LeRobot dataset."""
    from real2sim.so101.record import RecordSO101, record

    config = _parse(RecordSO101, "record-so101", arguments)
    print(f"{record(config)} episodes recorded in {config.out}")


def suite_make(arguments: Sequence[str]) -> None:
    """Make a suite from recorded episodes: starts, replays, outcomes and real rates."""
    from real2sim.evaluation.make_suite import SHEET_FILE, MakeSuite, make_suite

    config = _parse(MakeSuite, "suite make", arguments)
    for task, count in make_suite(config).items():
        print(f"{task}: {count} starts")
    print(f"suite: {config.out}; look at {config.out / SHEET_FILE}, then: real2sim suite check {config.out}")


def suite_check(arguments: Sequence[str]) -> None:
    """Find in seconds what would fail later: layout, names, sizes, rates, goals, embeddings."""
    from real2sim.evaluation.check_suite import CheckSuite, check_suite

    config = _parse(CheckSuite, "suite check", arguments)
    findings = check_suite(config)
    for finding in findings:
        print(finding)
    problems = sum(finding.is_problem for finding in findings)
    if problems:
        raise ValueError(f"{problems} of {len(findings)} checks of {config.suite} failed, see above")


def check_policy(arguments: Sequence[str]) -> None:
    """Show what a policy is given and what it answers beside recorded actions, before any rollout."""
    from real2sim.evaluation.check_policy import CheckPolicy

    print(_parse(CheckPolicy, "check-policy", arguments).run())


def serve_policy(arguments: Sequence[str]) -> None:
    """Serve a policy over a websocket, as openpi's policy servers do."""
    from real2sim.policies.serve import ServePolicy
    from real2sim.policies.serve import serve_policy as serve

    if arguments and not arguments[0].startswith("-"):
        arguments = ["--policy", *arguments]
    serve(_parse(ServePolicy, "serve-policy", arguments))


def metrics(arguments: Sequence[str]) -> None:
    """Compare a world model's video with recorded video, over the horizon."""
    from real2sim.metrics.measure import MetricsConfig, measure

    config = _parse(MetricsConfig, "metrics", arguments)
    if config.panel:
        from real2sim.evaluation.consistency import check_panel

        check_panel(config)
    rows = measure(config)
    last = rows[rows["frame"] == rows["frame"].max()] if "frame" in rows else rows
    print(last.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="not measured"))
    figure = f", {config.out / 'metrics.png'}" if "frame" in rows else ""
    print(f"\n{'all frames' if figure else 'table'}: {config.out / 'metrics.csv'}{figure}")
    if config.panel:
        from real2sim.evaluation.consistency import panel

        print("\npolicy consistency:", panel(config).round(2).to_string(index=False), sep="\n")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "demo": demo,
    "rollout": rollout,
    "score": score,
    "label": label,
    "view": view,
    "horizon": horizon,
    "validate": validate,
    "report": report,
    "rank": rank,
    "plan": plan,
    "collect": collect,
    "record-so101": record_so101,
    "train world-model": train_world_model,
    "train policy": train_policy,
    "train imitation": train_imitation,
    "train classifier": train_classifier,
    "train gate": train_gate,
    "convert vid2world": convert_vid2world,
    "convert dynamicrafter": convert_dynamicrafter,
    "suite make": suite_make,
    "suite check": suite_check,
    "convert lerobot": convert_lerobot,
    "convert rlds": convert_rlds,
    "convert rt1": convert_rt1,
    "convert embeddings": convert_embeddings,
    "metrics": metrics,
    "check-policy": check_policy,
    "serve-policy": serve_policy,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    A mistake of the user ends with one sentence on stderr and exit code 2, a bug with one sentence, a log file and
    exit code 70; ``--traceback`` shows where either came from.
    """
    if arguments is not None:
        _run(list(arguments))
        return
    # A program of its own, not a call from somebody's process.
    keep_freed_memory()
    try:
        _run(sys.argv[1:])
    except SystemExit as ended:
        leave_behind(ended.code)
        raise
    leave_behind(0)


def _run(given: list[str]) -> None:
    arguments = [word for word in given if word != "--traceback"]
    for stream in (sys.stdout, sys.stderr):
        # Names of files and policies may hold what a terminal of another encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        command, rest = _choose(arguments)
        with output_written():
            command(rest)
    except KeyboardInterrupt:
        print(f"\n{INTERRUPTED}", file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError as gone:
        sys.exit(reader_gone(gone))
    except Exception as error:
        end_progress_bars()
        if len(arguments) < len(given):
            print(whole(error), file=sys.stderr)
        sentence, code = failure(error, arguments)
        print(f"error: {sentence}".encode(errors="replace").decode(), file=sys.stderr)
        sys.exit(code)


def _choose(arguments: Sequence[str]) -> tuple[Callable[[Sequence[str]], None], Sequence[str]]:
    if not arguments or arguments[0] in ("-h", "--help"):
        return _print_overview, arguments
    if arguments[0] == "--version":
        return _print_version, arguments
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return COMMANDS[name], arguments[words:]
    inner = [name for name in COMMANDS if name.startswith(f"{arguments[0]} ")]
    if inner and (len(arguments) < 2 or arguments[1] in ("-h", "--help")):
        return _print_overview, inner
    name = " ".join(arguments[:2]) if inner else arguments[0]
    raise ValueError(
        f"unknown command {name!r}{did_you_mean(name, list(COMMANDS))}; there are {', '.join(inner or COMMANDS)}"
    )


def _print_overview(names: Sequence[str]) -> None:
    chosen = [name for name in names if name in COMMANDS] or list(COMMANDS)
    width = max(len(name) for name in chosen)
    print("usage: real2sim COMMAND [OPTIONS]\n\nTest robot policies inside a learned simulator.\n")
    for name in chosen:
        print(f"  {name:<{width}}  {(COMMANDS[name].__doc__ or '').splitlines()[0]}")
    print(
        "\n`real2sim COMMAND --help` lists the options of a command; --traceback shows where an error came from."
    )


def _print_version(_: Sequence[str]) -> None:
    import real2sim

    print(f"real2sim {real2sim.__version__}")
