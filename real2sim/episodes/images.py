"""Single pictures: encoded bytes become arrays, and arrays change their size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


def decoded(data: bytes | memoryview, where: str) -> np.ndarray:
    """A JPEG or PNG as uint8 (h w 3), a grey one in three equal channels; JPEG by the accurate transform.

    ``where`` names the picture in the ValueError for bytes that are none.
    """
    with _opened(data, where) as image:
        if image.mode[0] in "IF":
            raise ValueError(
                f"{where} has more than 8 bits per channel (Pillow's mode {image.mode}), as depth images have; "
                "choose a camera with 8 bits"
            )
        return np.asarray(image.convert("RGB"))


def picture_size(data: bytes | memoryview, where: str) -> tuple[int, int]:
    """Height and width of an encoded picture, which is not decoded; errors as those of `decoded`."""
    with _opened(data, where) as image:
        width, height = image.size
    return height, width


@contextmanager
def _opened(data: bytes | memoryview, where: str) -> Iterator[PillowImage]:
    from PIL import Image, UnidentifiedImageError

    if not len(data):
        raise ValueError(f"{where} is an image of 0 bytes; leave the episode out or download the file again")
    try:
        yield Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{where} is no image: its {len(data)} bytes begin with {bytes(data[:8])!r}, expected JPEG or PNG; "
            "leave the episode out or download the file again"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{where} claims to be larger than any camera's image ({error}); download the file again"
        ) from error
    except (OSError, SyntaxError) as error:
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
