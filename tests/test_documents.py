"""The commands and snippets that the documents show."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from real2sim import cli, convert_commands, train_commands

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CARDS = sorted((ROOT / "real2sim" / "assets").rglob("README.md"))


def commands(path: Path) -> list[str]:
    """Every command line of a document's bash blocks and indented lines, continuation lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return [part.split(" #")[0].strip() for line in lines for part in line.split("&&")]


SHOWN = sorted({line for path in [*DOCUMENTS, *CARDS] for line in commands(path)})
OURS = [line for line in SHOWN if re.search(r"(^|-m )real2sim( |$)", line) and "[" not in line]
SCRIPTS = sorted({found[1] for line in SHOWN if (found := re.search(r"-m (benchmarks\.\w+)", line))})


class Parsed(Exception):  # noqa: N818 - not an error
    """The command's options were understood."""


@pytest.mark.parametrize("line", [line for line in OURS if "..." not in line and line != "real2sim"])
def test_a_shown_command_has_the_options_it_shows(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    understand = cli._parse

    def stop(*arguments: Any) -> None:
        understand(*arguments)
        raise Parsed

    for module in (cli, convert_commands, train_commands):
        monkeypatch.setattr(module, "_parse", stop)
    words = shlex.split(re.split(r"(?:^|-m )real2sim ", line, maxsplit=1)[1])
    command, rest = cli._choose(words)
    with pytest.raises((Parsed, SystemExit)) as ended:
        command(rest)
    assert not isinstance(ended.value, SystemExit) or not ended.value.code


def test_the_documents_show_commands() -> None:
    assert any("real2sim demo" in line for line in OURS)
    assert len(OURS) > 10
    assert SCRIPTS


@pytest.mark.parametrize("module", SCRIPTS)
def test_a_shown_script_exists(module: str) -> None:
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("module", SCRIPTS)
def test_a_shown_script_explains_itself(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert ended.value.code in (0, None)
    assert "usage" in capsys.readouterr().out


def test_the_readme_environment_snippet_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = (
        block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "gym.make" in block
    )
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["frame"].shape == (64, 64, 3)
    assert names["info"]["instruction"] == "close drawer"


@pytest.mark.slow
def test_the_policy_of_the_documents_runs_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/policies.md").read_text(encoding="utf-8")
    snippet = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len([line for line in snippet.splitlines() if line.strip()]) < 20
    names: dict[str, Any] = {}
    exec(snippet.replace("starts=5", "starts=1, processes=1"), names)
    assert len(names["episodes"]) == 2
    assert (tmp_path / "runs/forward/run.json").is_file()
