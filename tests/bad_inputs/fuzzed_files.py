"""Every kind of file at toy size in one folder, and which commands read which."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from damage import episode_arrays
from make_lerobot import make_v2, make_v3

from real2sim.episodes.arrays import write_arrays
from real2sim.simulation.suite import load_suite

JSON_FILES = (
    "suite/suite.json", "suite/robot.json", "suite/consistency.json", "suite/world_model/config.json",
    "suite/policies/late/config.json", "suite/judge/config.json", "suite/judge/quality.json", "run/run.json",
    "run/robot.json", "run/rows-0.jsonl", "run/scores-classifier.jsonl", "run/consistency.json", "run/validity.jsonl",
    "run/ranking.json", "run/judge-classifier.json", "v2/meta/info.json", "v2/meta/episodes.jsonl",
    "v2/meta/tasks.jsonl", "v2/meta/modality.json", "v3/meta/info.json",
)  # fmt: skip
CELL = {"true_success": 3, "false_failure": 1, "false_success": 0, "true_failure": 4}


def whole_folder(folder: Path, suite: Path, run: Path) -> Path:
    """Fill a folder: ``suite``, its ``run``, ``data``, LeRobot datasets ``v2`` and ``v3``, and ``real.csv``."""
    shutil.copytree(suite, folder / "suite")
    shutil.copytree(run, folder / "run")
    settings = json.loads((folder / "run/run.json").read_text().replace(str(suite), str(folder / "suite")))
    settings["race"] = {"until": "ranking", "alpha": 0.05}
    write(folder / "run/run.json", settings)
    measured = {"policy": "late", "task": "close_drawer", "distance": 0.1, "at_depth": {"1": 0.1, "5": 0.2, "10": 0.3},
                "shift": 0.1, "lasting": 0.2, "moments": 4}  # fmt: skip
    write(folder / "run/consistency.json", {"episodes": 4, "policies": {"late": {"close_drawer": measured}}})
    groups = [{"policy": "late", "group": 1}, {"policy": "random", "group": 2}]
    write(
        folder / "run/ranking.json", {"until": "ranking", "alpha": 0.05, "best": ["late"], "policies": groups}
    )
    scores = [json.loads(line) for line in (run / "scores-classifier.jsonl").read_text().splitlines()]
    digest = scores[0]["judge_digest"]
    cells = {"all": CELL, "close_drawer": CELL}
    comparison = {"judge": "classifier", "judge_digest": digest, "kind": "judge", "labelled": cells}
    write(folder / "run/judge-classifier.json", comparison)
    checked = {
        "valid": True,
        "invalid_from": None,
        "validity_score": 0.3,
        "gate": "gate",
        "gate_digest": "ab",
    }
    lines = [json.dumps({"episode": row["episode"], **checked}) for row in scores]
    (folder / "run/validity.jsonl").write_text("\n".join(lines) + "\n")
    write(
        folder / "suite/judge/quality.json",
        {"judge_digest": digest, "physics": {"all": CELL, "close drawer": CELL}},
    )
    write(folder / "suite/consistency.json", {"threshold": 0.5, "policies": 6, "source": "six others"})
    with_robot(folder / "suite")
    (folder / "data").mkdir()
    for number in range(2):
        write_arrays(folder / f"data/{number}.npz", episode_arrays(np.random.default_rng(number)))
    make_v2(folder / "v2")
    make_v3(folder / "v3")
    write(folder / "v2/meta/modality.json", modality())
    (folder / "real.csv").write_text(
        "policy,task,successes,episodes\nlate,close_drawer,3,10\nrandom,close_drawer,1,9\n"
    )
    return folder


def with_robot(suite: Path) -> None:
    """Write the suite's robot beside it; ``suite.json`` then says nothing of it, and the run is another suite's."""
    text = load_suite(suite).robot.to_json()
    settings = json.loads((suite / "suite.json").read_text())
    for name in ("image_size", "control_hz", "used_fields", "limits"):
        settings.pop(name, None)
    write(suite / "suite.json", settings)
    (suite / "robot.json").write_text(text)


def modality() -> dict[str, object]:
    """GR00T's file beside a LeRobot dataset."""
    parts = {"arm": {"start": 0, "end": 2}, "gripper": {"start": 2, "end": 3}}
    videos = {name: {"original_key": f"observation.images.{name}"} for name in ("front", "wrist")}
    told = {"human.task_description": {"original_key": "task_index"}}
    return {"state": parts, "action": parts, "video": videos, "annotation": told}


def write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values))


def commands_for(folder: Path, damaged: str) -> list[list[str]]:
    """The commands that read a file of `whole_folder`."""
    suite, run, out = (str(folder / name) for name in ("suite", "run", "out"))
    policies = [
        "--policies",
        "late",
        "--starts",
        "1",
        "--lanes",
        "1",
        "--processes",
        "1",
        "--tasks",
        "close_drawer",
    ]
    rolled = ["rollout", "--out", out, "--suite", suite, *policies]
    scored = ["score", run, "--judge", f"{suite}/judge"]
    reported = ["report", run, "--out", str(folder / "report"), "--real", str(folder / "real.csv")]
    first = damaged.split("/")[0]
    if damaged.startswith("suite/judge/"):
        return [reported] if damaged.endswith("quality.json") else [scored]
    if first == "suite":
        return (
            [rolled]
            if "policies" in damaged or "world_model" in damaged
            else [["suite", "check", suite], rolled]
        )
    if damaged in (
        "run/consistency.json",
        "run/ranking.json",
        "run/judge-classifier.json",
        "run/validity.jsonl",
    ):
        return [reported]
    if first == "run":
        return [scored]
    if first in ("v2", "v3"):
        return [["convert", "lerobot", str(folder / first), "--out", out, "--processes", "1"]]
    if first == "data":
        return [["metrics", "--data", str(folder / "data"), "--predicted", str(folder / "data"), "--out", out,
                 "--horizon", "2", "--metrics", "psnr"]]  # fmt: skip
    return [reported]
