"""Which episodes a split such as ``train[:10%]`` stands for, in the words of TensorFlow Datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORDS = re.compile(r"(?P<name>[\w.-]+?)(?:\[(?P<first>(?:-?\d{1,18}%?)?):(?P<last>(?:-?\d{1,18}%?)?)\])?")


def split_range(split: str, counts: Mapping[str, int], where: str) -> tuple[str, range]:
    """Name and numbers of the episodes that ``split`` means, of a dataset with ``counts`` episodes per split.

    Percentages are rounded to the nearest episode.  Raises ValueError for other text and for unknown splits.
    """
    match = WORDS.fullmatch(split.strip())
    if match is None:
        raise ValueError(
            f"split is {split[:80]!r}, expected a name with or without a range, e.g. train, train[:1000], train[:10%]"
        )
    name = match["name"]
    if name not in counts:
        raise ValueError(f"{where} has no split {name!r}; there are {', '.join(counts)}")
    count = counts[name]
    for text in (match["first"], match["last"]):
        if text and text.endswith("%") and abs(int(text[:-1])) > 100:
            raise ValueError(f"split is {split!r}, and {text} is more than the whole; expected at most 100%")
    first, last = _place(match["first"], 0, count), _place(match["last"], count, count)
    if first >= last:
        raise ValueError(f"split {split!r} of {where} holds no episode; {name} has {count}")
    return name, range(first, last)


def _place(text: str | None, default: int, count: int) -> int:
    if not text:
        return default
    place = round(int(text[:-1]) * count / 100) if text.endswith("%") else int(text)
    return min(max(place + count if place < 0 else place, 0), count)
