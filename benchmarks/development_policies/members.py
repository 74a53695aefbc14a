"""The members of the development set: their names, what they are, which half they belong to, and how to load them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.development_policies.nearest import NearestFrames, RandomFilters
from benchmarks.development_policies.pixels import Calibration, Manner, PixelController
from real2sim.files import read_json, write_json
from real2sim.model_folder import CONFIG_FILE, config_from_dict
from real2sim.policies.policy import Policy
from real2sim.policies.trained import LOADERS, load_policy

STEER, TEST = "steer", "test"
ARRAYS = "arrays.npz"


@dataclass(frozen=True)
class Member:
    """One policy of the set."""

    name: str
    kind: str
    """What makes it act: policies of one kind are split evenly between the halves."""
    family: str
    """The training run it comes from."""
    deterministic: bool = True
    frames: bool = False
    """It acts on more than the newest frame."""
    crisp: bool = True
    """It was taught on frames as the camera gives them, or not taught at all."""
    manner: Manner | None = None
    """Of a hand-written controller."""
    checkpoint: str = ""
    """Of a trained one: its folder inside the training folder."""


def _trained(name: str, kind: str, family: str = "", checkpoint: str = "policy", **facts: Any) -> Member:
    return Member(name, kind, family or name, checkpoint=checkpoint, **facts)


def _pixels(name: str, manner: Manner, **facts: Any) -> Member:
    return Member(name, "pixels", name, manner=manner, **facts)


MEMBERS = (
    _trained("regressor", "regression"),
    _trained("regressor-early", "regression", "regressor", "at-20"),
    _trained("grid", "regression"),
    _trained("recurrent", "recurrent", frames=True),
    _trained("drawn-mixture", "recurrent", frames=True, deterministic=False),
    _trained("stack", "stack", frames=True),
    _trained("short-stack", "stack", frames=True),
    _trained("chunks", "chunks"),
    _trained("diffusion", "chunks", frames=True),
    _trained("mixture", "mixture"),
    _trained("argmax", "rt1", checkpoint="at-100"),
    _pixels("pixels", Manner()),
    _pixels("pixels-slow", Manner(scale=0.35)),
    _pixels("pixels-late", Manner(lag=1), frames=True),
    _pixels("pixels-beside", Manner(aim=(0.035, 0.0, 0.0))),
    _pixels("pixels-noisy", Manner(noise=0.7), deterministic=False),
    _pixels("pixels-tracking", Manner(track=0.6, scale=0.7), frames=True),
    Member("nearest", "nearest", "nearest"),
    Member("nearest-five", "nearest", "nearest-five"),
    Member("filters", "filters", "filters"),
)


def halves() -> dict[str, str]:
    """Name -> ``"steer"`` or ``"test"``: families take turns, by kind and then by a hash of their names."""
    families = sorted({(member.kind, _lot(member.family), member.family) for member in MEMBERS})
    half = {family: (STEER, TEST)[place % 2] for place, (_, _, family) in enumerate(families)}
    return {member.name: half[member.family] for member in MEMBERS}


def _lot(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def save_pixels(folder: Path, calibration: Calibration, manner: Manner) -> None:
    """Write a hand-written controller."""
    calibration.save(folder / ARRAYS)
    write_json(folder / CONFIG_FILE, {"kind": "pixels", "config": asdict(manner)})


def save_arrays(folder: Path, kind: str, policy: NearestFrames | RandomFilters) -> None:
    """Write a policy that is arrays alone."""
    policy.save(folder / ARRAYS)
    write_json(folder / CONFIG_FILE, {"kind": kind, "config": {}})


def load_member(folder: Path) -> Policy:
    """The policy in a folder of the development set."""
    values = read_json(folder / CONFIG_FILE)
    kind = values["kind"]
    if kind in LOADERS:
        return load_policy(folder)
    if kind == "pixels":
        manner = config_from_dict(Manner, values["config"], str(folder / CONFIG_FILE))
        return PixelController(Calibration.load(folder / ARRAYS), manner)
    if kind == "nearest":
        return NearestFrames.load(folder / ARRAYS)
    if kind == "filters":
        return RandomFilters.load(folder / ARRAYS)
    raise ValueError(
        f"{folder / CONFIG_FILE} holds a policy of kind {kind!r}, which the development set does not have"
    )


def fingerprint(folder: Path) -> str:
    """Hash of a member's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".npz", ".safetensors"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
