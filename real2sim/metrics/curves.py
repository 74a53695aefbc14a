"""Curves over the horizon as tidy rows: a value, its 95 % interval and the episodes behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("metric", "prediction", "frame", "value", "low", "high", "episodes")
LABELS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "fid": "FID",
    "fvd": "FVD",
    "action_following": "action following",
    "static_error": "error of static pixels, grey levels",
    "edge_sharpness": "sharpness of moving parts, drawn / recorded",
}
RESAMPLES = 2000


def mean_curve(metric: str, prediction: str, values: np.ndarray) -> pd.DataFrame:
    """Mean over episodes of per-frame values (n t), with Student's interval (NaN for a single episode)."""
    episodes = len(values)
    with np.errstate(invalid="ignore"):
        mean = values.mean(axis=0)
        error = values.std(axis=0, ddof=1) / np.sqrt(episodes) if episodes > 1 else np.full(len(mean), np.nan)
        half_width = stats.t.ppf(0.975, episodes - 1) * error if episodes > 1 else error
        return _rows(metric, prediction, mean, mean - half_width, mean + half_width, episodes)


def plain_curve(metric: str, prediction: str, values: np.ndarray, episodes: int) -> pd.DataFrame:
    """Values (t) that belong to all episodes together; they have no interval."""
    unknown = np.full(len(values), np.nan)
    return _rows(metric, prediction, values, unknown, unknown, episodes)


def action_following_curve(true: np.ndarray, shuffled: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """How much the actions of another episode worsen the prediction: 1 - error(true) / error(shuffled).

    1: the actions decide everything; 0: the model ignores them. From squared errors (n t); the interval is a
    percentile bootstrap over episodes.
    """
    episodes = len(true)
    draws = np.random.default_rng(seed).integers(episodes, size=(RESAMPLES, episodes))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = 1 - true.mean(axis=0) / shuffled.mean(axis=0)
        resampled = 1 - true[draws].mean(axis=1) / shuffled[draws].mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return _rows("action_following", "autoregressive", score, low, high, episodes)


def plot_curves(rows: pd.DataFrame) -> Figure:
    """One panel per metric, one line per kind of prediction, its interval shaded."""
    from matplotlib.figure import Figure as NewFigure

    metrics = list(dict.fromkeys(rows["metric"]))
    figure = NewFigure(figsize=(4.2 * len(metrics), 3.4), layout="constrained")
    for ax, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        for prediction, curve in rows[rows["metric"] == metric].groupby("prediction", sort=False):
            episodes = int(curve["episodes"].iloc[0])
            ax.plot(
                curve["frame"], curve["value"], label=f"{str(prediction).replace('_', ' ')} (n = {episodes})"
            )
            ax.fill_between(curve["frame"], curve["low"], curve["high"], alpha=0.2, lw=0)
        ax.set(xlabel="frame", ylabel=LABELS[metric])
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small")
    return figure


def _rows(
    metric: str, prediction: str, value: np.ndarray, low: np.ndarray, high: np.ndarray, episodes: int
) -> pd.DataFrame:
    frame = np.arange(1, len(value) + 1)
    columns = (metric, prediction, frame, value, low, high, episodes)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
