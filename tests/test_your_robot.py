"""Every command of the recipe for a robot of one's own runs, in order, on a LeRobot v3.0 dataset of an SO-101."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from real2sim.cli import main
from real2sim.episodes.lerobot.writer import LeRobotWriter, Recording

RECIPE = Path(__file__).parents[1] / "docs" / "your_robot.md"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
MOTORS = tuple(f"{name}.pos" for name in JOINTS)
SMALL_WORLD = (
    "--optimisation.steps 2 --optimisation.windows 1 --optimisation.frames 3 --optimisation.device cpu "
    "--model.unet.model-channels 16 --model.unet.norm-groups 4 --model.unet.window 4 --model.unet.num-head-channels 8 "
    "--model.unet.channel-mult 1 1 --model.unet.attention-resolutions 2"
)
TOY = {
    "--episodes 0:400": "--episodes 0:16",
    "--episodes 0:200": "--episodes 0:8",
    "--episodes 400:450": "--episodes 16:20",
    "--size 96 128": "--size 16 24",
    "--optimisation.steps 30000": SMALL_WORLD,
    "--steps 20000": "--steps 4 --batch 2 --device cpu",
    "--negatives early": "--negatives early --steps 2 --batch 4",
    "--out training/gate": "--out training/gate --steps 2 --batch 4",
    "--starts 20": "--starts 2",
    "--horizon 45": "--horizon 2",
    "--starts all": "--starts all --processes 1",
}


def record(folder: Path, episodes: int) -> None:
    """A LeRobot v3.0 dataset of an SO-101: two cameras, six joints, 30 Hz, 1.3 s per episode."""
    rng = np.random.default_rng(0)
    recording = Recording(
        30, MOTORS, {"front": (64, 64), "wrist": (64, 64)}, MOTORS, "so101_follower", "libx264"
    )
    with LeRobotWriter(folder, recording) as writer:
        for _ in range(episodes):
            targets = np.cumsum(rng.normal(0, 2, (41, 6)), axis=0).astype(np.float32)
            images = {
                name: rng.integers(0, 256, (41, 64, 64, 3), dtype=np.uint8) for name in recording.cameras
            }
            writer.add("lift the cube", images, targets, targets - 0.5)


@pytest.mark.slow
def test_every_command_of_the_recipe_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "recordings" / "so101", 20)
    Path("outcomes.csv").write_text("episode,success\n16,true\n17,false\n18,true\n19,false\n")
    trials = [
        f"{policy},lift,{i < hits}"
        for policy, hits in (("quarter", 4), ("half", 9), ("full", 15))
        for i in range(20)
    ]
    Path("trials.csv").write_text("\n".join(["policy,task,success", *trials]) + "\n")
    text = RECIPE.read_text(encoding="utf-8")
    for shown, toy in TOY.items():
        assert shown in text
        text = text.replace(shown, toy)
    (block,) = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    for line in block.strip().splitlines():
        main(shlex.split(line)[1:])
        assert "problem" not in capsys.readouterr().out
    found = json.loads(Path("validation/validation.json").read_text())
    assert found["episodes"] == 4
    assert found["outcomes"] is not None
    assert found["action_following"]["recorded"]["episodes"] == 4
    rates = pd.read_csv("reports/lift/report.csv").set_index("policy")
    assert rates["real_rate"].to_dict() == pytest.approx(
        {"quarter": 0.2, "half": 0.45, "full": 0.75, "replay:recorded": np.nan}, nan_ok=True
    )
    assert "Accepted share of each policy" in Path("reports/lift/report.html").read_text()


def test_the_readme_shows_lines_of_the_recipes() -> None:
    root = RECIPE.parents[1]
    known = {
        line
        for name in ("your_robot.md", "paper_experiment.md")
        for line in (root / "docs" / name).read_text(encoding="utf-8").splitlines()
    }
    section = (root / "README.md").read_text(encoding="utf-8").split("## Two recipes")[1].split("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("real2sim ")]
    assert len(shown) >= 12
    assert not set(shown) - known
