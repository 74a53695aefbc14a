from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import real2sim
from real2sim.cli import COMMANDS, main

ROOT = Path(real2sim.__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "real2sim", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that ends with exit code 2 says on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "pandas", "matplotlib", "tensorflow", "mujoco", "scipy", "av", "tyro")
    code = f"import sys, real2sim, real2sim.cli; print([m for m in {heavy!r} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_importing_the_package_takes_little_processor_time() -> None:
    code = "import time; import real2sim; print(time.process_time())"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(said.stdout) < 1.5


def test_without_arguments_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    said = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in said
        assert (command.__doc__ or "").splitlines()[0] in said


def test_a_group_lists_its_own_commands(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train"])
    said = capsys.readouterr().out
    assert "train policy" in said
    assert "rollout" not in said.replace("real2sim", "")


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"real2sim {real2sim.__version__}\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: real2sim {name}" in said
    assert "Args:" not in said


def test_help_of_a_field_is_its_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rollout", "--help"])
    assert "Run folder; an existing one is resumed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["rolout", "train polcy"])
def test_an_unknown_command_names_the_nearest_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *name.split())
    assert said.startswith(f"error: unknown command {name!r}; did you mean")


def test_an_unknown_option_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--outt" in refused(capsys, "rollout", "--outt", "x")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("rollout", "--out", "{tmp}/run", "--suite", "kitchen"), "'kitchen' is neither a shipped suite"),
        (("rollout", "--out", "{tmp}/run", "--starts", "0"), "starts must be at least 1, got 0"),
        (("score", "{tmp}/nowhere"), "nowhere/run.json does not exist"),
        (("report", "{tmp}/nowhere", "--out", "{tmp}/report"), "nowhere"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, *(word.format(tmp=tmp_path) for word in arguments))
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    assert complaint in said


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny_suite: Path) -> None:
    done = run("rollout", "--out", "/proc/run", "--suite", str(tiny_suite), "--starts", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "/proc/run" in done.stderr
    assert "Traceback" not in done.stderr


def test_rollout_score_and_report_make_a_page(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    options = ["--suite", str(tiny_suite), "--starts", "3", "--processes", "1"]
    main(["rollout", "--out", folder, *options, "--policies", "random", "replay:all"])
    main(["score", folder])
    real = tmp_path / "real.csv"
    rates = [("random", 1, 0), ("replay:push", 3, 2), ("replay:pull", None, 3)]
    lines = [f"{name},close_drawer,{close},3" for name, close, _ in rates if close is not None]
    lines += [f"{name},open_drawer,{opened},3" for name, _, opened in rates]
    real.write_text("\n".join(["policy,task,successes,episodes", *lines]))
    main(["report", folder, "--real", str(real), "--out", str(tmp_path / "report")])
    said = capsys.readouterr().out
    assert "replay:push" in said
    assert f"report: {tmp_path / 'report' / 'report.html'}" in said
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["frame_passes_per_frame"] == 2
    assert metrics["sets"]["scripted"]["episodes"] == 9
    assert "<html" in (tmp_path / "report" / "report.html").read_text()


def test_scoring_a_run_before_it_is_reported_is_asked_for(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    main(
        [
            "rollout",
            "--out",
            folder,
            "--suite",
            str(tiny_suite),
            "--starts",
            "1",
            "--policies",
            "random",
            "--processes",
            "1",
        ]
    )
    capsys.readouterr()
    said = refused(capsys, "report", folder, "--out", str(tmp_path / "report"))
    assert "has not been scored; do so with `real2sim score" in said


def broken(_: object) -> None:
    raise KeyError("lost\nand found")


def test_a_bug_is_one_sentence_with_a_log_and_code_70(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "demo", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["demo"])
    assert ended.value.code == 70
    said = capsys.readouterr().err
    assert said.startswith("error: this is a bug in real2sim (KeyError")
    assert len(said.splitlines()) == 1
    (log,) = tmp_path.iterdir()
    assert str(log) in said
    assert "in broken" in log.read_text()


def test_the_traceback_is_shown_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "demo", broken)
    with pytest.raises(SystemExit):
        main(["--traceback", "demo"])
    assert "in broken" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["rolout", "--traceback"])
    assert ended.value.code == 2
    assert "Traceback" in capsys.readouterr().err


def test_too_little_memory_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def allocate(_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setitem(COMMANDS, "demo", allocate)
    assert "not enough memory" in refused(capsys, "demo")


def test_a_reader_that_stops_reading_is_no_traceback() -> None:
    piped = subprocess.run(
        f"{sys.executable} -m real2sim --help | true",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in piped.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "5"], "--size: expected INT INT, got '5'; see"),
        (["--size", "a", "b"], "--size: expected INT INT, got 'a', 'b'; see"),
        (["--hz", "ten"], "--hz: expected FLOAT, got 'ten'; see"),
    ],
)
def test_an_option_that_may_be_left_out_says_what_it_takes(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "lerobot", "data", "--out", "out", *words])
    assert f"error: {said}" in capsys.readouterr().err
