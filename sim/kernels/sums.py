"""Sums of the ledger's agent accounts.

Rule decided here: what an account holds and its least element are found in one pass over memory; the reference is
`sum` and `min` of numpy.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def row_totals(holdings, totals, least):  # type: ignore[no-untyped-def]
    """Sum and least element of each (account, run) row of `holdings` (accounts, runs, agents), int64.

    Parameters
    ----------
    holdings
        int64 (accounts, runs, agents).
    totals, least
        int64 (runs, accounts), written.
    """
    for k in range(holdings.shape[0]):
        for r in range(holdings.shape[1]):
            total = np.int64(0)
            low = np.int64(2**63 - 1)
            for a in range(holdings.shape[2]):
                x = holdings[k, r, a]
                total += x
                low = min(low, x)
            totals[r, k] = total
            least[r, k] = low
