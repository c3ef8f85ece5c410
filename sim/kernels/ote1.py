"""OTE-1's day in numba: one pass over the agents, int64 gwei, its draws made on the way.

Rule decided here: the pass of a day pays out what the day before decided, releases what vests, draws and sells.
A single run is one pass over memory. Runs of a batch share what depends on no run, tile by tile while it is in cache:
what vests today, and Philox's first round with half of the second, in which only the agent varies. All sums are of
integers, so neither tiles nor vector width nor threads can change a result. Reference: `sim.engine_bench.reference`.

Vesting: with ``q, r = divmod(total, duration)`` day e of a schedule releases q, and one gwei more where
``r * e mod duration < r``. Here r / duration is a 64-bit binary fraction f, rounded up, and the test is
``f * e mod 2^64 < f``: exact for durations below 2^32, because rounding lifts f * e by less than e, and remainders of
different size are 2^64 / duration apart.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.philox import block

TILE = 4096
"""Agents whose shared parts fit the second-level cache beside a tile of balances; 1,024 to 4,096 measure level."""
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_TWO_52 = np.uint64(0x4330000000000000)
"""Bits of the float 2^52: a word below 2^32 put into its last bits adds itself."""
_ALL_BUT_HALF = 2.0**52 - 0.5


@njit(cache=True, nogil=True, inline="always")
def _begin(first, key):  # type: ignore[no-untyped-def]
    return _M1 * (((first >> _32) ^ key.stream ^ key.k1) & _LOW), first & _LOW


@njit(cache=True, nogil=True, inline="always")
def _uniform(product, low, day, run, k0, k1):  # type: ignore[no-untyped-def]
    # Word 1 of the block (agent, day, run, stream) and a half: word 1 needs two multiplications less than word 0.
    other = _M1 * (run & _LOW)
    c0, c1 = (other >> _32) ^ day ^ k0, other & _LOW
    k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    other = _M0 * c0
    c0, c1, c2, c3 = (product >> _32) ^ c1 ^ k0, product, (other >> _32) ^ low ^ k1, other
    for _ in range(8):
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
        # only low halves are multiplied, so the high halves of c1 and c3 need no clearing
        p0, p1 = _M0 * (c0 & _LOW), _M1 * (c2 & _LOW)
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1, (p0 >> _32) ^ c3 ^ k1, p0
    return np.uint64((c1 & _LOW) | _TWO_52).view(np.float64) - _ALL_BUT_HALF


@njit(cache=True, nogil=True)
def begin_blocks(agents, key):  # type: ignore[no-untyped-def]
    """Fill `product` and `low` of the agents for the key's stream and seed."""
    for a in range(agents.low.shape[0]):
        agents.product[a], agents.low[a] = _begin(_M0 * (key.agent + np.uint64(a)), key)


@njit(cache=True, nogil=True)
def _run_alone(balance, agents, key, payout, day):  # type: ignore[no-untyped-def]
    whole, fraction, cliff, duration = agents.whole, agents.fraction, agents.cliff, agents.duration
    sell, weight = agents.sell, agents.weight
    run, today, share = key.runs[0], np.uint64(day), np.float64(payout)
    sold, paid = np.int64(0), np.int64(0)
    first = _M0 * key.agent
    for a in range(balance.shape[0]):
        part = np.int64(weight[a] * share)
        paid += part
        b = balance[a] + part
        e = day - cliff[a]
        vesting = (e >= 1) and (e <= duration[a])
        if vesting:
            b += whole[a]
        if vesting and np.uint64(e) * fraction[a] < fraction[a]:
            b += 1
        product, low = _begin(first, key)
        first += _M0
        s = np.int64(np.float64(b) * sell[a] * _uniform(product, low, today, run, key.k0, key.k1))
        sold += s
        balance[a] = b - s
    return sold, paid


@njit(cache=True, nogil=True)
def _release(out, whole, fraction, cliff, duration, day):  # type: ignore[no-untyped-def]
    for a in range(out.shape[0]):
        e = day - cliff[a]
        extra = np.int64(np.uint64(e) * fraction[a] < fraction[a])
        out[a] = whole[a] + extra if (e >= 1) and (e <= duration[a]) else np.int64(0)


@njit(cache=True, nogil=True)
def _run_keyed(balance, released, sell, weight, product, low, payout, day, run, k0, k1):  # type: ignore[no-untyped-def]
    share, today = np.float64(payout), np.uint64(day)
    sold, paid = np.int64(0), np.int64(0)
    for a in range(balance.shape[0]):
        part = np.int64(weight[a] * share)
        paid += part
        b = balance[a] + part + released[a]
        s = np.int64(np.float64(b) * sell[a] * _uniform(product[a], low[a], today, run, k0, k1))
        sold += s
        balance[a] = b - s
    return sold, paid


@njit(cache=True, nogil=True)
def _run_given(balance, released, sell, weight, payout, given):  # type: ignore[no-untyped-def]
    share = np.float64(payout)
    sold, paid = np.int64(0), np.int64(0)
    for a in range(balance.shape[0]):
        part = np.int64(weight[a] * share)
        paid += part
        b = balance[a] + part + released[a]
        s = np.int64(np.float64(b) * sell[a] * (given[a] * 4294967296.0))
        sold += s
        balance[a] = b - s
    return sold, paid


@njit(cache=True, nogil=True)
def _pass(agents, state, key, given, day, sold, paid):  # type: ignore[no-untyped-def]
    runs, count = state.balance.shape
    sold[:], paid[:] = 0, 0
    if runs == 1 and not given.shape[0]:
        sold[0], paid[0] = _run_alone(state.balance[0], agents, key, state.payout[0], day)
        return
    room = np.empty(min(TILE, count), np.int64)
    for i in range(0, count, TILE):
        j = min(count, i + TILE)
        released, sell, weight = room[: j - i], agents.sell[i:j], agents.weight[i:j]
        product, low = agents.product[i:j], agents.low[i:j]
        _release(
            released, agents.whole[i:j], agents.fraction[i:j], agents.cliff[i:j], agents.duration[i:j], day
        )
        for r in range(runs):
            balance, payout = state.balance[r, i:j], state.payout[r]
            if given.shape[0]:
                s, p = _run_given(balance, released, sell, weight, payout, given[day, i:j])
            else:
                s, p = _run_keyed(
                    balance, released, sell, weight, product, low, payout, day, key.runs[r], key.k0, key.k1
                )
            sold[r] += s
            paid[r] += p


@njit(cache=True, nogil=True)
def advance(agents, state, record, key, given, rules, first, last):  # type: ignore[no-untyped-def]
    """Live through the days ``first .. last``; the last day's payout is decided and not yet paid.

    Parameters
    ----------
    agents, state, record, key, rules
        As `sim.kernels.ote1_state` says; `state` and `record` are written.
    given
        Uniforms to use in place of keyed ones, (days + 1, agents), or (0, 0).
    first, last
        Days, from 1.
    """
    runs = state.balance.shape[0]
    sold, paid = np.empty(runs, np.int64), np.empty(runs, np.int64)
    for day in range(first, last + 1):
        _pass(agents, state, key, given, day, sold, paid)
        for r in range(runs):
            state.reserve[r] += state.payout[r] - paid[r] - rules.revenue
            fee = sold[r] * rules.fee_per_mille // 1000
            net = sold[r] - fee
            pool = np.float64(state.pool[r])
            state.usd[r] -= state.usd[r] * np.float64(net) / (pool + np.float64(net))
            state.pool[r] += net
            state.payout[r] = fee + rules.revenue
            record.pool[day, r], record.usd[day, r] = state.pool[r], state.usd[r]
            record.sold[day, r] = sold[r]


@njit(cache=True, nogil=True)
def pay(agents, state):  # type: ignore[no-untyped-def]
    """Pay out what the last day decided; what floors leave over returns to the reserve."""
    weight = agents.weight
    for r in range(state.balance.shape[0]):
        balance, share = state.balance[r], np.float64(state.payout[r])
        paid = np.int64(0)
        for a in range(balance.shape[0]):
            part = np.int64(weight[a] * share)
            paid += part
            balance[a] += part
        state.reserve[r] += state.payout[r] - paid
        state.payout[r] = 0


@njit(cache=True, nogil=True)
def vote_uniforms(out, key, run, day, first):  # type: ignore[no-untyped-def]
    """Fill `out` (agents,) with the uniforms of a day's votes.

    Parameters
    ----------
    out
        float64 (agents,), written.
    key, run, day, first
        Key of the draws, run and day as uint64, and the agent word of the first agent.
    """
    stream, k0, k1 = key.stream, key.k0, key.k1
    for a in range(out.shape[0]):
        out[a] = (np.float64(block(first + np.uint64(a), day, run, stream, k0, k1)[0]) + 0.5) * 2.0**-32


@njit(cache=True, nogil=True)
def count_votes(balance, odds, drawn):  # type: ignore[no-untyped-def]
    """Return the balances of those who vote, and all balances.

    Parameters
    ----------
    balance
        int64 gwei (agents,).
    odds, drawn
        Odds against voting, and uniforms, (agents,).
    """
    voting, total = np.int64(0), np.int64(0)
    for a in range(balance.shape[0]):
        voting += balance[a] if drawn[a] * (1.0 + odds[a]) < 1.0 else np.int64(0)
        total += balance[a]
    return voting, total
