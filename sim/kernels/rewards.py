"""Rewards by stake: an amount per run divided by floors, and added to the stakes while they are in cache.

Rule decided here: the same integers as `models.apportion.apportion_floor` and the ledger's `move` of its parts, which
are the references and are asked where an estimate in float64 would not be off by at most one. Tiles without a stake
are skipped. What a reward is of income is not booked day by day: it follows from how stakes grew.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK

CLOSE = 2**50
"""Quotients below this are estimated to within one."""
_TILE = 8 * BLOCK
"""Agents of a tile: a sum over lanes for each costs little then."""


@njit(cache=True, nogil=True)
def _survey(stake, columns, bits):  # type: ignore[no-untyped-def]
    """Write all bits of each tile's stakes; returns the sum of the run's stakes, or -1 if one is below 0."""
    whole = signs = np.int64(0)
    tile = 0
    for c in range(columns.shape[0]):
        for first in range(columns[c, 0], columns[c, 1], _TILE):
            part, some = stake[first : min(first + _TILE, columns[c, 1])], np.int64(0)
            for a in range(part.size):
                whole += part[a]
                some |= part[a]
            bits[tile] = some
            signs |= some
            tile += 1
    return whole if signs >= 0 else np.int64(-1)


@njit(cache=True, nogil=True)
def _grow(stakes, weights, times, rest, whole):  # type: ignore[no-untyped-def]
    """Add the parts of some agents to their stakes; returns the sum of the parts and their weighted sum."""
    ratio, given, weighted = np.float64(rest) / np.float64(whole), np.int64(0), np.int64(0)
    for a in range(stakes.size):
        stake = stakes[a]
        part = np.int64(ratio * np.float64(stake))
        remainder = rest * stake - part * whole  # products may wrap around, their difference does not
        part += np.int64(remainder >= whole) - np.int64(remainder < 0) + times * stake
        stakes[a] = stake + part
        given += part
        weighted += part * weights[a]
    return given, weighted


@njit(cache=True, nogil=True)
def compound(due, stakes, weights, weighted, columns, by_class):  # type: ignore[no-untyped-def]
    """Divide what is due among stakes by floors, and add every part to its stake.

    Parameters
    ----------
    due
        int64 (runs,), 0 or more and below `CLOSE`.
    stakes
        int64 (runs, agents), changed; they add up to the cap of 10^18 at most.
    weights
        int64 (agents,).
    weighted
        Weighted sums of stakes modulo 2^64, int64 (runs,), changed.
    columns
        Where each class can have a stake: first column and the one after the last, int64 (classes, 2).
    by_class
        What each class was given, int64 (classes, runs), zeros, written.

    Returns
    -------
    bool
        Whether no stake was below 0; what follows the first such run is left as it was.
    """
    bits = np.empty(stakes.shape[1] // _TILE + len(columns), np.int64)  # tiles, and one begun in each class
    for r in range(due.size):
        stake = stakes[r]
        whole = _survey(stake, columns, bits)
        if whole < 0:
            return False
        if whole == 0 or due[r] == 0:
            continue
        times, rest, tile = due[r] // whole, due[r] % whole, 0
        for c in range(columns.shape[0]):
            for first in range(columns[c, 0], columns[c, 1], _TILE):
                own = slice(first, min(first + _TILE, columns[c, 1]))
                if bits[tile]:
                    given, moved = _grow(stake[own], weights[own], times, rest, whole)
                    by_class[c, r] += given
                    weighted[r] += moved
                tile += 1
    return True


@njit(cache=True, nogil=True)
def bring_forward(stakes, principal, income):  # type: ignore[no-untyped-def]
    """Add to income what stakes grew by beyond their principal, and bring the principal to the stakes.

    Parameters
    ----------
    stakes
        int64 (runs, agents).
    principal, income
        int64 (runs, agents), changed.
    """
    for r in range(stakes.shape[0]):
        for first in range(0, stakes.shape[1], BLOCK):
            last = min(first + BLOCK, stakes.shape[1])
            stake, base, earned = stakes[r, first:last], principal[r, first:last], income[r, first:last]
            changed = np.int64(0)
            for a in range(stake.size):
                changed |= stake[a] ^ base[a]
            if changed == 0:
                continue
            for a in range(stake.size):
                earned[a] += stake[a] - base[a]
                base[a] = stake[a]
