from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from real2sim import cli
from real2sim.episodes.arrays import write_arrays
from real2sim.evaluation.consistency import NOT_JUDGED, lasting_differences
from real2sim.evaluation.report_runs import ReportConfig, report_runs
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.run import rollout
from real2sim.evaluation.score_runs import ScoreConfig, score_runs
from real2sim.files import read_json
from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.network import ImitationNetwork
from real2sim.policies.imitation.policy import save_imitation
from real2sim.policies.rt1.instructions import InstructionTable

RUN = {"starts": 2, "processes": 1, "tasks": ("close_drawer",)}


@pytest.fixture
def suite(tiny_suite: Path, tmp_path: Path) -> Path:
    """The toy suite with three recorded episodes."""
    folder = tmp_path / "suite"
    shutil.copytree(tiny_suite, folder)
    rng = np.random.default_rng(0)
    for index in range(3):
        episode = {
            "image": rng.integers(0, 256, (13, 16, 16, 3), dtype=np.uint8),
            "action": rng.uniform(-0.05, 0.05, (13, 13)).astype(np.float32),
            "instruction": np.array(("close drawer", "open drawer")[index % 2]),
        }
        write_arrays(folder / "recorded" / f"episode_{index:05d}.npz", episode)
    low, high = [-0.05] * 13, [0.05] * 13
    low[7:10], high[7] = [0.0] * 3, 0.0  # it never asks to end
    config = replace(ImitationConfig.tiny(), action_low=tuple(low), action_high=tuple(high))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ImitationNetwork(config)
    table = InstructionTable.random(("close drawer", "open drawer"), config.embedding)
    save_imitation(folder / "mine", network, table, "# Toy policy")
    return folder


def policies(suite: Path) -> tuple[str, ...]:
    """Two of different makes and random weights."""
    return (f"mine={suite / 'mine'}", "early")


def scored(suite: Path, out: Path) -> Path:
    config = RolloutConfig(out=out, suite=str(suite), policies=policies(suite), **RUN)  # type: ignore[arg-type]
    rollout(config, progress=False)
    score_runs(ScoreConfig((out,)))
    return out


def write_limit(suite: Path, threshold: float) -> None:
    limit = {"threshold": threshold, "policies": 9, "source": "made up"}
    (suite / "consistency.json").write_text(json.dumps(limit))


def test_a_rollout_measures_every_policy_and_a_report_sets_those_apart_that_it_cannot_speak_for(
    suite: Path, tmp_path: Path
) -> None:
    run = scored(suite, tmp_path / "run")
    measured = read_json(run / "consistency.json")
    assert measured["episodes"] == 3
    assert set(measured["policies"]) == {"early", "mine"}
    assert set(measured["policies"]["early"]) == {"close_drawer", "open_drawer"}
    moments = {task: values["moments"] for task, values in measured["policies"]["early"].items()}
    # Of the three episodes two were recorded for the one task; ten drawn frames of each are acted on.
    assert moments == {"close_drawer": 20, "open_drawer": 10}
    found = lasting_differences(measured["policies"])
    farther, nearer = sorted(found, key=lambda name: -found[name])
    assert found[farther] > found[nearer] >= 0

    result = report_runs(ReportConfig((run,), tmp_path / "report"))
    assert set(result.rates["set"]) == {"policies"}
    assert any("This suite has no threshold" in remark for remark in result.remarks)

    write_limit(suite, threshold=float(np.mean(list(found.values()))))
    result = report_runs(ReportConfig((run,), tmp_path / "report"))
    assert set(result.rates.loc[result.rates["set"] == NOT_JUDGED, "policy"]) == {farther}
    assert farther not in set(result.rates.loc[result.rates["set"] == "policies", "policy"])
    (said,) = (remark for remark in result.remarks if remark.startswith("Policy consistency"))
    assert "1 of 2 policies lie beyond the threshold" in said
    assert f"{farther} {found[farther]:.2f}" in said
    assert NOT_JUDGED in (tmp_path / "report" / "report.html").read_text()


def test_policies_within_the_limit_are_all_ranked_and_this_is_said(suite: Path, tmp_path: Path) -> None:
    write_limit(suite, threshold=1e6)
    run = scored(suite, tmp_path / "run")
    result = report_runs(ReportConfig((run,), tmp_path / "report"))
    assert set(result.rates["set"]) == {"policies"}
    assert any("0 of 2 policies lie beyond" in remark for remark in result.remarks)


def test_a_policy_that_joins_a_run_is_measured_and_the_others_are_not_measured_again(
    suite: Path, tmp_path: Path
) -> None:
    run = scored(suite, tmp_path / "run")
    before = read_json(run / "consistency.json")["policies"]
    before["early"]["close_drawer"]["distance"] = 123.0
    (run / "consistency.json").write_text(json.dumps({"episodes": 3, "policies": before}))
    config = RolloutConfig(out=run, suite=str(suite), policies=(*policies(suite), "late"), **RUN)  # type: ignore[arg-type]
    rollout(config, progress=False)
    after = read_json(run / "consistency.json")["policies"]
    assert set(after) == {"early", "mine", "late"}
    assert after["early"]["close_drawer"]["distance"] == 123.0


def test_policies_that_were_measured_without_the_lasting_difference_are_measured_again(
    suite: Path, tmp_path: Path
) -> None:
    run = scored(suite, tmp_path / "run")
    before = read_json(run / "consistency.json")["policies"]
    del before["early"]["open_drawer"]["lasting"]
    (run / "consistency.json").write_text(json.dumps({"episodes": 3, "policies": before}))
    scored(suite, run)
    assert read_json(run / "consistency.json")["policies"]["early"]["open_drawer"]["lasting"] >= 0


def test_without_recorded_episodes_or_by_request_nothing_is_measured(
    suite: Path, tiny_suite: Path, tmp_path: Path
) -> None:
    for name, folder, asked in (("none", tiny_suite, True), ("unasked", suite, False)):
        config = RolloutConfig(
            out=tmp_path / name, policies=("early",), suite=str(folder), consistency=asked, **RUN
        )  # type: ignore[arg-type]
        rollout(config, progress=False)
        assert not (tmp_path / name / "consistency.json").exists()


def test_metrics_print_the_consistency_of_a_panel(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["metrics", "--data", str(suite / "recorded"), "--model", str(suite / "world_model")]
    words += ["--out", str(tmp_path / "metrics"), "--horizon", "4", "--metrics", "psnr"]
    cli.main([*words, "--panel", str(suite / "mine"), str(suite / "policies" / "early")])
    assert "policy consistency" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "metrics" / "panel.csv").set_index("policy")
    assert list(table.index) == ["mine", "early"]
    assert table["distance"].max() > 0
    # Three episodes, ten drawn frames from moment 0 on; the other beginnings leave no room for ten.
    assert (table["moments"] == 30).all()
