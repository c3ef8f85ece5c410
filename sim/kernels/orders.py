"""Orders of the day, in one pass over memory: what the market clears, and what earners sell.

Rule decided here: blocks of agents without orders are skipped. The reference is `sim.phases.market.orders_of_the_day`.
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
                listed[count, 0], listed[count, 1] = flat + first + a, amount
                total += amount
                count += 1
    return count, total


@njit(cache=True, nogil=True)
def take_market_orders(sells, wallets, buys, bounds, sold, spent, sales, purchases):  # type: ignore[no-untyped-def]
    """List sales, cut to what wallets hold, and purchases, sum both by class, and clear the orders.

    Parameters
    ----------
    sells
        Gwei offered, int64 (runs, agents), 0 or more; zeros afterwards in these columns.
    wallets
        Gwei on L1, int64 (runs, agents).
    buys
        Micro-USD to be spent, int64 (runs, agents), 0 or more; zeros afterwards in these columns.
    bounds
        First column of each class that is looked at, and the column after the last, int64 (classes + 1,).
    sold, spent
        Sums, int64 (runs, classes), written.
    sales, purchases
        Flat index and gwei of those who sell, flat index and micro-USD of those who buy, int64 (room for all, 2),
        written. Side by side, because few entries then touch few pages of fresh memory.

    Returns
    -------
    tuple of int
        How many sell and how many buy.
    """
    selling = buying = 0
    for r in range(sells.shape[0]):
        for c in range(bounds.size - 1):
            own, flat = slice(bounds[c], bounds[c + 1]), r * sells.shape[1] + bounds[c]
            offered, asked = sells[r, own], buys[r, own]
            selling, sold[r, c] = _list(offered, wallets[r, own], flat, sales, selling)
            buying, spent[r, c] = _list(asked, asked, flat, purchases, buying)
    return selling, buying


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
