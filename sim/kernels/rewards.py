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
_TILE = 8 * BLOCK
"""Agents of a tile: a sum over lanes for each costs little then."""


@njit(cache=True, nogil=True)
def _grow(stakes, income, weights, times, rest, whole):  # type: ignore[no-untyped-def]
    """Add the parts of some agents to their stakes and income; returns the sum of the parts and their weighted sum."""
    ratio, given, weighted = np.float64(rest) / np.float64(whole), np.int64(0), np.int64(0)
    for a in range(stakes.size):
        stake = stakes[a]
        part = np.int64(ratio * np.float64(stake))
        remainder = rest * stake - part * whole  # products may wrap around, their difference does not
        part += np.int64(remainder >= whole) - np.int64(remainder < 0) + times * stake
        stakes[a] = stake + part
        income[a] += part
        given += part
        weighted += part * weights[a]
    return given, weighted


@njit(cache=True, nogil=True)
def compound(due, stakes, weights, weighted, income, bounds, by_class):  # type: ignore[no-untyped-def]
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

    Returns
    -------
    bool
        Whether no stake was below 0; what follows the first such run is left as it was.
    """
    for r in range(due.size):
        stake, whole, signs = stakes[r], np.int64(0), np.int64(0)
        for a in range(stake.size):
            whole += stake[a]
            signs |= stake[a]
        if signs < 0:
            return False
        if whole == 0 or due[r] == 0:
            continue
        times, rest = due[r] // whole, due[r] % whole
        for c in range(bounds.size - 1):
            for first in range(bounds[c], bounds[c + 1], _TILE):
                last = min(first + _TILE, bounds[c + 1])
                if is_empty(stake, first, last):
                    continue
                own = slice(first, last)
                given, moved = _grow(stake[own], income[r, own], weights[own], times, rest, whole)
                by_class[c, r] += given
                weighted[r] += moved
    return True
