"""Rewards by stake: an amount per run divided by floors, in one pass over those who have a stake.

Rule decided here: the same integers as `models.apportion.apportion_floor`, which is the reference and is asked where
an estimate in float64 would not be off by at most one. Blocks without a stake are skipped.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.exact import LARGEST_DIVISOR
from sim.kernels.blocks import BLOCK, is_empty

_CLOSE = 2**50
"""Quotients below this are estimated to within one."""


@njit(cache=True, nogil=True)
def _sum_and_largest(stakes):  # type: ignore[no-untyped-def]
    total, most = np.int64(0), np.int64(0)
    for a in range(stakes.size):
        total += stakes[a]
        most = max(most, stakes[a])
    return total, most


@njit(cache=True, nogil=True)
def _floors(stakes, parts, times, rest, whole):  # type: ignore[no-untyped-def]
    ratio, given = np.float64(rest) / np.float64(whole), np.int64(0)
    for a in range(stakes.size):
        stake = stakes[a]
        part = np.int64(ratio * np.float64(stake))
        remainder = rest * stake - part * whole  # products may wrap around, their difference does not
        part += np.int64(remainder >= whole) - np.int64(remainder < 0) + times * stake
        parts[a] = part
        given += part
    return given


@njit(cache=True, nogil=True)
def divide(due, stakes, parts, kept):  # type: ignore[no-untyped-def]
    """Divide what is due among stakes by floors; returns whether every estimate was close enough.

    Parameters
    ----------
    due
        int64 (runs,), 0 or more.
    stakes
        int64 (runs, agents), 0 or more, at most the cap of 10^18 in sum.
    parts
        int64 (runs, agents), written.
    kept
        What the floors leave, int64 (runs,), written.
    """
    for r in range(due.size):
        stake, part, left = stakes[r], parts[r], due[r]
        whole, most = _sum_and_largest(stake)
        if whole == 0 or left == 0:
            part[:] = 0
            kept[r] = left
            continue
        times, rest = left // whole, left % whole
        if whole > LARGEST_DIVISOR or min(rest, most) >= _CLOSE:
            return False
        for first in range(0, stake.size, BLOCK):
            last = min(first + BLOCK, stake.size)
            if is_empty(stake, first, last):
                part[first:last] = 0
            else:
                left -= _floors(stake[first:last], part[first:last], times, rest, whole)
        kept[r] = left
    return True
