from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.development_policies.members import (
    MEMBERS,
    fingerprint,
    halves,
    load_member,
    save_arrays,
    save_pixels,
)
from benchmarks.development_policies.nearest import NearestFrames, RandomFilters
from benchmarks.development_policies.pixels import (
    Calibration,
    Manner,
    PixelController,
    colours,
    decide,
    quadratic,
)
from benchmarks.development_policies.trained import trainings
from benchmarks.development_set import RATES, DevelopmentSet, simulated, summary
from real2sim.actions import FIELDS
from real2sim.policies.policy import observe_frames

LABELS = ("close drawer", "open drawer")


def lessons(count: int = 30) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    actions = {name: rng.uniform(-0.05, 0.05, (count, 13)).astype(np.float32) for name in LABELS}
    for labels in actions.values():
        labels[:, FIELDS["terminate_episode"]] = [0, 1, 0]
    return frames, actions


@pytest.fixture
def development(tmp_path: Path) -> Path:
    """Three members that act on 16 x 16 pixels, and their made-up real rates."""
    frames, labels = lessons()
    save_arrays(tmp_path / "nearest", "nearest", NearestFrames.fitted(frames, labels, 1, width=8))
    save_arrays(tmp_path / "filters", "filters", RandomFilters.fitted([(frames, labels)], seed=0))
    calibration = Calibration(np.zeros((36, 3)), np.zeros((21, 3)))
    save_pixels(tmp_path / "pixels-late", calibration, Manner(lag=1))
    rows = [
        {"policy": name, "task": task, "successes": count, "episodes": 10}
        for name, count in (("nearest", 1), ("filters", 5), ("pixels-late", 9))
        for task in ("close_drawer", "open_drawer")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / RATES, index=False)
    return tmp_path


def test_every_trained_member_is_a_folder_that_its_training_saves(tmp_path: Path) -> None:
    taught = trainings(tmp_path, tmp_path, tmp_path)
    for member in MEMBERS:
        if member.checkpoint:
            saved = {f"at-{100 * share:g}" for share in taught[member.family].save_at}
            assert member.checkpoint in saved | {"policy"}, member.name


def test_the_halves_share_no_family_and_have_members_of_most_kinds() -> None:
    half = halves()
    families = {(member.family, half[member.name]) for member in MEMBERS}
    assert len(families) == len({member.family for member in MEMBERS})
    for side in ("steer", "test"):
        here = [member for member in MEMBERS if half[member.name] == side]
        assert len(here) >= 7
        assert len({member.kind for member in here}) >= 5
    assert len({member.kind for member in MEMBERS}) >= 6
    assert sum(member.deterministic for member in MEMBERS) > len(MEMBERS) / 2
    assert sum(member.crisp for member in MEMBERS) > len(MEMBERS) / 2


@pytest.mark.slow
def test_rates_in_a_world_model_are_compared_with_the_real_ones_beside_a_perfect_simulator(
    development: Path, tiny_suite: Path
) -> None:
    asked = DevelopmentSet(development, development / "runs", suite=str(tiny_suite), half="all", starts=3)
    rows = simulated(asked)
    assert len(rows) == 6
    assert (rows["sim_episodes"] == 3).all()
    assert (rows["real_episodes"] == 10).all()
    assert set(rows.loc[rows["frames"], "policy"]) == {"pixels-late"}
    table = summary(rows).set_index("scope")
    assert list(table.index) == ["pooled", "close_drawer", "open_drawer", "deterministic"]
    assert table.loc["pooled", "policies"] == 3
    gaps = 100 * (rows["sim_rate"] - rows["real_rate"])
    assert table.loc["pooled", "MAE"] == pytest.approx(gaps.abs().mean())
    assert table.loc["pooled", "bias"] == pytest.approx(gaps.mean())
    assert 0 < table.loc["pooled", "r perfect"] <= 1
    assert 0 < table.loc["pooled", "MAE perfect"] < 40


@pytest.mark.slow
def test_members_act_alike_after_saving_and_their_fingerprint_changes_with_them(development: Path) -> None:
    frames, labels = lessons()
    before = {name: fingerprint(development / name) for name in ("nearest", "pixels-late")}
    policy = load_member(development / "nearest")
    policy.reset(["open drawer"] * 5)
    np.testing.assert_allclose(policy.act(observe_frames(frames[:5])), labels["open drawer"][:5], atol=1e-6)
    save_arrays(
        development / "nearest",
        "nearest",
        NearestFrames.fitted(frames[:20], {k: v[:20] for k, v in labels.items()}, 1, 8),
    )
    save_pixels(development / "pixels-late", Calibration(np.zeros((36, 3)), np.zeros((21, 3))), Manner(lag=2))
    for name, digest in before.items():
        assert fingerprint(development / name) != digest


def test_ridge_regression_on_random_filters_finds_what_the_frames_show() -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 60, (60, 16, 16, 3), dtype=np.uint8)
    right = rng.integers(2, size=60)
    for frame, side in zip(frames, right, strict=True):
        frame[:, 8 * side : 8 * side + 8, 0] += 190
    action = np.zeros((60, 13), np.float32)
    action[:, 10] = np.where(right, 0.05, -0.05)
    policy = RandomFilters.fitted([(frames[:50], {"close drawer": action[:50]})], seed=0, ridge=0.1)
    policy.reset(["close drawer"] * 10)
    answered = policy.act(observe_frames(frames[50:]))[:, 10]
    assert (np.sign(answered) == np.sign(action[50:, 10])).all()


def test_colours_are_told_apart() -> None:
    frame = np.full((64, 64, 3), 120, np.uint8)
    painted = {
        "finger": (0, 200, 200),
        "arm": (140, 20, 20),
        "drawer": (242, 140, 25),
        "case": (64, 128, 92),
        "wrist": (10, 10, 10),
    }
    for place, colour in enumerate(painted.values()):
        frame[10 * place : 10 * place + 5, :7] = colour
    for place, (name, mask) in enumerate(colours(frame).items()):
        assert mask.sum() == 35, name
        assert mask[10 * place : 10 * place + 5, :7].all(), name


def test_a_calibration_finds_a_quadratic_map() -> None:
    rng = np.random.default_rng(2)
    frames = np.full((80, 64, 64, 3), 120, np.uint8)
    places = rng.integers(20, 44, (80, 2))
    for frame, (row, column) in zip(frames, places, strict=True):
        frame[row - 6 : row - 3, column : column + 3] = (140, 20, 20)
        frame[row - 3 : row, column : column + 3] = (10, 10, 10)
        frame[row : row + 3, column : column + 3] = (0, 200, 200)
        frame[50:54, 5:9] = (242, 140, 25)
        frame[55:60, 5:9] = (64, 128, 92)
    x = (places - 32) / 32
    metres = np.stack([x[:, 0] ** 2, 0.5 * x[:, 1], x[:, 0] * x[:, 1]], axis=1)
    calibration = Calibration.fitted(frames, metres, metres)
    hand, handle = calibration.see(frames[3])
    assert hand is not None
    assert handle is not None
    np.testing.assert_allclose(hand, metres[3], atol=5e-3)
    frames[3, frames[3, ..., 2] == 200] = 120
    assert calibration.see(frames[3])[0] is None
    assert quadratic(np.zeros((2, 7))).shape == (2, 36)


@pytest.mark.parametrize(
    ("task", "hand", "direction"),
    [
        ("open drawer", (0.1, 0.5, 0.2), (-1, 1, None)),  # towards the handle, high
        ("open drawer", (0.0, 0.728, 0.22), (0, 0, -1)),  # over it: down
        ("open drawer", (0.0, 0.728, 0.105), (0, -1, None)),  # around it: pull
        ("close drawer", (0.0, 0.6, 0.105), (0, 1, 0)),  # before it: push
        ("close drawer", (0.0, 0.6, 0.25), (0, None, -1)),  # before it and too high: down
    ],
)
def test_a_controller_goes_over_the_handle_and_pulls_or_stands_before_it_and_pushes(
    task: str, hand: tuple[float, ...], direction: tuple[int | None, ...]
) -> None:
    move, gripper = decide(task, np.array(hand), np.array([0.0, 0.74, 0.09]), 0.015)
    for number, sign in zip(move, direction, strict=True):
        assert sign is None or (abs(number) < 5e-3 if sign == 0 else np.sign(number) == sign)
    assert gripper == (1.0 if task == "close drawer" else -1.0)


def test_a_controller_that_lags_acts_on_the_frame_before_and_one_that_sees_nothing_stands_still() -> None:
    blank = np.full((1, 64, 64, 3), 120, np.uint8)
    policy = PixelController(Calibration(np.zeros((36, 3)), np.zeros((21, 3))), Manner(noise=0.0))
    policy.reset(["open drawer"])
    action = policy.act(observe_frames(blank))[0]
    assert (action[FIELDS["world_vector"]] == 0).all()
    assert action[FIELDS["gripper_closedness_action"]] == -1
