"""Single pictures: encoded bytes become arrays, and arrays change their size."""

from __future__ import annotations

import io

import numpy as np


def decoded(data: bytes | memoryview, where: str) -> np.ndarray:
    """A JPEG or PNG as uint8 (h w 3), a grey one in three equal channels; JPEG by the accurate transform.

    ``where`` names the picture in the ValueError for bytes that are none.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{where} cannot be read as an image ({error}); download the file again") from error


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture uint8 (h w 3) at another size, by averaging over areas where it gets smaller."""
    if picture.shape[:2] == size:
        return picture
    from PIL import Image

    smaller = size[0] <= picture.shape[0] and size[1] <= picture.shape[1]
    method = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize(size[::-1], method))


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture uint8 (h w 3) inside (height, width): aspect kept, bilinear, centred between black bars.

    What openpi's clients call resizing with padding: sides are cut to whole pixels, the odd pixel of a bar lies at the
    bottom or the right.
    """
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    from PIL import Image

    scale = max(height / size[0], width / size[1])
    inner = (max(1, int(height / scale)), max(1, int(width / scale)))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    result = np.zeros((*size, 3), np.uint8)
    smaller = np.asarray(Image.fromarray(picture).resize(inner[::-1], Image.Resampling.BILINEAR))
    result[top : top + inner[0], left : left + inner[1]] = smaller
    return result
