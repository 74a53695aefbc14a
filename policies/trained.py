"""From a model folder to the policy in it, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from real2sim.checks import as_path
from real2sim.model_folder import CONFIG_FILE, read_kind
from real2sim.policies.policy import Policy


def _rt1(folder: Path, device: str) -> Policy:
    from real2sim.policies.rt1.policy import RT1Policy

    return RT1Policy.from_folder(folder, device=device)


def _imitation(folder: Path, device: str) -> Policy:
    from real2sim.policies.imitation.policy import ImitationPolicy

    return ImitationPolicy.from_folder(folder, device=device)


LOADERS: dict[str, Callable[[Path, str], Policy]] = {"rt1": _rt1, "imitation": _imitation}
"""Kind, as ``config.json`` says it -> what loads a folder of that kind onto a device."""


def policy_kind(folder: Path) -> str:
    """The kind of policy that a folder holds; a ValueError for other models."""
    kind = read_kind(folder)
    if kind not in LOADERS:
        raise ValueError(
            f"{Path(folder) / CONFIG_FILE} holds a model of kind {kind!r}; expected a policy "
            f"({', '.join(repr(known) for known in LOADERS)})"
        )
    return kind


def check_policy_folders(folders: Sequence[Path]) -> None:
    """Raise a ValueError unless each folder holds a policy and none is named twice; no weights are read."""
    for place, folder in enumerate(folders):
        policy_kind(folder)
        if folder.resolve() in [other.resolve() for other in folders[:place]]:
            raise ValueError(f"{folder} is named twice; name each policy once")


def load_policy(folder: Path, device: str = "cpu") -> Policy:
    """The policy in a model folder."""
    folder = as_path("a policy", folder)
    return LOADERS[policy_kind(folder)](folder, device)
