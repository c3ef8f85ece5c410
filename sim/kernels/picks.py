"""Picking: the few agents that act today, out of arrays over all of them.

Rule decided here: amounts are read in blocks, and blocks without any are skipped, so that a day on which few act costs
little more than reading the amounts once. The references are `numpy.flatnonzero`, `numpy.minimum` and selection by a
mask.
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


@njit(cache=True, nogil=True)
def keep_positive(where, amounts, kept, out):  # type: ignore[no-untyped-def]
    """List the entries above 0; returns how many there are.

    Parameters
    ----------
    where, amounts
        Flat index and element, int64 (entries,).
    kept, out
        The same of those above 0, int64 with room for all of them, written.
    """
    count = 0
    for i in range(where.size):
        kept[count], out[count] = where[i], amounts[i]
        count += amounts[i] > 0
    return count


@njit(cache=True, nogil=True)
def cut(where, amounts, held, kept, out):  # type: ignore[no-untyped-def]
    """List the entries above 0, cut to what is held; other parameters and result are those of `keep_positive`.

    Parameters
    ----------
    held
        What each agent has, int64 (runs * agents,).
    """
    count = 0
    for i in range(where.size):
        amount = min(amounts[i], held[where[i]])
        kept[count], out[count] = where[i], amount
        count += amount > 0
    return count
