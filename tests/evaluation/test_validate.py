"""A world model is judged by replays of held-out recordings, before any policy is evaluated."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from real2sim.actions import pack, rt1_robot
from real2sim.cli import main
from real2sim.episodes.arrays import write_arrays
from real2sim.evaluation.replays import Replay, frame_error
from real2sim.evaluation.validate import ValidateConfig, validate
from real2sim.report.gaps import LengthTrust
from real2sim.report.validation import Outcomes, Validation
from real2sim.robot import Robot


def write_recordings(folder: Path, lengths: tuple[int, ...], *, success: bool = True) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, length in enumerate(lengths):
        arrays = {
            "image": rng.integers(0, 256, (length, 16, 16, 3), dtype=np.uint8),
            "action": pack({"world_vector": rng.uniform(-0.06, 0.06, (length, 3)).astype(np.float32)}),
            "instruction": np.array(("close drawer", "open drawer")[number % 2]),
        }
        write_arrays(
            folder / f"{number:02d}.npz", arrays | ({"success": np.array(number % 3 == 0)} if success else {})
        )
    return folder


def test_the_command_writes_page_and_numbers_and_says_the_verdict(
    tiny_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_recordings(tmp_path / "heldout", (4, 6, 5, 6, 3, 6, 4, 5))
    out = tmp_path / "validation"
    policies = [str(tiny_suite / "policies" / name) for name in ("early", "late")]
    main(["validate", str(tiny_suite), "--data", str(data), "--out", str(out), "--policies", *policies])
    said = capsys.readouterr().out
    found = json.loads((out / "validation.json").read_text())
    assert found["verdict"]["headline"] in said
    assert found["verdict"]["grade"] == "unknown"
    assert found["outcomes"]["successes"] + found["outcomes"]["failures"] == found["outcomes"]["n"] == 8
    assert [row["episodes"] for row in found["frame_error"]] == [8, 8, 7, 5, 3]
    assert [row["steps"] for row in found["agreement_by_steps"]] == [1, 2, 3, 4, 5]
    assert "no validity gate was given" in found["not_measured"]["following"]
    assert "one length" in found["not_measured"]["consistency"]
    page = (out / "validation.html").read_text()
    assert "Recorded above, drawn below" in page
    assert found["verdict"]["headline"] in page


def test_without_outcomes_or_judge_the_verdict_says_not_measured(tiny_suite: Path, tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "silent", (4, 4, 4), success=False)
    found = validate(ValidateConfig(tiny_suite, data, tmp_path / "a"))
    assert found.outcomes is None
    assert "not measured: the recordings do not say whether they succeeded" in found.verdict[2]
    assert found.horizon is not None
    known = write_recordings(tmp_path / "known", (4, 4, 4))
    found = validate(ValidateConfig(tiny_suite / "world_model", known, tmp_path / "b"))
    assert "no judge was given" in found.verdict[2]
    assert found.horizon is None


def test_policies_are_compared_on_recorded_and_drawn_frames(tiny_suite: Path, tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "long", (12,) * 3)
    found = validate(
        ValidateConfig(tiny_suite, data, tmp_path / "a", policies=(tiny_suite / "policies/early",))
    )
    assert found.consistency is not None
    assert found.consistency["policy"].tolist() == ["early"]
    assert (found.consistency["distance"] > 0).all()


def test_a_replay_does_not_depend_on_the_episodes_drawn_beside_it(tiny_suite: Path, tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "data", (4, 7, 5))
    found = [
        validate(ValidateConfig(tiny_suite, data, tmp_path / str(batch), batch=batch)).error
        for batch in (1, 3)
    ]
    np.testing.assert_allclose(found[0].to_numpy(float), found[1].to_numpy(float), atol=0.2)


def test_mistakes_are_one_sentence(tiny_suite: Path, tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "one", (4,))
    with pytest.raises(ValueError, match="holds 1 episodes of two frames or more, expected at least 2"):
        validate(ValidateConfig(tiny_suite, data, tmp_path / "a"))
    labels = tmp_path / "labels.csv"
    labels.write_text("episode,label\n00,success\n")
    with pytest.raises(ValueError, match="holds labels of episodes, which do not look at the video"):
        validate(ValidateConfig(tiny_suite, data, tmp_path / "a", judge=str(labels)))
    with pytest.raises(FileNotFoundError, match="neither the folder of a world model"):
        validate(ValidateConfig(tmp_path / "nothing", data, tmp_path / "a"))
    robot = Robot("other", rt1_robot().action[:2], cameras=rt1_robot(image_size=(16, 16)).cameras)
    robot.save(data)
    write_arrays(
        data / "00.npz",
        {
            "image": np.zeros((4, 16, 16, 3), np.uint8),
            "action": np.zeros((4, 2), np.float32),
            "instruction": np.array("close drawer"),
        },
    )
    with pytest.raises(ValueError, match=r"world model .*world_model"):
        validate(ValidateConfig(tiny_suite, data, tmp_path / "a"))


def test_frame_error_of_a_perfect_drawing_beats_the_still_frame_and_of_a_still_one_does_not() -> None:
    rng = np.random.default_rng(1)
    replays, still = [], []
    for number in range(5):
        video = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
        actions = np.zeros((3, 13), np.float32)
        replays.append(Replay(str(number), "x", video, actions, None, video))
        still.append(Replay(str(number), "x", video, actions, None, np.repeat(video[:1], 4, axis=0)))
    perfect = frame_error(replays)
    assert (perfect["low"] > 30).all()
    np.testing.assert_allclose(frame_error(still)["drawn"], perfect["still"])
    # Equal frames: half a grey level of rounding.
    assert perfect["drawn"].tolist() == pytest.approx([10 * math.log10(255**2 * 12)] * 3)


def outcomes(same: int, other: int) -> Outcomes:
    recorded = np.arange(same + other) % 2.0
    success = np.where(np.arange(same + other) < same, recorded, 1 - recorded)
    table = pd.DataFrame({"episode": range(same + other), "recorded": recorded, "success": success})
    return Outcomes(table.assign(on_recorded=recorded, instruction="x", steps=5))


def validation(found: Outcomes | None) -> Validation:
    error = pd.DataFrame(
        {"step": [1, 2, 3], "drawn": 30.0, "still": 20.0, "low": [1.0, 0.5, -0.1], "high": 2.0}
    )
    return Validation(
        "w", "d", 9, 3, error, found, LengthTrust(pd.DataFrame(), 3, "H* = 3 steps."), None, None,
        {"outcomes": "no judge was given", "following": "no gate", "consistency": "no policies"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("same", "other", "grade"),
    [
        (198, 2, "good"),
        (190, 10, "good"),
        (185, 15, "mixed"),
        (165, 35, "mixed"),
        (160, 40, "bad"),
        (6, 0, "unknown"),
    ],
)
def test_the_grade_follows_the_lower_end_of_the_agreement(same: int, other: int, grade: str) -> None:
    found = validation(outcomes(same, other))
    assert found.verdict[0] == grade
    assert f"{same} of {same + other} replays end as recorded" in found.verdict[2]
    assert found.beats_still == 2


def test_without_outcomes_the_grade_is_unknown() -> None:
    found = validation(None)
    assert found.verdict[0] == "unknown"
    assert "not measured: no judge was given" in found.verdict[2]
    assert found.metrics()["outcomes"] is None


def test_the_cost_of_a_world_model_is_counted() -> None:
    from benchmarks.world_model_cost import configuration, count

    parameters, passes, operations = count(configuration(32, 32, 6, 1), frames=1)
    more = count(configuration(32, 64, 6, 1), frames=1)[2]
    assert parameters > 100_000
    assert passes >= 1
    assert more[0] == pytest.approx(2 * operations[0], rel=0.1)
