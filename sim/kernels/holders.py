"""Holders' day, in one pass over memory: sales of airdrops, and moves towards a plan.

Rule decided here: the same integers as `sell_airdrops` and `rebalance` of `sim/phases/holders.py`, which are the
references. Holders stand in groups, each in the order of its patience, so that those who sold their airdrop are the
first of their group.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK
from sim.kernels.picks import pick_row

TILE = 512
"""Agents of a tile."""
STAKE, UNSTAKE, WRAP, UNWRAP, DEPOSIT, WITHDRAW = range(6)
"""Places of the moves in `follow_plans`."""
_NONE = np.int64(0)


@njit(cache=True, nogil=True, inline="always")
def _part(total, share):  # type: ignore[no-untyped-def]
    return np.int64(np.floor(np.float64(total) * share))


@njit(cache=True, nogil=True, inline="always")
def _of_rest(rest, rate):  # type: ignore[no-untyped-def]
    """Return what is sold of what was not airdropped: a float64 of more than 2^53 gwei may be the larger one."""
    return min(_part(rest, rate), rest)


@njit(cache=True, nogil=True)
def _sell_rest(held, sale, rate):  # type: ignore[no-untyped-def]
    """Fill the sales of holders who have nothing left of airdrops; returns their sum."""
    total = _NONE
    for a in range(sale.size):
        sale[a] = _of_rest(held[a], rate)
        total += sale[a]
    return total


@njit(cache=True, nogil=True)
def _sell_beside(held, kept, sale, rate):  # type: ignore[no-untyped-def]
    """Fill the sales of holders who keep what was airdropped, as far as they hold it; returns their sum."""
    total = _NONE
    for first in range(0, sale.size, BLOCK):
        last = min(first + BLOCK, sale.size)
        own, mine, sold, gone = held[first:last], kept[first:last], sale[first:last], False
        for a in range(sold.size):
            gone |= mine[a] > own[a]
            sold[a] = _of_rest(max(own[a] - mine[a], _NONE), rate)
            total += sold[a]
        if gone:
            for a in range(sold.size):
                mine[a] = min(mine[a], own[a])
    return total


@njit(cache=True, nogil=True)
def sell_airdrops(wallets, airdropped, sales, totals, bounds, patience, sold_out, limit, rate):  # type: ignore[no-untyped-def]
    """Order the sale of airdropped tokens, all of an agent's at once, and of a part of the rest.

    Parameters
    ----------
    wallets
        L1 wallets, int64 (runs, all agents).
    airdropped
        Tokens of airdrops that are not sold yet, int64 (runs, holders); written.
    sales, totals
        What each holder sells, int64 (runs, holders), and the sums of runs, int64 (runs,); written.
    bounds
        First holder of each group, and how many holders there are, int64 (groups + 1,); holders are the first columns.
    patience
        Rising within each group, uint32 (runs, holders).
    sold_out
        How many sold their airdrop before, int64 (runs, groups): the first of each group, who have nothing left of it;
        written.
    limit
        Those with less patience have sold by the end of today, uint64 (runs,).
    rate
        Part of the rest that is sold today.
    """
    for r in range(totals.size):
        held, kept, sale, total = wallets[r], airdropped[r], sales[r], _NONE
        for k in range(bounds.size - 1):
            first, last = bounds[k], bounds[k + 1]
            before = now = first + sold_out[r, k]
            while now < last and np.uint64(patience[r, now]) < limit[r]:
                now += 1
            total += _sell_rest(held[first:before], sale[first:before], rate)
            total += _sell_beside(held[now:last], kept[now:last], sale[now:last], rate)
            for a in range(before, now):
                dropped = min(kept[a], held[a])
                kept[a], sale[a] = 0, dropped + _of_rest(held[a] - dropped, rate)
                total += sale[a]
            sold_out[r, k] = now - first
        totals[r] = total


@njit(cache=True, nogil=True, inline="always")
def _gap(gap, wanted, parts, dust):  # type: ignore[no-untyped-def]
    """Return a gap unless it is dust or not above floor(wanted / parts), that is unless gap x parts > wanted."""
    return gap if (gap > dust) & (wanted - gap * (parts - 1) < gap) else _NONE


@njit(cache=True, nogil=True)
def _plan(l1, l2, stake, wrapped, plan, sends_home, dust, moves):  # type: ignore[no-untyped-def]
    """Fill the moves of a tile of agents."""
    stake_share, wrap_share = plan
    for i in range(l1.size):
        on_l1, on_l2, staked, gopen = l1[i], l2[i], stake[i], wrapped[i]
        total = on_l1 + on_l2 + staked + gopen
        want_stake = _part(total, stake_share)
        want_wrap = _part(total, wrap_share)
        lack_stake = _gap(want_stake - staked, want_stake, np.int64(10), dust)
        lack_wrap = _gap(want_wrap - gopen, want_wrap, np.int64(10), dust)
        to_stake = min(lack_stake, on_l2)
        to_wrap = min(lack_wrap, on_l2 - to_stake)
        idle = on_l2 - to_stake - to_wrap
        moves[STAKE, i], moves[WRAP, i] = to_stake, to_wrap
        moves[UNSTAKE, i] = _gap(staked - want_stake, want_stake, np.int64(5), dust)
        moves[UNWRAP, i] = _gap(gopen - want_wrap, want_wrap, np.int64(5), dust)
        moves[DEPOSIT, i] = min(lack_stake + lack_wrap - to_stake - to_wrap, on_l1)
        moves[WITHDRAW, i] = idle if idle > dust and sends_home else _NONE


@njit(cache=True, nogil=True)
def follow_plans(  # type: ignore[no-untyped-def]
    l1,
    l2,
    stake,
    wrapped,
    places,
    plans,
    sends_home,
    dust,
    where,
    amounts,
    counts,
):
    """Find what brings those whose day it is towards their target of stake and GOPEN.

    Parameters
    ----------
    l1, l2, stake, wrapped
        What agents hold, int64 (runs, all agents).
    places
        Of each group: columns of the first agent whose day it is and of the one after the last, int64 (groups, 2).
    plans
        Of each group: wanted shares of stake and of GOPEN, float64 (groups, 2).
    sends_home
        Whether what nobody wants on L2 is withdrawn, bool (groups,).
    dust
        Gaps up to here move nothing.
    where, amounts
        Flat index and gwei of those who stake, unstake, wrap, unwrap, deposit and withdraw, int64 (6, room for all),
        written.
    counts
        How many these are, int64 (6,), written.
    """
    agents, moves = l1.shape[1], np.empty((6, TILE), np.int64)
    counts[:] = 0
    for r in range(l1.shape[0]):
        for c in range(places.shape[0]):
            for first in range(places[c, 0], places[c, 1], TILE):
                last = min(first + TILE, places[c, 1])
                own = slice(first, last)
                _plan(
                    l1[r, own], l2[r, own], stake[r, own], wrapped[r, own], plans[c], sends_home[c], dust, moves
                )  # fmt: skip
                for kind in range(6):
                    counts[kind] = pick_row(
                        moves[kind, : last - first],
                        r * agents + first,
                        where[kind],
                        amounts[kind],
                        counts[kind],
                    )
