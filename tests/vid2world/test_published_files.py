"""Checkpoint files of every common form are read; damaged ones are refused with what is true of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from real2sim.vid2world.released.published_files import read_checkpoint

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def tensors() -> Tensors:
    generator = torch.Generator().manual_seed(0)
    return {f"model.layer{i}.weight": torch.randn(40, 30, generator=generator) for i in range(3)}


def same(found: Tensors, expected: Tensors) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_deepspeed_files_are_read_without_their_prefix(tensors: Tensors, tmp_path: Path) -> None:
    wrapped = {f"_forward_module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"module": wrapped, "global_steps": 7}, tmp_path / "mp_rank_00_model_states.pt")
    torch.save({"state_dict": wrapped}, tmp_path / "last.ckpt")
    assert same(read_checkpoint(tmp_path / "mp_rank_00_model_states.pt"), tensors)
    assert same(read_checkpoint(tmp_path / "last.ckpt"), tensors)


def test_copies_and_masks_that_no_frame_depends_on_are_left_out(tensors: Tensors, tmp_path: Path) -> None:
    extras = {
        "model_ema.decay": torch.tensor(0.99),
        "model_ema.num_updates": torch.tensor(5),
        "model_ema.layer0weight": torch.ones(2),
        "logvar": torch.zeros(1000),
        "lvlb_weights": torch.zeros(1000),
        "cond_stage_model.model.attn_mask": torch.full((3, 3), -torch.inf),
    }
    torch.save({"state_dict": {**tensors, **extras}}, tmp_path / "c.ckpt")
    assert same(read_checkpoint(tmp_path / "c.ckpt"), tensors)


def test_safetensors_are_known_by_their_content(tensors: Tensors, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "model.ckpt")
    torch.save({"state_dict": tensors}, tmp_path / "model.safetensors")
    assert same(read_checkpoint(tmp_path / "model.ckpt"), tensors)
    assert same(read_checkpoint(tmp_path / "model.safetensors"), tensors)


def test_sharded_folders_are_joined(tensors: Tensors, tmp_path: Path) -> None:
    names = sorted(tensors)
    save_file({names[0]: tensors[names[0]]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({name: tensors[name] for name in names[1:]}, tmp_path / "model-00002-of-00002.safetensors")
    shard = {name: f"model-0000{1 if name == names[0] else 2}-of-00002.safetensors" for name in names}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shard}))
    assert same(read_checkpoint(tmp_path), tensors)
    assert same(read_checkpoint(index), tensors)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"00002-of-00002\.safetensors does not exist, but model"):
        read_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(ValueError, match="shards must lie beside their index"):
        read_checkpoint(tmp_path)


def test_torchs_old_format_is_read(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"state_dict": tensors}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "old.ckpt"), tensors)


def test_numpy_numbers_beside_the_weights_are_no_foreign_code(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"state_dict": tensors, "best": np.float64(0.25), "epoch": np.int64(3)}, tmp_path / "c.ckpt")
    assert same(read_checkpoint(tmp_path / "c.ckpt"), tensors)


def test_shared_weights_are_read(tensors: Tensors, tmp_path: Path) -> None:
    first = tensors["model.layer0.weight"]
    torch.save({"state_dict": {"a": first, "b": first, "c": first.T}}, tmp_path / "c.ckpt")
    assert set(read_checkpoint(tmp_path / "c.ckpt")) == {"a", "b", "c"}


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_damaged_bytes_are_found_by_their_checksum(place: float, tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    torch.save({"state_dict": {"a": torch.randn(200, 200)}}, path)
    content = bytearray(path.read_bytes())
    middle = int(len(content) * place)
    content[middle : middle + 50] = bytes(byte ^ 0xFF for byte in content[middle : middle + 50])
    path.write_bytes(bytes(content))
    with pytest.raises(
        ValueError, match=r"c\.ckpt: record .* is damaged \(its CRC-32 differs\); copy the file again"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (torch.tensor([1.0, float("nan")]), "tensor 'w' has 1 of 2 numbers that are not finite"),
        (torch.tensor([1.0, float("inf")]), "tensor 'w' has 1 of 2 numbers that are not finite"),
        (torch.tensor([1, 2]), "tensor 'w' is int64, expected floating-point weights"),
        (torch.zeros(3, device="meta"), "tensor 'w' is stored without its numbers, expected a dense tensor"),
        (torch.eye(3).to_sparse(), "tensor 'w' is stored as torch.sparse_coo, expected a dense tensor"),
    ],
)
def test_weights_must_be_finite_floating_point_numbers(
    weight: torch.Tensor, sentence: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": {"w": weight}}, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_checkpoint(tmp_path / "c.ckpt")


def test_a_file_that_is_no_checkpoint_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "page.ckpt").write_text("<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"is neither a file that torch\.save writes nor safetensors"):
        read_checkpoint(tmp_path / "page.ckpt")


def test_what_would_run_code_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "path": Path("x")}, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=r"\(pathlib\S*\), and reading it could run foreign code"):
        read_checkpoint(tmp_path / "c.ckpt")
