"""Pages of the documentation site that are made of other files: README, changelog, decisions, reference.

A hook of mkdocs: `mkdocs.yml` names this file. Links that lead out of `docs/` are turned into the page that the site
has in their place, or into the name of the file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FRONT = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files beside `docs/` and the pages they become."""
DECISIONS = "decisions/index.md"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")

REFERENCE: dict[str, tuple[str, ...]] = {
    "Contracts": ("real2sim.simulation.contracts", "real2sim.simulation.observation", "real2sim.robot"),
    "Evaluation": (
        "real2sim.evaluation.rollout_config", "real2sim.evaluation.run", "real2sim.evaluation.score_runs",
        "real2sim.evaluation.report_runs", "real2sim.evaluation.rank_config", "real2sim.evaluation.rank",
        "real2sim.evaluation.make_suite", "real2sim.evaluation.check_suite", "real2sim.evaluation.consistency",
    ),
    "Suites and episodes": (
        "real2sim.simulation.suite", "real2sim.episodes.run_folder", "real2sim.episodes.npz",
        "real2sim.episodes.lerobot.convert", "real2sim.episodes.rlds.convert", "real2sim.episodes.video",
        "real2sim.actions",
    ),
    "Policies": (
        "real2sim.policies.policy", "real2sim.policies.callable_policy", "real2sim.policies.chunks",
        "real2sim.policies.random_policy", "real2sim.policies.replay", "real2sim.policies.openpi",
        "real2sim.policies.gr00t", "real2sim.policies.serve", "real2sim.policies.rt1.config",
        "real2sim.policies.rt1.train", "real2sim.policies.imitation.train",
    ),
    "Judges": (
        "real2sim.success.judge", "real2sim.success.score", "real2sim.success.classifier",
        "real2sim.success.train_classifier", "real2sim.success.outcomes", "real2sim.success.vlm_judge",
        "real2sim.success.chat_server", "real2sim.success.answer_formats", "real2sim.success.labels",
        "real2sim.success.evaluate", "real2sim.success.quality", "real2sim.success.calibration",
        "real2sim.success.unlikeness",
    ),
    "Reports and statistics": (
        "real2sim.report.report", "real2sim.report.result", "real2sim.report.rates", "real2sim.report.agreement",
        "real2sim.report.correlation", "real2sim.report.rank_violation", "real2sim.report.ranking",
        "real2sim.report.racing", "real2sim.report.planning", "real2sim.report.judge_error",
        "real2sim.report.prediction_powered", "real2sim.report.noise_ceiling", "real2sim.report.plots",
    ),
    "World models": (
        "real2sim.worlds", "real2sim.vid2world.load", "real2sim.vid2world.world_model",
        "real2sim.vid2world.world_model_config", "real2sim.vid2world.schedule", "real2sim.vid2world.ddim",
        "real2sim.vid2world.noise", "real2sim.training.loop",
    ),
    "Environments": (
        "real2sim.envs.world_model_env", "real2sim.envs.lane_env", "real2sim.envs.scalar_env",
        "real2sim.envs.physics_env", "real2sim.envs.registration",
    ),
    "Metrics": (
        "real2sim.metrics.measure", "real2sim.metrics.frames", "real2sim.metrics.distributions",
        "real2sim.metrics.policy_consistency",
    ),
}  # fmt: skip
"""Page of the reference -> the modules on it."""


def on_config(config: Any) -> Any:
    """Pages that the navigation does not name stand at its end, so that a new one is never lost."""
    named = set(_named(config["nav"]))
    docs = ROOT / "docs"
    extra = [
        path.name for path in sorted(docs.glob("*.md")) if path.name not in named and path.name != "index.md"
    ]
    for entry in config["nav"]:
        if entry.get("Reference") == "reference/":
            entry["Reference"] = ["reference/index.md", *(_reference_path(title) for title in REFERENCE)]
        if entry.get("Decisions") == "decisions/":
            entry["Decisions"] = [
                DECISIONS,
                *(f"decisions/{path.name}" for path in sorted((docs / "decisions").glob("*.md"))),
            ]
    if extra:
        config["nav"].insert(-2, {"More": extra})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page of `docs/` with its links to files beside `docs/` as the site has them."""
    if page.file.generated_by or "](../" not in markdown:
        return markdown
    here = f"docs/{page.file.src_uri}"

    def out(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[3].partition("#")[0]))
        if target.startswith("docs/") or re.match(r"[a-z]+:", found[3]):
            return found[0]
        return _link(found, target, up="../" * page.file.src_uri.count("/"))

    return _outside_code(markdown, out)


def pages() -> dict[str, str]:
    """Path of a page -> its Markdown."""
    made = {page: with_site_links((ROOT / name).read_text(encoding="utf-8")) for name, page in FRONT.items()}
    lines = ["# Decisions\n", "Why things are as they are, one page each.\n"]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    made[DECISIONS] = "\n".join(lines) + "\n"
    listed = "\n".join(
        f"- [{title}]({Path(_reference_path(title)).name}): {', '.join(f'`{name}`' for name in modules)}"
        for title, modules in REFERENCE.items()
    )
    made["reference/index.md"] = (
        "# Reference\n\nWhat is meant to be used from Python, from its docstrings. The command line is the same "
        f"configurations as options: `real2sim COMMAND --help`.\n\n{listed}\n"
    )
    for title, modules in REFERENCE.items():
        blocks = "\n\n".join(
            f"## `{name}`\n\n::: {name}\n    options:\n      show_root_heading: false" for name in modules
        )
        made[_reference_path(title)] = f"# {title}\n\n{blocks}\n"
    return made


def with_site_links(text: str) -> str:
    """A file beside `docs/` with its links as the site has them; code blocks stay."""
    return _outside_code(text, _link)


def _outside_code(text: str, change: Callable[[re.Match[str]], str]) -> str:
    parts = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(change, part) for part in parts)


def _link(found: re.Match[str], path: str | None = None, up: str = "") -> str:
    mark, words, target = found[1], found[2], found[3]
    named, hash_mark, anchor = target.partition("#")
    if re.match(r"[a-z]+:", target) or not named:
        return found[0]
    path = posixpath.normpath(named if path is None else path)
    if path in FRONT:
        return f"{mark}[{words}]({up}{FRONT[path]}{hash_mark}{anchor})"
    if path == "docs/decisions":
        return f"[{words}]({up}{DECISIONS})"
    if path.startswith("docs/"):
        return f"{mark}[{words}]({up}{path.removeprefix('docs/')}{hash_mark}{anchor})"
    return words if words.strip("`") == path else f"{words} (`{path}`)"


def _reference_path(title: str) -> str:
    return f"reference/{title.lower().replace(' ', '_')}.md"


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [name for value in values for name in _named(value)]
