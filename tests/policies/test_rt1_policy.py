from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from real2sim.actions import rt1_robot
from real2sim.model_folder import config_from_dict, config_to_dict
from real2sim.policies.policy import StochasticPolicy
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import RT1, RT1Policy, save_rt1
from real2sim.policies.rt1.transformer import attention_mask
from real2sim.simulation.action_checks import check_actions
from real2sim.simulation.observation import observe_frames

TINY = RT1Config.tiny()
TABLE = InstructionTable.random(["close drawer", "open drawer"], TINY.embedding)
FRAMES = np.random.default_rng(0).integers(0, 256, size=(7, 3, 32, 32, 3), dtype=np.uint8)
INSTRUCTIONS = ["open drawer", "close drawer", "open drawer"]


@pytest.fixture(scope="module")
def network() -> RT1:
    torch.manual_seed(0)
    network = RT1(TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network.eval()


def roll(policy: RT1Policy, lanes: list[int], seeds: list[int] | None = None) -> np.ndarray:
    if seeds is not None:
        policy.seed(seeds)
    policy.reset([INSTRUCTIONS[lane] for lane in lanes])
    return np.stack([policy.act(observe_frames(frames[lanes])) for frames in FRAMES])


def test_a_lane_acts_the_same_alone_and_in_a_batch(network: RT1) -> None:
    policy = RT1Policy(network, TABLE)
    together = roll(policy, [0, 1, 2])
    for lane in range(3):
        np.testing.assert_array_equal(roll(policy, [lane])[:, 0], together[:, lane])


def test_keeping_image_tokens_gives_what_the_whole_window_gives(network: RT1) -> None:
    policy = RT1Policy(network, TABLE)
    policy.reset([INSTRUCTIONS[0]])
    sentence = torch.from_numpy(TABLE[INSTRUCTIONS[0]])[None]
    for step in range(len(FRAMES)):
        policy.act(observe_frames(FRAMES[step, :1]))
        window = torch.from_numpy(FRAMES[max(0, step - TINY.history + 1) : step + 1, :1]).transpose(0, 1)
        with torch.inference_mode():
            whole = network(window, sentence)[:, -1]
            kept = network.action_logits(torch.stack(policy._history, dim=1))[:, -1]
        torch.testing.assert_close(kept, whole, rtol=1e-4, atol=1e-4)


def test_later_frames_leave_earlier_actions_alone(network: RT1) -> None:
    frames = torch.from_numpy(FRAMES[:3, :1]).transpose(0, 1)
    changed = frames.clone()
    changed[:, 2] = 255 - changed[:, 2]
    sentence = torch.from_numpy(TABLE[INSTRUCTIONS[0]])[None]
    with torch.inference_mode():
        before, after = network(frames, sentence), network(changed, sentence)
    torch.testing.assert_close(before[:, :2], after[:, :2], rtol=0, atol=1e-5)
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_an_action_token_sees_images_but_no_action() -> None:
    mask = attention_mask(frames=2, image_tokens=2, action_tokens=3)
    assert mask[2].nonzero().flatten().tolist() == [0, 1]
    assert mask[9].nonzero().flatten().tolist() == [0, 1, 5, 6]
    assert mask[5].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_the_instruction_matters(network: RT1) -> None:
    policy = RT1Policy(network, TABLE)
    actions = []
    for instruction in TABLE:
        policy.reset([instruction])
        actions.append(policy.act(observe_frames(FRAMES[0, :1])))
    assert not np.array_equal(actions[0], actions[1])


def test_actions_lie_inside_their_bounds(network: RT1) -> None:
    for actions in roll(RT1Policy(network, TABLE, temperature=5.0), [0, 1, 2]):
        check_actions(actions, rt1_robot(bounds=TINY.bounds), policy="tiny", step=0)


def test_temperature_draws_from_the_seed_of_the_episode(network: RT1) -> None:
    policy = RT1Policy(network, TABLE, temperature=2.0)
    assert isinstance(policy, StochasticPolicy)
    together = roll(policy, [0, 1, 2], seeds=[4, 5, 6])
    np.testing.assert_array_equal(roll(policy, [2], seeds=[6])[:, 0], together[:, 2])
    assert not np.array_equal(roll(policy, [2], seeds=[7])[:, 0], together[:, 2])


def test_a_low_temperature_takes_the_likeliest_bin(network: RT1) -> None:
    cold, greedy = RT1Policy(network, TABLE, temperature=1e-6), RT1Policy(network, TABLE)
    np.testing.assert_array_equal(roll(cold, [0, 1]), roll(greedy, [0, 1]))


def test_a_policy_survives_its_folder(network: RT1, tmp_path: Path) -> None:
    save_rt1(tmp_path / "policy", network, TABLE, "# A test")
    again = RT1Policy.from_folder(tmp_path / "policy")
    assert again.network.config == TINY
    np.testing.assert_array_equal(roll(again, [0, 1]), roll(RT1Policy(network, TABLE), [0, 1]))


@pytest.mark.parametrize("config", [RT1Config(), RT1Config.small(), TINY])
def test_a_configuration_survives_json(config: RT1Config) -> None:
    assert config_from_dict(RT1Config, config_to_dict(config)) == config


def test_an_unknown_instruction_is_refused_at_reset(network: RT1) -> None:
    with pytest.raises(ValueError, match="unknown instruction 'fly'"):
        RT1Policy(network, TABLE).reset(["fly"])


def test_the_small_policies_fit_in_a_megabyte() -> None:
    network = RT1(RT1Config.small())
    assert sum(value.numel() for value in network.state_dict().values()) * 2 < 1_000_000
