"""Picking: the few agents that act today, out of arrays over all of them.

Rule decided here: orders are read in blocks, and blocks without any are skipped, so that a day on which few act costs
little more than reading the orders once. The references are `numpy.flatnonzero` and `sim.picks.cut_orders`.
"""

from __future__ import annotations

from numba import njit

from sim.kernels.blocks import BLOCK, is_empty


@njit(cache=True, nogil=True)
def _pick_row(amount, base, where, amounts, count):  # type: ignore[no-untyped-def]
    for first in range(0, amount.size, BLOCK):
        last = min(first + BLOCK, amount.size)
        if is_empty(amount, first, last):
            continue
        block = amount[first:last]
        for i in range(block.size):
            if block[i]:
                where[count] = base + first + i
                amounts[count] = block[i]
                count += 1
    return count


@njit(cache=True, nogil=True)
def _take_row(order, held, base, where, amounts, count):  # type: ignore[no-untyped-def]
    for first in range(0, order.size, BLOCK):
        last = min(first + BLOCK, order.size)
        if is_empty(order, first, last):
            continue
        block, has = order[first:last], held[first:last]
        for i in range(block.size):
            if block[i]:
                amount = min(block[i], has[i])
                block[i] = 0
                if amount:
                    where[count] = base + first + i
                    amounts[count] = amount
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _clear(order):  # type: ignore[no-untyped-def]
    for first in range(0, order.size, BLOCK):
        last = min(first + BLOCK, order.size)
        if not is_empty(order, first, last):  # memory that is only read need not be written back
            order[first:last] = 0


@njit(cache=True, nogil=True)
def pick(amount, where, amounts):  # type: ignore[no-untyped-def]
    """List the elements that are not 0; returns how many there are.

    Parameters
    ----------
    amount
        int64 (runs, agents).
    where, amounts
        Flat index and element, int64 with room for all elements, written.
    """
    count, agents = 0, amount.shape[1]
    for r in range(amount.shape[0]):
        count = _pick_row(amount[r], r * agents, where, amounts, count)
    return count


@njit(cache=True, nogil=True)
def take_orders(orders, held, start, stop, where, amounts):  # type: ignore[no-untyped-def]
    """List what is ordered, cut to what is held, and clear the orders; returns how many act.

    Parameters
    ----------
    orders
        int64 (runs, agents), 0 or more; zeros afterwards.
    held
        int64 (runs, agents), 0 or more.
    start, stop
        Columns of agents who order whatever they hold.
    where, amounts
        Flat index and amount of those who act, int64 with room for all, written.
    """
    count, agents = 0, orders.shape[1]
    for r in range(orders.shape[0]):
        order, has, base = orders[r], held[r], r * agents
        count = _take_row(order[:start], has[:start], base, where, amounts, count)
        _clear(order[start:stop])
        count = _pick_row(has[start:stop], base + start, where, amounts, count)
        count = _take_row(order[stop:], has[stop:], base + stop, where, amounts, count)
    return count
