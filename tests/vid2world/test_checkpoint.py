"""Published checkpoints become folders, and broken ones become one sentence and no folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from real2sim.model_folder import CARD_FILE, read_config
from real2sim.vid2world import Vid2World
from real2sim.vid2world.released.checkpoint import KIND
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.convert import (
    ConvertDynamiCrafter,
    ConvertVid2World,
    HeadChannels,
    StoredType,
)
from real2sim.vid2world.released.layout import SCHEDULE_BUFFERS, published_layout
from real2sim.vid2world.released.weight_transfer import causal_kernel, causal_name

HEADS = HeadChannels(resampler=8, text=8, image=8)
Tensors = dict[str, Tensor]


def random_tensors(config: Vid2WorldConfig, seed: int = 0) -> Tensors:
    """A checkpoint in the published layout with small random numbers."""
    generator = torch.Generator().manual_seed(seed)
    layout = published_layout(config)
    return {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in layout.items()}


def save_lightning(tensors: Tensors, path: Path) -> Path:
    # What else Lightning writes beside the weights.
    torch.save({"epoch": 3, "pytorch-lightning_version": "1.9.3", "state_dict": tensors}, path)
    return path


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return random_tensors(Vid2WorldConfig.tiny())


def test_lightning_checkpoint_becomes_a_folder_with_every_tensor(tensors: Tensors, tmp_path: Path) -> None:
    checkpoint = save_lightning(tensors, tmp_path / "last.ckpt")
    out = ConvertVid2World(checkpoint, tmp_path / "model", source="here", licence="MIT", heads=HEADS).run()

    config, tiny = read_config(out, KIND, Vid2WorldConfig), Vid2WorldConfig.tiny()
    assert replace(config.unet, dropout=tiny.unet.dropout) == tiny.unet
    assert (config.autoencoder, config.image) == (tiny.autoencoder, tiny.image)
    assert config.resampler == tiny.resampler

    written = {path.name: load_file(path) for path in out.glob("*.safetensors")}
    assert sorted(written) == [
        "autoencoder.safetensors",
        "empty_caption.safetensors",
        "image_encoder.safetensors",
        "resampler.safetensors",
        "unet.safetensors",
    ]
    last = "out.2.conv2d.weight"
    assert torch.equal(written["unet.safetensors"][last], tensors[f"model.diffusion_model.{last}"])
    assert written["empty_caption.safetensors"]["tokens"].shape == (1, 77, tiny.text.width)
    kept = sum(len(part) for name, part in written.items() if name != "empty_caption.safetensors")
    unread = [n for n in tensors if n.startswith(("cond_stage_model.", "embedder.")) and ".visual." not in n]
    assert kept + len(unread) + len(SCHEDULE_BUFFERS) == len(tensors)
    card = (out / CARD_FILE).read_text()
    assert "- Source: here" in card
    assert "- Licence: MIT" in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "model"]


def test_safetensors_checkpoint_gives_the_same_folder(tensors: Tensors, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    first = ConvertVid2World(tmp_path / "a.safetensors", tmp_path / "a", heads=HEADS).run()
    second = ConvertVid2World(save_lightning(tensors, tmp_path / "b.ckpt"), tmp_path / "b", heads=HEADS).run()
    for path in first.glob("*.safetensors"):
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_stored_numbers_can_be_halved(tensors: Tensors, tmp_path: Path) -> None:
    checkpoint = save_lightning(tensors, tmp_path / "c.ckpt")
    out = ConvertVid2World(checkpoint, tmp_path / "model", dtype="float16", heads=HEADS).run()
    assert {tensor.dtype for tensor in load_file(out / "unet.safetensors").values()} == {torch.float16}


def test_checkpoint_without_the_noise_schedule_is_complete(tensors: Tensors, tmp_path: Path) -> None:
    fewer = {name: tensor for name, tensor in tensors.items() if name not in SCHEDULE_BUFFERS}
    checkpoint = save_lightning(fewer, tmp_path / "c.ckpt")
    assert ConvertVid2World(checkpoint, tmp_path / "model", heads=HEADS).run().is_dir()


def test_cs_go_checkpoint_has_51_distinct_actions(tmp_path: Path) -> None:
    tiny = Vid2WorldConfig.tiny()
    game = replace(tiny, unet=replace(tiny.unet, action_dim=51, discrete_actions=True))
    checkpoint = save_lightning(random_tensors(game), tmp_path / "csgo.ckpt")
    out = ConvertVid2World(checkpoint, tmp_path / "model", heads=HEADS).run()
    config = read_config(out, KIND, Vid2WorldConfig)
    assert (config.unet.action_dim, config.unet.discrete_actions) == (51, True)
    assert (config.image_size, config.picture_size, config.history) == ((150, 280), config.picture_size, 9)


ACTIONS = "model.diffusion_model.action_emb_proj.0.weight"
CONV = "model.diffusion_model.input_blocks.1.0.temopral_conv.conv1.2.conv3d.weight"


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def changed(name: str, tensor: Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: tensor}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without(CONV), f"'{CONV}' is missing"),
        (without(ACTIONS), f"'{ACTIONS}' is missing"),
        (without("first_stage_model.quant_conv.bias"), "'first_stage_model.quant_conv.bias' is missing"),
        (
            without("cond_stage_model.model.ln_final.bias"),
            "'cond_stage_model.model.ln_final.bias' is missing",
        ),
        (without("embedder.model.visual.class_embedding"), "class_embedding' is missing"),
        (without("image_proj_model.latents"), "'image_proj_model.latents' is missing"),
        (changed(CONV, torch.zeros(3, 3)), "has shape (3, 3), expected (32, 32, 3, 1, 1)"),
        (changed("model.diffusion_model.extra", torch.zeros(1)), "'model.diffusion_model.extra' is unknown"),
        (changed(ACTIONS, torch.zeros(32, 7)), "takes 7 numbers per action, expected 13 or 3"),
        (changed("model.diffusion_model.out.2.weight", torch.zeros(1)), "use real2sim convert dynamicrafter"),
        (
            changed("model.diffusion_model.input_blocks.999999999.0.weight", torch.zeros(1)),
            "has a number beyond the",
        ),
        (
            changed(f"model.diffusion_model.input_blocks.{'9' * 5000}.0.weight", torch.zeros(1)),
            "has a number beyond the",
        ),
        (changed(ACTIONS, torch.zeros(1).expand(10**8, 13)), "has shape (100000000, 13), expected (32, 13)"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence_and_no_folder(
    damage: Callable[[Tensors], Tensors], sentence: str, tensors: Tensors, tmp_path: Path
) -> None:
    checkpoint = save_lightning(damage(tensors), tmp_path / "damaged.ckpt")
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        ConvertVid2World(checkpoint, tmp_path / "model", heads=HEADS).run()
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.ckpt"]


@pytest.mark.parametrize(("dtype", "weight"), [("float16", 1e6), ("keep", torch.inf)])
def test_numbers_that_the_stored_type_cannot_hold_are_refused(
    dtype: StoredType, weight: float, tensors: Tensors, tmp_path: Path
) -> None:
    checkpoint = save_lightning(changed(ACTIONS, torch.full((32, 13), weight))(tensors), tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=rf"{ACTIONS}.*(more than float16 can hold|not finite)"):
        ConvertVid2World(checkpoint, tmp_path / "model", dtype=dtype, heads=HEADS).run()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("options", [{"action_width": 0}, {"image_size": (0, 0)}, {"image_size": (10**9, 4)}])
def test_sizes_that_no_model_has_are_the_options_mistake(options: dict[str, Any]) -> None:
    for command in (ConvertVid2World, ConvertDynamiCrafter):
        with pytest.raises(ValueError, match=f"^{next(iter(options))} must be at"):
            command(Path("c.ckpt"), Path("out"), **options)
    with pytest.raises(ValueError, match=r"^image must be at least 1"):
        HeadChannels(image=0)


def test_parts_of_several_number_formats_become_one(tensors: Tensors, tmp_path: Path) -> None:
    mixed = {**tensors, ACTIONS: tensors[ACTIONS].double(), CONV: tensors[CONV].half()}
    folder = ConvertVid2World(save_lightning(mixed, tmp_path / "c.ckpt"), tmp_path / "m", heads=HEADS).run()
    model = Vid2World.from_pretrained(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    half = {name: tensor.half() if name.startswith("model.") else tensor for name, tensor in tensors.items()}
    folder = ConvertVid2World(save_lightning(half, tmp_path / "c.ckpt"), tmp_path / "h", heads=HEADS).run()
    assert {parameter.dtype for parameter in Vid2World.from_pretrained(folder).parameters()} == {
        torch.float32
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weight: weight.int(), "is int32, expected floating-point weights"),
        (lambda weight: weight.to(torch.complex64), "holds complex numbers"),
        (lambda weight: weight.to(torch.float8_e5m2), "holds float8_e5m2 numbers, expected float16"),
        (lambda weight: weight * torch.nan, "holds NaN or infinity, expected"),
        (lambda weight: weight.double() * 1e300, "holds NaN or infinity or numbers beyond float32"),
    ],
)
def test_a_converted_folder_that_was_edited_is_named(
    change: Callable[[Tensor], Tensor], sentence: str, tensors: Tensors, tmp_path: Path
) -> None:
    folder = ConvertVid2World(save_lightning(tensors, tmp_path / "c.ckpt"), tmp_path / "m", heads=HEADS).run()
    weights = load_file(folder / "unet.safetensors")
    name = ACTIONS.removeprefix("model.diffusion_model.")
    save_file({**weights, name: change(weights[name])}, folder / "unet.safetensors")
    with pytest.raises(ValueError, match=rf"unet\.safetensors: tensor '{name}' {sentence}"):
        Vid2World.from_pretrained(folder)


def test_another_action_width_can_be_asked_for(tensors: Tensors, tmp_path: Path) -> None:
    other = {**tensors, ACTIONS: torch.zeros(32, 7)}
    checkpoint = save_lightning(other, tmp_path / "other.ckpt")
    out = ConvertVid2World(checkpoint, tmp_path / "model", action_width=7, heads=HEADS).run()
    assert read_config(out, KIND, Vid2WorldConfig).unet.action_dim == 7


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_truncated_checkpoint_is_one_sentence_and_no_folder(
    suffix: str, kept: float, tensors: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / f"whole.{suffix}"
    if suffix == "ckpt":
        save_lightning(tensors, path)
    else:
        save_file(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match="copy it again") as raised:
        ConvertVid2World(path, tmp_path / "model", heads=HEADS).run()
    assert "\n" not in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


class Stranger:
    pass


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callback": Stranger()}, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match="could run foreign code"):
        ConvertVid2World(tmp_path / "c.ckpt", tmp_path / "model").run()


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {"a": 1}}])
def test_a_file_without_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match="expected a"):
        ConvertVid2World(tmp_path / "c.ckpt", tmp_path / "model").run()


def test_missing_file_and_taken_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt does not exist"):
        ConvertVid2World(tmp_path / "nowhere.ckpt", tmp_path / "model").run()
    with pytest.raises(FileExistsError, match="exists already"):
        ConvertVid2World(tmp_path / "nowhere.ckpt", tmp_path).run()


def base_tensors(tensors: Tensors) -> Tensors:
    return {
        name.replace(".conv3d.", ".").replace(".conv2d.", "."): tensor
        for name, tensor in tensors.items()
        if "action_emb_proj" not in name
    }


@pytest.mark.parametrize("transfer", ["extrapolative", "masked", "shift"])
def test_dynamicrafter_becomes_causal_and_only_the_action_embedding_is_new(
    transfer: str, tensors: Tensors, tmp_path: Path
) -> None:
    base = base_tensors(tensors)
    settings = ConvertDynamiCrafter(
        save_lightning(base, tmp_path / "model.ckpt"),
        tmp_path / "model",
        transfer,  # type: ignore[arg-type]
        action_width=7,
        heads=HEADS,
    )
    written = load_file(settings.run() / "unet.safetensors")
    new = {name for name in written if name.startswith("action_emb_proj.")}
    assert written["action_emb_proj.0.weight"].shape == (32, 7)
    assert len(new) == 6
    for name, tensor in base.items():
        if not name.startswith("model.diffusion_model."):
            continue
        kept = causal_name(name)
        changes = kept != name and name.endswith("weight")
        expected = causal_kernel(tensor, transfer, axis=2) if changes else tensor  # type: ignore[arg-type]
        assert torch.equal(written.pop(kept.removeprefix("model.diffusion_model.")), expected)
    assert set(written) == new
    assert "untrained" in (tmp_path / "model" / CARD_FILE).read_text()


def test_the_new_action_embedding_follows_from_the_seed_alone(tensors: Tensors, tmp_path: Path) -> None:
    checkpoint = save_lightning(base_tensors(tensors), tmp_path / "model.ckpt")
    embeddings = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)
        settings = ConvertDynamiCrafter(checkpoint, tmp_path / out, seed=seed, heads=HEADS)
        embeddings.append(load_file(settings.run() / "unet.safetensors")["action_emb_proj.4.weight"])
    assert torch.equal(embeddings[0], embeddings[1])
    assert not torch.equal(embeddings[0], embeddings[2])


def test_damaged_base_model_names_the_base_models_tensor(tensors: Tensors, tmp_path: Path) -> None:
    base = base_tensors(tensors)
    del base["model.diffusion_model.middle_block.0.temopral_conv.conv2.3.weight"]
    checkpoint = save_lightning(base, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=r"conv2\.3\.weight' is missing"):
        ConvertDynamiCrafter(checkpoint, tmp_path / "model", heads=HEADS).run()
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_a_causal_model_is_not_transferred_again(tensors: Tensors, tmp_path: Path) -> None:
    checkpoint = save_lightning(tensors, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="causal already"):
        ConvertDynamiCrafter(checkpoint, tmp_path / "model", heads=HEADS).run()
