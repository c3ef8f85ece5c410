"""Picking: the few agents that act today, out of arrays over all of them.

Rule decided here: amounts are read in blocks, and blocks without any are skipped, so that a day on which few act costs
little more than reading the amounts once. The reference is `numpy.flatnonzero`.
"""

from __future__ import annotations

from numba import njit

from sim.kernels.blocks import BLOCK, is_empty


@njit(cache=True, nogil=True)
def pick_row(amount, base, where, amounts, count):  # type: ignore[no-untyped-def]
    """List the elements of a row that are not 0 from place `count` on, as `pick` does; returns the new count."""
    for first in range(0, amount.size, BLOCK):
        last = min(first + BLOCK, amount.size)
        if is_empty(amount, first, last):
            continue
        block = amount[first:last]
        for i in range(block.size):
            if block[i]:
                where[count] = base + first + i
                amounts[count] = block[i]
                count += 1
    return count


@njit(cache=True, nogil=True)
def pick(amount, start, stop, first, agents, where, amounts):  # type: ignore[no-untyped-def]
    """List the elements of some columns that are not 0; returns how many there are.

    Parameters
    ----------
    amount
        int64 (runs, columns).
    start, stop
        First column that is looked at, and the one after the last.
    first, agents
        Which column of the whole agent axis the one at `start` is, and the length of that axis.
    where, amounts
        Flat index into (runs, agents) and element, int64 with room for all of them, written.
    """
    count = 0
    for r in range(amount.shape[0]):
        count = pick_row(amount[r, start:stop], r * agents + first, where, amounts, count)
    return count
