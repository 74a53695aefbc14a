"""How long and how fast to train: the settings that every training shares, and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from real2sim.checks import check_finite, check_seed, check_whole


@dataclass(frozen=True)
class Optimisation:
    """How long and how fast to train."""

    steps: int = 10_000
    """Optimiser steps."""
    accumulate: int = 1
    """Passes whose gradients are added before a step."""
    learning_rate: float = 2e-3
    """Peak of the learning rate."""
    warmup: int = 100
    """Steps over which the learning rate rises to its peak."""
    decay_from: float = 0.5
    """Fraction of the training after which the learning rate falls to zero along a cosine; 1 keeps it constant."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of AdamW's moments."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the averaged weights, which are what is kept; 0 keeps the weights themselves."""
    seed: int = 0
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False
    """Compile the network (torch.compile)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; ``auto`` takes a GPU if there is one."""
    checkpoint_every: int = 200
    """Steps between checkpoints from which a stopped training continues."""
    log_every: int = 20
    """Steps whose mean loss is one line of the log."""

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "checkpoint_every", "log_every"):
            check_whole(name, getattr(self, name))
        check_whole("warmup", self.warmup, low=0)
        check_seed("seed", self.seed)
        check_finite("weight_decay", self.weight_decay, low=0)
        check_finite("decay_from", self.decay_from, low=0, high=1)
        for name in ("learning_rate", "clip"):
            if check_finite(name, getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= check_finite("ema", self.ema) < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema}")


def learning_rate(step: int, config: Optimisation) -> float:
    """Linear warm-up, constant, then a cosine to zero from ``decay_from`` on; never, if that is 1."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    begin = config.decay_from * config.steps
    if step < begin or config.decay_from >= 1:
        return config.learning_rate
    share = min(1.0, (step - begin) / (config.steps - begin))
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
