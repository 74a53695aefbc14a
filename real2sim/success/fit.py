"""What is fitted around the weights of a judge: which clips are drawn, the calibration, what real frames look like."""

from __future__ import annotations

import logging
import math

import numpy as np
import torch

from real2sim.success.calibration import PlattScaling, fit_platt
from real2sim.success.classifier import SuccessClassifier, to_network
from real2sim.success.degradation import DegradationConfig, degrade
from real2sim.success.outcomes import Outcomes, near_threshold
from real2sim.success.unlikeness import Unlikeness, fit_unlikeness

logger = logging.getLogger(__name__)


def clip_weights(
    outcomes: Outcomes, episodes: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes, final frames and probabilities of the clips that are drawn of some episodes.

    Frames within ``near`` metres of a threshold, and within two frames of a change where the outcome is known at every
    frame, weigh three times as much, unless ``near`` is 0; with early negatives, of which each success
    has many, successes and failures weigh the same in total.
    """
    episode, frame = outcomes.all_frames()
    inside = np.isin(episode, episodes)
    episode, frame = episode[inside], frame[inside]
    joint = outcomes.joint[outcomes.starts[episode] + frame]
    close = near_threshold(joint, outcomes.config.goals, near)
    if near:
        close |= outcomes.near_change(episode, frame)
    weights = 1.0 + 2.0 * close
    if outcomes.early is not None:
        reached = outcomes.reaches_its_goal(episode, frame)
        shares = reached.mean(), 1 - reached.mean()
        if min(shares) > 0:
            weights /= np.where(reached, *shares)
    return episode, frame, weights / weights.sum()


def check_both_kinds(outcomes: Outcomes, episode: np.ndarray, frame: np.ndarray, where: str) -> None:
    """Raise a ValueError unless the clips that are drawn show an instruction both done and not done.

    A judge that saw one kind always answers with it; instructions of which that is true are named in a warning.
    """
    reached, known = outcomes.truth(episode, frame)
    done, undone = (reached & known).sum(axis=0), (~reached & known).sum(axis=0)
    one_kind = np.flatnonzero((done == 0) | (undone == 0))
    if len(one_kind) == len(done):
        raise ValueError(
            f"{where}: the frames that are left to train on show no instruction both done and not done ({done.sum()} "
            f"frames done, {undone.sum()} not done), so a judge would always give one answer; add episodes of the "
            "other kind, or longer ones"
        )
    if len(one_kind):
        logger.warning(
            "%d instruction(s) are learned from frames of one kind only, first %r: the judge will always give one "
            "answer to them; add episodes of the other kind",
            len(one_kind), outcomes.config.goals[one_kind[0]].instruction,
        )  # fmt: skip


def calibrate(
    judge: SuccessClassifier,
    outcomes: Outcomes,
    episodes: np.ndarray,
    degradation: DegradationConfig,
    seed: int = 0,
    limit: int = 4000,
) -> PlattScaling:
    """Platt scaling fitted on degraded clips of episodes that were kept from training.

    Degraded, because the judge's confidence should be right on frames that are not perfect.
    """
    rng = np.random.default_rng([seed, 2**33])
    episode, frame, weights = clip_weights(outcomes, episodes, near=0.0)
    if outcomes.early is None:
        picked = rng.permutation(len(episode))[:limit]
    else:
        picked = rng.choice(len(episode), min(limit, 4 * len(episode)), p=weights)
    logits, reached = [], []
    for number, chunk in enumerate(np.array_split(picked, math.ceil(len(picked) / 64))):
        clips = outcomes.clips(episode[chunk], frame[chunk])
        with torch.no_grad():
            generator = random_generator(np.random.default_rng([seed, 2**33 + number]))
            _, values = judge.network(degrade(to_network(clips.frames), degradation, generator))
        logits.append(values.double().numpy()[clips.known])
        reached.append(clips.reached[clips.known])
    return fit_platt(np.concatenate(logits), np.concatenate(reached))


def measure_unlikeness(outcomes: Outcomes, degradation: DegradationConfig, seed: int = 0) -> Unlikeness:
    """What recorded episodes look like, each as if it had ended at its last frame or at a random one before it.

    ``degradation`` is what the judge was taught to see through.
    """
    rng = np.random.default_rng([seed, 2**34])
    episodes, last = outcomes.final_frames()
    early = rng.integers(outcomes.lengths)
    frames = np.where(rng.random(len(last)) < 0.5, last, early)
    real = ~outcomes.generated

    def soften(clips: np.ndarray) -> np.ndarray:
        seen = degrade(to_network(clips), degradation, random_generator(rng))
        return ((seen.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(2, -1).numpy()

    return fit_unlikeness(outcomes.clips(episodes[real], frames[real]).frames, seed=seed, soften=soften)


def random_generator(rng: np.random.Generator) -> torch.Generator:
    """A generator of torch seeded from one of numpy."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
