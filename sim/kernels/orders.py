"""Sales of the day, in one pass over memory: what the market clears, and what earners sell.

Rule decided here: blocks of agents without orders are skipped. The reference is `sim.phases.market.sales_of_the_day`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty


@njit(cache=True, nogil=True)
def _list(order, most, flat, listed, count):  # type: ignore[no-untyped-def]
    """List orders, cut to `most` each, from place `count` on, and clear them; returns the new count and the sum."""
    total = np.int64(0)
    for first in range(0, order.size, BLOCK):
        last = min(first + BLOCK, order.size)
        if is_empty(order, first, last):
            continue
        block, limit = order[first:last], most[first:last]
        for a in range(block.size):
            amount = min(block[a], limit[a])
            block[a] = 0
            if amount:
                listed[0, count], listed[1, count] = flat + first + a, amount
                total += amount
                count += 1
    return count, total


@njit(cache=True, nogil=True)
def take_sales(sells, wallets, bounds, sold, sales):  # type: ignore[no-untyped-def]
    """List sales, cut to what wallets hold, sum them by class, and clear the orders.

    Parameters
    ----------
    sells
        Gwei offered, int64 (runs, agents), 0 or more; zeros afterwards in these columns.
    wallets
        Gwei on L1, int64 (runs, agents).
    bounds
        First column of each class that is looked at, and the column after the last, int64 (classes + 1,).
    sold
        Sums, int64 (runs, classes), written.
    sales
        Flat index and gwei of those who sell, int64 (2, room for all), written.

    Returns
    -------
    int
        How many sell.
    """
    selling = 0
    for r in range(sells.shape[0]):
        for c in range(bounds.size - 1):
            own, flat = slice(bounds[c], bounds[c + 1]), r * sells.shape[1] + bounds[c]
            selling, sold[r, c] = _list(sells[r, own], wallets[r, own], flat, sales, selling)
    return selling


@njit(cache=True, nogil=True)
def sell_arrived(wallets, sells, start, stop):  # type: ignore[no-untyped-def]
    """Order the sale of what a class holds on L1.

    Parameters
    ----------
    wallets
        Gwei on L1, int64 (runs, agents).
    sells
        Orders to sell, int64 (runs, agents), set where somebody of the class holds something.
    start, stop
        Columns of the class.
    """
    for r in range(wallets.shape[0]):
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            if not is_empty(wallets[r], first, last):
                sells[r, first:last] = wallets[r, first:last]
