"""One training run of shipped policies, whatever the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from real2sim.policies.imitation.train import ImitationTraining, train_imitation
from real2sim.policies.rt1.train import PolicyTraining, train_policy


@dataclass(frozen=True)
class PolicyFamily:
    """A family: how it is trained, which of its checkpoints ship under which name, and why."""

    name: str
    training: PolicyTraining | ImitationTraining
    shipped: Mapping[str, str]
    """Name -> folder within the training folder."""
    description: str
    failures: str = ""
    """How it fails, in words."""

    @property
    def folders(self) -> dict[str, Path]:
        """Name -> policy folder, once it is trained."""
        return {name: self.training.out / folder for name, folder in self.shipped.items()}

    def train(self) -> None:
        """Train, or continue."""
        if isinstance(self.training, PolicyTraining):
            train_policy(self.training)
        else:
            train_imitation(self.training)
