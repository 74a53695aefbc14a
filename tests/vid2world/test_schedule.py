"""The noise schedule against the published tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from real2sim.vid2world.schedule import (
    ddim_table,
    ddim_timesteps,
    scaled_linear_betas,
    vid2world_schedule,
    zero_terminal_snr,
)

DATA = Path(__file__).parents[1] / "data" / "vid2world"
TABLES = load_file(DATA / "schedule.safetensors")
LISTS = json.loads((DATA / "schedule.json").read_text())["ddim"]


def test_schedule_is_the_published_one() -> None:
    schedule = vid2world_schedule()
    close = {"rtol": 0, "atol": 1e-6}
    betas = zero_terminal_snr(scaled_linear_betas())
    torch.testing.assert_close(betas, TABLES["betas_float64"], rtol=0, atol=1e-12)
    torch.testing.assert_close(schedule.alphas_cumprod, TABLES["alphas_cumprod_float64"], rtol=0, atol=1e-12)
    torch.testing.assert_close(schedule.alphas_cumprod.float(), TABLES["alphas_cumprod"], **close)
    torch.testing.assert_close(schedule.scale.float(), TABLES["scale_arr"][:1000], **close)
    assert schedule.alphas_cumprod[-1] == 0


@pytest.mark.parametrize("name", [name for name, case in LISTS.items() if case["ok"]])
def test_steps_are_the_published_ones(name: str) -> None:
    spacing, steps = name.rsplit("_", 1)
    assert ddim_timesteps(int(steps), spacing) == LISTS[name]["timesteps_ascending"]


@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in TABLES if "/" in key}))
@pytest.mark.parametrize("eta", [0, 1])
def test_ddim_tables_are_the_published_ones(name: str, eta: int) -> None:
    spacing, steps = name.rsplit("_", 1)
    table = ddim_table(vid2world_schedule(), ddim_timesteps(int(steps), spacing), float(eta))
    for column, published in (
        (table.alphas, "alphas"),
        (table.alphas_next, "alphas_prev"),
        (table.sigmas, f"sigmas_eta{eta}"),
        (table.scales, "scale"),
        (table.scales_next, "scale_prev"),
    ):
        expected = TABLES[f"{name}/{published}"].double()
        torch.testing.assert_close(torch.tensor(column, dtype=torch.float64), expected, rtol=0, atol=1e-6)


@given(st.integers(1, 1000))
def test_trailing_steps_are_as_many_as_asked_for_and_end_in_pure_noise(steps: int) -> None:
    timesteps = ddim_timesteps(steps)
    assert len(timesteps) == steps
    assert timesteps == sorted(set(timesteps))
    assert timesteps[-1] == 999
    assert timesteps[0] >= 0


@given(st.integers(1, 1000))
def test_uniform_steps_never_leave_the_schedule(steps: int) -> None:
    timesteps = ddim_timesteps(steps, "uniform")
    assert timesteps == sorted(set(timesteps))
    assert timesteps[0] == 1
    assert timesteps[-1] <= 999
    assert len(timesteps) >= min(steps, 999)


@given(st.integers(1, 50), st.sampled_from([0.0, 0.5, 1.0]))
def test_variance_stays_one_at_every_step(steps: int, eta: float) -> None:
    table = ddim_table(vid2world_schedule(), ddim_timesteps(steps), eta)
    for alpha, alpha_next, sigma in zip(table.alphas, table.alphas_next, table.sigmas, strict=True):
        assert 0 <= alpha <= alpha_next < 1
        assert 1 - alpha_next - sigma**2 >= -1e-12


def test_impossible_step_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be between 1 and 1000, got 0"):
        ddim_timesteps(0)
