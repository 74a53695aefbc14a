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
    columns: list[frozenset[int]] = [frozenset(range(n))] if n else []
    for i in range(n):
        for j in range(i + 1, n):
            if not differs[i, j]:
                continue
            split: list[frozenset[int]] = []
            for column in columns:
                if i in column and j in column:
                    split += [column - {i}, column - {j}]
                else:
                    split.append(column)
            columns = [c for c in dict.fromkeys(split) if not any(c < other for other in split)]
    columns.sort(key=lambda column: sorted(column))
    return ["".join(_letter(place) for place, column in enumerate(columns) if i in column) for i in range(n)]


def _letter(place: int) -> str:
    """a, b, ... z, then A ... Z, then numbers in brackets."""
    if place < 52:
        return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[place]
    return f"[{place + 1}]"
