"""What reading the history from a cache changes in frames drawn with window norms, against what it saves.

    python -m benchmarks.cached_history

The weights are random ones of the published architecture at small size, stored for the tests; in them time may
matter more than in a trained model.  Errors are relative L2 differences of each drawn latent from the exact one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from real2sim.vid2world import CausalUNet, FrameCache, Sampler, SamplerConfig, Scene, UNetConfig
from real2sim.vid2world.noise import CONTEXT, batch_noise

DATA = Path(__file__).parents[1] / "tests" / "data" / "vid2world"
SHAPE = (4, 6, 8)
SEEDS = (0, 1)


@dataclass(frozen=True)
class Frozen:
    """A history whose features keep the state in which they were written, but for a fresh start at times."""

    refresh_every: int | None
    """Frames between two passes over the whole history; None never repeats it."""

    def draw(self, sampler: Sampler, given: Tensor, scene: Scene, frames: int) -> tuple[Tensor, int]:
        """Latents (b c frames h w), as ``Sampler.autoregressive`` draws them, and the passes over one frame."""
        clean = list(given.split(1, dim=2))
        noisy = [history_frame(sampler, latent, index) for index, latent in enumerate(clean)]
        cache: FrameCache | None = None
        passes = 0
        for frame in range(len(clean), frames):
            drawn = frame - given.shape[2]
            fresh = cache is None or (self.refresh_every is not None and drawn % self.refresh_every == 0)
            new = torch.cat(noisy, dim=2) if fresh else noisy[-1]
            cache = self._write(sampler, None if fresh else cache, new, scene, frame)
            latent = self._draw_frame(sampler, cache, scene, frame)
            passes += sampler.branches * (new.shape[2] + len(sampler.table))
            clean.append(latent)
            noisy.append(history_frame(sampler, latent, frame))
        return torch.cat(clean, dim=2), passes

    def _write(
        self, sampler: Sampler, cache: FrameCache | None, new: Tensor, scene: Scene, frame: int
    ) -> FrameCache:
        levels = torch.full((len(new), new.shape[2]), sampler.context_level)
        keep = torch.ones(levels.shape)
        cache = sampler.velocity(new, levels, scene.first(frame), keep, cache, remember=new.shape[2])[1]
        assert cache is not None
        return cache

    def _draw_frame(self, sampler: Sampler, cache: FrameCache, scene: Scene, frame: int) -> Tensor:
        x = noise(frame, 0)[:, :, None]
        for index, step in enumerate(reversed(range(len(sampler.table)))):
            levels = torch.full((len(x), 1), sampler.table.timesteps[step])
            keep = torch.zeros(levels.shape)
            v, _ = sampler.velocity(x, levels, scene.first(frame + 1), keep, cache, remember=0)
            x = sampler.move(x, v, step, noise(frame, index + 1)[:, :, None])
        return sampler.finished(x)


def noise(frame: int, draw: int) -> Tensor:
    """The same noise for every way of drawing."""
    return batch_noise(SEEDS, (frame,) * len(SEEDS), draw, SHAPE)


def history_frame(sampler: Sampler, latent: Tensor, frame: int) -> Tensor:
    """A finished frame as the model sees it later."""
    return sampler.as_history(latent, noise(frame, CONTEXT)[:, :, None])


def small_unet() -> CausalUNet:
    """The small U-Net that the tests compare with the published code."""
    folder = DATA / "unet_small"
    unet = CausalUNet(UNetConfig.from_published(json.loads((folder / "config.json").read_text())))
    unet.load_state_dict(
        {name: value.float() for name, value in load_file(folder / "weights.safetensors").items()}
    )
    return unet.eval()


def small_scene() -> tuple[Tensor, Scene]:
    """Latents to begin with, and what the frames are drawn from."""
    inputs = load_file(DATA / "sampler_small" / "inputs.safetensors")
    first = torch.zeros_like(inputs["action_raw"][:, :1])
    scene = Scene(
        condition=inputs["c_concat"][:, :, :1],
        actions=torch.cat([first, inputs["action_raw"][:, :-1]], dim=1),
        context=inputs["context"],
        fps=inputs["fs"],
        unconditional_context=inputs["uc_context"],
    )
    return inputs["z"], scene


def ways(steps: int) -> Iterator[tuple[str, int | Frozen]]:
    """Names of the ways to draw, with steps between whole windows or a frozen history."""
    for every in (2, 5, 10, 25, 50):
        if every <= steps:
            yield f"whole window every {every} steps", every
    for frames in (1, 2, 4):
        yield f"history written anew every {frames} frames", Frozen(frames)
    yield "history frozen when written", Frozen(None)


@torch.inference_mode()
def measure(unet: CausalUNet, steps: int, given: int, frames: int) -> None:
    """Print one table: cost and error of each way to draw frames ``given`` to ``frames - 1``."""
    latents, scene = small_scene()
    start = latents[:, :, :given]
    config = SamplerConfig(steps=steps, context_form="all")
    exact_sampler = Sampler(unet, config)
    exact = exact_sampler.autoregressive(start, scene, frames, noise)
    full = sum(exact_sampler.frame_passes(past) for past in range(given, frames))
    print(f"\n{steps} steps, frames {given} to {frames - 1}, {full} passes over one frame if exact\n")
    print(
        "| history | passes | all frames | " + " | ".join(f"frame {f}" for f in range(given, frames)) + " |"
    )
    print("|---" * (3 + frames - given) + "|")
    for name, way in ways(steps):
        if isinstance(way, int):
            sampler = Sampler(unet, replace(config, history="cached", whole_window_every=way))
            drawn = sampler.autoregressive(start, scene, frames, noise)
            passes = sum(sampler.frame_passes(past) for past in range(given, frames))
        else:
            sampler = Sampler(unet, replace(config, history="cached"))
            drawn, passes = way.draw(sampler, start, scene, frames)
        errors = [relative(drawn[:, :, f], exact[:, :, f]) for f in range(given, frames)]
        columns = [f"{error:.1%}" for error in (relative(drawn[:, :, given:], exact[:, :, given:]), *errors)]
        print(f"| {name} | {passes / full:.0%} | " + " | ".join(columns) + " |", flush=True)


def relative(found: Tensor, expected: Tensor) -> float:
    """Relative L2 difference."""
    return float((found - expected).norm() / expected.norm())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 50])
    parser.add_argument("--given", type=int, default=8)
    parser.add_argument("--frames", type=int, default=12)
    arguments = parser.parse_args()
    unet = small_unet()
    for steps in arguments.steps:
        measure(unet, steps, arguments.given, arguments.frames)


if __name__ == "__main__":
    main()
