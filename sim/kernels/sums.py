"""Sums of the ledger's agent accounts.

Rule decided here: what an account holds, its least element and its weighted sum are found in one pass over memory,
from the balances alone and from nothing that the ledger keeps beside them; the reference is numpy's `sum`, `min` and
`World.checksum_of_holdings`.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _four(one, two, three, four, weights):  # type: ignore[no-untyped-def]
    """Return sums, least elements and weighted sums of four rows; what one row waits for, another fills."""
    zero = np.int64(0)
    sum1 = sum2 = sum3 = sum4 = weighted1 = weighted2 = weighted3 = weighted4 = zero
    low1, low2, low3, low4 = one[0], two[0], three[0], four[0]
    for a in range(weights.size):
        weight, held1, held2, held3, held4 = weights[a], one[a], two[a], three[a], four[a]
        sum1 += held1
        sum2 += held2
        sum3 += held3
        sum4 += held4
        low1, low2, low3, low4 = min(low1, held1), min(low2, held2), min(low3, held3), min(low4, held4)
        weighted1 += held1 * weight
        weighted2 += held2 * weight
        weighted3 += held3 * weight
        weighted4 += held4 * weight
    sums, lows = (sum1, sum2, sum3, sum4), (low1, low2, low3, low4)
    return sums, lows, (weighted1, weighted2, weighted3, weighted4)


@njit(cache=True, nogil=True)
def _one(row, weights):  # type: ignore[no-untyped-def]
    total, low, weighted = np.int64(0), row[0], np.int64(0)
    for a in range(weights.size):
        total += row[a]
        low = min(low, row[a])
        weighted += row[a] * weights[a]
    return total, low, weighted


@njit(cache=True, nogil=True)
def audit(holdings, weights, totals, least, weighted):  # type: ignore[no-untyped-def]
    """Sum, least element and weighted sum of each (account, run) row, from one reading of what agents hold.

    Parameters
    ----------
    holdings
        int64 (accounts, runs, agents).
    weights
        int64 (agents,).
    totals, least
        int64 (runs, accounts), written.
    weighted
        Sums of holdings times weights modulo 2^64, int64 (runs, accounts), written.
    """
    runs = holdings.shape[1]
    whole = runs - runs % 4
    for k in range(holdings.shape[0]):
        held = holdings[k]
        for r in range(0, whole, 4):
            sums, lows, products = _four(held[r], held[r + 1], held[r + 2], held[r + 3], weights)
            for i in range(4):
                totals[r + i, k], least[r + i, k], weighted[r + i, k] = sums[i], lows[i], products[i]
        for r in range(whole, runs):
            totals[r, k], least[r, k], weighted[r, k] = _one(held[r], weights)


@njit(cache=True, nogil=True)
def rows(amounts, totals):  # type: ignore[no-untyped-def]
    """Sum of each row of `amounts`, int64 (runs, agents), into `totals`, int64 (runs,)."""
    for r in range(amounts.shape[0]):
        row, total = amounts[r], np.int64(0)
        for a in range(row.size):
            total += row[a]
        totals[r] = total
