"""Users' day, in three passes over memory: who uses the service, who tops up, and who asks for what.

Rule decided here: the same integers as `adopt`, `keep_credit` and `ask` of `sim/phases/demand_reference.py`, which are
the references. Whoever does not use the service asks for nothing, so that what is asked for is found tile by tile of a
list of the day's users; who tops up is found by a pass over all, because that waits for memory, which is read faster in
its order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.philox import block, key_words
from sim.kernels.tiles import TILE, active_of_tile, list_users, of_tile

_NONE = np.int64(0)
_HALF = 2.0**-32


@njit(cache=True, nogil=True)
def adopt(threshold, level, active, credit, first, users, listed, counts, where, amounts):  # type: ignore[no-untyped-def]
    """Bring up to date who uses the service; list them, and the credit of those who leave.

    Parameters
    ----------
    threshold
        uint32 (runs, users).
    level
        Users with a threshold below it use the service, uint64 (runs,).
    active
        Yesterday's users, bool (runs, users); written.
    credit
        Prepaid gwei, int64 (runs, all agents).
    first
        Column of the first user.
    users, listed
        Lists of the runs' users, uint32 (runs, users), and their lengths, int64 (runs,), as of `list_users`; written.
    counts
        Users of each run, int64 (runs,), written.
    where, amounts
        Flat index and credit of those who leave, int64 with room for all, written.

    Returns
    -------
    int
        How many leave.
    """
    gone, agents = 0, credit.shape[1]
    for r in range(active.shape[0]):
        least, uses, limits, count, leave = level[r], active[r], threshold[r], _NONE, False
        for u in range(uses.size):
            now = np.uint64(limits[u]) < least
            count += now
            leave |= uses[u] & (not now)
        if leave:
            for u in range(uses.size):
                if uses[u] and not np.uint64(limits[u]) < least:
                    where[gone], amounts[gone] = r * agents + first + u, credit[r, first + u]
                    gone += 1
        for u in range(uses.size):
            uses[u] = np.uint64(limits[u]) < least
        counts[r], listed[r] = count, list_users(uses, count, users[r])
    return gone


@njit(cache=True, nogil=True)
def _lack(uses, pays, credit, l2, transit, l1, level, targets, refill_at, usd, orders, missing):  # type: ignore[no-untyped-def]
    """Fill what a run's users order, and what the credit of those who can deposit lacks."""
    low, high = targets
    for u in range(orders.size):
        target = high if np.uint64(pays[u]) < level else low
        target = target if uses[u] else _NONE
        have = credit[u] + l2[u] + transit[u] + l1[u]
        is_low = np.float64(have) < np.float64(target) * refill_at
        orders[u] = np.int64(np.floor(np.float64(target - have) * usd)) if is_low else _NONE
        lacking = max(target - credit[u], _NONE)
        missing[u] = lacking if l2[u] > 0 else _NONE


@njit(cache=True, nogil=True)
def keep_credit(  # type: ignore[no-untyped-def]
    active, paid, accounts, first, level, targets, refill_at, usd, orders, ordered, where, lacking
):
    """Order what credit lacks, and list who can deposit.

    Parameters
    ----------
    active, paid
        Who uses the service, bool, and who pays for access, uint32 (runs, users).
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
    orders
        Micro-USD to be spent, int64 (runs, all agents), written where a user buys.
    ordered
        Their sum, int64 (runs,), written.
    where, lacking
        Flat index of those who can deposit, and what their credit lacks, int64 with room for all, written.

    Returns
    -------
    int
        How many can deposit.
    """
    credit, l2, transit, l1 = accounts
    count, agents, users = 0, credit.shape[1], active.shape[1]
    bought, missing = np.empty(users, np.int64), np.empty(users, np.int64)
    for r in range(active.shape[0]):
        own = slice(first, first + users)
        _lack(
            active[r], paid[r], credit[r, own], l2[r, own], transit[r, own], l1[r, own], level[r],
            (targets[0, r], targets[1, r]), refill_at, usd[r], bought, missing,
        )  # fmt: skip
        spent = _NONE
        for u in range(users):
            if bought[u]:
                orders[r, first + u] = bought[u]
                spent += bought[u]
            if missing[u]:
                where[count], lacking[count] = r * agents + first + u, missing[u]
                count += 1
        ordered[r] = spent
    return count


@njit(cache=True, nogil=True)
def _draw(users, key, agent, day, run, stream, shift, volume, cells):  # type: ignore[no-untyped-def]
    """Fill the draws of a tile: the volume's word as a uniform, and the model's cell."""
    k0, k1 = key
    for i in range(users.size):
        _, model, word, _ = block(agent + np.uint64(users[i]), day, run, stream, k0, k1)
        volume[i] = (np.float64(word) + 0.5) * _HALF
        cells[i] = np.int64(model >> shift)


@njit(cache=True, nogil=True)
def _want(uses, pays, held, volume, spread, level, access, price, mean_in, mean_out, fed, written):  # type: ignore[no-untyped-def]
    """Fill what a tile asks for, cut to its credit; returns the sums of tokens in and out."""
    total_in, total_out = _NONE, _NONE
    low, width = 1.0 - spread, 2.0 * spread
    for i in range(uses.size):
        fee = access if np.uint64(pays[i]) < level else _NONE
        much = low + width * volume[i]
        full = price * much / 1e6 + np.float64(fee)
        # the rest of a gwei that floors may add is kept back
        left = np.float64(max(held[i] - fee - 1, _NONE))
        much *= min(left / max(full - np.float64(fee), 1.0), 1.0)
        much = much if uses[i] else 0.0
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
    users, listed, active, paid, query_class, credit, first, seed, stream, runs, day, agent, spread,
    level, access, price, mean_in, mean_out, popularity, cell_bits, tokens_in, tokens_out, owner, asked,
):  # fmt: skip
    """Draw today's use and model of every user, cut to what credit covers.

    Parameters
    ----------
    users, listed
        Lists of the runs' users and their lengths, as `adopt` writes them.
    active, paid, query_class
        Who uses the service, bool, and traits, uint32 and int16; (runs, users).
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
        Tokens asked for, int64, and builder of the model, int32, in the order of the list; (runs, users), written as
        far as the lists go.
    asked
        Tokens in and out of each run, int64 (2, runs), written.
    """
    key, own, shift = key_words(seed), slice(first, first + users.shape[1]), np.uint64(32 - cell_bits)
    volume, cells, held = np.empty(TILE), np.empty(TILE, np.int64), np.empty(TILE, np.int64)
    pays, kind = np.empty(TILE, paid.dtype), np.empty(TILE, query_class.dtype)
    everybody = np.ones(TILE, np.bool_)
    for r in range(users.shape[0]):
        whole_in, whole_out = _NONE, _NONE
        for begin in range(0, listed[r], TILE):
            end = min(begin + TILE, listed[r])
            some = users[r, begin:end]
            _draw(some, key, agent, day, runs[r], stream, shift, volume, cells)
            fed, written = _want(
                active_of_tile(some, active[r], everybody), of_tile(some, paid[r], pays),
                of_tile(some, credit[r, own], held), volume, spread, level[r], access[r], price[r],
                mean_in[r], mean_out[r], tokens_in[r, begin:end], tokens_out[r, begin:end],
            )  # fmt: skip
            whole_in += fed
            whole_out += written
            _choose(of_tile(some, query_class[r], kind), cells, cell_bits, popularity[r], owner[r, begin:end])
        asked[0, r], asked[1, r] = whole_in, whole_out
