"""Puts any policy of ours behind the wire that openpi's policy servers speak."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real2sim.policies.policy import Policy, StochasticPolicy
from real2sim.policies.servers.policy_wire import serve_forever

GREETING = {"stateful": True, "convention": "real2sim"}
"""Policies of ours may remember frames, and answer in our layout."""


@dataclass(frozen=True)
class ServePolicy:
    """Serve a policy to openpi clients and to ``ws://`` policies of a rollout."""

    policy: str
    """Folder of a trained policy, folder of RT-1's SavedModel (extra 'tf'), or ``random``."""
    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine alone."""
    port: int = 8000
    device: str = "cpu"
    embeddings: Path | None = None
    """npz file with one sentence embedding per instruction, for a SavedModel that has none beside it."""


class PolicyLane:
    """One lane of a policy of ours, as a policy server needs it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode."""
        if seed is not None and isinstance(self._policy, StochasticPolicy):
            self._policy.seed([seed])
        self._policy.reset([instruction])

    def act(self, frame: np.ndarray) -> np.ndarray:
        """One action (1 13) for a frame uint8 (h w 3)."""
        return self._policy.act(frame[None])


def serve_policy(config: ServePolicy) -> None:
    """Serve until the process is stopped."""
    make = _maker(config)
    serve_forever(lambda: PolicyLane(make()), GREETING, config.host, config.port)


def _maker(config: ServePolicy) -> Callable[[], Policy]:
    if config.policy == "random":
        from real2sim.policies.random_policy import RandomPolicy

        return RandomPolicy
    folder = Path(config.policy).expanduser()
    if (folder / "saved_model.pb").is_file():
        from real2sim.policies.rt1.saved_model import SavedModelRT1

        published = SavedModelRT1(folder, config.embeddings)
        # A copy has episodes of its own; the graph is shared.
        return lambda: copy.copy(published)
    from real2sim.policies.rt1.policy import RT1Policy

    loaded = RT1Policy.from_folder(folder, device=config.device)
    return lambda: RT1Policy(loaded.network, loaded.instructions, device=config.device)
