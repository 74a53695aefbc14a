"""What an environment is made and reset with: what it does not know is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from real2sim.checks import check_seed
from real2sim.simulation.lane_lists import is_list
from real2sim.wording import did_you_mean

OPTIONS = ("task", "start", "episode_seed", "reset_mask")


def check_arguments(given: Mapping[str, Any], lanes: Any, scalar: type | None = None) -> None:
    """ValueError unless what an environment is given by name is an argument of its lanes; for a scalar one, given as
    ``scalar``, of those without their number."""
    known = list(inspect.signature(lanes.__init__).parameters)[1:]
    if scalar is not None:
        known.remove("num_envs")
    for argument in given:
        if argument not in known:
            lane = "; gymnasium.make_vec makes several lanes" if argument == "num_envs" else ""
            raise ValueError(
                f"{argument!r} is no argument of {(scalar or lanes).__name__}{did_you_mean(argument, known)}{lane}; it "
                f"takes {', '.join(known)}"
            )


def check_mapping(options: Any) -> dict[str, Any]:
    """The options of a reset; ValueError unless they are a mapping."""
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(
            f"options are a {type(options).__name__}, expected a mapping with {', '.join(OPTIONS)}"
        )
    return dict(options or {})


def check_options(options: Any) -> dict[str, Any]:
    """The options of a reset; ValueError unless they are a mapping of known names."""
    options = check_mapping(options)
    unknown = sorted(map(str, set(options) - set(OPTIONS)))
    if unknown:
        raise ValueError(
            f"unknown option {unknown[0]!r}{did_you_mean(unknown[0], OPTIONS)}; known are {', '.join(OPTIONS)}"
        )
    return options


def lane_seeds(seed: Any, lanes: int) -> list[int | None]:
    """The seed of each lane, from one for lanes seed, seed + 1, ... or one for each; None where none is given."""
    if seed is None:
        return [None] * lanes
    if not is_list(seed):
        first = check_seed("seed", seed)
        seed = range(first, first + lanes)
    if len(seed) != lanes:
        raise ValueError(f"{len(seed)} seeds for {lanes} lanes; give one seed, or one for each lane")
    names = ["seed" if lanes == 1 else f"the seed of lane {lane}" for lane in range(lanes)]
    return [None if one is None else check_seed(name, one) for name, one in zip(names, seed, strict=True)]
