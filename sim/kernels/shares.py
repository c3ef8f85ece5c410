"""Shares of the contributors' pot, and what payees are paid, run by run while it is in cache.

Rule decided here: the same integers as `models.attribution.mixed_weights`, `models.apportion.apportion`, and sums of
numpy.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.apportion import divide_run, whole_of


@njit(cache=True, nogil=True)
def mix(parts, weights, mixed, some):  # type: ignore[no-untyped-def]
    """Fill `mixed` with the weights of all classes, each times its class's part, in runs where a weight is not 0.

    Parameters
    ----------
    parts
        int64 (runs, classes), 0 or more.
    weights
        int32 (runs, classes, payees), 0 or more.
    mixed
        int64 (runs, payees), written where somebody has a weight.
    some
        Whether that is so, bool (runs,), written.
    """
    room = np.empty(mixed.shape[1], np.int64)
    for r in range(mixed.shape[0]):
        bits = np.int64(0)
        for k in range(parts.shape[1]):
            part, weight = parts[r, k], weights[r, k]
            for a in range(room.size):
                # the first class begins anew
                room[a] = (room[a] if k else 0) + part * np.int64(weight[a])
        for a in range(room.size):
            bits |= room[a]
        some[r] = bits != 0
        if some[r]:
            mixed[r] = room


@njit(cache=True, nogil=True)
def credit(amounts, book, first):  # type: ignore[no-untyped-def]
    """Add amounts to the columns of a book from `first` on.

    Parameters
    ----------
    amounts
        int64 (runs, payees).
    book
        int64 (runs, all agents), written.
    first
        Column of the first payee.
    """
    for r in range(amounts.shape[0]):
        amount, row = amounts[r], book[r, first : first + amounts.shape[1]]
        for a in range(amount.size):
            row[a] += amount[a]


@njit(cache=True, nogil=True)
def pay(total, weights, book, first):  # type: ignore[no-untyped-def]
    """Divide an amount per run by largest remainder and add the parts to the columns of a book from `first` on.

    Parameters
    ----------
    total
        int64 (runs,); set to 0 in runs where nobody has a weight.
    weights
        int64 (runs, payees).
    book
        int64 (runs, all agents), written.
    first
        Column of the first payee.

    Returns
    -------
    int
        Runs that are done: all, or those before the first that is left to the reference.
    """
    parts, remainders = np.empty(weights.shape[1], np.int64), np.empty(weights.shape[1], np.int64)
    for r in range(total.size):
        whole = whole_of(weights[r], total[r])
        if whole < 0:
            return r
        if whole == 0:
            total[r] = 0
        if total[r] > 0:
            divide_run(total[r], weights[r], whole, parts, remainders, True)
            row = book[r, first : first + parts.size]
            for a in range(parts.size):
                row[a] += parts[a]
    return total.size


@njit(cache=True, nogil=True)
def bring_forward(earned, claimed, lifetime, income, month, first, last):  # type: ignore[no-untyped-def]
    """Bring `lifetime` to what is earned and claimed, and add what it grew by to the other books.

    Parameters
    ----------
    earned, claimed
        int64 (runs, all agents).
    lifetime, income
        int64 (runs, all agents), written.
    month
        int64 (runs, payees), written, or without columns where nobody asks.
    first, last
        Columns of the payees.
    """
    gained = np.empty(last - first, np.int64)
    for r in range(earned.shape[0]):
        owed, paid, total = earned[r, first:last], claimed[r, first:last], lifetime[r, first:last]
        some = np.int64(0)
        for a in range(gained.size):
            gained[a] = owed[a] + paid[a] - total[a]
            some |= gained[a]
        if some == 0:
            continue
        received, monthly = income[r, first:last], month[r]
        for a in range(gained.size):
            total[a] += gained[a]
            received[a] += gained[a]
        for a in range(monthly.size):
            monthly[a] += gained[a]
