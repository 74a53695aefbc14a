"""Names and shapes of the full-size models, built without memory, and sizes read back from shapes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.convert import HeadChannels
from real2sim.vid2world.released.layout import config_of, published_layout
from real2sim.vid2world.released.weight_transfer import causal_name

GOLDENS = Path(__file__).parent.parent / "data" / "vid2world"
TINY_HEADS = HeadChannels(resampler=8, text=8, image=8)


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    values = json.loads((GOLDENS / f"manifest_{name}_shapes.json").read_text())
    return {key: tuple(shape) for key, shape in values.items()}


def test_full_size_model_has_exactly_the_tensors_of_the_rt1_checkpoint() -> None:
    layout = published_layout(Vid2WorldConfig())
    assert len(layout) == 2526
    assert layout == manifest("rt1")


def test_full_size_base_model_has_exactly_the_tensors_of_dynamicrafter() -> None:
    layout = published_layout(Vid2WorldConfig())
    base = {name: shape for name, shape in manifest("dynamicrafter512").items()}
    causal = {causal_name(name): shape for name, shape in base.items()}
    assert {name: shape for name, shape in layout.items() if "action_emb_proj" not in name} == causal


def test_cs_go_model_has_a_table_of_51_rows() -> None:
    config = Vid2WorldConfig()
    game = replace(config, unet=replace(config.unet, action_dim=51, discrete_actions=True))
    layout, robot = published_layout(game), published_layout(config)
    changed = {name: shape for name, shape in layout.items() if robot.get(name) != shape}
    assert changed == {
        "model.diffusion_model.action_emb_preprocess.weight": (51, 320),
        "model.diffusion_model.action_emb_proj.0.weight": (1280, 320),
        "model.diffusion_model.action_emb_proj.0.bias": (1280,),
        "model.diffusion_model.action_emb_proj.2.weight": (1280, 1280),
    }
    assert config_of(layout, "file", HeadChannels()).unet == game.unet


@pytest.mark.parametrize("actions", [3, 13])
def test_sizes_of_a_full_size_model_follow_from_its_shapes(actions: int) -> None:
    config = Vid2WorldConfig()
    expected = replace(config, unet=replace(config.unet, action_dim=actions))
    assert config_of(published_layout(expected), "file", HeadChannels()) == expected


@pytest.mark.parametrize("multipliers", [(1, 2), (1, 2, 3)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_sizes_of_small_models_follow_from_their_shapes(multipliers: tuple[int, ...], blocks: int) -> None:
    tiny = Vid2WorldConfig.tiny()
    unet = replace(
        tiny.unet,
        channel_mult=multipliers,
        num_res_blocks=blocks,
        attention_resolutions=tuple(2**level for level in range(len(multipliers) - 1)),
    )
    found = config_of(published_layout(replace(tiny, unet=unet)), "file", TINY_HEADS)
    assert replace(found.unet, dropout=unet.dropout) == unet
    assert (found.autoencoder, found.text, found.image, found.resampler) == (
        tiny.autoencoder,
        tiny.text,
        tiny.image,
        tiny.resampler,
    )


def test_head_width_that_does_not_fit_names_the_option() -> None:
    tiny = Vid2WorldConfig.tiny()
    with pytest.raises(ValueError, match=r"16 channels wide, .* --heads\.text"):
        config_of(published_layout(tiny), "file", HeadChannels())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("embedder.model.visual.conv1.weight", (32, 3, 0, 0)),
        ("model.diffusion_model.init_attn.0.proj_in.weight", (1, 1, 1)),
        ("model.diffusion_model.time_embed.0.weight", (64,)),
        ("image_proj_model.proj_out.weight", (7, 32)),
    ],
)
def test_sizes_that_cannot_be_are_one_sentence_with_the_file(name: str, shape: tuple[int, ...]) -> None:
    layout = {**published_layout(Vid2WorldConfig.tiny()), name: shape}
    with pytest.raises(ValueError, match=r"^file\.ckpt: [^\n]*$"):
        config_of(layout, "file.ckpt", TINY_HEADS)


def test_parts_that_do_not_belong_together_are_refused() -> None:
    tiny = Vid2WorldConfig.tiny()
    with pytest.raises(ValueError, match="do all parts belong together"):
        replace(tiny, resampler=replace(tiny.resampler, context_width=99))
