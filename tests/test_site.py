"""The documentation site: its pages, their links and the modules of its reference; `.ci/run` builds it."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return found


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page(site: ModuleType) -> None:
    named = set(site._named(site.on_config(settings())["nav"]))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert named == written | set(site.pages())


def test_links_of_the_front_pages_lead_to_pages_of_the_site(site: ModuleType) -> None:
    made = site.pages()
    checked = 0
    for page in (*site.FRONT.values(), site.DECISIONS, "reference/index.md"):
        text = re.sub(r"```.*?```", "", made[page], flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith(("http://", "https://")):
                place = (Path(page).parent / target).as_posix()
                assert place in made or (ROOT / "docs" / place).is_file(), f"{page} links to {target}"
                checked += 1
    assert checked > 20


def test_files_without_a_page_are_named_and_code_stays(site: ModuleType) -> None:
    text = (
        "[measured](benchmarks/x.py), [`LICENSE`](LICENSE), [why](docs/decisions)\n```\n[a](docs/b.md)\n```\n"
    )
    assert site.with_site_links(text) == (
        "measured (`benchmarks/x.py`), `LICENSE`, [why](decisions/index.md)\n```\n[a](docs/b.md)\n```\n"
    )
    assert site.with_site_links("[x](docs/judge.md#a) ![y](docs/i.png)") == "[x](judge.md#a) ![y](i.png)"
    assert site.with_site_links("[x](https://example.org/docs/a)") == "[x](https://example.org/docs/a)"


def test_the_modules_of_the_reference_exist_and_say_what_they_are(site: ModuleType) -> None:
    modules = [name for names in site.REFERENCE.values() for name in names]
    assert len(modules) == len(set(modules)) > 50
    for name in modules:
        path = ROOT / f"{name.replace('.', '/')}.py"
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{name} has no docstring"


def test_the_site_loads_nothing_from_elsewhere() -> None:
    assert settings()["theme"]["font"] is False
    assert "http" not in (ROOT / "docs" / "site.css").read_text(encoding="utf-8")
