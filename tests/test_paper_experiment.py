"""Every command of the paper's experiment runs, in order, with stand-ins of the right format at toy size."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from make_rlds import make_rlds

from real2sim.cli import main
from real2sim.episodes.run_folder import load_run

RECIPE = Path(__file__).parents[1] / "docs" / "paper_experiment.md"
DRAWERS = [f"{verb} {which} drawer" for verb in ("open", "close") for which in ("top", "middle", "bottom")]
TOY = {
    "--starts 50": "--starts 2",
    "--horizon 40": "--horizon 2",
    "--device cuda": "--device cpu --steps 2 --guidance 1 --processes 1",
    " --precision bfloat16": "",
    "--lanes auto": "--lanes 4",
    "--source thuml/Vid2World-RT1": "--image-size 24 32 --heads.resampler 8 --heads.text 8 --heads.image 8",
}


def commands(text: str) -> list[list[str]]:
    """The commands of each bash block, made small."""
    for shown, toy in TOY.items():
        text = text.replace(shown, toy)
    return [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)]


def write_checkpoint(path: Path) -> None:
    """A Lightning file in the published layout with small random weights."""
    import torch

    from real2sim.vid2world.released.config import Vid2WorldConfig
    from real2sim.vid2world.released.layout import published_layout

    generator = torch.Generator().manual_seed(0)
    layout = published_layout(Vid2WorldConfig.tiny())
    tensors = {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in layout.items()}
    path.parent.mkdir(parents=True)
    torch.save({"pytorch-lightning_version": "1.9.3", "state_dict": tensors}, path)


def write_policy(words: list[str]) -> None:
    """What `convert rt1` would leave: a network of random weights that knows the suite's instructions."""
    from real2sim.actions import ActionBounds
    from real2sim.policies.rt1.config import RT1Config
    from real2sim.policies.rt1.instructions import InstructionTable
    from real2sim.policies.rt1.policy import RT1, save_rt1

    options = dict(zip(words[::2], words[1::2], strict=False))
    config = replace(RT1Config.tiny(), embedding=512, camera_size=(24, 32), bounds=ActionBounds())
    table = InstructionTable.from_npz(Path(options["--embeddings"]), 512)
    save_rt1(Path(options["--out"]), RT1(config), table, "# Stand-in")


def write_labels(run: Path, out: Path) -> None:
    episodes = load_run(run)["episode"]
    labels = ["success" if number % 2 else "failure" for number in range(len(episodes))]
    pd.DataFrame({"episode": episodes, "label": labels}).to_csv(out, index=False)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1])
def test_every_command_of_the_recipe_runs(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_rlds(
        tmp_path / "fractal20220817_data", lengths=(4,) * 18, texts=[*DRAWERS, "pick the apple"], embedding=True,
        success=True, name="fractal20220817_data",
    )  # fmt: skip
    write_checkpoint(tmp_path / "Vid2World-RT1" / "last.ckpt")
    blocks = commands(RECIPE.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    lines = blocks[part]
    if part == 1:
        # The second experiment goes on with the folders of the first one.
        lines = [
            line.replace("suites/close_drawer", "suites/drawers") for line in blocks[0] if "convert" in line
        ] + lines
        lines.sort(key=lambda line: not line.startswith(("real2sim convert vid2world", "real2sim suite")))
        trials = [
            f"{policy},{task},{i > 0}"
            for policy in ("rt-1-begin", "rt-1-x")
            for task in ("open_top", "close_top")
            for i in range(3)
        ]
        (tmp_path / "real_trials.csv").write_text("\n".join(["policy,task,success", *trials]) + "\n")
    for line in lines:
        words = shlex.split(line)[1:]
        if words[:2] == ["convert", "rt1"]:
            write_policy(words[2:])
            continue
        if words[0] == "score":
            write_labels(Path(words[1]), Path(words[3]))
        main(words)
        if words[:2] == ["convert", "vid2world"]:
            # The published picture of 320 x 512 pixels is too much for a test.
            path = Path("released/rt1/config.json")
            values = json.loads(path.read_text())
            values["config"]["picture_size"] = [16, 24]
            path.write_text(json.dumps(values))
        assert "problem" not in capsys.readouterr().out
    report = sorted(Path("reports").glob("*/report.html"))
    assert len(report) == 1
    rates = pd.read_csv(report[0].parent / "report.csv")
    if part == 0:
        real = rates.set_index("policy")["real_rate"]
        assert real["rt-1-converged"] == pytest.approx(0.926, abs=1e-3)
        assert real["rt-1-begin"] == 0
    else:
        assert set(rates["task"]) == {
            f"{verb}_{which}" for verb in ("open", "close") for which in ("top", "middle", "bottom")
        }
