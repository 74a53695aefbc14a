"""LeRobot's own policy classes at toy size and random weights, saved as LeRobot saves them (needs LeRobot >= 0.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS = ("act", "diffusion", "vqbet", "smolvla")
SMALL: dict[str, dict[str, Any]] = {
    "act": {
        "chunk_size": 7, "n_action_steps": 4, "dim_model": 32, "n_heads": 2, "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1, "n_vae_encoder_layers": 1, "latent_dim": 8, "pretrained_backbone_weights": None,
    },
    "diffusion": {
        "down_dims": (32, 64), "horizon": 8, "n_obs_steps": 2, "n_action_steps": 3, "num_inference_steps": 3,
        "pretrained_backbone_weights": None, "spatial_softmax_num_keypoints": 8,
    },
    "vqbet": {
        "pretrained_backbone_weights": None, "n_obs_steps": 3, "n_action_pred_token": 3, "action_chunk_size": 3,
        "gpt_n_layer": 1, "gpt_n_head": 2, "gpt_hidden_dim": 32, "gpt_input_dim": 32, "gpt_output_dim": 32,
        "vqvae_n_embed": 8, "vqvae_embedding_dim": 16, "vqvae_enc_hidden_dim": 16,
    },
    "smolvla": {
        "load_vlm_weights": False, "num_vlm_layers": 2, "chunk_size": 6, "n_action_steps": 4, "num_steps": 2,
        "resize_imgs_with_padding": (64, 64), "max_state_dim": 8, "max_action_dim": 8, "empty_cameras": 1,
    },
}  # fmt: skip
"""Options of each policy's configuration."""


def save_policy(
    kind: str, folder: Path, cameras: dict[str, tuple[int, int]], state: int, action: int, seed: int = 0
) -> Path:
    """A policy that looks at ``cameras`` (height, width) and reads and answers so many numbers, with its processors.

    Numbers are normalised by statistics far from 0 and 1, so that a missing or second pass shows.
    """
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

    torch.manual_seed(seed)
    # VQ-BeT looks at one camera.
    cameras = dict(list(cameras.items())[: 1 if kind == "vqbet" else None])
    inputs = {
        f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, *size))
        for name, size in cameras.items()
    }
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (state,))
    more = dict(SMALL[kind])
    if kind in ("diffusion", "vqbet"):
        more["crop_shape"] = tuple(side - 8 for side in min(cameras.values()))
    if kind == "smolvla":
        more["vlm_model_name"] = str(save_vlm(folder.with_name(f"{folder.name}-vlm")))
    config = make_policy_config(
        kind,
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (action,))},
        device="cpu",
        push_to_hub=False,
        **more,
    )
    policy = get_policy_class(kind)(config)
    statistics = {
        "action": _numbers(torch.arange(action) * 3.0, 5.0),
        "observation.state": _numbers(torch.arange(state) * 2.0, 20.0),
    }
    for name, feature in inputs.items():
        if feature.type == FeatureType.VISUAL:
            statistics[name] = _numbers(torch.full((3, 1, 1), 0.5), 0.3)
    for processor in make_pre_post_processors(config, dataset_stats=statistics):
        processor.save_pretrained(folder)
    policy.save_pretrained(folder)
    return folder


def save_vlm(folder: Path) -> Path:
    """A vision-language model of SmolVLM's make without weights: configuration, word tokenizer, processor."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SmolVLMConfig
    from transformers.models.smolvlm import SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    special = ["<unk>", "<pad>", "<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>"]
    words = {
        word: place for place, word in enumerate([*special, "push", "lift", "the", "block", "tray", "into"])
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    )
    SmolVLMProcessor(SmolVLMImageProcessor(), fast, SmolVLMVideoProcessor()).save_pretrained(folder)
    SmolVLMConfig(
        text_config={
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
            "vocab_size": len(words), "pad_token_id": 1, "bos_token_id": 0,
            "eos_token_id": 5,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16,
        },
        scale_factor=2,
        image_token_id=4,
        pad_token_id=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _numbers(mean: Any, spread: float) -> dict[str, Any]:
    """Statistics as LeRobot computes them of a dataset."""
    return {"mean": mean, "std": mean * 0 + spread, "min": mean - 2 * spread, "max": mean + 2 * spread}
