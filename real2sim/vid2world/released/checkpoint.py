"""Published checkpoints, read once and written as folders of safetensors; every tensor is accounted for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from real2sim.checksums import write_checksums
from real2sim.episodes.npz import dataset_robot
from real2sim.files import atomic_folder
from real2sim.model_folder import CARD_FILE, CONFIG_FILE, config_to_dict, type_name
from real2sim.robot import Robot, robot_text
from real2sim.vid2world.network.embedding import action_mlp
from real2sim.vid2world.released.clip import TextTower
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.convert import ConvertDynamiCrafter, ConvertVid2World, StoredType
from real2sim.vid2world.released.layout import (
    AUTOENCODER,
    IMAGE_TOWER,
    RESAMPLER,
    SCHEDULE_BUFFERS,
    TEXT,
    UNET,
    Shapes,
    config_of,
    published_layout,
)
from real2sim.vid2world.released.published_files import read_checkpoint
from real2sim.vid2world.released.weight_transfer import causal_name, transfer_weights

KIND = "vid2world"
COMPONENTS = {"unet": UNET, "autoencoder": AUTOENCODER, "image_encoder": IMAGE_TOWER, "resampler": RESAMPLER}
"""File of each component that is kept, and the prefix of its tensors in a published checkpoint."""
CAPTION_FILE = "empty_caption.safetensors"
CAPTION = "tokens"

ACTION_EMBEDDING = f"{UNET}action_emb_proj."

RT1_ACTIONS, RECON_ACTIONS, CSGO_ACTIONS = 13, 3, 51
"""Numbers per action of the published models."""


def convert_vid2world(settings: ConvertVid2World) -> Path:
    """Write the folder of a published Vid2World checkpoint and give its path.

    Raises FileNotFoundError, FileExistsError or ValueError with one sentence if the checkpoint cannot be
    read, a tensor is missing, unknown or of another shape, or actions have another width than asked for;
    nothing is written then.
    """
    _require_free(settings.out)
    where = str(settings.checkpoint)
    tensors = read_checkpoint(settings.checkpoint)
    shapes = _shapes(tensors)
    if f"{UNET}out.2.weight" in shapes:
        raise ValueError(
            f"{where}: this is a video model that looks both ways in time, not a Vid2World checkpoint; "
            "use real2sim convert dynamicrafter"
        )
    config = config_of(shapes, where, settings.heads)
    check_actions(config, settings.action_width, where)
    check_layout(shapes, published_layout(config), where)
    config = as_published(config)
    if settings.image_size is not None:
        config = replace(config, image_size=settings.image_size)
    about = f"Vid2World checkpoint `{settings.checkpoint.name}`"
    card = model_card("Vid2World", about, settings.source, settings.licence, config, "")
    return _write(settings.out, config, tensors, card, settings.dtype)


def convert_dynamicrafter(settings: ConvertDynamiCrafter) -> Path:
    """Write the folder of a causal model with DynamiCrafter's weights and a new action embedding.

    Raises as :func:`convert_vid2world` does.
    """
    _require_free(settings.out)
    where = str(settings.checkpoint)
    robot = None if settings.robot is None else dataset_robot(settings.robot)
    width = settings.action_width if robot is None else robot.world_action_width
    tensors = read_checkpoint(settings.checkpoint)
    if f"{UNET}out.2.conv2d.weight" in tensors:
        raise ValueError(f"{where}: this model is causal already; use real2sim convert vid2world")
    causal = {causal_name(name): shape for name, shape in _shapes(tensors).items()}
    # The width of the actions is the only size that the base model does not tell.
    causal[f"{ACTION_EMBEDDING}0.weight"] = (0, width)
    config = config_of(causal, where, settings.heads)
    layout = {
        name.replace(".conv3d.", ".").replace(".conv2d.", "."): shape
        for name, shape in published_layout(config).items()
        if not name.startswith(ACTION_EMBEDDING)
    }
    check_layout(_shapes(tensors), layout, where)
    new = untrained_action_embedding(width, config.unet.model_channels, settings.seed)
    config = replace(config, image_size=settings.image_size)
    if robot is not None:
        config = replace(config, image_size=robot.canvas_size, action_scale=robot.world_action_scale)
    note = (
        f"The temporal and the last convolutions were made causal by the *{settings.transfer}* transfer. "
        "**The action embedding is untrained**: fine-tune the model before its predictions mean anything."
    )
    about = f"DynamiCrafter checkpoint `{settings.checkpoint.name}`"
    card = model_card("Untrained world model", about, settings.source, settings.licence, config, note)
    weights = {**transfer_weights(tensors, settings.transfer), **new}
    return _write(settings.out, config, weights, card, settings.dtype, robot)


def untrained_action_embedding(actions: int, channels: int, seed: int) -> dict[str, Tensor]:
    """Weights of the only part that a base model does not have, drawn as ``nn.Linear`` draws its own."""
    generator = torch.Generator().manual_seed(seed)
    embedding = action_mlp(actions, channels, 4 * channels)
    weights: dict[str, Tensor] = {}
    for name, layer in embedding.named_children():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            for kind, parameter in layer.named_parameters():
                drawn = torch.rand(parameter.shape, generator=generator)
                weights[f"{ACTION_EMBEDDING}{name}.{kind}"] = (2 * drawn - 1) * bound
    return weights


def check_actions(config: Vid2WorldConfig, expected: int | None, where: str) -> None:
    """Refuse a checkpoint whose actions are neither those of a published model nor the expected ones."""
    found, discrete = config.unet.action_dim, config.unet.discrete_actions
    published = (CSGO_ACTIONS,) if discrete else (RT1_ACTIONS, RECON_ACTIONS)
    if found in ((expected,) if expected is not None else published):
        return
    kind = "takes {} zeros and ones per action" if discrete else "takes {} numbers per action"
    wanted = str(expected) if expected is not None else " or ".join(map(str, published))
    raise ValueError(
        f"{where}: the checkpoint {kind.format(found)}, expected {wanted}; "
        f"if it was trained on another robot, say so with --action-width {found}"
    )


def as_published(config: Vid2WorldConfig) -> Vid2WorldConfig:
    """The frames and histories of the published model with these actions; RT-1's for every other one."""
    if config.unet.discrete_actions:
        return replace(config, image_size=(150, 280), history=min(9, config.unet.window - 1))
    if config.unet.action_dim == RECON_ACTIONS:
        window = max(config.unet.window, 20)
        unet = replace(config.unet, window=window)
        return replace(config, unet=unet, image_size=(320, 320), picture_size=(320, 320), history=window - 1)
    return config


def check_layout(found: Shapes, expected: Shapes, where: str) -> None:
    """Refuse tensors that are not exactly those expected, naming the first; the schedule may be absent."""
    missing = sorted(set(expected) - set(found) - SCHEDULE_BUFFERS)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{where}: tensor {missing[0]!r}{more} is missing; is this a complete checkpoint?")
    unknown = sorted(set(found) - set(expected))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ValueError(f"{where}: tensor {unknown[0]!r}{more} is unknown; is this another architecture?")
    for name, shape in found.items():
        if shape != expected[name] and name not in SCHEDULE_BUFFERS:
            raise ValueError(f"{where}: tensor {name!r} has shape {shape}, expected {expected[name]}")


def empty_caption(config: Vid2WorldConfig, tensors: Mapping[str, Tensor]) -> Tensor:
    """The constant caption embedding (1 77 width), for which the text tower is needed this one time."""
    with torch.device("meta"):
        tower = TextTower.from_config(config.text)
    weights = {
        name.removeprefix(TEXT): tensor.float() for name, tensor in tensors.items() if name.startswith(TEXT)
    }
    tower.load_state_dict(weights, strict=True, assign=True)
    with torch.inference_mode():
        return tower.eval().empty_caption().clone()


def model_card(title: str, about: str, source: str, licence: str, config: Vid2WorldConfig, note: str) -> str:
    """The README.md of a converted folder."""
    unet = config.unet
    actions = f"{unet.action_dim} {'zeros and ones' if unet.discrete_actions else 'numbers'}"
    return f"""# {title}

Converted by `real2sim convert` from the {about}.

- Source: {source or "not named; see the place the checkpoint was downloaded from"}
- Licence: {licence or "not named; the terms of the source apply to these weights"}
- Action per frame: {actions}
- Camera frames: {config.image_size[0]} x {config.image_size[1]} pixels, fitted into
  {config.picture_size[0]} x {config.picture_size[1]}

{note}

Vid2World (Huang et al., arXiv 2505.14357) builds on DynamiCrafter-512, which contains the autoencoder of
Stable Diffusion and the image encoder of OpenCLIP ViT-H/14; their terms apply as well.

One safetensors file per component, under the names of the published checkpoint less the component's prefix.
`{CAPTION_FILE}` holds the embedding of the empty caption, so that the text encoder is not needed.
The noise schedule is computed, not stored.

    from real2sim.vid2world import Vid2World
    model = Vid2World.from_pretrained("this/folder")
"""


def _write(
    out: Path,
    config: Vid2WorldConfig,
    tensors: Mapping[str, Tensor],
    card: str,
    dtype: StoredType,
    robot: Robot | None = None,
) -> Path:
    caption = empty_caption(config, tensors)
    with atomic_folder(out) as fresh:
        values = json.dumps({"kind": KIND, "config": config_to_dict(config)}, indent=2)
        (fresh / CONFIG_FILE).write_text(values + "\n", encoding="utf-8")
        (fresh / CARD_FILE).write_text(card, encoding="utf-8")
        for name, text in robot_text(robot).items():
            (fresh / name).write_text(text, encoding="utf-8")
        save_file({CAPTION: caption}, fresh / CAPTION_FILE)
        for component, prefix in COMPONENTS.items():
            part = {
                name.removeprefix(prefix): _stored(name, tensor, dtype)
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            save_file(part, fresh / f"{component}.safetensors")
        write_checksums(fresh)
    return out


def _stored(name: str, tensor: Tensor, dtype: StoredType) -> Tensor:
    stored = tensor if dtype == "keep" else tensor.to(getattr(torch, dtype))
    if not bool(torch.isfinite(stored).all()):
        largest = float(tensor.abs().max())
        raise ValueError(
            f"tensor {name!r} reaches {largest:.4g}, more than {type_name(stored.dtype)} can hold; "
            + ("convert with --dtype float32" if isfinite(largest) else "choose another checkpoint")
        )
    # A copy: two names may share one storage, which safetensors refuses.
    return stored.detach().contiguous().clone()


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _require_free(out: Path) -> None:
    if out.exists():
        raise FileExistsError(f"{out} exists already; name a folder that does not")
