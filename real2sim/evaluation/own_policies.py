"""Own policy objects of a rollout, and the way they take to its worker processes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from real2sim.files import read_bytes
from real2sim.policies.object_fingerprint import object_fingerprint
from real2sim.policies.python_policy import GuardedPolicy, SeededGuardedPolicy
from real2sim.simulation.contracts import Policy, StochasticPolicy


@dataclass(frozen=True)
class OwnPolicy:
    """A policy object, and what tells it from others."""

    policy: Policy
    fingerprint: str
    guarded: bool = False
    """In a worker process its exceptions become one sentence; in the process that made it they stay what they are."""

    def acting(self, name: str) -> Policy:
        """What is asked for actions; ``name`` is what messages call it."""
        if not self.guarded:
            return self.policy
        guard = SeededGuardedPolicy if isinstance(self.policy, StochasticPolicy) else GuardedPolicy
        return guard(self.policy, name)


def own_policies(policies: Mapping[str, Any] | None) -> dict[str, OwnPolicy]:
    """Policy objects by name, each with its fingerprint; ValueError where one cannot reset and act."""
    for name, policy in (policies or {}).items():
        known = isinstance(policy, OwnPolicy)
        if not known and not all(callable(getattr(policy, method, None)) for method in ("reset", "act")):
            raise ValueError(
                f"policy {name!r} is of type {type(policy).__name__}, expected an object with reset and act; "
                "CallablePolicy makes one of a function"
            )
    return {
        name: policy if isinstance(policy, OwnPolicy) else OwnPolicy(policy, object_fingerprint(policy))
        for name, policy in (policies or {}).items()
    }


def pack(policies: Mapping[str, OwnPolicy]) -> bytes:
    """Policies for another process of this machine.

    Raises:
        ValueError: naming the policy that cannot go to another process, and why.
    """
    packed = {}
    for name, own in policies.items():
        try:
            packed[name] = cloudpickle.dumps(own.policy)
        except Exception as error:
            # Pickling calls code of the policy, which may raise anything.
            raise ValueError(
                f"policy {name!r} cannot go to other processes ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}); run it in this one with processes=1, or name it as "
                "module.py:Class"
            ) from error
    content: bytes = cloudpickle.dumps(
        {"policies": packed, "fingerprints": {name: own.fingerprint for name, own in policies.items()}}
    )
    return content


def read_packed(path: Path) -> dict[str, OwnPolicy]:
    """The policies in a file that the process which started this one has written.

    Raises:
        ValueError: naming the policy that this process cannot take, and why.
    """
    values = pickle.loads(read_bytes(path))
    found = {}
    for name, packed in values["policies"].items():
        try:
            policy = pickle.loads(packed)
        except Exception as error:
            raise ValueError(
                f"policy {name!r} cannot be made in another process ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}); run it with processes=1"
            ) from error
        found[name] = OwnPolicy(policy, values["fingerprints"][name], guarded=True)
    return found
