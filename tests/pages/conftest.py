"""Runs as a page browses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.run_folder import RowWriter, RunFolder

TASKS = ("close_drawer", "open_drawer")
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run of 8 x 8 pixels: every policy on every task and start; frames are as bright as their number."""

    def make(
        name: str = "run",
        policies: tuple[str, ...] = ("early", "late"),
        starts: int = 3,
        world: str = "world_model",
        scored: bool = True,
        frames: int = 6,
    ) -> Path:
        folder = RunFolder(tmp_path / name)
        folder.open({"suite": "toy"}, {"config": {"suite": str(tmp_path / "no suite")}})
        scores = []
        with RowWriter(folder, 0) as writer:
            for policy in policies:
                for task in TASKS:
                    for start in range(starts):
                        row = {
                            "episode": f"{policy}-{task}-{start}",
                            "suite": "toy", "task": task, "policy": policy, "family": policy, "kind": "rt1",
                            "set": "policies", "start": f"{task}-{start}", "seed": 2615525874302271278 + start,
                            "world": world, "instruction": task.replace("_", " "), "steps": frames - 1,
                            "terminated": False, "truncated": True, "frame_passes": 1, "seconds": 0.1,
                        }  # fmt: skip
                        brightness = 40 * np.arange(frames, dtype=np.uint8)
                        video = np.zeros((frames, 8, 8, 3), np.uint8) + brightness[:, None, None, None]
                        video[:, 0, 0] = start
                        writer.write(row, video, np.zeros((frames - 1, 13), np.float32))
                        success = {0: policy == "late", 1: False, 2: None}.get(start, True)
                        probability = None if success is None else 0.9 if success else 0.2
                        scores.append(
                            {"episode": row["episode"], "judge": "classifier", "success": success,
                             "probability": probability, "judge_digest": "x"}
                        )  # fmt: skip
        if scored:
            text = "".join(json.dumps(row) + "\n" for row in scores)
            (folder.path / "scores-classifier.jsonl").write_text(text)
        return folder.path

    return make
