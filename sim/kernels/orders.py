"""Orders of the day, in one pass over memory: what the market clears, and what earners withdraw and sell.

Rule decided here: blocks of agents without orders are skipped. The references are `sim.phases.market.orders_of_the_day`
and, for a class at a time,
`sim.payouts.planned_sales`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty


@njit(cache=True, nogil=True)
def _cut(sell, held):  # type: ignore[no-untyped-def]
    """Cut sales to what is held; returns their sum."""
    total = np.int64(0)
    for a in range(sell.size):
        sell[a] = min(sell[a], held[a])
        total += sell[a]
    return total


@njit(cache=True, nogil=True)
def _list(buy, flat, where, spends, count):  # type: ignore[no-untyped-def]
    """List purchases from place `count` on and clear them; returns how many are listed and their sum."""
    total = np.int64(0)
    for first in range(0, buy.size, BLOCK):
        last = min(first + BLOCK, buy.size)
        if is_empty(buy, first, last):
            continue
        for a in range(first, last):
            if buy[a]:
                where[count], spends[count] = flat + a, buy[a]
                total += buy[a]
                buy[a] = 0
                count += 1
    return count, total


@njit(cache=True, nogil=True)
def take_market_orders(sells, wallets, buys, bounds, sold, spent, where, spends):  # type: ignore[no-untyped-def]
    """Cut sales to what wallets hold, list purchases and clear them, and sum both by class.

    Parameters
    ----------
    sells
        Gwei offered, int64 (runs, agents), 0 or more; cut in place.
    wallets
        Gwei on L1, int64 (runs, agents).
    buys
        Micro-USD to be spent, int64 (runs, agents), 0 or more; zeros afterwards.
    bounds
        First column of each class, and the number of columns, int64 (classes + 1,).
    sold, spent
        Sums, int64 (runs, classes), written.
    where, spends
        Flat index and micro-USD of those who buy, int64 with room for all, written.

    Returns
    -------
    int
        How many buy.
    """
    count, agents = 0, sells.shape[1]
    for r in range(sells.shape[0]):
        for c in range(bounds.size - 1):
            first, last = bounds[c], bounds[c + 1]
            sold[r, c] = _cut(sells[r, first:last], wallets[r, first:last])
            count, spent[r, c] = _list(buys[r, first:last], r * agents + first, where, spends, count)
    return count


@njit(cache=True, nogil=True)
def plan_sales(planned, withdrawals, wallets, sells, start, stop):  # type: ignore[no-untyped-def]
    """Turn planned withdrawals into orders, and order the sale of what is on L1.

    Parameters
    ----------
    planned
        Gwei to be withdrawn, int64 (runs, agents); zeros afterwards.
    withdrawals
        Orders to withdraw, int64 (runs, agents), added to.
    wallets
        Gwei on L1, int64 (runs, agents).
    sells
        Orders to sell, int64 (runs, agents), set where somebody of the class holds something.
    start, stop
        Columns of the class.
    """
    arrived = False
    for r in range(planned.shape[0]):
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            arrived = arrived or not is_empty(wallets[r], first, last)
            if not is_empty(planned[r], first, last):
                for a in range(first, last):
                    withdrawals[r, a] += planned[r, a]
                    planned[r, a] = 0
    if arrived:
        sells[:, start:stop] = wallets[:, start:stop]
