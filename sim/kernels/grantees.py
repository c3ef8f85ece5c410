"""Grantees: the first few of those who may be chosen, in an order that keyed draws say.

Rule decided here: the same agents as a stable sort of everybody's key would put first.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def first(order, eligible, number, picked):  # type: ignore[no-untyped-def]
    """Pick the first agents by `order`, ties by index.

    Parameters
    ----------
    order
        float64 (runs, agents).
    eligible
        Who may be picked, bool (runs, agents).
    number
        How many are picked where so many may be, int64 (runs,).
    picked
        bool (runs, agents), written.
    """
    keys = np.empty(order.shape[1], np.float64)
    for r in range(order.shape[0]):
        found = 0
        for a in range(keys.size):
            keys[found] = order[r, a]
            found += eligible[r, a]
            picked[r, a] = False
        count = min(number[r], found)
        if count <= 0:
            continue
        last = np.partition(keys[:found], count - 1)[count - 1]
        for a in range(keys.size):
            picked[r, a] = eligible[r, a] and order[r, a] < last
            count -= picked[r, a]
        for a in range(keys.size):
            if count > 0 and eligible[r, a] and order[r, a] == last:
                picked[r, a] = True
                count -= 1
