"""SamplingOverrides frames: agreement with the published sampler, and the laws of a step."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from real2sim.model_folder import config_from_dict, config_to_dict
from real2sim.vid2world import CausalUNet, UNetConfig
from real2sim.vid2world.ddim import ddim_step, restore_deviation
from real2sim.vid2world.noise import CONTEXT
from real2sim.vid2world.released.sampler import Noise, Sampler, SamplerConfig, Scene
from real2sim.vid2world.schedule import ddim_table, ddim_timesteps, vid2world_schedule

DATA = Path(__file__).parents[1] / "data" / "vid2world"
GOLDEN = DATA / "sampler_small"
CASES = json.loads((GOLDEN / "cases.json").read_text())


@pytest.fixture(scope="module")
def unet() -> CausalUNet:
    folder = DATA / "unet_small"
    unet = CausalUNet(UNetConfig.from_published(json.loads((folder / "config.json").read_text())))
    weights = load_file(folder / "weights.safetensors")
    unet.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
    return unet.eval()


def stored_noise(name: str) -> Noise:
    stored = {
        key.split("/")[1]: tensor
        for key, tensor in load_file(GOLDEN / "noise.safetensors").items()
        if key.startswith(f"{name}/")
    }

    def noise(frame: int, draw: int) -> Tensor:
        if draw == 0:
            return stored["initial_noise"][:, :, frame]
        if draw == CONTEXT:
            # The published loop noises each frame anew just before the frame after it is drawn.
            anew = stored.get(f"context_noise.before_frame_{frame + 1:02d}")
            return anew[:, :, 0] if anew is not None else stored["context_noise.init"][:, :, frame]
        alone = stored.get(f"ddim_noise.frame_{frame:02d}.step_{draw - 1:02d}")
        return (
            alone[:, :, -1] if alone is not None else stored[f"ddim_noise.step_{draw - 1:02d}"][:, :, frame]
        )

    return noise


def published_case(name: str) -> tuple[SamplerConfig, Scene, dict[str, Any]]:
    case, inputs = CASES[name]["settings"], load_file(GOLDEN / "inputs.safetensors")
    config = dataclasses.replace(
        SamplerConfig.reference(case["S"]),
        eta=case["eta"],
        guidance=case["scale"],
        guidance_rescale=case["gr"],
        spacing=case["timestep_spacing"],
    )
    other = case["unconditional_conditioning"].startswith("uc_context")
    first = torch.zeros_like(inputs["action_raw"][:, :1])
    scene = Scene(
        condition=inputs["c_concat"],
        actions=torch.cat([first, inputs["action_raw"][:, :-1]], dim=1),
        context=inputs["context"],
        fps=inputs["fs"],
        unconditional_context=inputs["uc_context"] if other else None,
        unconditional_mask=inputs["uc_random_mask"] if other else None,
    )
    return config, scene, case


def draw(unet: CausalUNet, name: str) -> Tensor:
    config, scene, case = published_case(name)
    noise = stored_noise(name)
    sampler = Sampler(unet, config)
    with torch.no_grad():
        if not case["ar"]:
            return sampler.together(scene, case["T"], noise)
        assert sampler.context_level == CASES[name]["context_timestep"]
        given_frames = load_file(GOLDEN / "inputs.safetensors")["z"][:, :, : case["cond_frame"]]
        return sampler.autoregressive(given_frames, scene, case["T"], noise)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_frames_are_those_of_the_published_sampler(unet: CausalUNet, name: str) -> None:
    expected = load_file(GOLDEN / "outputs.safetensors")[name]
    torch.testing.assert_close(draw(unet, name), expected, rtol=0, atol=5e-5)


def test_every_pass_sees_what_the_published_sampler_shows_it(unet: CausalUNet) -> None:
    trace = load_file(GOLDEN / "trace_ar_eta0.safetensors")
    calls: list[dict[str, Tensor]] = []

    def record(module: CausalUNet, args: tuple[Any, ...], out: Tensor) -> None:
        x, levels, _, _, mask, _ = args
        masks = dict(zip(("mask_cond", "mask_uncond"), mask.chunk(2), strict=True))
        velocities = dict(zip(("v_cond", "v_uncond"), out.chunk(2), strict=True))
        calls.append({"x": x[:2, :4], "timesteps": levels[:2], **masks, **velocities})

    hook = unet.register_forward_hook(record)
    draw(unet, "ar_eta0")
    hook.remove()
    assert len(calls) == 15
    for number, call in enumerate(calls):
        label = f"frame_{2 + number // 5:02d}.step_{number % 5:02d}"
        for name, found in call.items():
            expected = trace[f"{label}.{name}"]
            torch.testing.assert_close(found.to(expected.dtype), expected, rtol=0, atol=5e-5)


# --- laws of one step ----------------------------------------------------------------------------

levels = st.floats(0.0, 1.0)


def frames(seed: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, 2, 3, count, 4, 4, generator=generator, dtype=torch.float64)
    return x, v


@given(st.integers(0, 99), st.lists(levels, min_size=3, max_size=3), levels)
def test_frames_whose_level_is_unchanged_stay_put(seed: int, before: list[float], last: float) -> None:
    x, v = frames(seed, 3)
    alpha = torch.tensor(before, dtype=torch.float64)[None, None, :, None, None]
    following = alpha.clone()
    following[:, :, -1] = last
    moved = ddim_step(x, v, alpha, following)
    torch.testing.assert_close(moved[:, :, :-1], x[:, :, :-1])


@given(st.integers(0, 99), st.integers(1, 50), st.sampled_from([0.0, 0.3, 1.0]))
@example(seed=20, steps=3, eta=1.0)
@settings(deadline=None, max_examples=25)
def test_one_level_for_all_frames_is_plain_ddim(seed: int, steps: int, eta: float) -> None:
    """Against diffusers, whose schedule has the same betas and the same trailing steps."""
    oracle = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        clip_sample=False,
        set_alpha_to_one=False,
    )
    oracle.set_timesteps(steps)
    table = ddim_table(vid2world_schedule(), ddim_timesteps(steps), eta)
    step = seed % steps
    if oracle.timesteps[steps - 1 - step] != table.timesteps[step]:
        return  # Some counts round differently; the published steps are the ones kept here.
    x, v = (tensor.float() for tensor in frames(seed, 2))
    fresh = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    # The library steps by a fixed distance, which is the published next step only where 1000 divides evenly.
    following = int(oracle.timesteps[steps - 1 - step]) - 1000 // steps
    expected_next = (
        float(oracle.alphas_cumprod[following]) if following >= 0 else float(oracle.final_alpha_cumprod)
    )
    alpha = table.alphas[step]
    sigma = eta * max((1 - expected_next) / (1 - alpha) * (1 - alpha / expected_next), 0.0) ** 0.5
    expected = oracle.step(
        v, oracle.timesteps[steps - 1 - step], x, eta=eta, variance_noise=fresh
    ).prev_sample
    found = ddim_step(x, v, alpha, expected_next, sigma=sigma, fresh=fresh)
    if eta == 1 and alpha == 0:
        # Out of pure noise the exact variance is 0; the library's float32 leaves up to 3e-4 noise, or NaN.
        assert found.isfinite().all()
        found, expected = (torch.where(expected.isnan(), 0.0, tensor) for tensor in (found, expected))
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-3)
    else:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    if 1000 % steps == 0:
        assert table.alphas_next[step] == pytest.approx(expected_next, abs=1e-5)


@given(st.integers(0, 99), levels, levels)
def test_a_perfect_prediction_arrives_at_the_clean_frame(seed: int, alpha: float, following: float) -> None:
    clean, noise = frames(seed, 1)
    x = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
    v = alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean
    there = following**0.5 * clean + (1 - following) ** 0.5 * noise
    torch.testing.assert_close(ddim_step(x, v, alpha, following), there)


def test_restored_deviation_is_that_of_the_conditional_prediction() -> None:
    conditional, guided = frames(0, 2)
    restored = restore_deviation(3 * guided, conditional, 1.0)
    torch.testing.assert_close(restored.flatten(1).std(1), conditional.flatten(1).std(1))
    torch.testing.assert_close(restore_deviation(guided, conditional, 0.0), guided)


# --- the sampler's options -----------------------------------------------------------------------


def small_scene(config: UNetConfig, frames: int) -> Scene:
    generator = torch.Generator().manual_seed(0)
    return Scene(
        condition=torch.randn(1, 4, 1, 4, 4, generator=generator),
        actions=torch.randn(1, frames, 13, generator=generator),
        context=torch.randn(1, 77 + 32, config.context_dim or 1, generator=generator),
    )


def seeded(frame: int, draw: int) -> Tensor:
    return torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1000 * frame + draw % 997))


@functools.lru_cache(maxsize=1)
def tiny_unet() -> CausalUNet:
    torch.manual_seed(0)
    unet = CausalUNet(UNetConfig.tiny())
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return unet.eval()


@pytest.mark.parametrize("steps", [1, 2, 7, 11])
@pytest.mark.parametrize("spacing", ["uniform_trailing", "uniform"])
def test_any_step_count_draws_finite_frames(steps: int, spacing: Any) -> None:
    """With fresh noise the published arithmetic gives NaN for 7 and 11 steps, and fails for 1."""
    config = SamplerConfig(steps=steps, spacing=spacing, guidance=1)
    sampler, scene = Sampler(tiny_unet(), config), small_scene(UNetConfig.tiny(), 2)
    with torch.no_grad():
        assert sampler.draw_frame(torch.zeros(1, 4, 1, 4, 4), scene, 1, seeded).isfinite().all()


@pytest.mark.parametrize("steps", range(1, 51))
def test_every_step_count_up_to_fifty_has_a_sampler(steps: int) -> None:
    for spacing in ("uniform_trailing", "uniform"):
        sampler = Sampler(tiny_unet(), SamplerConfig(steps=steps, spacing=spacing))  # type: ignore[arg-type]
        assert sampler.context_level == 39
        assert all(value == value for column in vars(sampler.table).values() for value in column)


def test_configuration_survives_json() -> None:
    for config in (SamplerConfig(), SamplerConfig.reference(), SamplerConfig.tiny()):
        assert config_from_dict(SamplerConfig, json.loads(json.dumps(config_to_dict(config)))) == config


def test_context_level_of_the_published_sampler_depends_on_the_step_count() -> None:
    unet = tiny_unet()
    assert [Sampler(unet, SamplerConfig.reference(steps)).context_level for steps in (50, 10, 5, 2)] == [
        39,
        199,
        399,
        999,
    ]
    assert {Sampler(unet, SamplerConfig(steps=steps)).context_level for steps in (50, 10, 5, 2, 1)} == {39}
    with pytest.raises(ValueError, match="one step has no second-smallest"):
        SamplerConfig.reference(1)


def test_undoing_the_rescale_divides_by_what_the_last_step_left() -> None:
    unet, scene = tiny_unet(), small_scene(UNetConfig.tiny(), 2)
    published = dataclasses.replace(SamplerConfig.reference(5), context_level=39)
    history = torch.zeros(1, 4, 1, 4, 4)
    with torch.no_grad():
        left, undone = (
            Sampler(unet, dataclasses.replace(published, undo_rescale=undo)).draw_frame(
                history, scene, 1, seeded
            )
            for undo in (False, True)
        )
    torch.testing.assert_close(undone * float(vid2world_schedule().scale[199]), left)
    assert float(vid2world_schedule().scale[199]) == pytest.approx(0.850, abs=1e-3)


def test_context_form_decides_what_a_full_window_sees() -> None:
    unet, scene = tiny_unet(), small_scene(UNetConfig.tiny(), 2)
    history = torch.zeros(1, 4, 1, 4, 4)
    results = {}
    with torch.no_grad():
        for form in ("switch", "all", "own"):
            config = SamplerConfig(steps=1, guidance=1, eta=0, context_form=form)
            results[form] = Sampler(unet, config).draw_frame(history, scene, 1, seeded)
    assert torch.equal(results["switch"], results["own"])
    assert not torch.equal(results["switch"], results["all"])


def test_unconditional_branch_can_see_the_original_image() -> None:
    unet, scene = tiny_unet(), small_scene(UNetConfig.tiny(), 2)
    assert scene.context is not None
    other = dataclasses.replace(scene, unconditional_context=scene.context + 1)
    history = torch.zeros(1, 4, 1, 4, 4)

    def result(scene: Scene, image: Any) -> Tensor:
        config = dataclasses.replace(SamplerConfig.tiny(), unconditional_image=image)
        with torch.no_grad():
            return Sampler(unet, config).draw_frame(history, scene, 1, seeded)

    assert torch.equal(result(other, "original"), result(scene, "original"))
    assert not torch.equal(result(other, "decoded"), result(other, "original"))


# --- reading the history from the last whole pass ------------------------------------------------


def cached_frame(unet: CausalUNet, every: int, scene: Scene) -> Tensor:
    config = SamplerConfig(steps=4, eta=0, context_form="all", rescale_over="frame")
    config = dataclasses.replace(config, history="cached", whole_window_every=every)
    history = torch.stack([seeded(frame, CONTEXT) for frame in range(3)], dim=2)
    with torch.no_grad():
        return Sampler(unet, config).draw_frame(history, scene, 3, seeded)


def test_cached_history_changes_nothing_for_strictly_causal_weights() -> None:
    torch.manual_seed(0)
    unet = CausalUNet(dataclasses.replace(UNetConfig.tiny(), temporal_norm="frame")).eval()
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    scene = small_scene(UNetConfig.tiny(), 4)
    torch.testing.assert_close(cached_frame(unet, 3, scene), cached_frame(unet, 1, scene), rtol=0, atol=2e-5)


def test_cached_history_approximates_weights_with_window_norms() -> None:
    scene = small_scene(UNetConfig.tiny(), 4)
    exact, every_second, never_again = (cached_frame(tiny_unet(), every, scene) for every in (1, 2, 4))
    errors = [((frame - exact).norm() / exact.norm()).item() for frame in (every_second, never_again)]
    assert 0 < errors[0] < errors[1] < 0.2


def test_cost_of_a_frame_counts_passes_over_single_frames() -> None:
    exact, cached = SamplerConfig(), SamplerConfig(history="cached")
    assert Sampler(tiny_unet(), exact).frame_passes(past=15) == 2 * 50 * 16
    assert Sampler(tiny_unet(), cached).frame_passes(past=15) == 2 * (5 * 16 + 45)
    assert Sampler(tiny_unet(), dataclasses.replace(cached, guidance=1)).frame_passes(past=15) == 125


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_the_last_frames_of_a_window_see_their_own_image_tokens(frames: int) -> None:
    """With a cached history only the newest frame is passed; its tokens are the last ones, not the first."""
    unet = tiny_unet()
    total, each = 4, unet.config.image_tokens_per_frame
    owner = torch.arange(total).repeat_interleave(each)
    text = torch.full((unet.config.text_tokens,), -1)
    context = torch.cat([text, owner]).view(1, -1, 1).float()
    sampler = Sampler(unet, SamplerConfig(steps=1, context_form="own"))
    chosen, own = sampler._tokens(context, total, frames)
    assert own is True
    assert chosen is not None
    image = chosen[0, unet.config.text_tokens :, 0].tolist()
    assert image == [frame for frame in range(total - frames, total) for _ in range(each)]
