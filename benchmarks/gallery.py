"""The figures of the documentation's gallery, made from the shipped suite.

    python -m benchmarks.gallery --out docs/images/gallery

Rolls twelve episodes out in the shipped world model; a minute on one core.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from real2sim.episodes.run_folder import RunFolder
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.files import atomic_write, read_json
from real2sim.simulation.suite import Suite, load_suite
from real2sim.success.classifier import SuccessClassifier, judged_frames, to_network
from real2sim.success.degradation import DegradationConfig, degrade

POLICIES = ("converged", "40-percent", "begin")
REPLAYS = ("replay:clean", "replay:beside-near", "replay:stops-early")
EVERY = 4
"""Every which frame of an episode a strip shows."""
SCALE = 2
"""Enlargement of frames, without smoothing."""
MARGIN, LINE = 6, 14
INK, PAPER = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True)
class Gallery:
    """Make the figures of the gallery."""

    out: Path
    """Folder for the pictures."""
    seed: int = 0
    """Seed of the rollout and of the drawn defects."""


def main(asked: Gallery) -> None:
    """Make all figures."""
    suite = load_suite("drawer")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        config = RolloutConfig(
            run.path, (*POLICIES, *REPLAYS), starts=3, skip=2, processes=1, seed=asked.seed, consistency=False
        )
        rollout(config)
        rows = {(row["policy"], row["task"]): row for row in run.rows()}
        videos = {key: run.episode(row["episode"])[0] for key, row in rows.items()}
        said = {key: outcome(suite, key[0], str(row["start"])) for key, row in rows.items()}
    _save(starts(suite), asked.out / "starts.png")
    closed = {
        f"{policy}, {task.instruction}": videos[policy, task.name]
        for task in suite.tasks
        for policy in POLICIES
    }
    _save(strips(closed), asked.out / "strips.png")
    replayed = {
        f"{name}, {task.instruction}: {said[name, task.name]}": videos[name, task.name]
        for task in suite.tasks
        for name in REPLAYS
        if (name, task.name) in videos
    }
    _save(strips(replayed), asked.out / "replays.png")
    judge = SuccessClassifier.from_folder(suite.folder / "judge")
    clip = videos["converged", suite.tasks[0].name]
    clip = clip[judged_frames(len(clip), judge.config.recent)]
    _save(strips(defects(clip, asked.seed), every=1), asked.out / "defects.png")
    _save_figure(unlike(judge, clip), asked.out / "unlike.png")
    _save_figure(confusion(suite.folder / "judge" / "quality.json"), asked.out / "judge.png")


def outcome(suite: Suite, policy: str, start: str) -> str:
    """What physics said of recorded actions from a start, in a word."""
    with (suite.folder / "real_episodes.csv").open(encoding="utf-8", newline="") as file:
        found = {(row["policy"], row["start"]): row["success"] for row in csv.DictReader(file)}
    return {"True": "success", "False": "failure"}.get(
        found.get((policy, start), "").capitalize(), "not measured"
    )


def starts(suite: Suite, count: int = 8) -> Image.Image:
    """Start frames of every task, one row each."""
    return _stack(
        {task.instruction: [start.frame for start in suite.starts(task.name, count)] for task in suite.tasks}
    )


def strips(videos: Mapping[str, np.ndarray], every: int = EVERY) -> Image.Image:
    """A titled film strip for each video uint8 (t h w 3)."""
    return _stack({name: list(video[::every]) for name, video in videos.items()})


def defects(clip: np.ndarray, seed: int, count: int = 4) -> dict[str, np.ndarray]:
    """A clip uint8 (t h w 3), and copies of it as training degrades them."""
    config = DegradationConfig(clean=0.0)
    copies = {"as it was drawn": clip}
    for number in range(count):
        generator = torch.Generator().manual_seed(seed + number)
        drawn = degrade(to_network(clip[None]), config, generator)[0]
        copies[f"degraded {number + 1}"] = (
            ((drawn.movedim(1, -1) + 1) * 127.5).round().to(torch.uint8).numpy()
        )
    return copies


def unlike(judge: SuccessClassifier, clip: np.ndarray) -> Figure:
    """How unlike the frames that the judge was taught on a clip uint8 (t h w 3) and damaged copies of it are."""
    if judge.unlikeness is None:
        raise ValueError("the shipped judge has no unlikeness.safetensors; is the package whole?")
    rng = np.random.default_rng(0)
    grey = np.repeat(clip.mean(axis=3, keepdims=True), 3, axis=3)
    copies = {
        "as it was drawn": clip,
        "moved by 4 pixels": np.roll(clip, 4, axis=2),
        "mirrored": clip[:, :, ::-1],
        "half covered": np.where(
            np.arange(clip.shape[2])[None, None, :, None] < clip.shape[2] // 2, 128, clip
        ),
        "grey": grey,
        "noise": rng.integers(0, 256, clip.shape),
        "black": np.zeros_like(clip),
    }
    scores = [float(judge.unlikeness.score(copy.astype(np.uint8)[None])[0]) for copy in copies.values()]
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(copies), scores, color=["#4c72b0" if score <= 1 else "#c44e52" for score in scores])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("unlikeness (log scale); beyond 1 there is no verdict")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def confusion(path: Path) -> Figure:
    """Confusion matrices of a judge's ``quality.json``, with counts."""
    quality = read_json(path)
    titles = {"physics": "physics, held out", "generated": "generated, labelled by eye"}
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    for axes, (kind, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        facts = quality[kind]["all"]
        counts = np.array(
            [[facts["true_success"], facts["false_failure"]], [facts["false_success"], facts["true_failure"]]]
        )
        axes.imshow(counts, cmap="Blues", vmin=0, vmax=counts.max() * 1.4)
        for row, column in np.ndindex(2, 2):
            axes.text(column, row, str(counts[row, column]), ha="center", va="center")
        axes.set_xticks([0, 1], ["success", "failure"])
        axes.set_yticks([0, 1], ["success", "failure"])
        axes.set_xlabel("judge")
        axes.set_ylabel("truth" if kind == "physics" else "label")
        axes.set_title(f"{title}\nn = {facts['episodes']}", fontsize=9)
    return figure


def _stack(rows: Mapping[str, Sequence[np.ndarray]]) -> Image.Image:
    height, width = (size * SCALE for size in next(iter(rows.values()))[0].shape[:2])
    columns = max(map(len, rows.values()))
    size = (columns * (width + 2) + 2 * MARGIN, len(rows) * (height + LINE + MARGIN) + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    for number, (title, frames) in enumerate(rows.items()):
        top = MARGIN + number * (height + LINE + MARGIN)
        pen.text((MARGIN, top), title, fill=INK)
        for place, frame in enumerate(frames):
            tile = Image.fromarray(np.ascontiguousarray(frame)).resize(
                (width, height), Image.Resampling.NEAREST
            )
            picture.paste(tile, (MARGIN + place * (width + 2), top + LINE))
    return picture


def _save(picture: Image.Image, path: Path) -> None:
    with atomic_write(path) as file:
        picture.quantize(128, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)


def _save_figure(figure: Figure, path: Path) -> None:
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    main(tyro.cli(Gallery, description=__doc__))
