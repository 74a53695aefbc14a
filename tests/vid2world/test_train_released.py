"""Training of the released form: what it is taught, and that it can be killed anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from real2sim.cli import main
from real2sim.episodes.arrays import write_arrays
from real2sim.episodes.keep_out import write_keep_out
from real2sim.episodes.rlds.convert import ConvertRLDS, convert_rlds
from real2sim.model_folder import config_to_dict
from real2sim.training.augmentation import Augmentation
from real2sim.vid2world.released.checkpoint import (
    CAPTION,
    CAPTION_FILE,
    COMPONENTS,
    KIND,
    untrained_action_embedding,
)
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.layout import UNET, published_layout
from real2sim.vid2world.released.letterbox import frames_to_pixels
from real2sim.vid2world.released.model import Vid2World
from real2sim.vid2world.released.sampler import Sampler, SamplerConfig, Scene
from real2sim.vid2world.schedule import ddim_timesteps
from real2sim.vid2world.training.train_released import (
    START_CARD,
    Dropout,
    LatentTraining,
    TrainReleased,
    noised,
    shifted,
    train_released,
)
from real2sim.vid2world.training.windows import WindowOptimisation, open_episodes

ROOT = Path(__file__).parents[2]
RLDS = ROOT / "tests" / "data" / "fractal_tiny" / "fractal20220817_data" / "0.1.0"
TINY = replace(Vid2WorldConfig.tiny(), picture_size=(16, 24))
QUICK = WindowOptimisation(steps=4, windows=1, frames=3, warmup=1, checkpoint_every=2, ema=0.9, seed=3)


def write_start(folder: Path, config: Vid2WorldConfig = TINY, dtype: torch.dtype = torch.float32) -> Path:
    """A folder as ``convert dynamicrafter`` writes it, of random weights: the action embedding is new."""
    generator = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True)
    parts: dict[str, dict[str, Tensor]] = {component: {} for component in COMPONENTS}
    for name, shape in published_layout(config).items():
        for component, prefix in COMPONENTS.items():
            if name.startswith(prefix):
                around = 1.0 if name.endswith("weight") and len(shape) == 1 else 0.0
                weight = around + 0.08 * torch.randn(shape, generator=generator)
                parts[component][name.removeprefix(prefix)] = weight.to(dtype)
    if not config.unet.discrete_actions:
        new = untrained_action_embedding(config.unet.action_dim or 0, config.unet.model_channels, 0)
        parts["unet"] |= {name.removeprefix(UNET): tensor.to(dtype) for name, tensor in new.items()}
    for component, tensors in parts.items():
        save_file(tensors, folder / f"{component}.safetensors")
    caption = torch.randn(1, config.text.tokens, config.text.width, generator=generator)
    save_file({CAPTION: caption}, folder / CAPTION_FILE)
    (folder / "config.json").write_text(json.dumps({"kind": KIND, "config": config_to_dict(config)}))
    (folder / "README.md").write_text("# Start\n\n- Licence: that of the start\n")
    return folder


def write_episodes(folder: Path, lengths: tuple[int, ...], actions: int = 13) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, length in enumerate(lengths):
        # Smooth pictures, as a camera's are.
        coarse = rng.integers(0, 256, (length, 3, 4, 3)).astype(np.uint8)
        image = coarse.repeat(8, axis=1).repeat(8, axis=2)
        action = rng.uniform(-1, 1, (length, actions)).astype(np.float32)
        write_arrays(folder / f"{index}.npz", {"image": image, "action": action})
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("data") / "episodes", (2, 5, 3, 7))


def training(start: Path, data: Path, out: Path, **changes: object) -> TrainReleased:
    return replace(TrainReleased(start, data, out, optimisation=QUICK), **changes)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "unet.safetensors")


def lines(folder: Path) -> list[Mapping[str, float]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def whole(start: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    out = tmp_path_factory.mktemp("trained") / "whole"
    train_released(training(start, data, out))
    return out


# --- what is taught ---------------------------------------------------------------------------------


class Clairvoyant(nn.Module):
    """Predicts the exact velocity of latents that it knows, with their scale at each level."""

    def __init__(self, latents: Tensor) -> None:
        super().__init__()
        self.config = TINY.unet
        self.latents = latents

    def forward(self, x: Tensor, timesteps: Tensor, *_: object, **__: object) -> Tensor:
        x = x[:, : self.latents.shape[1]]
        known = self.latents[:, :, : x.shape[2]]
        levels = timesteps.long().expand(len(x), x.shape[2])
        # x = sqrt(a) s z + sqrt(1 - a) noise is solved for the noise, except where only noise is left.
        signal = noised(known, torch.zeros_like(x), levels)[0]
        spread = noised(torch.zeros_like(x), torch.ones_like(x), levels)[0]
        return noised(known, (x - signal) / spread, levels)[1]


def test_a_network_that_met_its_target_draws_the_frames_it_was_taught() -> None:
    """Target, noise levels and dynamic rescale of training are those that the sampler assumes."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, *TINY.latent_shape[:1], 3, *TINY.latent_shape[1:], generator=generator)
    config = SamplerConfig(steps=10, guidance=1.0)
    scene = Scene(latents[:, :, :1], torch.zeros(1, 3, 13), torch.zeros(1, 77, 16))
    sampler = Sampler(Clairvoyant(latents), config)  # type: ignore[arg-type]
    drawn = sampler.autoregressive(
        latents[:, :, :1],
        scene,
        3,
        lambda frame, draw: torch.randn(
            1, *TINY.latent_shape, generator=torch.Generator().manual_seed(frame + 10 * draw)
        ),
    )
    # What is left is the noise of diffusion step 0, where a drawing ends: sqrt(1 - 0.99915) = 0.03.
    assert ddim_timesteps(10)[-1] == 999
    torch.testing.assert_close(drawn[:, :, 1:], latents[:, :, 1:], rtol=0, atol=0.2)


def test_each_frame_has_its_own_level_and_scale() -> None:
    latents, noise = torch.full((1, 4, 3, 2, 2), 2.0), torch.full((1, 4, 3, 2, 2), 3.0)
    x, target = noised(latents, noise, torch.tensor([[0, 200, 999]]))
    # From the published schedule: ac[0] = 0.99915, ac[999] = 0, scale 1 at step 0 and 0.7 from step 400 on.
    root, rest = 0.99915**0.5, (1 - 0.99915) ** 0.5
    assert x[0, 0, 0, 0, 0].item() == pytest.approx(root * 2 + rest * 3, abs=1e-4)
    assert target[0, 0, 0, 0, 0].item() == pytest.approx(root * 3 - rest * 2, abs=1e-4)
    assert x[0, 0, 2].unique().tolist() == [3.0]
    assert target[0, 0, 2, 0, 0].item() == pytest.approx(-0.7 * 2, abs=1e-6)


def test_a_frame_is_told_the_action_before_it() -> None:
    actions = torch.arange(1.0, 7).view(1, 3, 2)
    assert shifted(actions).tolist() == [[[0, 0], [1, 2], [3, 4]]]


class Recorder(nn.Module):
    """Keeps what the U-Net is called with."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.calls: list[tuple[Tensor, ...]] = []

    def forward(self, *arguments: Tensor, **named: object) -> Tensor:
        self.calls.append(arguments)
        return self.unet(*arguments, **named)


def calls(config: TrainReleased, steps: int) -> tuple[LatentTraining, list[tuple[Tensor, ...]]]:
    subject = LatentTraining(config)
    recorder = Recorder(subject.model.get_submodule("unet"))
    with torch.no_grad():
        for step in range(steps):
            subject.loss(recorder, step, np.random.default_rng(step))
    return subject, recorder.calls


def test_conditions_are_those_that_frames_are_drawn_with(start: Path, data: Path, tmp_path: Path) -> None:
    config = training(start, data, tmp_path, dropout=Dropout(0, 0, 0))
    subject, ((x, levels, context, actions, action_mask),) = calls(config, 1)
    frames, given = subject.windows.draw(1, np.random.default_rng(0))
    model = Vid2World.from_pretrained(start)
    state = model.reset(frames[:, 0], [0])
    torch.testing.assert_close(context, state.context)
    assert torch.equal(actions[0, 1:], torch.from_numpy(given[0, :-1]))
    assert (actions[:, 0] == 0).all()
    assert (action_mask == 1).all()
    # Channels 4-7 are the first frame, clean; only the sampling of the posterior differs from the rollout's.
    mean, _ = model.autoencoder.posterior(
        frames_to_pixels(torch.from_numpy(frames[0, :1]), TINY.picture_size)
    )
    assert torch.equal(x[:, 4:, 0], x[:, 4:, 2])
    assert (x[0, 4:, 0] - 0.18215 * mean[0]).abs().mean() < 0.3
    assert levels.shape == (1, 3)


def test_conditions_are_withheld_as_often_as_asked(start: Path, data: Path, tmp_path: Path) -> None:
    config = training(start, data, tmp_path, dropout=Dropout(action=0.2, image=0.5, text=1.0))
    config = replace(config, optimisation=replace(QUICK, windows=20, frames=2))
    subject, ((_, levels, context, _, action_mask),) = calls(config, 1)
    assert 0.1 < 1 - action_mask.mean().item() < 0.3
    assert levels.unique().numel() > 30
    assert (context[:, : TINY.text.tokens] == 0).all()
    nothing = subject._conditions(torch.zeros(1, 3, *TINY.picture_size), torch.Generator())
    grey = subject._context(*nothing)[:, TINY.text.tokens :]
    shown = [not torch.allclose(tokens, grey[0], atol=1e-5) for tokens in context[:, TINY.text.tokens :]]
    assert 3 < sum(shown) < 17


@pytest.mark.slow
def test_training_on_one_clip_lowers_the_error(start: Path, tmp_path: Path) -> None:
    clip = write_episodes(tmp_path / "clip", (3,))
    optimisation = replace(QUICK, steps=40, learning_rate=3e-3, checkpoint_every=40)
    train_released(training(start, clip, tmp_path / "run", optimisation=optimisation))
    rows = lines(tmp_path / "run")
    assert [row["step"] for row in rows] == [20, 40]
    assert rows[1]["loss"] < 0.8 * rows[0]["loss"]


# --- stopping and continuing --------------------------------------------------------------------------


def test_only_the_unet_changes_and_the_result_draws_frames(start: Path, whole: Path) -> None:
    for name in ("config.json", CAPTION_FILE, *(f"{part}.safetensors" for part in COMPONENTS)):
        same = (start / name).read_bytes() == (whole / "model" / name).read_bytes()
        assert same == (name != "unet.safetensors")
    assert "action 0.2, image 0.1" in (whole / "model" / "README.md").read_text()
    assert "that of the start" in (whole / "model" / START_CARD).read_text()
    model = Vid2World.from_pretrained(whole / "model", sampler=SamplerConfig(steps=2))
    state = model.reset(np.zeros((1, 24, 32, 3), np.uint8), [0])
    frame, _ = model.step(state, np.zeros((1, 13), np.float32))
    assert frame.shape == (1, 24, 32, 3)


@pytest.mark.slow
def test_the_published_training_changes_the_resampler_too(start: Path, data: Path, tmp_path: Path) -> None:
    how = {
        "train_resampler": True,
        "augmentation": Augmentation(shift=2, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.05),
        "optimisation": replace(QUICK, clip=0.5),
    }
    folder = train_released(training(start, data, tmp_path / "run", **how))
    assert folder is not None
    for part in COMPONENTS:
        before, after = (load_file(place / f"{part}.safetensors") for place in (start, folder))
        assert before.keys() == after.keys()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert bool(changed) == (part in ("unet", "resampler"))
    card = (folder / "README.md").read_text()
    assert "U-Net and resampler were trained" in card
    assert (
        "shift 2, brightness 0.1, contrast 0.1, saturation 0.1, hue 0.05; largest norm of the gradient 0.5"
        in card
    )
    Vid2World.from_pretrained(folder)


def test_the_resampler_gets_the_context_that_frames_are_drawn_with(
    start: Path, data: Path, tmp_path: Path
) -> None:
    fixed = training(start, data, tmp_path / "fixed", dropout=Dropout(0, 0, 0))
    trained = replace(fixed, train_resampler=True)
    losses = []
    for config in (fixed, trained):
        subject = LatentTraining(config)
        losses.append(subject.loss(subject.trained, 0, np.random.default_rng(0))["loss"])
    torch.testing.assert_close(losses[0], losses[1])


KILLED = """
import os, signal, sys
from real2sim.cli import main
from real2sim.vid2world.training.train_released import LatentTraining

loss = LatentTraining.loss

def loss_of_the_last_step(self, unet, step, rng):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, unet, step, rng)

LatentTraining.loss = loss_of_the_last_step
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_training_equals_one_that_was_not(
    start: Path, data: Path, whole: Path, tmp_path: Path
) -> None:
    """Killed one step after its last checkpoint; the log of the lost step is written once."""
    command = ["train", "world-model", "--released", str(start), "--data", str(data), "--out", str(tmp_path)]
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *command, *options(QUICK)], cwd=ROOT, env=threads, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    (tmp_path / "log.jsonl").write_text('{"step": 4, "loss": 7.0}\n{"step"')
    assert train_released(training(start, data, tmp_path)) == tmp_path / "model"
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path).items())
    assert lines(tmp_path) == lines(whole)


def options(optimisation: WindowOptimisation) -> list[str]:
    words = []
    for name in ("steps", "windows", "accumulate", "frames", "warmup", "checkpoint_every", "ema", "seed"):
        words += [f"--optimisation.{name.replace('_', '-')}", str(getattr(optimisation, name))]
    words += ["--optimisation.learning-rate", str(optimisation.learning_rate)]
    words += [
        "--optimisation.decay-from",
        str(optimisation.decay_from),
        "--optimisation.mixed-precision",
        "no",
    ]
    return [*words, "--optimisation.no-gradient-checkpointing"]


@pytest.mark.slow
def test_the_command_trains_windows_of_16_frames_in_bfloat16_by_default(start: Path, tmp_path: Path) -> None:
    clips = write_episodes(tmp_path / "clips", (20,))
    command = ["train", "world-model", "--released", str(start), "--data", str(clips), "--out", str(tmp_path)]
    settings = ["--optimisation.steps", "2", "--optimisation.learning-rate", "1e-3"]
    subprocess.run([sys.executable, "-m", "real2sim", *command, *settings], check=True, cwd=ROOT)
    assert lines(tmp_path)[-1]["step"] == 2
    before = load_file(start / "unet.safetensors")
    changed = [name for name, tensor in weights(tmp_path).items() if not torch.equal(tensor, before[name])]
    assert len(changed) > 0.9 * len(before)


@pytest.mark.slow
def test_two_processes_equal_one_that_accumulates(start: Path, data: Path, tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    # `accelerate launch` starts a single process where there are no GPUs.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += ["-m", "real2sim"]
    command = ["train", "world-model", "--released", str(start), "--data", str(data), "--out", str(two)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    for steps in (2, QUICK.steps):
        settings = options(replace(QUICK, steps=steps, decay_from=1.0))
        subprocess.run([*launch, *command, *settings], check=True, cwd=ROOT, env=environment)
    accumulated = replace(QUICK, accumulate=2, decay_from=1.0)
    train_released(training(start, data, one, optimisation=accumulated))
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=1e-4, atol=1e-5)
    # The first two steps have a line of their own in the log of the two processes, which ended there once.
    (line,) = lines(one)
    assert np.mean([row["loss"] for row in lines(two)]) == pytest.approx(line["loss"], rel=1e-4)


@pytest.mark.slow
def test_without_an_average_the_weights_themselves_are_kept(start: Path, data: Path, tmp_path: Path) -> None:
    """Also: half-precision starts give half-precision results, and checkpointing changes nothing."""
    half = write_start(tmp_path / "half", dtype=torch.float16)
    optimisation = replace(QUICK, steps=2, ema=0.0, gradient_checkpointing=True)
    train_released(training(half, data, tmp_path / "run", optimisation=optimisation))
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["average"] == {}
    for name, tensor in weights(tmp_path / "run").items():
        assert torch.equal(tensor, state["trained"][name].half())


# --- data ------------------------------------------------------------------------------------------------


def test_a_game_model_learns_from_zeros_and_ones(tmp_path: Path) -> None:
    game = replace(TINY, unet=replace(TINY.unet, action_dim=51, discrete_actions=True))
    start, data = write_start(tmp_path / "start", game), tmp_path / "data"
    data.mkdir()
    image = np.zeros((4, 24, 32, 3), np.uint8)
    held = np.zeros((4, 51), np.float32)
    held[np.arange(4), [3, 0, 50, 7]] = 1
    write_arrays(data / "0.npz", {"image": image, "action": held})
    config = training(start, data, tmp_path, optimisation=replace(QUICK, frames=4))
    _, ((_, _, _, actions, _),) = calls(config, 1)
    np.testing.assert_array_equal(actions[0], np.concatenate([np.zeros((1, 51)), held[:3]]))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"image": np.zeros((4, 8, 8, 3), np.uint8)}, "has no array 'action'"),
        ({"image": np.zeros((4, 8, 8, 3), np.uint8), "action": np.zeros((4, 13))}, "needs (t, 24, 32, 3)"),
        ({"image": np.zeros((4, 24, 32, 3), np.uint8), "action": np.zeros((4, 7))}, "needs (t, 13)"),
        ({"image": np.zeros((4, 24, 32, 3), np.uint8), "action": np.zeros((3, 13))}, "needs (t, 13)"),
        ({"image": np.zeros((4, 24, 32, 3)), "action": np.zeros((4, 13))}, "expected uint8"),
        ({"image": np.zeros((2, 24, 32, 3), np.uint8), "action": np.zeros((2, 13))}, "shorter windows"),
    ],
)
def test_unfit_episodes_are_one_sentence(
    start: Path,
    tmp_path: Path,
    arrays: dict[str, np.ndarray],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_arrays(tmp_path / "0.npz", arrays)
    command = ["train", "world-model", f"--released={start}", "--data", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", str(tmp_path / "out"), *options(QUICK)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "0.npz" in said


def test_a_start_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="someone/model is no folder"):
        train_released(training(Path("someone/model"), data, tmp_path))


def test_windows_longer_than_the_model_sees_are_refused(start: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit the model's window of 16"):
        train_released(training(start, data, tmp_path, optimisation=replace(QUICK, frames=17)))


@pytest.mark.slow
def test_training_from_rlds_equals_training_from_its_conversion(tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", replace(TINY, image_size=(256, 320)))
    convert_rlds(ConvertRLDS(RLDS, tmp_path / "npz"))
    for name, data in (("direct", RLDS), ("converted", tmp_path / "npz")):
        train_released(training(start, data, tmp_path / name, optimisation=replace(QUICK, steps=2)))
    direct, converted = weights(tmp_path / "direct"), weights(tmp_path / "converted")
    assert all(torch.equal(tensor, converted[name]) for name, tensor in direct.items())


def test_starts_of_a_suite_are_kept_out_of_a_training_from_rlds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    everything = open_episodes(RLDS)
    assert "--keep-out SUITE leaves out" in caplog.text
    write_keep_out(tmp_path, ["fractal20220817_data/0.1.0/train/1", "bridge/0.1.0/train/0"])
    kept = open_episodes(RLDS, "train", (tmp_path,))
    assert len(kept) == len(everything) - 1
    assert [kept.where(i) for i in range(len(kept))] == [
        everything.where(i) for i in range(len(everything)) if i != 1
    ]
    np.testing.assert_array_equal(kept[1]["action"], everything[2]["action"])
    sources = [f"fractal20220817_data/0.1.0/train/{i}" for i in range(len(everything))]
    write_keep_out(tmp_path, sources)
    with pytest.raises(ValueError, match="are starts of suites that are kept out"):
        open_episodes(RLDS, "train", (tmp_path,))
    with pytest.raises(ValueError, match="--keep-out is for RLDS datasets"):
        open_episodes(tmp_path, "train", (tmp_path,))
