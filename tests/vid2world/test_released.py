"""A converted checkpoint draws frames in lanes, like any world model."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import history_and_ranking
from real2sim.model_folder import read_config
from real2sim.simulation.suite import Start, SuiteConfig, Task, write_suite
from real2sim.vid2world.load import SamplingOverrides
from real2sim.vid2world.noise import CONTEXT, batch_noise
from real2sim.vid2world.released.checkpoint import COMPONENTS, KIND
from real2sim.vid2world.released.config import Vid2WorldConfig
from real2sim.vid2world.released.convert import ConvertVid2World, HeadChannels
from real2sim.vid2world.released.files import read_tensors
from real2sim.vid2world.released.layout import published_layout
from real2sim.vid2world.released.letterbox import frames_to_pixels
from real2sim.vid2world.released.model import ENCODING, Vid2World
from real2sim.vid2world.released.sampler import Sampler, SamplerConfig, Scene
from real2sim.vid2world.released.window import kept_actions

HEADS = HeadChannels(resampler=8, text=8, image=8)
HISTORY = 2
QUICK = SamplerConfig(steps=2)
RNG = np.random.default_rng(0)


def convert(config: Vid2WorldConfig, out: Path) -> Path:
    """The folder of a random checkpoint of these sizes."""
    generator = torch.Generator().manual_seed(0)
    layout = published_layout(config)
    # Norm weights around one, or hardly anything would reach the output.
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.08
        + (1.0 if name.endswith("weight") and len(shape) == 1 else 0)
        for name, shape in layout.items()
    }
    path = out.parent / f"{out.name}.ckpt"
    torch.save({"state_dict": tensors}, path)
    # Tiny pictures keep the test quick; no checkpoint tells their size.
    folder = ConvertVid2World(path, out, image_size=config.image_size, heads=HEADS).run()
    text = (folder / "config.json").read_text()
    changed = text.replace("320,\n      512", "32,\n      48").replace(
        '"history": 15', f'"history": {HISTORY}'
    )
    assert changed.count("48\n    ]") == 1
    (folder / "config.json").write_text(changed)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(Vid2WorldConfig.tiny(), tmp_path_factory.mktemp("released") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Vid2World:
    return Vid2World.from_pretrained(folder, sampler=QUICK)


def frames(lanes: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (lanes, 24, 32, 3), dtype=np.uint8)


def actions(lanes: int, steps: int) -> np.ndarray:
    return np.random.default_rng(6).normal(size=(steps, lanes, 13)).astype(np.float32)


def rollout(model: Vid2World, start: np.ndarray, chosen_actions: np.ndarray, seeds: list[int]) -> np.ndarray:
    state = model.reset(start, seeds)
    drawn = []
    for action in chosen_actions:
        frame, state = model.step(state, action)
        drawn.append(frame)
    return np.stack(drawn)


def test_the_folder_remembers_everything_but_the_text_tower(model: Vid2World, folder: Path) -> None:
    assert model.config.unet.action_dim == 13
    assert model.config.sampler == QUICK
    assert read_config(folder, KIND, Vid2WorldConfig).sampler == SamplerConfig.reference()
    stored = load_file(folder / "unet.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.unet.state_dict().items())
    assert torch.equal(model.empty_caption, load_file(folder / "empty_caption.safetensors")["tokens"])
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_steps_give_camera_frames_and_leave_the_old_state_alone(model: Vid2World) -> None:
    state = model.reset(frames(2), [1, 2])
    chosen_actions = actions(2, 1)[0]
    first, _ = model.step(state, chosen_actions)
    second, _ = model.step(state, chosen_actions)
    assert first.shape == (2, 24, 32, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


@pytest.mark.slow
def test_an_episode_alone_equals_the_same_episode_in_a_batch(model: Vid2World) -> None:
    start, chosen_actions = frames(2), actions(2, HISTORY + 1)
    together = rollout(model, start, chosen_actions, [7, 8])
    for lane in range(2):
        alone = rollout(model, start[lane : lane + 1], chosen_actions[:, lane : lane + 1], [7 + lane])
        # Matrix products of another size may round otherwise.
        assert np.abs(alone[:, 0].astype(int) - together[:, lane]).max() <= 1


@pytest.mark.slow
def test_selected_lanes_go_on_as_if_alone(model: Vid2World) -> None:
    chosen_actions = actions(3, 2)
    _, state = model.step(model.reset(frames(3), [7, 8, 9]), chosen_actions[0])
    together, _ = model.step(state, chosen_actions[1])
    chosen, _ = model.step(state.select([2, 0]), chosen_actions[1][[2, 0]])
    assert np.abs(chosen.astype(int) - together[[2, 0]]).max() <= 1


def test_actions_and_seeds_change_the_frames(model: Vid2World) -> None:
    start, chosen_actions = frames(1), actions(1, 2)
    base = rollout(model, start, chosen_actions, [0])
    changed = chosen_actions.copy()
    changed[1] += 1
    other = rollout(model, start, changed, [0])
    assert np.array_equal(base[0], other[0])
    assert not np.array_equal(base[1], other[1])
    assert not np.array_equal(base, rollout(model, start, chosen_actions, [1]))


@pytest.mark.slow
@torch.inference_mode()
def test_the_first_window_is_the_published_autoregressive_loop(model: Vid2World) -> None:
    chosen_actions = actions(2, HISTORY)
    seeds, shape = [3, 4], model.config.latent_shape
    state = model.reset(frames(2), seeds)
    start = state
    for action in chosen_actions:
        _, state = model.step(state, action)

    pictures = frames_to_pixels(torch.from_numpy(frames(2)), model.config.picture_size)
    given = model.autoencoder.encode(pictures, batch_noise(seeds, (0, 0), ENCODING, shape))
    shifted = torch.cat([torch.zeros(1, 2, 13), torch.from_numpy(chosen_actions)]).transpose(0, 1)
    scene = Scene(given[:, :, None], shifted, start.context, None, start.unconditional_context)
    whole = Sampler(model.unet, model.config.sampler).autoregressive(
        given[:, :, None],
        scene,
        HISTORY + 1,
        lambda frame, draw: batch_noise(seeds, (frame,) * 2, draw, shape),
    )
    assert draw_addresses_differ(seeds, shape)
    torch.testing.assert_close(state.latents, whole, rtol=0, atol=1e-4)


def draw_addresses_differ(seeds: list[int], shape: tuple[int, ...]) -> bool:
    return not torch.equal(
        batch_noise(seeds, (1, 1), CONTEXT, shape), batch_noise(seeds, (1, 1), ENCODING, shape)
    )


@torch.inference_mode()
def test_a_full_window_moves_on_and_begins_anew_from_its_first_picture(model: Vid2World) -> None:
    chosen_actions = actions(1, HISTORY + 2)
    state = model.reset(frames(1), [0])
    for action in chosen_actions:
        before = state
        _, state = model.step(state, action)
    assert before.latents.shape[2] == state.latents.shape[2] == HISTORY + 1
    assert state.frames == (HISTORY + 3,)
    assert torch.equal(state.pictures[:, :-1], before.pictures[:, 1:])
    assert torch.equal(state.latents[:, :, :-1], before.encoded[:, :, 1:])
    assert (state.actions[:, 0] == 0).all()
    assert torch.equal(state.actions[0, 1:], torch.from_numpy(chosen_actions[-HISTORY:, 0]))
    expected, again = model._contexts(state.pictures[:, 0], state.encoded[:, :, 0])
    assert torch.equal(state.context, expected)
    assert torch.equal(state.unconditional_context, again)


@pytest.mark.slow
def test_lanes_of_different_ages_are_one_batch_once_their_windows_are_full(model: Vid2World) -> None:
    chosen_actions = actions(2, HISTORY + 3)
    older, younger = (model.reset(frames(2)[lane : lane + 1], [lane]) for lane in range(2))
    _, older = model.step(older, chosen_actions[0, :1])
    assert older.join(younger) is None
    for action in chosen_actions[1 : HISTORY + 2]:
        _, older = model.step(older, action[:1])
        _, younger = model.step(younger, action[1:])
    both = older.join(younger)
    assert both is not None
    drawn, after = model.step(both, chosen_actions[-1])
    expected = [
        model.step(state, chosen_actions[-1, lane : lane + 1])[0]
        for lane, state in enumerate((older, younger))
    ]
    assert np.abs(drawn.astype(int) - np.concatenate(expected)).max() <= 1
    assert after.frames == (HISTORY + 4, HISTORY + 3)


def test_forgotten_frames_have_no_influence(model: Vid2World) -> None:
    """Pasts that agree in the last frames draw the same next frame once the window has left the rest."""
    chosen_actions = actions(1, HISTORY + 1)
    state = model.reset(frames(1), [0])
    for action in chosen_actions[:-1]:
        _, state = model.step(state, action)
    other = replace(
        state,
        pictures=torch.cat([state.pictures[:, :1] * 0, state.pictures[:, 1:]], dim=1),
        encoded=torch.cat([state.encoded[:, :, :1] * 0, state.encoded[:, :, 1:]], dim=2),
        latents=state.latents * 0,
        context=state.context * 0,
    )
    assert np.array_equal(model.step(state, chosen_actions[-1])[0], model.step(other, chosen_actions[-1])[0])


@torch.inference_mode()
def test_a_window_can_be_drawn_together(model: Vid2World) -> None:
    chosen_actions = actions(1, 3).swapaxes(0, 1)
    drawn = model.draw_together(frames(1), chosen_actions, [0])
    assert drawn.shape == (1, 3, 24, 32, 3)
    changed = chosen_actions.copy()
    changed[:, 2] += 1
    assert not np.array_equal(drawn[:, 2], model.draw_together(frames(1), changed, [0])[:, 2])
    with pytest.raises(ValueError, match="do not fit the window of 16"):
        model.draw_together(frames(1), np.zeros((1, 16, 13), np.float32), [0])


def test_cost_is_counted_in_passes_over_one_frame(model: Vid2World) -> None:
    calls: list[int] = []
    handle = model.unet.register_forward_pre_hook(
        lambda _, given: calls.append(given[0].shape[0] * given[0].shape[2])
    )
    try:
        state = model.reset(frames(1), [0])
        for action in actions(1, HISTORY):
            calls.clear()
            _, state = model.step(state, action)
    finally:
        handle.remove()
    assert sum(calls) == model.frame_passes_per_frame == 2 * 2 * (HISTORY + 1)


@pytest.mark.slow
def test_a_cached_history_saves_passes_and_changes_frames_a_little(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task("close_drawer", "close drawer", 3)
    starts = [Start(task, f"{index}", frame) for index, frame in enumerate(frames(2))]
    suite = SuiteConfig("made up", (task,), image_size=(24, 32), used_fields=("world_vector",))
    write_suite(tmp_path / "suite", suite, {task.name: starts})
    words = ["--world", str(folder), "--suite", str(tmp_path / "suite"), "--out", str(tmp_path / "runs")]
    more = ["--policies", "random", "--starts", "2", "--steps", "4", "--frames-only"]
    history_and_ranking.main([*words, *more])
    table, passes, _ = capsys.readouterr().out.rsplit("\n", 3)[:3]
    first = float(table.splitlines()[1].split()[1])
    assert first > 10, "another picture altogether would be below ten decibels"
    # Four steps, two branches, two frames of history: 2 * 4 * 3 passes if exact, else 2 * (3 + 3).
    assert passes == "frame_passes: 144 exact, 72 cached, 2.00 times fewer"


@pytest.mark.slow
def test_weights_can_be_loaded_in_another_precision(folder: Path, model: Vid2World) -> None:
    half = Vid2World.from_pretrained(folder, dtype=torch.bfloat16, sampler=QUICK)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.bfloat16}
    drawn, exact = (rollout(m, frames(1), actions(1, 1), [0]).astype(int) for m in (half, model))
    assert np.abs(drawn - exact).mean() < 12


@pytest.mark.slow
def test_loading_holds_the_tensors_of_one_component_at_a_time(
    folder: Path, model: Vid2World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[weakref.ref[Tensor]] = []
    alive = []

    def watched(path: Path, device: str | torch.device) -> dict[str, Tensor]:
        alive.append(sum(tensor() is not None for tensor in before))
        tensors = read_tensors(path, device)
        before.extend(weakref.ref(tensor) for tensor in tensors.values())
        return tensors

    monkeypatch.setattr("real2sim.vid2world.released.model.read_tensors", watched)
    half = Vid2World.from_pretrained(folder, dtype=torch.bfloat16)
    assert len(alive) == len(COMPONENTS) + 1 and len(before) > 100
    assert max(alive) < 20  # of the component just read, as its tensors were replaced by others
    assert half.dtype == torch.bfloat16 and model.dtype == torch.float32


def test_cs_go_model_hears_every_key_that_is_held(tmp_path: Path) -> None:
    tiny = Vid2WorldConfig.tiny()
    game = replace(tiny, unet=replace(tiny.unet, action_dim=51, discrete_actions=True))
    model = Vid2World.from_pretrained(convert(game, tmp_path / "model"), sampler=QUICK)
    state = model.reset(frames(2), [0, 0])
    held = np.zeros((2, 51), np.float32)
    held[:, [3, 20]] = 1
    drawn, _ = model.step(state, held)
    held[0, 40] = 1
    other, _ = model.step(state, held)
    assert not np.array_equal(drawn[0], other[0])
    assert np.array_equal(drawn[1], other[1])
    held[0, 40] = 0.5
    with pytest.raises(ValueError, match=r"entry 0\.5; this model's actions are zeros and ones"):
        model.step(state, held)


@pytest.mark.slow
def test_several_first_frames_begin_the_window_that_drawing_them_would_have_begun(model: Vid2World) -> None:
    past_actions = actions(2, HISTORY - 1)
    state = model.reset(frames(2), [7, 8])
    for action in past_actions:
        _, state = model.step(state, action)
    pictures = np.stack([frames(2) // (i + 1) for i in range(HISTORY)], axis=1)
    given = (pictures[:, :-1], past_actions.swapaxes(0, 1))
    begun = model.reset(pictures[:, -1], [7, 8], *given)
    assert begun.latents.shape == state.latents.shape
    assert begun.frames == state.frames == (HISTORY, HISTORY)
    assert torch.equal(begun.actions, state.actions)
    assert torch.equal(begun.context, state.context)
    assert torch.equal(begun.latents[:, :, 0], state.latents[:, :, 0])
    action = actions(2, 1)[0]
    drawn, _ = model.step(begun, action)
    alone = model.reset(pictures[1:, -1], [8], *(part[1:] for part in given))
    assert np.abs(drawn[1].astype(int) - model.step(alone, action[1:])[0][0].astype(int)).max() <= 1
    # What lies in the past is seen: other past frames, another next frame.
    other = model.reset(pictures[:, -1], [7, 8], 255 - given[0], given[1])
    assert not np.array_equal(model.step(other, action)[0], drawn)


def test_only_as_many_first_frames_as_the_history_holds_are_kept(model: Vid2World) -> None:
    past = np.stack([frames(1)] * 6, axis=1)
    state = model.reset(frames(1), [0], past, np.zeros((1, 6, 13), np.float32))
    assert state.latents.shape[2] == model.config.history


def test_fewer_past_frames_are_looked_at_if_asked(folder: Path) -> None:
    model = SamplingOverrides(context=1).applied(Vid2World.from_pretrained(folder, sampler=QUICK))
    start, chosen_actions = frames(1), actions(1, 3)
    state = model.reset(start, [1])
    for action in chosen_actions:
        _, state = model.step(state, action)
    # The frame that was drawn last, and as many before it as are looked at.
    assert state.latents.shape[2] == model.config.history + 1 == 2
    with pytest.raises(ValueError, match="history must be 1 to"):
        SamplingOverrides(context=99).applied(model)


def test_history_can_be_fed_back_unclamped(folder: Path) -> None:
    model = Vid2World.from_pretrained(folder, sampler=QUICK)
    _, clamped = model.step(model.reset(frames(1), [0]), actions(1, 1)[0])
    model.config = replace(model.config, clamp_history=False)
    _, free = model.step(model.reset(frames(1), [0]), actions(1, 1)[0])
    assert float(clamped.pictures.abs().max()) <= 1
    torch.testing.assert_close(free.pictures.clamp(-1, 1), clamped.pictures)


def test_the_unconditional_branch_keeps_four_of_five_actions_when_frames_are_drawn_together(
    model: Vid2World,
) -> None:
    kept = kept_actions(model.config, list(range(500)), 16)
    assert 0.78 < float(kept.mean()) < 0.82
    assert torch.equal(kept[7:8], kept_actions(model.config, [7], 16))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m.reset(frames(1)[:, 1:], [0]), "start frames are"),
        (lambda m: m.reset(frames(1).astype(np.float32), [0]), "expected uint8"),
        (lambda m: m.reset(frames(2), [0]), "each lane needs one"),
        (lambda m: m.reset(frames(1), [0], frames(1)), "past frames are uint8"),
        (
            lambda m: m.reset(frames(1), [0], frames(1)[None], np.zeros((1, 2, 13), np.float32)),
            "past actions have shape (1, 2, 13), expected (1, 1, 13)",
        ),
        (lambda m: m.step(m.reset(frames(1), [0]), np.zeros((1, 7), np.float32)), "expects (1, 13)"),
        (
            lambda m: m.step(m.reset(frames(1), [0]), np.full((1, 13), np.nan, np.float32)),
            "actions of lane 0 at frame 1 are not finite",
        ),
    ],
)
def test_wrong_input_is_one_sentence(
    call: Callable[[Vid2World], object], sentence: str, model: Vid2World
) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        call(model)


def copy_without(folder: Path, out: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    save_file(change(load_file(out / "unet.safetensors")), out / "unet.safetensors")
    return out


def test_incomplete_folders_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    missing = copy_without(
        folder, tmp_path / "a", lambda t: {n: v for n, v in t.items() if n != "out.0.bias"}
    )
    with pytest.raises(ValueError, match=r"unet\.safetensors has the SHA-256 sum .* remove SHA256SUMS"):
        Vid2World.from_pretrained(missing)
    (missing / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match=r"unet\.safetensors: tensor 'out\.0\.bias' is missing"):
        Vid2World.from_pretrained(missing)
    (missing / "unet.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match="copy it again"):
        Vid2World.from_pretrained(missing)
    (missing / "unet.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="copied completely"):
        Vid2World.from_pretrained(missing)
    with pytest.raises(FileNotFoundError, match="neither a folder nor a Hub id"):
        Vid2World.from_pretrained(tmp_path / "nothing" / "here")


def test_a_hub_repository_without_a_converted_model_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda hub_id, allow_patterns: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run real2sim convert vid2world"):
        Vid2World.from_pretrained("thuml/Vid2World-RT1")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"picture_size": (32, 10**30)}, "picture_size must be at most 16384"),
        ({"picture_size": (32, 50)}, "picture_size is 32 x 50; autoencoder and U-Net .* need multiples of 4"),
        ({"image_size": (0, 32)}, "image_size must be at least 1, got 0"),
        ({"action_scale": (1e300,) * 13}, "action_scale must be at most"),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(Vid2WorldConfig.tiny(), **changes)
    with pytest.raises(ValueError, match="guidance must be at most 100"):
        SamplerConfig(guidance=1e300)
