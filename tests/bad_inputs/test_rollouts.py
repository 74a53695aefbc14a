"""Damaged policies, suites and world models, and options that cannot be, are refused before anything is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import edit_json, edit_tensors, lying_npz

from real2sim.checksums import write_checksums
from real2sim.episodes.arrays import read_arrays, write_arrays

Refused = Callable[..., str]
LONG = "x" * 300


def rollout(suite: Path, out: Path, *more: str) -> list[str]:
    words = ["rollout", "--out", str(out), "--suite", str(suite), "--starts", "1", "--lanes", "1"]
    return [*words, "--processes", "1", *(() if "--policies" in more else ("--policies", "random")), *more]


CONFIG = [
    ("width", "96"), ("width", None), ("width", -1), ("width", 0), ("width", 1.5), ("width", math.nan),
    ("layers", 10**7), ("layers", True), ("stem", True), ("temperature", math.nan), ("temperature", -1), ("heads", "a"),
    ("bounds", "a"), ("bounds.world_vector", ["a", "b"]), ("bounds.world_vector", [1, 0]), ("bounds.world_vector", [1]),
    ("bounds.world_vector", [-math.inf, math.inf]), ("blocks", []), ("blocks.0", 3), ("blocks.0.stride", -2),
    ("blocks.0.filters_out", 10**9), ("action_order", ["x"]), ("action_order", None), ("vocabulary", 0),
    ("image_size", [32]), ("image_size", [32, -32]), ("history", 10**9), ("unknown", 1), ("token_width", 10**6),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), CONFIG)
def test_a_policy_with_an_impossible_configuration(
    suite: Path, tmp_path: Path, refused: Refused, field: str, value: Any
) -> None:
    config = suite / "policies" / "late" / "config.json"
    edit_json(config, f"config.{field}", value)
    refused(
        *rollout(suite, tmp_path / "out", "--policies", "late"), about=str(config), makes=tmp_path / "out"
    )


def replace_first(value: torch.Tensor) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if "weight" in name)
        tensors[name] = value

    return change


def first(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if "weight" in name)
        tensors[name] = function(tensors[name])

    return change


def put(name: str, value: torch.Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: value})


NAMES, VECTORS = "instructions.names", "instructions.vectors"
WEIGHTS: list[Callable[[dict[str, Any]], None]] = [
    first(lambda tensor: tensor * torch.nan),
    first(lambda tensor: tensor / 0),
    first(lambda tensor: tensor.to(torch.complex64)),
    first(lambda tensor: tensor.to(torch.int64)),
    first(lambda tensor: tensor > 0),
    put(VECTORS, torch.zeros(2, 15)),
    put(NAMES, torch.frombuffer(bytearray(b'["a", "a"]'), dtype=torch.uint8)),
    first(lambda tensor: tensor[..., :-1].contiguous()),
    replace_first(torch.zeros(0)),
    put(NAMES, torch.frombuffer(bytearray(b"not json"), dtype=torch.uint8)),
    put(NAMES, torch.zeros(4)),
    put(NAMES, torch.frombuffer(bytearray(b'{"a": 1}'), dtype=torch.uint8)),
    put(NAMES, torch.frombuffer(bytearray(b'["one"]'), dtype=torch.uint8)),
    put(NAMES, torch.frombuffer(bytearray(b"\xff\xfe[]"), dtype=torch.uint8)),
    put(VECTORS, torch.zeros(2)),
    put(VECTORS, torch.full((2, 16), torch.nan)),
    lambda tensors: tensors.pop(NAMES),
    put("left_over", torch.zeros(1)),
]


@pytest.mark.parametrize("change", WEIGHTS)
def test_a_policy_with_impossible_weights(
    suite: Path, tmp_path: Path, refused: Refused, change: Callable[[dict[str, Any]], None]
) -> None:
    weights = suite / "policies" / "late" / "model.safetensors"
    edit_tensors(weights, change)
    refused(
        *rollout(suite, tmp_path / "out", "--policies", "late"), about=str(weights), makes=tmp_path / "out"
    )


CONTENTS = [
    b"",
    b"[" * 10**5,
    b"\xff\xfe{\x00",
    b'{"kind": "rt1"',
    b"[]",
    b"null",
    b'{"kind": "rt1", "kind": "x"}',
    b"\0" * 99,
]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("file", ["suite.json", "world_model/config.json", "policies/late/config.json"])
def test_a_json_file_that_is_none(
    suite: Path, tmp_path: Path, refused: Refused, file: str, content: bytes
) -> None:
    (suite / file).write_bytes(content)
    options = rollout(suite, tmp_path / "out", "--policies", "late")
    refused(*options, about=str(suite / file), makes=tmp_path / "out")


@pytest.mark.parametrize(
    "file", ["start_frames.npz", "world_model/model.safetensors", "policies/late/model.safetensors"]
)
@pytest.mark.parametrize("damage", ["empty", "half", "text", "folder", "gone"])
def test_a_file_of_numbers_that_is_none(
    suite: Path, tmp_path: Path, refused: Refused, file: str, damage: str
) -> None:
    path = suite / file
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"hello" * 99}[damage])
    options = rollout(suite, tmp_path / "out", "--policies", "late")
    refused(*options, about=str(path), makes=tmp_path / "out")


SUITE = [
    ("name", ""), ("name", None), ("name", 5), ("tasks", []), ("tasks.0.name", ""), ("tasks.0.name", "a/\nb"),
    ("tasks.0.instruction", None), ("tasks.0.instruction", ""), ("tasks.0.horizon", "5"),
    ("tasks.0.horizon", math.nan),
    ("tasks.0.horizon", 0), ("tasks.0.horizon", 10**12), ("limits.world_vector", [1, 2, 3]),
    ("limits.world_vector", "a"),
    ("limits.world_vector", [0.1, -0.1]), ("limits.arm", [0, 1]), ("image_size", [16, 16, 3]),
    ("image_size", [16, 10**6]),
    ("image_size", "16"), ("control_hz", 0), ("control_hz", math.inf), ("used_fields", ["arm"]), ("used_fields", 5),
    ("real_source", 5), ("unknown", 1),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), SUITE)
def test_a_suite_with_impossible_settings(
    suite: Path, tmp_path: Path, refused: Refused, field: str, value: Any
) -> None:
    edit_json(suite / "suite.json", field, value)
    refused(*rollout(suite, tmp_path / "out"), about=str(suite / "suite.json"), makes=tmp_path / "out")


@pytest.mark.parametrize("file", ["start_frames.npz", "replays.npz"])
def test_a_file_that_claims_a_terabyte(suite: Path, tmp_path: Path, refused: Refused, file: str) -> None:
    lying_npz(suite / file, "close_drawer/ids")
    options = rollout(suite, tmp_path / "out", "--policies", "replay:push")
    refused(*options, about=str(suite / file), makes=tmp_path / "out")


ARRAYS: list[tuple[str, np.ndarray]] = [
    ("close_drawer/frames", np.zeros((6, 16, 16, 3), np.float32)),
    ("close_drawer/frames", np.zeros((5, 16, 16, 3), np.uint8)),
    ("close_drawer/frames", np.zeros(6, np.uint8)),
    ("close_drawer/ids", np.zeros((2, 3), "U3")),
    ("close_drawer/ids", np.zeros(6, np.float32)),
    ("close_drawer/ids", np.array(["", "b", "c", "d", "e", "f"])),
]


@pytest.mark.parametrize(("name", "array"), ARRAYS)
def test_start_frames_of_another_form(
    suite: Path, tmp_path: Path, refused: Refused, name: str, array: np.ndarray
) -> None:
    path = suite / "start_frames.npz"
    write_arrays(path, {**read_arrays(path), name: array})
    refused(*rollout(suite, tmp_path / "out"), about=str(path), makes=tmp_path / "out")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("late,\n", "row 2, column family is empty"),
        ("late,a\nlate,b\n", "row 3, column family is 'b', another row gives policy 'late' the family 'a'"),
    ],
)
def test_shipped_policies_whose_training_is_not_clear(
    suite: Path, tmp_path: Path, refused: Refused, rows: str, sentence: str
) -> None:
    (suite / "policies.csv").write_text(f"policy,family\n{rows}")
    refused(
        *rollout(suite, tmp_path / "out", "--policies", "shipped"), about=sentence, makes=tmp_path / "out"
    )


def test_a_policy_whose_numbers_overflow_does_not_act(suite: Path, tmp_path: Path, refused: Refused) -> None:
    def change(tensors: dict[str, Any]) -> None:
        for name in tensors:
            if tensors[name].is_floating_point() and "instructions" not in name:
                tensors[name] = tensors[name] * 0 + 3e38

    edit_tensors(suite / "policies" / "late" / "model.safetensors", change)
    options = rollout(suite, tmp_path / "out", "--policies", "late")
    refused(*options, about="the network answers NaN or infinity", makes=tmp_path / "out")


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".", "..", "x\\y"])
def test_a_shipped_policy_with_a_name_that_is_a_path(
    suite: Path, tmp_path: Path, refused: Refused, name: str
) -> None:
    (suite / "policies.csv").write_text(f"policy,family\nlate,a\n{name},x\n")
    options = rollout(suite, tmp_path / "out", "--policies", "shipped")
    refused(*options, about=f"{suite / 'policies.csv'}, row 3", makes=tmp_path / "out")


WORLD = [
    ("steps", "1"), ("steps", 0), ("steps", True), ("unet.model_channels", 10**6), ("unet.model_channels", 48_000),
    ("unet.temporal_convs", 10**6), ("unet.channel_mult", []), ("unet.channel_mult", [1] * 99), ("unet.window", -1),
    ("unet.position_map", [-1, 4]), ("action_scale", [math.nan] * 13), ("action_scale", [1.0]), ("eta", math.nan),
    ("eta", 2), ("guidance", math.inf), ("height", 0), ("height", 17), ("patch", 0), ("prediction", "y"),
    ("context_level", 10**6), ("spacing", None), ("unet", None), ("unet.unknown", 1),
    ("unet", 3), ("height", None), ("width", "x"), ("unet.action_dim", ""), ("unet.action_dim", True),
    ("unet", -1), ("unet", []), ("unet.action_dim", "x"), ("unet.attention_resolutions", ["x"]), ("height", ""),
    ("width", None), ("height", 16.0),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WORLD)
def test_a_world_model_with_an_impossible_configuration(
    suite: Path, tmp_path: Path, refused: Refused, field: str, value: Any
) -> None:
    config = suite / "world_model" / "config.json"
    edit_json(config, f"config.{field}", value)
    said = refused(*rollout(suite, tmp_path / "out"), about=str(config.parent), makes=tmp_path / "out")
    assert not re.search("object is|literal|argument", said)
    if "model.safetensors" not in said:
        refused("suite", "check", str(suite), about="checks of")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("config", True, "expected an object with the fields of WorldModelConfig, found true"),
        ("kind", 3, "field kind is 3, expected the name of a kind of model"),
        ("note", "mine", "unknown field 'note'; expected kind and config, notes belong in README.md"),
    ],
)
def test_a_file_of_a_model_that_says_something_else(
    suite: Path, tmp_path: Path, refused: Refused, field: str, value: Any, complaint: str
) -> None:
    config = suite / "world_model" / "config.json"
    edit_json(config, field, value)
    said = refused(*rollout(suite, tmp_path / "out"), about=str(config), makes=tmp_path / "out")
    assert complaint in said
    refused("suite", "check", str(suite), about="checks of")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_world_model_with_weights_that_are_not_finite(
    suite: Path, tmp_path: Path, refused: Refused, value: float
) -> None:
    weights = suite / "world_model" / "model.safetensors"
    edit_tensors(weights, first(lambda tensor: tensor * 0 + value))
    refused(*rollout(suite, tmp_path / "out"), about="tensor", makes=tmp_path / "out")


OPTIONS = [
    ("--device", "tpu"), ("--device", "cuda:99"), ("--device", ""), ("--guidance", "nan"), ("--guidance", "inf"),
    ("--eta", "nan"), ("--eta", "-1"), ("--steps", "0"), ("--steps", "51"), ("--world", ""), ("--world", " "),
    ("--seed", "-1"), ("--seed", str(2**63)), ("--lanes", "0"), ("--lanes", str(10**9)), ("--threads", "0"),
    ("--threads", "100000"), ("--processes", "0"), ("--processes", "100000"), ("--starts", "0"), ("--starts", "7"),
    ("--memory-limit", "nan"), ("--suite", ""), ("--suite", "kitchen"), ("--tasks", ""), ("--policies", ""),
    ("--policies", "=policies/late"), ("--policies", "   =policies/late"), ("--policies", "a\udcff=policies/late"),
    ("--policies", f"{LONG}=policies/late"), ("--policies", "a\nb=policies/late"), ("--policies", "a="),
    ("--policies", "ws://127.0.0.1:1#patience=nan"), ("--policies", "ws://127.0.0.1:1#patience=-1"),
    ("--policies", "ws://127.0.0.1:1#answer_within=inf"), ("--policies", "ws://127.0.0.1:1#execute=0"),
    ("--policies", "ws://127.0.0.1:99999"), ("--policies", "ws://"), ("--out", "a\0b"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_options_that_cannot_be(
    suite: Path, tmp_path: Path, refused: Refused, option: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(suite)
    refused(*rollout(suite, tmp_path / "out", option, value), makes=tmp_path / "out")


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "0"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "a"},
        {"RANK": "", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "99999999999999999999"},
        {"RANK": "٠", "WORLD_SIZE": "1"},
    ],
)
def test_a_launcher_that_says_nonsense(
    suite: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refused(*rollout(suite, tmp_path / "out"), about="environment")


def test_a_corrected_command_goes_on_in_the_folder_of_a_first_try(
    suite: Path, tmp_path: Path, refused: Refused
) -> None:
    from real2sim.cli import main

    out = tmp_path / "out"
    weights = suite / "world_model" / "model.safetensors"
    sound = weights.read_bytes()
    edit_tensors(weights, first(lambda tensor: tensor * torch.nan))
    refused(*rollout(suite, out))
    weights.write_bytes(sound)
    write_checksums(weights.parent)
    main(rollout(suite, out, "--seed", "3"))
    assert len(list((out / "episodes").iterdir())) == 2
