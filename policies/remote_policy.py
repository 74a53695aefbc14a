"""From the address of a policy server to the policy that asks it."""

from __future__ import annotations

from urllib.parse import urlsplit

from real2sim.policies.policy import Policy
from real2sim.policies.remote_options import read_address
from real2sim.robot import Robot


def remote_policy(written: str, robot: Robot) -> Policy:
    """The policy behind ``ws://host:port`` (openpi's wire) or ``zmq://host:port`` (GR00T's), with its options."""
    address, _ = read_address(written)
    if urlsplit(address).scheme == "zmq":
        from real2sim.policies.gr00t import Gr00tPolicy

        return Gr00tPolicy(written, robot)
    from real2sim.policies.remote import RemotePolicy

    return RemotePolicy(written, robot)
