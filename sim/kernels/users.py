"""Users' day, in three passes over memory: who uses the service, who tops up, and who asks for what.

Rule decided here: the same integers as `adopt`, `keep_credit` and `ask` of `sim/phases/demand_reference.py`, which are
the references. Users stand in the order in which they adopt, so that those who use the service are the first of their
run, and nothing of the others is read.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.philox import block, key_words
from sim.kernels.picks import pick_row

TILE = 1024
"""Users of a tile, which fits the fastest cache."""
_NONE = np.int64(0)
_HALF = 2.0**-32


@njit(cache=True, nogil=True)
def adopt(threshold, level, active, credit, first, where, amounts):  # type: ignore[no-untyped-def]
    """Bring up to date how many use the service, and list the credit of those who leave.

    Parameters
    ----------
    threshold
        Rising, uint32 (runs, users).
    level
        Users with a threshold below it use the service, uint64 (runs,).
    active
        How many used it yesterday, int64 (runs,); written.
    credit
        Prepaid gwei, int64 (runs, all agents).
    first
        Column of the first user.
    where, amounts
        Flat index and credit of those who leave, int64 with room for all, written.

    Returns
    -------
    int
        How many leave.
    """
    gone, agents = 0, credit.shape[1]
    for r in range(active.size):
        limits, least, count = threshold[r], level[r], active[r]
        while count > 0 and np.uint64(limits[count - 1]) >= least:
            count -= 1
            where[gone], amounts[gone] = r * agents + first + count, credit[r, first + count]
            gone += 1
        while count < limits.size and np.uint64(limits[count]) < least:
            count += 1
        active[r] = count
    return gone


@njit(cache=True, nogil=True)
def _lack(pays, credit, l2, transit, l1, level, targets, refill_at, usd, orders, missing):  # type: ignore[no-untyped-def]
    """Fill what users order, and what the credit of those who can deposit lacks."""
    low, high = targets
    for u in range(orders.size):
        target = high if np.uint64(pays[u]) < level else low
        have = credit[u] + l2[u] + transit[u] + l1[u]
        is_low = np.float64(have) < np.float64(target) * refill_at
        orders[u] = np.int64(np.floor(np.float64(target - have) * usd)) if is_low else _NONE
        lacking = max(target - credit[u], _NONE)
        missing[u] = lacking if l2[u] > 0 else _NONE


@njit(cache=True, nogil=True)
def keep_credit(  # type: ignore[no-untyped-def]
    active, paid, accounts, first, level, targets, refill_at, usd, ordered, orders, lacking
):
    """List who orders what their credit lacks, and who can deposit.

    Parameters
    ----------
    active
        How many use the service, int64 (runs,).
    paid
        Who pays for access, uint32 (runs, users).
    accounts
        Prepaid credit, L2 wallet, transit and L1 wallet, int64 (runs, all agents) each.
    first
        Column of the first user.
    level
        Who is below it pays for access, uint64 (runs,).
    targets
        Wanted credit without and with access, int64 (2, runs).
    refill_at
        Part of the target below which a user buys.
    usd
        Micro-USD per gwei, float64 (runs,).
    ordered
        Micro-USD to be spent, int64 (runs,), written.
    orders
        Flat index and micro-USD of those who buy, int64 (2, room for all), written.
    lacking
        Flat index of those who can deposit, and what their credit lacks, int64 (2, room for all), written.

    Returns
    -------
    tuple of int
        How many buy, and how many can deposit.
    """
    credit, l2, transit, l1 = accounts
    buying, depositing, agents = 0, 0, credit.shape[1]
    bought, missing = np.empty(TILE, np.int64), np.empty(TILE, np.int64)
    for r in range(active.size):
        spent = _NONE
        for begin in range(0, active[r], TILE):
            end = min(begin + TILE, active[r])
            own, count, flat = slice(first + begin, first + end), end - begin, r * agents + first + begin
            _lack(
                paid[r, begin:end], credit[r, own], l2[r, own], transit[r, own], l1[r, own], level[r],
                (targets[0, r], targets[1, r]), refill_at, usd[r], bought[:count], missing[:count],
            )  # fmt: skip
            spent += bought[:count].sum()
            buying = pick_row(bought[:count], flat, orders[0], orders[1], buying)
            depositing = pick_row(missing[:count], flat, lacking[0], lacking[1], depositing)
        ordered[r] = spent
    return buying, depositing


@njit(cache=True, nogil=True)
def _draw(key, agent, day, run, stream, shift, volume, cells):  # type: ignore[no-untyped-def]
    """Fill the draws of users in a row: the volume's word as a uniform, and the model's cell."""
    k0, k1 = key
    for i in range(volume.size):
        _, model, word, _ = block(agent + np.uint64(i), day, run, stream, k0, k1)
        volume[i] = (np.float64(word) + 0.5) * _HALF
        cells[i] = np.int64(model >> shift)


@njit(cache=True, nogil=True)
def _want(pays, held, volume, spread, level, access, price, mean_in, mean_out, fed, written):  # type: ignore[no-untyped-def]
    """Fill what a tile asks for, cut to its credit; returns the sums of tokens in and out."""
    total_in, total_out = _NONE, _NONE
    low, width = 1.0 - spread, 2.0 * spread
    for i in range(fed.size):
        fee = access if np.uint64(pays[i]) < level else _NONE
        much = low + width * volume[i]
        full = price * much / 1e6 + np.float64(fee)
        # the rest of a gwei that floors may add is kept back
        left = np.float64(max(held[i] - fee - 1, _NONE))
        much *= min(left / max(full - np.float64(fee), 1.0), 1.0)
        fed[i], written[i] = np.int64(much * mean_in), np.int64(much * mean_out)
        total_in += fed[i]
        total_out += written[i]
    return total_in, total_out


@njit(cache=True, nogil=True)
def _choose(kind, cells, cell_bits, table, chosen):  # type: ignore[no-untyped-def]
    """Fill the builders of the models that a tile chooses."""
    bits = np.uint64(cell_bits)
    for i in range(kind.size):
        chosen[i] = table[(np.uint64(kind[i]) << bits) + np.uint64(cells[i])]


@njit(cache=True, nogil=True)
def ask(  # type: ignore[no-untyped-def]
    active, paid, query_class, credit, first, seed, stream, runs, day, agent, spread, level, access, price, mean_in,
    mean_out, popularity, cell_bits, tokens_in, tokens_out, owner, asked,
):  # fmt: skip
    """Draw today's use and model of every user, cut to what credit covers.

    Parameters
    ----------
    active
        How many use the service, int64 (runs,).
    paid, query_class
        Traits, uint32 and int16 (runs, users).
    credit, first
        Prepaid gwei, int64 (runs, all agents), and the column of the first user.
    seed, stream, runs, day, agent
        Key of the draws: word 1 decides the model, word 2 the volume.
    spread
        Half the width of the volume around its mean of 1.
    level, access
        Who is below the level, uint64, pays the access fee, int64 gwei; (runs,).
    price
        Gwei of a mean user's tokens times 10^6, float64 (runs,).
    mean_in, mean_out
        Mean tokens, float64 (runs,).
    popularity
        Builder per cell, whole numbers (runs, classes << cell_bits).
    cell_bits
        Bits of the word that choose a cell.
    tokens_in, tokens_out, owner
        Tokens asked for, int64, and builder of the model, int32; (runs, users), written for those who use the service.
    asked
        Tokens in and out of each run, int64 (2, runs), written.
    """
    key, shift = key_words(seed), np.uint64(32 - cell_bits)
    volume, cells = np.empty(TILE), np.empty(TILE, np.int64)
    for r in range(active.size):
        whole_in, whole_out = _NONE, _NONE
        for begin in range(0, active[r], TILE):
            end = min(begin + TILE, active[r])
            own, count = slice(begin, end), end - begin
            _draw(key, agent + np.uint64(begin), day, runs[r], stream, shift, volume[:count], cells[:count])
            fed, written = _want(
                paid[r, own], credit[r, first + begin : first + end], volume[:count], spread, level[r], access[r],
                price[r], mean_in[r], mean_out[r], tokens_in[r, own], tokens_out[r, own],
            )  # fmt: skip
            whole_in += fed
            whole_out += written
            _choose(query_class[r, own], cells, cell_bits, popularity[r], owner[r, own])
        asked[0, r], asked[1, r] = whole_in, whole_out
