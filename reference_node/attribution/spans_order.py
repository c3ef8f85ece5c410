"""Order of a text's positions by what is read backwards from them.

Rule decided here: position p stands for the tokens p, p - 1, p - 2, ... down to the start of the text, which counts as
smaller than any token; positions are sorted by these sequences, so that all places where one phrase *ends* lie side by
side. It is the suffix array of the reversed text. pydivsufsort sorts it where it is installed; prefix doubling in
numpy gives the same order without it, about twenty times slower.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16]


def backward_order(text: Tokens) -> NDArray[np.uint32]:
    """Return all positions of a text in the order of what is read backwards from them.

    Parameters
    ----------
    text
        uint16 `(positions,)`, at most 2^30.

    Returns
    -------
    numpy.ndarray
        uint32 `(positions,)`.
    """
    if find_spec("pydivsufsort") is None:
        return backward_order_reference(text)
    from pydivsufsort import divsufsort  # lazily: whoever only looks up needs no sorter

    # big-endian bytes sort as the numbers do; of their positions those that begin a token are kept
    starts = divsufsort(np.ascontiguousarray(text[::-1]).astype(">u2").view(np.uint8))
    starts = starts[starts % 2 == 0] // 2
    return (len(text) - 1 - starts).astype(np.uint32)


def backward_order_reference(text: Tokens) -> NDArray[np.uint32]:
    """Return the same by prefix doubling: ranks of 1, 2, 4, ... tokens until no two are equal.

    Examples
    --------
    >>> backward_order_reference(np.array([2, 1, 2, 1], np.uint16)).tolist()
    [1, 3, 0, 2]
    """
    reverse = text[::-1]
    count, step = len(reverse), 1
    rank = np.unique(reverse, return_inverse=True)[1].astype(np.int64)
    while True:
        after = np.full(count, -1, np.int64)
        after[: max(count - step, 0)] = rank[step:]
        order = np.lexsort((after, rank))
        differs = (np.diff(rank[order]) != 0) | (np.diff(after[order]) != 0)
        rank[order] = np.concatenate(([0], np.cumsum(differs)))
        if differs.all():
            return (count - 1 - order).astype(np.uint32)
        step *= 2
