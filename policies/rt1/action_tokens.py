"""Action tokens: how RT-1 cuts each number of an action into bins, and reads it back.

For RT-1's own action the arithmetic and its order are those of the published action tokenizer, including its
truncation: a number is given the bin below it, so that reading back is off by at most one bin, never upwards.  The
numbers of other robots are given the nearest bin.
"""

from __future__ import annotations

import numpy as np

from real2sim.actions import FIELDS, WIDTH, ActionBounds
from real2sim.robot import ActionNumber


def tokenize(
    actions: np.ndarray, order: tuple[str, ...], bounds: ActionBounds, vocabulary: int = 256
) -> np.ndarray:
    """Tokens (... 11) int64 of actions (... 13); numbers outside the bounds get the outermost bin."""
    actions = np.asarray(actions, dtype=np.float32)
    tokens = []
    for name in order:
        values = actions[..., FIELDS[name]]
        if name == "terminate_episode":
            tokens.append(values.argmax(axis=-1, keepdims=True))
            continue
        low, high = np.float32(getattr(bounds, name)[0]), np.float32(getattr(bounds, name)[1])
        scaled = (np.clip(values, low, high) - low) / (high - low)
        tokens.append((scaled * np.float32(vocabulary - 1)).astype(np.int64))
    return np.concatenate(tokens, axis=-1).astype(np.int64)


def detokenize(
    tokens: np.ndarray, order: tuple[str, ...], bounds: ActionBounds, vocabulary: int = 256
) -> np.ndarray:
    """Actions (... 13) float32 of tokens (... 11); token 0 is the lower bound, the last one the upper.

    A mode token above 2, which training never shows, means terminate, as published.
    """
    tokens = np.asarray(tokens)
    actions = np.zeros((*tokens.shape[:-1], WIDTH), dtype=np.float32)
    start = 0
    for name in order:
        where = FIELDS[name]
        if name == "terminate_episode":
            mode = np.where(tokens[..., start] >= 3, 0, tokens[..., start])
            actions[..., where] = np.eye(3, dtype=np.float32)[mode]
            start += 1
            continue
        count = where.stop - where.start
        low, high = np.float32(getattr(bounds, name)[0]), np.float32(getattr(bounds, name)[1])
        fraction = tokens[..., start : start + count].astype(np.float32) / np.float32(vocabulary - 1)
        actions[..., where] = fraction * (high - low) + low
        start += count
    return actions


def without_small_grips(actions: np.ndarray, dead_zone: float) -> np.ndarray:
    """Actions (... 13) whose gripper command is 0 where it is smaller than ``dead_zone``, either way.

    SIMPLER's policy loop for the Google robot and RLVR-World's evaluation of RT-1 do this with 0.01.
    """
    if not dead_zone:
        return actions
    result = actions.copy()
    grip = result[..., FIELDS["gripper_closedness_action"]]
    grip[np.abs(grip) < dead_zone] = 0
    return result


def tokenize_numbers(
    actions: np.ndarray, numbers: tuple[ActionNumber, ...], vocabulary: int = 256
) -> np.ndarray:
    """Tokens (... K*n) int64 of actions (... K n) of any robot: the nearest bin between the bounds of each number."""
    low, high = _bounds(numbers)
    scaled = (np.clip(np.asarray(actions, dtype=np.float32), low, high) - low) / (high - low)
    tokens = np.rint(scaled * np.float32(vocabulary - 1)).astype(np.int64)
    return tokens.reshape(*tokens.shape[:-2], -1)


def detokenize_numbers(
    tokens: np.ndarray, numbers: tuple[ActionNumber, ...], vocabulary: int = 256
) -> np.ndarray:
    """Actions (... K n) float32 of tokens (... K*n); token 0 is the lower bound, the last one the upper."""
    low, high = _bounds(numbers)
    tokens = np.asarray(tokens)
    fraction = tokens.reshape(*tokens.shape[:-1], -1, len(numbers)).astype(np.float32)
    actions: np.ndarray = fraction / np.float32(vocabulary - 1) * (high - low) + low
    return np.clip(actions, low, high)


def _bounds(numbers: tuple[ActionNumber, ...]) -> tuple[np.ndarray, np.ndarray]:
    low, high = ([getattr(number, name) for number in numbers] for name in ("low", "high"))
    return np.array(low, np.float32), np.array(high, np.float32)


def bin_width(low: float, high: float, vocabulary: int = 256) -> float:
    """Distance between two neighbouring values that tokens can express."""
    return (high - low) / (vocabulary - 1)
