"""Agreement with the published RT-1 network, stage by stage; see tests/data/rt1/README.md.

Both sides compute in float32 in another order, so small differences add up over the stages; the
tolerances are about three times what was seen.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

from real2sim.actions import FIELDS, unpack
from real2sim.policies.rt1.action_tokens import tokenize
from real2sim.policies.rt1.config import RT1Config, efficientnet_blocks
from real2sim.policies.rt1.image import prepare_images
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import RT1, RT1Policy
from real2sim.policies.rt1.tf_variables import COUNT, saved_model_keys, tensors_from_variables, variable_table
from real2sim.simulation.observation import observe_frames

DATA = Path(__file__).parents[1] / "data/rt1"
SIZES = RT1Config(
    stem=8, blocks=efficientnet_blocks(0.25, 0.3), top=320, layers=2, width=128, heads=4, head_width=16
)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load_file(DATA / "tiny_rollout.safetensors")


@pytest.fixture(scope="module")
def network() -> RT1:
    network = RT1(SIZES)
    network.load_state_dict(
        tensors_from_variables(load_file(DATA / "tiny_weights.safetensors"), SIZES), strict=True
    )
    return network.eval()


def close(found: torch.Tensor, wanted: np.ndarray, relative: float) -> None:
    """Equal up to ``relative`` of the largest number of the stage."""
    scale = float(np.abs(wanted).max())
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=relative * scale)


def test_images_are_stretched_not_cropped(golden: dict[str, np.ndarray]) -> None:
    images = prepare_images(torch.from_numpy(golden["frames"][:2]), (300, 300))
    found = images[:, :, ::10, ::10].movedim(1, -1)
    np.testing.assert_allclose(found.numpy(), golden["prepared_image/every_10th_pixel"], rtol=0, atol=1e-4)


def test_every_stage_of_the_image_network_agrees(network: RT1, golden: dict[str, np.ndarray]) -> None:
    images = prepare_images(torch.from_numpy(golden["frames"][:2]), (300, 300))
    sentences = torch.from_numpy(np.stack([golden["embedding/a"], golden["embedding/b"]]))
    stages: dict[str, torch.Tensor] = {}
    net = network.tokenizer.net
    hooks = [
        net.stem_norm.register_forward_hook(lambda *args: stages.update(stem_activation=F.silu(args[2]))),
        net.top_norm.register_forward_hook(lambda *args: stages.update(top_activation=F.silu(args[2]))),
    ]
    for number, block in enumerate(net.blocks, start=1):
        hooks.append(
            block.register_forward_hook(lambda *args, n=number: stages.update({f"film_{n:02d}": args[2]}))
        )
    with torch.inference_mode():
        features = network.tokenizer(images, sentences)
        tokens = network.token_learner(features)
    for hook in hooks:
        hook.remove()
    assert len(stages) == 10
    for stage, found in stages.items():
        close(found[:, :, 0].transpose(1, 2), golden[f"net/{stage}/row0"], 3e-5)
        close(found.mean(dim=(2, 3)), golden[f"net/{stage}/channel_mean"], 3e-5)
    close(features.unflatten(1, (9, 9)), golden["net/features"], 3e-5)
    close(tokens, golden["token_learner/out"], 1e-4)


def test_the_attention_mask_is_equal(network: RT1, golden: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(network.mask.numpy(), golden["attention_mask"] == 1)


def test_the_transformer_agrees(network: RT1, golden: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        close(
            network.transformer(torch.from_numpy(golden["transformer/in"]), network.mask),
            golden["transformer/out"],
            2e-6,
        )


def test_both_rollouts_in_one_batch_give_equal_tokens(network: RT1, golden: dict[str, np.ndarray]) -> None:
    table = InstructionTable({name: golden[f"embedding/{name}"] for name in "ab"}, 512)
    policy = RT1Policy(network, table)
    policy.reset(["a", "b"])
    for step, frame in enumerate(golden["frames"]):
        actions = policy.act(observe_frames(np.stack([frame, frame])))
        for lane, name in enumerate("ab"):
            fields = unpack(actions[lane])
            for field in FIELDS:
                np.testing.assert_allclose(
                    fields[field], golden[f"{name}/action/{field}"][step], rtol=0, atol=1e-6
                )


def test_logits_and_tokens_of_windows_agree(network: RT1, golden: dict[str, np.ndarray]) -> None:
    for name in "ab":
        tokens = torch.from_numpy(golden[f"{name}/image_tokens"])
        for step in range(8):
            with torch.inference_mode():
                logits = network.action_logits(tokens[None, max(0, step - 5) : step + 1])[0, -1]
            close(logits, golden[f"{name}/logits"][step], 5e-5)
            np.testing.assert_array_equal(logits.argmax(-1).numpy(), golden[f"{name}/tokens"][step])


def test_the_full_network_has_exactly_the_published_variables() -> None:
    published = json.loads((DATA / "variables_main.json").read_text())["checkpoint"]
    with torch.device("meta"):
        state = RT1(RT1Config()).state_dict()
    table = variable_table(RT1Config())
    assert {row.name for row in table} | {COUNT} == set(published)
    assert sorted(row.tensor for row in table) == sorted(state)
    for row in table:
        shape = published[row.name]
        wanted = {
            "same": lambda s: s,
            "conv": lambda s: [s[3], s[2], s[0], s[1]],
            "depthwise": lambda s: [s[2], s[3], s[0], s[1]],
            "dense": lambda s: [s[1], s[0]],
            "heads": lambda s: [s[1] * s[2], s[0]],
            "heads_bias": lambda s: [s[0] * s[1]],
            "heads_output": lambda s: [s[2], s[0] * s[1]],
        }[row.layout](shape)
        assert list(state[row.tensor].shape) == wanted, row


def test_variables_are_counted_as_in_the_published_saved_model() -> None:
    published = json.loads((DATA / "variables_main.json").read_text())["savedmodel"]
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    assert {key + suffix: name for key, name in saved_model_keys(RT1Config()).items()} == published


def test_a_checkpoint_of_another_kind_is_refused_by_name() -> None:
    variables = load_file(DATA / "tiny_weights.safetensors")
    extra = variables | {"agent/other": np.zeros(1, np.float32)}
    with pytest.raises(ValueError, match="agent/other is unknown"):
        tensors_from_variables(extra, SIZES)
    del variables["agent/_actor_network/_transformer/_output_tokens/bias"]
    with pytest.raises(ValueError, match="_output_tokens/bias is missing"):
        tensors_from_variables(variables, SIZES)


def test_tokenizing_the_policy_s_actions_is_within_one_bin_of_its_tokens(
    golden: dict[str, np.ndarray],
) -> None:
    actions = np.concatenate([golden[f"a/action/{name}"].astype(np.float32) for name in FIELDS], axis=1)
    tokens = golden["a/tokens"].astype(int)
    valid = tokens[:, 0] < 3
    again = tokenize(actions, SIZES.action_order, SIZES.bounds)
    assert (np.abs(again - tokens)[valid] <= 1).all()
