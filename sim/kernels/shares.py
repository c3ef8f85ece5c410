"""Shares of the contributors' pot, and what payees are credited, in one pass over memory each.

Rule decided here: the same integers as `models.attribution.mixed_weights`, and sums of numpy.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def mix(parts, weights, mixed):  # type: ignore[no-untyped-def]
    """Fill `mixed` with the weights of all classes, each times its class's part.

    Parameters
    ----------
    parts
        int64 (runs, classes).
    weights
        int32 (runs, classes, payees).
    mixed
        int64 (runs, payees), written.
    """
    for r in range(mixed.shape[0]):
        for a in range(mixed.shape[1]):
            mixed[r, a] = parts[r, 0] * np.int64(weights[r, 0, a])
        for k in range(1, parts.shape[1]):
            for a in range(mixed.shape[1]):
                mixed[r, a] += parts[r, k] * np.int64(weights[r, k, a])


@njit(cache=True, nogil=True)
def credit(amounts, first, books):  # type: ignore[no-untyped-def]
    """Add amounts to the columns from `first` on of every book.

    Parameters
    ----------
    amounts
        int64 (runs, payees).
    first
        Column of the first payee.
    books
        Arrays int64 (runs, all agents) each, written.
    """
    for r in range(amounts.shape[0]):
        amount = amounts[r]
        for book in books:
            row = book[r, first : first + amount.size]
            for a in range(amount.size):
                row[a] += amount[a]
