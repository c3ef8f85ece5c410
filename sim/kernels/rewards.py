"""Rewards by stake: an amount per run divided by floors, and added to the stakes while they are in cache.

Rule decided here: the same integers as `models.apportion.apportion_floor` and the ledger's `move` of its parts, which
are the references and are asked where an estimate in float64 would not be off by at most one. Blocks without a stake
are skipped.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty

CLOSE = 2**50
"""Quotients below this are estimated to within one."""


@njit(cache=True, nogil=True)
def _floors(stakes, parts, times, rest, whole):  # type: ignore[no-untyped-def]
    ratio = np.float64(rest) / np.float64(whole)
    for a in range(stakes.size):
        stake = stakes[a]
        part = np.int64(ratio * np.float64(stake))
        remainder = rest * stake - part * whole  # products may wrap around, their difference does not
        part += np.int64(remainder >= whole) - np.int64(remainder < 0) + times * stake
        parts[a] = part


@njit(cache=True, nogil=True)
def _compound_row(stakes, weights, earned, parts, due, whole):  # type: ignore[no-untyped-def]
    """Fill `parts`, add them to stakes and income, and return their weighted sum."""
    times, rest, weighted = due // whole, due % whole, np.int64(0)
    for first in range(0, stakes.size, BLOCK):
        last = min(first + BLOCK, stakes.size)
        held, part = stakes[first:last], parts[first:last]
        if is_empty(stakes, first, last):
            part[:] = 0
            continue
        _floors(held, part, times, rest, whole)
        income, weight = earned[first:last], weights[first:last]
        for a in range(held.size):
            held[a] += part[a]
            income[a] += part[a]
            weighted += part[a] * weight[a]
    return weighted


@njit(cache=True, nogil=True)
def compound(due, stakes, weights, weighted, income, bounds, by_class, parts):  # type: ignore[no-untyped-def]
    """Divide what is due among stakes by floors, and add every part to the stake and to the income that it is.

    Parameters
    ----------
    due
        int64 (runs,), 0 or more and below `CLOSE`.
    stakes, income
        int64 (runs, agents), changed; stakes add up to the cap of 10^18 at most.
    weights
        int64 (agents,).
    weighted
        Weighted sums of stakes modulo 2^64, int64 (runs,), changed.
    bounds
        First column of each class, and the number of columns, int64 (classes + 1,).
    by_class
        What each class was given, int64 (classes, runs), zeros, written.
    parts
        Room for the parts of a run, int64 (rows, agents): one row for all runs, or one for each if they are wanted.

    Returns
    -------
    bool
        Whether no stake was below 0; what follows the first such run is left as it was.
    """
    for r in range(due.size):
        stake, part = stakes[r], parts[r % parts.shape[0]]
        whole, signs = np.int64(0), np.int64(0)
        for a in range(stake.size):
            whole += stake[a]
            signs |= stake[a]
        if signs < 0:
            return False
        if whole == 0 or due[r] == 0:
            part[:] = 0
            continue
        weighted[r] += _compound_row(stake, weights, income[r], part, due[r], whole)
        for c in range(bounds.size - 1):
            given = part[bounds[c] : bounds[c + 1]]
            for a in range(given.size):
                by_class[c, r] += given[a]
    return True
