from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import FIELDS
from real2sim.policies.imitation.config import ImitationConfig, Tile
from real2sim.policies.imitation.network import ImitationNetwork
from real2sim.policies.imitation.policy import ImitationPolicy, save_imitation
from real2sim.policies.policy import Observation, observe_frames
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.trained import load_policy

TINY = ImitationConfig.tiny()
KINDS = {
    "regression": TINY,
    "grid": replace(TINY, pooling="grid"),
    "stack": replace(TINY, frames=3),
    "recurrent": replace(TINY, recurrent=8),
    "chunks": replace(TINY, chunk=4, execute=2),
    "transformer": replace(TINY, chunk=3, decoder="transformer", frames=2),
    "mixture": replace(TINY, head="mixture"),
    "drawn mixture": replace(TINY, head="mixture", chunk=2, temperature=1.0),
    "diffusion": replace(TINY, head="diffusion", chunk=2),
    "drawn diffusion": replace(TINY, head="diffusion", temperature=1.0, recurrent=8, frames=2),
}
TASKS = ("close drawer", "open drawer")


def seen(frames: np.ndarray, state: np.ndarray) -> Observation:
    return replace(observe_frames(frames), state=state)


def made(config: ImitationConfig) -> ImitationPolicy:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ImitationNetwork(config)
    return ImitationPolicy(network, InstructionTable.random(TASKS, config.embedding))


def video(lanes: int, steps: int = 6) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (steps, lanes, 16, 16, 3), dtype=np.uint8)


def played(policy: ImitationPolicy, frames: np.ndarray, seeds: list[int], tasks: list[str]) -> np.ndarray:
    policy.seed(seeds)
    policy.reset(tasks)
    return np.stack([policy.act(observe_frames(frame)) for frame in frames])


@pytest.mark.parametrize("kind", KINDS)
def test_an_episode_alone_equals_the_same_episode_in_a_batch(kind: str) -> None:
    policy, frames = made(KINDS[kind]), video(3)
    together = played(policy, frames, [7, 8, 9], [TASKS[0], TASKS[1], TASKS[0]])
    assert together.shape == (6, 3, 13)
    for lane in range(3):
        alone = played(policy, frames[:, lane : lane + 1], [7 + lane], [TASKS[lane % 2]])
        np.testing.assert_allclose(alone[:, 0], together[:, lane], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_actions_after_saving_and_loading(kind: str, tmp_path: Path) -> None:
    policy, frames = made(KINDS[kind]), video(2)
    save_imitation(tmp_path / "policy", policy.network, policy.instructions, "# Toy", half=False)
    loaded = load_policy(tmp_path / "policy")
    assert isinstance(loaded, ImitationPolicy)
    first = played(policy, frames, [1, 2], list(TASKS))
    np.testing.assert_array_equal(played(loaded, frames, [1, 2], list(TASKS)), first)


@pytest.mark.parametrize("kind", ["drawn mixture", "drawn diffusion"])
def test_a_policy_that_draws_depends_on_the_seed_and_others_do_not(kind: str) -> None:
    frames = video(1)
    for config, differs in ((KINDS[kind], True), (replace(KINDS[kind], temperature=0.0), False)):
        policy = made(config)
        one, other = (played(policy, frames, [seed], [TASKS[0]]) for seed in (1, 2))
        assert (not np.array_equal(one, other)) == differs


@pytest.mark.parametrize("kind", ["stack", "recurrent", "transformer"])
def test_what_was_seen_before_matters_to_a_policy_that_remembers(kind: str) -> None:
    policy, frames = made(KINDS[kind]), video(1, steps=4)
    changed = frames.copy()
    changed[2] = 255 - changed[2]
    before, after = (played(policy, shown, [0], [TASKS[0]]) for shown in (frames, changed))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert not np.array_equal(before[3], after[3])


def test_a_policy_of_one_frame_forgets() -> None:
    policy, frames = made(TINY), video(1, steps=4)
    changed = frames.copy()
    changed[2] = 255 - changed[2]
    before, after = (played(policy, shown, [0], [TASKS[0]]) for shown in (frames, changed))
    np.testing.assert_array_equal(before[3], after[3])


def test_a_robot_that_takes_several_actions_per_frame_gets_them_all() -> None:
    config = replace(TINY, chunk=6, actions_per_frame=3)
    policy, frames = made(config), video(2, steps=4)
    pairs = played(policy, frames, [0, 0], list(TASKS))
    assert pairs.shape == (4, 2, 3, 13)
    single = made(replace(config, actions_per_frame=1))
    np.testing.assert_array_equal(
        pairs[:2, 0].reshape(6, 13), played(single, frames[[0] * 6], [0, 0], list(TASKS))[:, 0]
    )


def test_between_two_looks_the_frames_do_not_matter() -> None:
    policy, frames = made(KINDS["chunks"]), video(1, steps=4)
    changed = frames.copy()
    changed[[1, 3]] = 255 - changed[[1, 3]]
    before, after = (played(policy, shown, [0], [TASKS[0]]) for shown in (frames, changed))
    np.testing.assert_array_equal(before, after)


def test_acting_step_by_step_gives_what_training_sees_at_once() -> None:
    for kind in ("stack", "recurrent", "transformer"):
        config = KINDS[kind]
        policy, frames = made(replace(config, execute=1)), video(1, steps=5)
        stepwise = played(policy, frames, [0], [TASKS[0]])[:, 0]
        padded = np.concatenate([frames[:1]] * (config.frames - 1) + [frames])
        sentence = torch.from_numpy(policy.instructions[TASKS[0]])[None]
        with torch.inference_mode():
            plan = policy.network(torch.from_numpy(padded.swapaxes(0, 1)), sentence)
            at_once = policy.network.act(plan[0], None)[:, 0].numpy()
        np.testing.assert_allclose(stepwise, at_once, atol=1e-5)


def test_actions_stay_within_their_bounds_and_a_number_that_never_varied_stays_exact() -> None:
    policy = made(replace(TINY, action_low=(-0.01,) * 13, action_high=(1.0,) * 13))
    policy.network.action_std[FIELDS["terminate_episode"]] = 0
    policy.network.action_mean[FIELDS["terminate_episode"]] = torch.tensor([0.0, 1.0, 0.0])
    actions = played(policy, video(4), [0] * 4, [TASKS[0]] * 4)
    assert actions.min() == np.float32(-0.01)
    np.testing.assert_array_equal(actions[..., FIELDS["terminate_episode"]], [[[0, 1, 0]] * 4] * 6)


def test_each_camera_is_read_and_so_is_the_state() -> None:
    config = replace(TINY, cameras=(Tile("front", 0, 0, 16, 8), Tile("wrist", 0, 8, 8, 8)), state=2)
    policy, frames = made(config), video(1)[0]
    state = np.zeros((1, 2), np.float32)
    policy.reset([TASKS[0]])
    shown = policy.act(seen(frames, state))
    for top, left, matters in ((0, 0, True), (0, 8, True), (8, 8, False)):
        changed = frames.copy()
        changed[:, top : top + 8, left : left + 8] = 255 - changed[:, top : top + 8, left : left + 8]
        policy.reset([TASKS[0]])
        assert (not np.array_equal(policy.act(seen(changed, state)), shown)) == matters
    policy.reset([TASKS[0]])
    assert not np.array_equal(policy.act(seen(frames, state + 1)), shown)
    with pytest.raises(ValueError, match=r"reads proprioception \(1, 2\), it was given none"):
        policy.act(observe_frames(frames))


def test_frames_of_another_size_are_refused() -> None:
    policy = made(TINY)
    policy.reset([TASKS[0]])
    with pytest.raises(ValueError, match="frames have 8 x 8 pixels, this policy was taught on 16 x 16"):
        policy.act(observe_frames(np.zeros((1, 8, 8, 3), np.uint8)))


def test_a_camera_has_pixels_inside_the_frame() -> None:
    with pytest.raises(ValueError, match="camera 'front': height must be at least 1, got 0"):
        Tile("front", 0, 0, 0, 8)
    with pytest.raises(ValueError, match="camera 'front': left must be at least 0, got -1"):
        Tile("front", 0, -1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk": 4, "actions_per_frame": 3}, "must be multiples of the 3 actions"),
        ({"execute": 2}, "execute lies between 1 and the chunk of 1, got 2"),
        ({"decoder": "transformer", "recurrent": 4}, "set recurrent to 0 or decoder to 'linear'"),
        ({"cameras": (Tile("front", 0, 0, 20, 8),)}, "camera 'front' does not lie inside the frame"),
        ({"action_low": (0.0,)}, "action_low has 1 numbers, an action has 13"),
        ({"action_low": (0.0,) * 13}, "action_low has 13 numbers and action_high 0; expected both or none"),
        ({"heads": 3}, "width 16 is not a multiple of the 3 heads"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)  # type: ignore[arg-type]
