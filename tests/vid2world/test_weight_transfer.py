"""Causal weights from DynamiCrafter's, checked exactly against stored numbers of the published transfer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from real2sim.vid2world.released.weight_transfer import Transfer, causal_kernel, causal_name, transfer_weights

GOLDENS = Path(__file__).parent.parent / "data" / "vid2world"


@pytest.mark.parametrize("transfer", ["extrapolative", "masked", "shift"])
def test_transferred_weights_equal_the_published_ones_exactly(transfer: Transfer) -> None:
    source = load_file(GOLDENS / "weight_transfer" / "source.safetensors")
    expected = load_file(GOLDENS / "weight_transfer" / f"expected_{transfer}.safetensors")
    transferred = transfer_weights(source, transfer)
    changed = {name: tensor for name, tensor in transferred.items() if name not in source}
    assert sorted(changed) == sorted(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(changed[name], tensor, rtol=0, atol=0)
    assert all(transferred[name] is source[name] for name in transferred if name in source)


def test_names_follow_the_published_table() -> None:
    table = json.loads((GOLDENS / "transfer_key_map.json").read_text())
    base = json.loads((GOLDENS / "manifest_dynamicrafter512_shapes.json").read_text())
    causal = json.loads((GOLDENS / "manifest_rt1_shapes.json").read_text())
    renamed = {name: causal_name(name) for name in base}
    assert {name: new for name, new in renamed.items() if name != new} == table["renamed"]
    assert set(causal) - set(renamed.values()) == set(table["only_in_vid2world"])
    assert set(renamed.values()) <= set(causal)
    assert all(base[name] == causal[new] for name, new in renamed.items())
    convolutions = [name for name in table["renamed"] if name.endswith("weight") and "temopral_conv" in name]
    assert len(convolutions) == 88


def test_extrapolation_is_exact_on_motion_along_a_line() -> None:
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(5, 4, 3, 1, 1, generator=generator)
    start, speed = torch.randn(2, 1, 4, 1, 2, 2, generator=generator)
    video = start + speed * torch.arange(6)[None, None, :, None, None]
    centred = functional.conv3d(video, kernel)
    causal = functional.conv3d(video, causal_kernel(kernel, "extrapolative", axis=2))
    # Frame t of the centred result stands at t - 1 without padding, of the causal one at t - 2.
    torch.testing.assert_close(causal[:, :, :-1], centred[:, :, 1:], rtol=0, atol=1e-5)


def test_an_unknown_transfer_is_refused() -> None:
    with pytest.raises(ValueError, match="extrapolative, masked, shift"):
        causal_kernel(torch.zeros(1, 1, 3), "mirror", axis=2)  # type: ignore[arg-type]
