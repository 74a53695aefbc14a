"""What is installed, what is imported, and what the project says about itself."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (".py", ".md", ".json", ".jsonl", ".ipynb", ".csv", ".html", ".js", ".css", ".yml")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_is_listed_once() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    found = {
        ".".join(("real2sim", *path.parent.relative_to(ROOT / top).parts))
        if top == "real2sim"
        else ".".join(("real2sim", top, *path.parent.relative_to(ROOT / top).parts))
        for top in ("real2sim", "policies", "envs")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found)


def test_the_two_links_show_the_folders_beside_the_library() -> None:
    for name in ("policies", "envs"):
        link = ROOT / "real2sim" / name
        # Where git makes no links it writes their target into a small file.
        target = os.readlink(link) if link.is_symlink() else link.read_text(encoding="utf-8")
        assert Path(target) == Path("..", name)


def test_a_checkout_without_links_is_imported(tmp_path: Path) -> None:
    library = tmp_path / "real2sim"
    library.mkdir()
    for path in (ROOT / "real2sim").iterdir():
        if path.name in ("policies", "envs"):
            (library / path.name).write_text(f"../{path.name}")
            (tmp_path / path.name).symlink_to(ROOT / path.name)
        else:
            (library / path.name).symlink_to(path)
    code = (
        "import gymnasium, real2sim, real2sim.policies.random_policy, real2sim.envs.lane_env\n"
        "print(real2sim.__file__, gymnasium.spec('real2sim/DrawerClose-v0').id)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [str(library / "__init__.py"), "real2sim/DrawerClose-v0"]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("real2sim/*/*.py")) + sorted(ROOT.glob("real2sim/*.py")), ids=str
)
def test_no_file_is_longer_than_a_reader_can_hold(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_shipped_models_have_cards() -> None:
    configs = sorted((ROOT / "real2sim" / "assets").rglob("config.json"))
    assert configs
    for config in configs:
        card = (config.parent / "README.md").read_text(encoding="utf-8")
        for word in ("data", "seed", "command", "fail"):
            assert word in card.lower(), f"{config.parent}: the model card says nothing of {word!r}"


def test_no_text_that_ships_names_a_place_on_somebodys_machine() -> None:
    folders = ("real2sim", "policies", "envs", "notebooks", "docs", "benchmarks", "examples")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in TEXT]
    assert len(texts) > 300
    for path in texts:
        found = re.search(r"/(root|home|Users)/\w", path.read_text(encoding="utf-8"))
        assert not found, f"{path} names {found}"
