"""Checkpoint files of every common form are read; damaged ones are refused with what is true of them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
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
        (
            torch.ones(3).to(torch.float8_e4m3fn),
            "tensor 'w' is float8_e4m3fn, expected floating-point weights",
        ),
        (torch.ones(3).to(torch.float8_e5m2), "tensor 'w' is float8_e5m2, expected floating-point weights"),
        (
            torch.tensor([1e300], dtype=torch.float64),
            "1 of 1 numbers that are not finite, or are beyond float32",
        ),
    ],
)
def test_weights_must_be_finite_floating_point_numbers(
    weight: torch.Tensor, sentence: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": {"w": weight}}, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_checkpoint(tmp_path / "c.ckpt")


@pytest.mark.filterwarnings("ignore")
def test_quantized_and_nested_weights_are_called_so(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    for kind, weight in (("quantized", quantized), ("nested", nested)):
        torch.save({"state_dict": {"w": weight}}, tmp_path / "c.ckpt")
        with pytest.raises(ValueError, match=f"tensor 'w' is stored as {kind}, expected a dense tensor"):
            read_checkpoint(tmp_path / "c.ckpt")


def test_a_file_that_is_no_checkpoint_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "page.ckpt").write_text("<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"is neither a file that torch\.save writes nor safetensors"):
        read_checkpoint(tmp_path / "page.ckpt")


def test_what_would_run_code_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "path": Path("x")}, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=r"\(pathlib\S*\), and reading it could run foreign code"):
        read_checkpoint(tmp_path / "c.ckpt")


Records = list[tuple[str, bytes]]


def rewritten(path: Path, change: Callable[[Records], Records], how: int = zipfile.ZIP_STORED) -> Path:
    """The archive with other records, each with the checksum of what it holds now."""
    with zipfile.ZipFile(path) as archive:
        records = [(record.filename, archive.read(record)) for record in archive.infolist()]
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in change(records):
            archive.writestr(name, content)
    return path


def of_record(end: str, change: Callable[[bytes], bytes]) -> Callable[[Records], Records]:
    return lambda records: [
        (name, change(content) if name.endswith(end) else content) for name, content in records
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            of_record("data/1", lambda content: content[:-8]),
            "record 'c/data/1' has 4792 bytes, its numbers need 4800",
        ),
        (of_record("data/1", lambda content: b""), "record 'c/data/1' has 0 bytes, its numbers need 4800"),
        (of_record("data.pkl", lambda content: content[:40]), "cannot be read as a checkpoint ("),
        (
            of_record("data.pkl", lambda content: b"garbage"),
            "cannot be read as a checkpoint (its pickle is damaged",
        ),
        (lambda records: records[1:], "is an archive without data.pkl"),
        (lambda records: [], "is an archive without data.pkl"),
        (lambda records: [*records, ("c/constants.pkl", b"")], "is a compiled program (TorchScript)"),
    ],
)
def test_archives_hold_what_their_pickle_says(
    change: Callable[[Records], Records], sentence: str, tensors: Tensors, tmp_path: Path
) -> None:
    torch.save({"state_dict": tensors}, tmp_path / "c.ckpt")
    rewritten(tmp_path / "c.ckpt", change)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'c.ckpt'}")) as raised:
        read_checkpoint(tmp_path / "c.ckpt")
    assert sentence in str(raised.value)


def test_compressed_archives_are_read_as_numbers(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"state_dict": tensors}, tmp_path / "c.ckpt")
    rewritten(tmp_path / "c.ckpt", lambda records: records, zipfile.ZIP_DEFLATED)
    assert same(read_checkpoint(tmp_path / "c.ckpt"), tensors)


def test_a_record_that_occurs_twice_is_refused(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"state_dict": tensors}, tmp_path / "c.ckpt")
    with pytest.warns(UserWarning, match="Duplicate name"):
        rewritten(tmp_path / "c.ckpt", lambda records: records + records[:1])
    with pytest.raises(ValueError, match=r"record 'c/data\.pkl' occurs twice"):
        read_checkpoint(tmp_path / "c.ckpt")


def test_a_damaged_directory_names_the_file(tensors: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    torch.save({"state_dict": tensors}, path)
    content = path.read_bytes()
    end = content.rindex(b"c/data.pkl")
    path.write_bytes(content[:end] + b"\xaf\xaf" + content[end + 2 :])
    with pytest.raises(ValueError, match=r"c\.ckpt .*copy (it|the file) again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ('{"weight_map": {"a": 1}}', "no weight_map with a file for each tensor"),
        ('{"weight_map": {}}', "no weight_map with a file for each tensor"),
        ("[1]", "no weight_map with a file for each tensor"),
        ('{"weight_map": ' + "[" * 100_000, "nested too deeply"),
        ('{"weight_map": {"a": "s.safetensors"}, "weight_map": {}}', "occurs twice"),
        ('{"weight_map": {"a": ".."}}', "shards must lie beside their index"),
        ('{"weight_map": {"a": ""}}', "shards must lie beside their index"),
        ('{"weight_map": {"a": "folder"}}', "folder is no file, but"),
        ('{"weight_map": {"a": "s.safetensors", "b": "t.safetensors"}}', "tensor 'a' lies in two shards"),
    ],
)
def test_an_index_of_shards_is_checked(index: str, sentence: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "s.safetensors")
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "t.safetensors")
    (tmp_path / "folder").mkdir()
    (tmp_path / "m.safetensors.index.json").write_text(index)
    with pytest.raises((ValueError, OSError), match=re.escape(str(tmp_path))) as raised:
        read_checkpoint(tmp_path)
    assert sentence in str(raised.value)


def test_what_is_no_file_is_not_said_to_be_missing() -> None:
    with pytest.raises(ValueError, match="/dev/null is a device; expected a published checkpoint"):
        read_checkpoint(Path("/dev/null"))
