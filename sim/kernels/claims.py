"""Claims: what payees take of what they earned, in one pass over memory.

Rule decided here: the same integers as numpy's comparison and sums.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def claimable(earned, start, least, amounts, totals):  # type: ignore[no-untyped-def]
    """Fill `amounts` with everything earned where it is worth a claim, and `totals` with their sums.

    Parameters
    ----------
    earned
        int64 gwei (runs, agents).
    start
        Column of the first payee.
    least
        From which amount on a claim is made, int64 (runs,).
    amounts
        int64 (runs, payees), written.
    totals
        int64 (runs,), written.
    """
    for r in range(amounts.shape[0]):
        owed, amount, total, from_here = (
            earned[r, start : start + amounts.shape[1]],
            amounts[r],
            np.int64(0),
            least[r],
        )
        for a in range(amount.size):
            amount[a] = owed[a] if owed[a] >= from_here else 0
            total += amount[a]
        totals[r] = total


@njit(cache=True, nogil=True)
def book(amounts, start, earned, claimed):  # type: ignore[no-untyped-def]
    """Book claims, int64 (runs, payees), out of `earned` and into `claimed`, int64 (runs, agents), from `start` on."""
    for r in range(amounts.shape[0]):
        amount = amounts[r]
        owed, taken = earned[r, start : start + amount.size], claimed[r, start : start + amount.size]
        for a in range(amount.size):
            owed[a] -= amount[a]
            taken[a] += amount[a]
