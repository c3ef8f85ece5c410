"""Near-duplicate documents: candidates by MinHash over token shingles, certainty by edit distance.

Rules decided here. Two documents are near duplicates if one token edit for every eight tokens of the longer one
(inserted, deleted or replaced) turns one into the other. MinHash only proposes: three-token shingles, 48 bands of two
hashes. At that distance pairs of ten tokens and more share 0.4 of their shingles or more, and one in 4,000 is not
proposed, one in 300 of eight tokens. Whether a proposed pair is one is decided by the edit distance itself: different
documents are never joined for looking alike to a hash, and what a copy that passes costs is stated: more edits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 3
BANDS, ROWS = 48, 2
TOKENS_PER_EDIT = 8

Words = NDArray[np.uint64]
_FIRST = np.uint64(0x9E3779B97F4A7C15)


class NearIndex:
    """Documents that new ones are compared with.

    Parameters
    ----------
    tokens_per_edit
        Tokens of the longer document for each edit that is allowed.
    """

    def __init__(self, tokens_per_edit: int = TOKENS_PER_EDIT) -> None:
        if tokens_per_edit < 2:
            raise ValueError(f"tokens_per_edit {tokens_per_edit}: at least 2")
        self._tokens_per_edit = tokens_per_edit
        self._tokens: list[tuple[int, ...]] = []
        self._buckets: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)

    def add(self, tokens: Sequence[int]) -> None:
        """Add a document; its number is how many there were before."""
        for key in _bands(tokens):
            self._buckets[key].append(len(self._tokens))
        self._tokens.append(tuple(tokens))

    def nearest(self, tokens: Sequence[int]) -> int | None:
        """Return the first added document that is a near duplicate, None where none is."""
        proposed = {number for key in _bands(tokens) for number in self._buckets.get(key, ())}
        for number in sorted(proposed):
            other = self._tokens[number]
            allowed = max(len(tokens), len(other)) // self._tokens_per_edit
            if (Counter(tokens) - Counter(other)).total() > allowed:
                continue  # every token too many costs an edit
            if edit_distance(tokens, other, allowed) <= allowed:
                return number
        return None


def edit_distance(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """Return the least number of token edits between two documents, or `most` + 1 where it is more.

    Examples
    --------
    >>> edit_distance([1, 2, 3, 4], [1, 3, 5, 4], 3), edit_distance([1, 2], [3, 4], 1)
    (2, 2)
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    row = list(range(min(len(other), most) + 1))
    row += [most + 1] * (len(other) + 1 - len(row))
    for i, token in enumerate(one, 1):
        low, high = max(i - most, 1), min(i + most, len(other))
        fresh = [most + 1] * (len(other) + 1)
        if low == 1:
            fresh[0] = min(i, most + 1)
        for j in range(low, high + 1):
            fresh[j] = min(row[j - 1] + (token != other[j - 1]), row[j] + 1, fresh[j - 1] + 1)
        row = fresh
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def signature(tokens: Sequence[int]) -> Words:
    """Return the MinHash signature of a document, uint64 `(BANDS * ROWS,)`: its shingles' least hash of each kind."""
    ids = np.asarray(tokens, np.uint64)
    width = min(SHINGLE, len(ids))
    with np.errstate(over="ignore"):  # hashes wrap around
        shingles = np.zeros(len(ids) - width + 1, np.uint64)
        for k in range(width):
            shingles = _mixed(shingles * _FIRST + ids[k : len(ids) - width + 1 + k] + np.uint64(1))
        seeds = _mixed(np.arange(1, BANDS * ROWS + 1, dtype=np.uint64) * _FIRST)
        return _mixed(shingles[None, :] ^ seeds[:, None]).min(axis=1)


def _bands(tokens: Sequence[int]) -> list[tuple[int, int, int]]:
    pairs = signature(tokens).reshape(BANDS, ROWS).tolist()
    return [(band, one, two) for band, (one, two) in enumerate(pairs)]


def _mixed(values: Words) -> Words:
    """Mix the bits of each number (the finisher of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
