"""Sums of the ledger's agent accounts.

Rule decided here: what an account holds, its least element and its weighted sum are found in one pass over memory,
from the balances alone and from nothing that the ledger keeps beside them; the reference is numpy's `sum`, `min` and
`World.checksum_of_holdings`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty


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
    for k in range(holdings.shape[0]):
        for r in range(holdings.shape[1]):
            row = holdings[k, r]
            total, low, product = np.int64(0), row[0], np.int64(0)
            for first in range(0, row.size, BLOCK):
                last = min(first + BLOCK, row.size)
                if is_empty(row, first, last):
                    low = min(low, np.int64(0))
                    continue
                held, weight = row[first:last], weights[first:last]
                for a in range(held.size):
                    total += held[a]
                    low = min(low, held[a])
                    product += held[a] * weight[a]
            totals[r, k], least[r, k], weighted[r, k] = total, low, product


@njit(cache=True, nogil=True)
def rows(amounts, totals):  # type: ignore[no-untyped-def]
    """Sum of each row of `amounts`, int64 (runs, agents), into `totals`, int64 (runs,)."""
    for r in range(amounts.shape[0]):
        row, total = amounts[r], np.int64(0)
        for a in range(row.size):
            total += row[a]
        totals[r] = total


@njit(cache=True, nogil=True)
def rows_where_not(amounts, marks, mark, totals):  # type: ignore[no-untyped-def]
    """Sum of the elements of each row whose mark is not `mark`.

    Parameters
    ----------
    amounts
        int64 (runs, agents).
    marks
        int32 (runs, agents).
    mark
        int32.
    totals
        int64 (runs,), written.
    """
    for r in range(amounts.shape[0]):
        row, total = amounts[r], np.int64(0)
        for first in range(0, row.size, BLOCK):
            last = min(first + BLOCK, row.size)
            if is_empty(row, first, last):
                continue
            held, own = row[first:last], marks[r, first:last]
            for a in range(held.size):
                total += held[a] if own[a] != mark else 0
        totals[r] = total
