"""Which frames of an episode a vision-language model is shown, and in what form."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def shown_frames(length: int, count: int) -> list[int]:
    """Which of ``length`` frames are shown: the last, from two on the first, and others evenly between them."""
    if length < 1:
        raise ValueError("an episode without a frame cannot be judged")
    return sorted(
        {length - 1} if count == 1 else set(np.linspace(0, length - 1, count).round().astype(int).tolist())
    )


def data_url(frame: np.ndarray, side: int, form: str) -> str:
    """A frame uint8 (h w 3) as a data URL of a picture whose longer side has ``side`` pixels."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, form.upper(), **({"quality": 92} if form == "jpeg" else {}))
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"
