"""How the small networks of the judge and the gate are optimised."""

from __future__ import annotations

from typing import Literal, Protocol

from real2sim.training.optimisation import Optimisation


class FitSettings(Protocol):
    """What a user sets of such a training."""

    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def average(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def snapshot_every(self) -> int: ...
    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]: ...


def optimisation_of(config: FitSettings) -> Optimisation:
    """The settings of the training loop: a cosine from the first step on, after 100 steps of warm-up."""
    return Optimisation(
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup=100,
        decay_from=0.0,
        betas=(0.9, 0.999),
        weight_decay=config.weight_decay,
        ema=config.average,
        seed=config.seed,
        device=config.device,
        checkpoint_every=config.snapshot_every,
        log_every=50,
    )
