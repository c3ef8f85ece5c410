"""Holders' day, in one pass over memory: sales of airdrops, and moves towards a plan.

Rule decided here: the same integers as `sell_airdrops` and `rebalance` of `sim/phases/holders.py`, which are the
references. A kernel writes orders in place, and says of each move whether anybody makes it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.philox import block, key_words

STAKE, UNSTAKE, WRAP, UNWRAP = range(4)
"""Places of the moves in `follow_plans`."""
_DEPOSIT, _IDLE = 4, 5
_NONE = np.int64(0)
_TILE = 512


@njit(cache=True, nogil=True)
def sell_airdrops(  # type: ignore[no-untyped-def]
    wallets, airdropped, orders, first, seed, stream, runs, day, agent, limit, rate
):
    """Order the sale of airdropped tokens, all of an agent's at once, and of a part of the rest.

    Parameters
    ----------
    wallets, orders
        L1 wallets, and orders to which the sales are added, int64 (runs, all agents).
    airdropped
        Tokens of airdrops that are not sold yet, int64 (runs, holders); written.
    first
        Column of the first holder.
    seed, stream, day, agent
        Key of the draw, whose first word decides, and agent word of the first holder, uint64.
    runs
        Run numbers, uint64 (runs,).
    limit
        Words below this sell, uint64 (runs,).
    rate
        Part of the rest that is sold today.
    """
    k0, k1 = key_words(seed)
    count = airdropped.shape[1]
    for r in range(airdropped.shape[0]):
        held, order = wallets[r, first : first + count], orders[r, first : first + count]
        kept, least, run = airdropped[r], limit[r], runs[r]
        for a in range(count):
            word, _, _, _ = block(agent + np.uint64(a), day, run, stream, k0, k1)
            dropped = min(kept[a], held[a])
            sold = dropped if word < least else _NONE
            kept[a] = dropped - sold
            order[a] += sold + np.int64(np.floor(np.float64(held[a] - dropped) * rate))


@njit(cache=True, nogil=True, inline="always")
def _part(total, share):  # type: ignore[no-untyped-def]
    return np.int64(np.floor(np.float64(total) * share))


@njit(cache=True, nogil=True, inline="always")
def _gap(gap, wanted, parts, dust):  # type: ignore[no-untyped-def]
    """Return a gap unless it is dust or not above floor(wanted / parts), that is unless gap x parts > wanted."""
    return gap if (gap > dust) & (wanted - gap * (parts - 1) < gap) else _NONE


@njit(cache=True, nogil=True)
def _gather(l1, l2, stake, wrapped, taste, first, last, every, held, share):  # type: ignore[no-untyped-def]
    """Copy every n-th agent of a run into a tile; the reads of all arrays wait for memory together."""
    size = (last - first + every - 1) // every
    for i in range(size):
        a = first + i * every
        held[0, i], held[1, i], held[2, i], held[3, i] = l1[a], l2[a], stake[a], wrapped[a]
        share[i] = taste[a]
    return size


@njit(cache=True, nogil=True)
def _plan(held, share, plan, dust, moves):  # type: ignore[no-untyped-def]
    """Fill the moves of a tile of agents: the four of `STAKE` and its like, what to deposit, what is idle."""
    part, stake_share, wrap_share = plan
    for i in range(share.shape[0]):
        on_l1, on_l2, staked, gopen = held[0, i], held[1, i], held[2, i], held[3, i]
        total = on_l1 + on_l2 + staked + gopen
        takes_part = share[i] < part
        want_stake = _part(total, stake_share if takes_part else 0.0)
        want_wrap = _part(total, wrap_share if takes_part else 0.0)
        lack_stake = _gap(want_stake - staked, want_stake, np.int64(10), dust)
        lack_wrap = _gap(want_wrap - gopen, want_wrap, np.int64(10), dust)
        to_stake = min(lack_stake, on_l2)
        to_wrap = min(lack_wrap, on_l2 - to_stake)
        idle = on_l2 - to_stake - to_wrap
        moves[STAKE, i], moves[WRAP, i] = to_stake, to_wrap
        moves[UNSTAKE, i] = _gap(staked - want_stake, want_stake, np.int64(5), dust)
        moves[UNWRAP, i] = _gap(gopen - want_wrap, want_wrap, np.int64(5), dust)
        moves[_DEPOSIT, i] = min(lack_stake + lack_wrap - to_stake - to_wrap, on_l1)
        moves[_IDLE, i] = idle if idle > dust else _NONE


@njit(cache=True, nogil=True)
def follow_plans(  # type: ignore[no-untyped-def]
    l1,
    l2,
    stake,
    wrapped,
    taste,
    places,
    plans,
    sends_home,
    dust,
    deposits,
    withdrawals,
    where,
    amounts,
    counts,
):
    """Find what brings those whose day it is towards their target of stake and GOPEN.

    Parameters
    ----------
    l1, l2, stake, wrapped
        What agents hold, int64 (runs, all agents).
    taste
        Who takes part, float64 (runs, all agents).
    places
        Of each class: column of the first agent whose day it is, one after the last of the class, and every how many
        agents act, int64 (classes, 3).
    plans
        Of each class: share of agents who take part, wanted shares of stake and of GOPEN, float64 (classes, 3).
    sends_home
        Whether what nobody wants on L2 is withdrawn, bool (classes,).
    dust
        Gaps up to here move nothing.
    deposits, withdrawals
        Orders to bridge, int64 (runs, all agents), to which those of the plans are added.
    where, amounts
        Flat index and gwei of those who stake, unstake, wrap, unwrap, int64 (4, room for all), written.
    counts
        How many these are, int64 (4,), written.
    """
    agents = l1.shape[1]
    held, share, moves = np.empty((4, _TILE), np.int64), np.empty(_TILE), np.empty((6, _TILE), np.int64)
    counts[:] = 0
    for r in range(l1.shape[0]):
        for c in range(places.shape[0]):
            stop, every = places[c, 1], places[c, 2]
            for first in range(places[c, 0], stop, every * _TILE):
                last = min(first + every * _TILE, stop)
                size = _gather(l1[r], l2[r], stake[r], wrapped[r], taste[r], first, last, every, held, share)
                _plan(held, share[:size], plans[c], dust, moves)
                for kind in range(4):
                    for i in range(size):
                        if moves[kind, i]:
                            where[kind, counts[kind]] = r * agents + first + i * every
                            amounts[kind, counts[kind]] = moves[kind, i]
                            counts[kind] += 1
                for i in range(size):
                    if moves[_DEPOSIT, i]:
                        deposits[r, first + i * every] += moves[_DEPOSIT, i]
                    if sends_home[c] and moves[_IDLE, i]:
                        withdrawals[r, first + i * every] += moves[_IDLE, i]
