"""Autoencoder, resampler and CLIP towers agree with stored numbers of the published implementation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from real2sim.vid2world.released.autoencoder import (
    LATENT_SCALE,
    Autoencoder,
    AutoencoderConfig,
    diffusers_name,
    published_shapes,
)
from real2sim.vid2world.released.clip import (
    EMPTY_CAPTION,
    ImageTower,
    ImageTowerConfig,
    TextTower,
    TextTowerConfig,
)
from real2sim.vid2world.released.conditioning_image import blur_of_axis, prepare_image
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.resampler import Resampler, ResamplerConfig

GOLDENS = Path(__file__).parent.parent / "data" / "vid2world"

# A float32 re-implementation differs by rounding alone; a wrong epsilon or activation by more.
TOLERANCE = {"rtol": 0.0, "atol": 1e-5}


def golden(folder: str, name: str) -> dict[str, Tensor]:
    # The weights are stored as float16, which is exact for them.
    return {
        key: tensor.float() if tensor.dtype == torch.float16 else tensor
        for key, tensor in load_file(GOLDENS / folder / f"{name}.safetensors").items()
    }


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    model = Autoencoder(AutoencoderConfig.tiny())
    model.load_published(golden("vae_small", "weights"))
    return model.eval()


@torch.no_grad()
def test_autoencoder_encodes_and_decodes_like_the_published_one(autoencoder: Autoencoder) -> None:
    given, expected = golden("vae_small", "inputs"), golden("vae_small", "outputs")
    mean, logvar = autoencoder.posterior(given["x"])
    torch.testing.assert_close(mean, expected["mean"], **TOLERANCE)
    torch.testing.assert_close(logvar, expected["logvar"], **TOLERANCE)
    latents = autoencoder.encode(given["x"], given["posterior_noise"])
    torch.testing.assert_close(latents, expected["latent_scaled"], **TOLERANCE)
    decoded = autoencoder.decode(given["z_decode"] * LATENT_SCALE)
    torch.testing.assert_close(decoded, expected["decoded"], **TOLERANCE)


@pytest.mark.parametrize(
    "config", [AutoencoderConfig(), AutoencoderConfig.tiny(), AutoencoderConfig(64, (1, 2, 3), 2, 8)]
)
def test_every_autoencoder_name_maps_to_one_diffusers_name(config: AutoencoderConfig) -> None:
    with torch.device("meta"):
        model = Autoencoder(config)
    renamed = [diffusers_name(name, len(config.multipliers)) for name in published_shapes(config)]
    assert sorted(renamed) == sorted(model.kl.state_dict())


@torch.no_grad()
def test_resampler_gives_the_published_tokens() -> None:
    model = Resampler.from_config(ResamplerConfig.tiny())
    model.load_state_dict(golden("resampler_small", "weights"), strict=True)
    tokens = model(golden("resampler_small", "inputs")["x"])
    torch.testing.assert_close(tokens, golden("resampler_small", "outputs")["y"], **TOLERANCE)


@torch.no_grad()
def test_text_tower_gives_the_published_tokens() -> None:
    stored = golden("clip_small", "text_weights")
    config = TextTowerConfig.tiny()
    table = torch.zeros(config.vocabulary, config.width)
    table[stored.pop("token_embedding_row_ids").long()] = stored.pop("token_embedding_rows")
    model = TextTower.from_config(config)
    weights = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    model.load_state_dict({**weights, "token_embedding.weight": table}, strict=True)
    tokens = golden("clip_small", "inputs")["tokens"].long()
    expected = golden("clip_small", "outputs")["text"]
    torch.testing.assert_close(model(tokens), expected, **TOLERANCE)

    texts = json.loads((GOLDENS / "clip_small" / "config.json").read_text())["texts"]
    assert texts[0] == ""
    assert tuple(tokens[0, :3].tolist()) == (*EMPTY_CAPTION, 0)
    torch.testing.assert_close(model.empty_caption(), expected[:1], **TOLERANCE)


@torch.no_grad()
def test_image_tower_gives_the_published_tokens() -> None:
    model = ImageTower.from_config(ImageTowerConfig.tiny())
    weights = golden("clip_small", "image_weights")
    model.load_state_dict({name.removeprefix("model.visual."): t for name, t in weights.items()}, strict=True)
    tokens = model(golden("clip_small", "inputs")["pixels"])
    torch.testing.assert_close(tokens, golden("clip_small", "outputs")["image"], **TOLERANCE)


def test_conditioning_image_is_prepared_like_the_published_one() -> None:
    image = golden("clip_preprocess", "inputs")["image_uint8_hwc"]
    frames = (image[None].permute(0, 3, 1, 2).float() / 255 - 0.5) * 2
    prepared = prepare_image(frames)
    torch.testing.assert_close(prepared, golden("clip_preprocess", "outputs")["pixels"], **TOLERANCE)


def test_blur_before_shrinking_320_x_512_to_224() -> None:
    assert blur_of_axis(320, 224) == (pytest.approx(0.2143, abs=1e-4), 3)
    assert blur_of_axis(512, 224) == (pytest.approx(0.6429, abs=1e-4), 3)


@pytest.mark.parametrize("part", ["autoencoder", "text", "image", "resampler"])
def test_sizes_that_no_part_has_are_refused_by_name(part: str) -> None:
    sound = getattr(Vid2WorldConfig.tiny(), part)
    for field in dataclasses.fields(sound):
        for value in (-1, 0, 10**9, True):
            wrong = (value,) if isinstance(getattr(sound, field.name), tuple) else value
            with pytest.raises(ValueError, match=field.name):
                dataclasses.replace(sound, **{field.name: wrong})
