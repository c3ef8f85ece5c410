"""Moves of money of the few agents to whom something happens: lists of flat indices into (runs, agents).

Rule decided here: the same surveys and sides of a move as those of `sim/kernels/moves.py`, whose constants say what a
survey finds, without a pass over the other agents. One division finds the row for all entries of a run that follow
each other, as most lists rise. Indices have no sign, because one that could be negative costs a look at each access.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.moves import NEGATIVE, NOTHING, OUTSIDE, SOMETHING, TOO_MUCH

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True)
def survey(where, amounts, class_of, only, sums, per_run):  # type: ignore[no-untyped-def]
    """Sum few agents' amounts by class, and say what they are, as `survey` of amounts for all agents does.

    Parameters
    ----------
    where
        Flat index of each amount into (runs, agents), int64 (entries,).
    amounts
        int64 (entries,), gwei.
    class_of
        Class number of each column, int64 (agents,).
    only
        The class that alone may have an amount above 0, or -1 for every class.
    sums
        int64 (classes, runs), zeros, written.
    per_run
        Sums over classes, int64 (runs,), written.
    """
    agents, end, i, found = np.uint64(class_of.size), np.uint64(where.size), _ZERO, NOTHING
    while i < end:
        r = np.uint64(where[i]) // agents
        first = r * agents
        while i < end and np.uint64(where[i]) - first < agents:
            c = np.uint64(class_of[np.uint64(where[i]) - first])
            if amounts[i] < 0:
                return NEGATIVE
            sums[c, r] += amounts[i]
            if sums[c, r] < 0:
                return TOO_MUCH
            if amounts[i]:
                if only >= 0 and c != np.uint64(only):
                    return OUTSIDE
                found = SOMETHING
            i += _ONE
    per_run[:] = 0
    signs = np.int64(0)
    for k in range(sums.shape[0]):
        of_class = sums[k]
        for row in range(per_run.size):
            per_run[row] += of_class[row]
            signs |= per_run[row]
    return TOO_MUCH if signs < 0 else found


@njit(cache=True, nogil=True)
def debit(holdings, account, where, amounts, weights, checksum, book, is_booked):  # type: ignore[no-untyped-def]
    """Take amounts that were surveyed from few agents; `where` and `amounts` are those of `survey`.

    Other parameters are those of `sim.kernels.moves.debit`; returns the first row in which an agent is short, or -1.
    """
    agents, end, i, short = np.uint64(weights.size), np.uint64(where.size), _ZERO, np.int64(-1)
    while i < end:
        r = np.uint64(where[i]) // agents
        first, own, booked = r * agents, holdings[account, r], book[r]
        least = weighted = np.int64(0)
        while i < end and np.uint64(where[i]) - first < agents:
            a, paid = np.uint64(where[i]) - first, amounts[i]
            left = own[a] - paid
            own[a] = left
            least = min(least, left)
            weighted += paid * weights[a]
            if is_booked:
                booked[a] -= paid
            i += _ONE
        checksum[r, account] -= weighted
        if least < 0 and (short < 0 or np.int64(r) < short):
            short = np.int64(r)
    return short


@njit(cache=True, nogil=True)
def credit(holdings, account, where, amounts, weights, checksum, book, is_booked):  # type: ignore[no-untyped-def]
    """Give amounts to few agents; parameters are those of `debit`, and no agent is short, -1."""
    agents, end, i = np.uint64(weights.size), np.uint64(where.size), _ZERO
    while i < end:
        r = np.uint64(where[i]) // agents
        first, own, booked = r * agents, holdings[account, r], book[r]
        weighted = np.int64(0)
        while i < end and np.uint64(where[i]) - first < agents:
            a, given = np.uint64(where[i]) - first, amounts[i]
            own[a] += given
            weighted += given * weights[a]
            if is_booked:
                booked[a] += given
            i += _ONE
        checksum[r, account] += weighted
    return -1
