"""Training of the released form: the U-Net of a converted folder goes on learning in the autoencoder's latents."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from real2sim.checksums import write_checksums
from real2sim.episodes.learned_files import learned_files
from real2sim.files import atomic_folder, write_text
from real2sim.host_copies import to_device
from real2sim.model_folder import CARD_FILE
from real2sim.robot import read_robot, robot_text
from real2sim.training.augmentation import Augmentation, augment
from real2sim.training.checkpoint import read_settings
from real2sim.training.loop import run_training, trained_weights
from real2sim.vid2world.levels import latent_scales, signal_levels
from real2sim.vid2world.model_robot import check_model_robot
from real2sim.vid2world.released.conditioning_image import prepare_image
from real2sim.vid2world.released.letterbox import frames_to_pixels
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.training.diffusion_forcing import add_noise, velocity
from real2sim.vid2world.training.windows import EpisodeWindows, WindowOptimisation, open_episodes

START_CARD = "START.md"
"""Card of the folder that a training began from, kept beside the new one for its source and licence."""


@dataclass(frozen=True)
class Dropout:
    """How often a condition is withheld in training."""

    action: float = 0.2
    """Per frame: its embedded action becomes zero, the branch that guidance compares with."""
    image: float = 0.1
    """Per window: the image tokens are those of a grey picture."""
    text: float = 0.0
    """Per window: the caption's tokens become zero. The published way is to put the empty caption in the place of
    another, which changes nothing here, where the caption is always empty."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"dropout {field.name} must be 0 to 1, got {getattr(self, field.name)}")


@dataclass(frozen=True)
class TrainReleased:
    """Train a converted Vid2World or DynamiCrafter folder; a stopped training continues from its last checkpoint."""

    released: Path
    """Folder written by ``real2sim convert vid2world`` or ``convert dynamicrafter``, where the weights begin."""
    data: Path
    """Dataset folder with one npz per episode, or one version of an RLDS dataset."""
    out: Path
    """Folder of the training: checkpoint, log and the finished model in ``model/``."""
    split: str = "train"
    """Episodes of an RLDS dataset, in TensorFlow Datasets' own words."""
    keep_out: tuple[Path, ...] = ()
    """Suites whose starts are not learned from, for an RLDS dataset; a dataset folder says itself which those are."""
    dropout: Dropout = Dropout()
    train_resampler: bool = False
    """Train the resampler of image tokens with the U-Net, as the published training does; by default it stays."""
    augmentation: Augmentation = Augmentation()
    """Changes to the frames of a window, the same for all of them; by default none."""
    optimisation: WindowOptimisation = WindowOptimisation(
        steps=100_000,
        windows=1,
        frames=16,
        learning_rate=1e-5,
        decay_from=1.0,
        ema=0.0,
        mixed_precision="bf16",
        gradient_checkpointing=True,
        checkpoint_every=1000,
    )
    max_minutes: float = math.inf
    """Stop after this time; run the same command again to resume."""

    def run(self) -> Path | None:
        """Train; see `train_released`."""
        return train_released(self)


def train_released(config: TrainReleased) -> Path | None:
    """Run (or continue) a training; gives the folder of the finished model, or None if time ran out before.

    The folder has the layout of ``real2sim convert`` and is read by ``Vid2World.from_pretrained``.
    """
    if not run_training(LatentTraining(config), config.optimisation, config.out, config.max_minutes):
        return None
    folder = config.out / "model"
    if PartialState().is_main_process:
        export_released(config.out, folder)
    return folder


class LatentTraining:
    """A converted model whose U-Net learns, with its resampler if asked, and its episodes, for the training loop."""

    fixed_settings = ("model",)
    extra_modules: Mapping[str, nn.Module] = MappingProxyType({})

    def __init__(self, config: TrainReleased) -> None:
        self.config = config
        if not config.released.is_dir():
            raise FileNotFoundError(
                f"{config.released} is no folder; expected one that real2sim convert vid2world or convert "
                "dynamicrafter has written"
            )
        robot = read_robot(config.data)
        if robot is not None:
            check_model_robot(config.released, robot, f"dataset {config.data}", trained=False)
        self.model = Vid2World.from_pretrained(config.released, dtype=torch.float32)
        self.trained: nn.Module = self.model.unet
        if config.train_resampler:
            self.trained = UNetAndResampler(self.model.unet, self.model.resampler)
        self.trained.requires_grad_(True).train()
        model_config, frames = self.model.config, config.optimisation.frames
        unet = model_config.unet
        if frames > unet.window:
            raise ValueError(f"windows of {frames} frames do not fit the model's window of {unet.window}")
        episodes = open_episodes(config.data, config.split, config.keep_out)
        width = unet.action_dim or 0
        self.windows = EpisodeWindows(episodes, frames, model_config.image_size, width, robot)

    def settings(self) -> Mapping[str, Any]:
        names = (
            "released",
            "data",
            "split",
            "keep_out",
            "dropout",
            "train_resampler",
            "augmentation",
            "optimisation",
        )
        return {"model": self.model.config, **{name: getattr(self.config, name) for name in names}}

    def learned_files(self) -> list[Path]:
        # Parts that are not trained come from the start each time.
        return [*learned_files([self.config.data]), *sorted(self.config.released.glob("*.safetensors"))]

    def loss(self, network: nn.Module, step: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        optimisation, dropout = self.config.optimisation, self.config.dropout
        device = self.model.empty_caption.device
        frames, actions = self.windows.draw(optimisation.windows, rng)
        frames = augment(frames, rng, self.config.augmentation)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # The dropout inside the U-Net asks the global generator.
        torch.manual_seed(int(rng.integers(2**62)))
        lanes, times = frames.shape[:2]
        pictures, latents = self._encoded(to_device(frames, device), generator)
        caption, image = self._conditions(pictures, generator)
        context: Tensor | tuple[Tensor, Tensor] = (caption, image)
        if not self.config.train_resampler:
            context = self._context(caption, image)
        levels = to_device(torch.randint(1000, (lanes, times), generator=generator), device)
        noise = to_device(torch.randn(latents.shape, generator=generator), device)
        action_mask = (torch.rand((lanes, times), generator=generator) >= dropout.action).float().to(device)
        x, target = noised(latents, noise, levels)
        condition = latents[:, :, :1].expand(-1, -1, times, -1, -1)
        prediction = network(
            torch.cat([x, condition], dim=1),
            levels,
            context,
            shifted(self.model.scaled(torch.from_numpy(actions))).to(device),
            action_mask,
            gradient_checkpointing=optimisation.gradient_checkpointing,
        )
        return {"loss": F.mse_loss(prediction.float(), target)}

    @torch.no_grad()
    def _encoded(self, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """First pictures (b 3 H W) and sampled latents (b c t h w) of frames (b t h w 3)."""
        config = self.model.config
        noise = torch.randn((*frames.shape[:2], *config.latent_shape), generator=generator).to(frames.device)
        pictures, latents = [], []
        # Window by window, or the first activations of the autoencoder would decide how much memory is needed.
        for window, own in zip(frames, noise, strict=True):
            pixels = frames_to_pixels(window, config.picture_size)
            pictures.append(pixels[0])
            latents.append(self.model.autoencoder.encode(pixels, own))
        return torch.stack(pictures), torch.stack(latents).transpose(1, 2)

    @torch.no_grad()
    def _conditions(self, pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Caption tokens (b n d) and image features (b m e) of first pictures (b 3 H W), some withheld."""
        model, dropout = self.model, self.config.dropout
        chance = torch.rand((2, len(pictures)), generator=generator)
        told = (chance >= torch.tensor([[dropout.image], [dropout.text]])).float()
        shown, said = to_device(told, pictures.device)
        prepared = prepare_image(pictures * shown[:, None, None, None], model.config.image.image)
        return model.empty_caption * said[:, None, None], model.image_encoder(prepared)

    @torch.no_grad()
    def _context(self, caption: Tensor, image: Tensor) -> Tensor:
        """Caption and image tokens (b tokens d) of a resampler that is not trained."""
        return torch.cat([caption, self.model.resampler(image)], dim=1)


class UNetAndResampler(nn.Module):
    """The U-Net with the resampler before it: what is trained together, as one module for several processes."""

    def __init__(self, unet: nn.Module, resampler: nn.Module) -> None:
        super().__init__()
        self.unet, self.resampler = unet, resampler

    def forward(
        self, x: Tensor, levels: Tensor, conditions: tuple[Tensor, Tensor], *rest: Tensor, **how: Any
    ) -> Tensor:
        """As the U-Net's; ``conditions`` are caption tokens (b n d) and image features (b m e)."""
        caption, image = conditions
        predicted: Tensor = self.unet(
            x, levels, torch.cat([caption, self.resampler(image)], dim=1), *rest, **how
        )
        return predicted


def shifted(actions: Tensor) -> Tensor:
    """Per frame the action that led to it (b t a), from recorded ones of which each leads to the next frame.

    The first frame has none: zeros.
    """
    return F.pad(actions.float()[:, :-1], (0, 0, 1, 0))


def noised(latents: Tensor, noise: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Input and target (b c t h w) of the U-Net for clean latents whose frames stand at ``levels`` (b t).

    The clean latent is scaled down first (dynamic rescale), the target is the velocity of what results.
    """
    scaled = latents * latent_scales().to(latents.device)[levels][:, None, :, None, None]
    alpha = signal_levels().to(latents.device)[levels]
    return add_noise(scaled, noise, alpha), velocity(scaled, noise, alpha)


def export_released(out: Path, folder: Path) -> None:
    """Write the folder of a training's last checkpoint: the start's files with new weights of what was trained.

    Weights are stored in the number format of the start's.
    """
    settings = read_settings(out)
    start = Path(settings["released"])
    weights, state = trained_weights(out)
    parts = {"unet": weights}
    if settings["train_resampler"]:
        parts = {
            part: {
                name.removeprefix(f"{part}."): value
                for name, value in weights.items()
                if name.startswith(f"{part}.")
            }
            for part in ("unet", "resampler")
        }
    with atomic_folder(folder) as fresh:
        left = shutil.ignore_patterns(*(f"{part}.safetensors" for part in parts), CARD_FILE)
        shutil.copytree(start, fresh, ignore=left, dirs_exist_ok=True)
        for part, tensors in parts.items():
            file = f"{part}.safetensors"
            with safe_open(start / file, framework="pt") as stored:
                dtype = stored.get_tensor(next(iter(tensors))).dtype
            save_file({name: value.to(dtype).contiguous() for name, value in tensors.items()}, fresh / file)
        write_checksums(fresh)
        (fresh / CARD_FILE).write_text(_card(settings, int(state["step"])), encoding="utf-8")
        shutil.copy(start / CARD_FILE, fresh / START_CARD)
        for name, text in robot_text(read_robot(Path(settings["data"]))).items():
            write_text(fresh / name, text)


def _card(settings: Mapping[str, Any], step: int) -> str:
    optimisation, data = settings["optimisation"], Path(settings["data"]).resolve()
    withheld = ", ".join(f"{name} {share}" for name, share in settings["dropout"].items())
    changes = (
        ", ".join(f"{name} {share}" for name, share in settings["augmentation"].items() if share) or "none"
    )
    learnt, kept = "The U-Net was trained", "autoencoder, image encoder and resampler are"
    if settings["train_resampler"]:
        learnt, kept = "U-Net and resampler were trained", "autoencoder and image encoder are"
    return f"""# World model, trained further

Written by `real2sim train world-model --released` after {step} steps. {learnt}; {kept}
those of the start, whose card is `{START_CARD}` with source and licence.

- Start: `{Path(settings["released"]).name}`
- Data: `{data.parent.name}/{data.name}`, windows of {optimisation["frames"]} frames
- Learning rate {optimisation["learning_rate"]}, decay of averaged weights {optimisation["ema"]}
- Share of conditions withheld: {withheld}
- Changes to frames: {changes}; largest norm of the gradient {optimisation["clip"]}

How good its predictions are was not measured: `real2sim metrics` compares them with recorded episodes.
"""
