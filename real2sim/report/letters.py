"""Compact letter display: policies that share a letter cannot be told apart."""

from __future__ import annotations

import numpy as np


def compact_letters(differs: np.ndarray) -> list[str]:
    """Letters for n items from the symmetric matrix (n n) of proven differences, item 0 being the best.

    Two items share a letter if and only if they do not differ.  Insert-and-absorb, Piepho (2004): begin with
    one column that holds everybody, split each column that holds a differing pair, drop columns inside
    others.
    """
    n = len(differs)
    # A column is a number whose bit i says whether item i is in it.
    columns = [(1 << n) - 1] if n else []
    for i in range(n):
        for j in np.flatnonzero(differs[i, i + 1 :]) + i + 1:
            first, second = 1 << i, 1 << int(j)
            both = [column for column in columns if column & first and column & second]
            if not both:
                continue
            kept = [column for column in columns if not (column & first and column & second)]
            parts = list(dict.fromkeys(part for column in both for part in (column ^ first, column ^ second)))
            for part in parts:
                inside = any(part & other == part for other in kept)
                if not inside and not any(part & other == part and part != other for other in parts):
                    kept.append(part)
            columns = kept
    members = sorted([i for i in range(n) if column >> i & 1] for column in columns)
    return ["".join(_letter(place) for place, column in enumerate(members) if i in column) for i in range(n)]


def _letter(place: int) -> str:
    """a, b, ... z, then A ... Z, then numbers in brackets."""
    if place < 52:
        return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[place]
    return f"[{place + 1}]"
