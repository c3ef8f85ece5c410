"""Bills of the day: fees, and each bill's parts, summed as they are found.

Rule decided here: the same integers as `bill` of `sim/phases/billing.py`, which is the reference and is asked wherever
a bill or a user's tokens are so large that an estimate in float64 would not be off by at most one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.apportion import floor_share
from sim.kernels.users import TILE

_NONE = np.int64(0)
_PER = np.int64(1_000_000)
_BPS = np.int64(10_000)
LARGEST_BILL = 2**50
"""Bills below this are split exactly."""
MOST_TOKENS = 2**42
"""Tokens of a user, in and out, below which what they cost fits 63 bits before the division."""


@njit(cache=True, nogil=True, inline="always")
def _fee(tokens_in, tokens_out, rate_in, rest_in, rate_out, rest_out):  # type: ignore[no-untyped-def]
    """Return the token fee, from the rates' quotients and remainders by 10^6."""
    rest = floor_share(tokens_in * rest_in + tokens_out * rest_out, np.int64(1), 1e-6, _PER)
    return tokens_in * rate_in + tokens_out * rate_out + rest


@njit(cache=True, nogil=True)
def _charge(  # type: ignore[no-untyped-def]
    fed, written, held, pays, shares, rates, access, level, bills
):
    """Fill one run's bills; returns how many there are, the sum of token fees, and whether all can be split here."""
    count, fees, bits = _NONE, _NONE, _NONE
    share_in, share_out = shares
    rate_in, rate_out = rates[0] // _PER, rates[1] // _PER
    rest_in, rest_out = rates[0] % _PER, rates[1] % _PER
    for u in range(bills.shape[0]):
        tokens_in = np.int64(np.float64(fed[u]) * share_in)
        tokens_out = np.int64(np.float64(written[u]) * share_out)
        fee = min(_fee(tokens_in, tokens_out, rate_in, rest_in, rate_out, rest_out), held[u])
        paying = np.uint64(pays[u]) < level and tokens_in + tokens_out > 0
        bill = fee + (min(access, held[u] - fee) if paying else _NONE)
        bills[u] = bill
        fees += fee
        count += bill != 0
        bits |= bill
    return count, fees, 0 <= bits < LARGEST_BILL


@njit(cache=True, nogil=True)
def _split(bills, rule, model, contributors, sums):  # type: ignore[no-untyped-def]
    """Split one run's bills; fills the parts of models and contributors, and the sums of the other parts."""
    platform_bps, flat, burn_bps, of_model, of_stakers, whole = rule
    platform_ratio, burn_ratio = np.float64(platform_bps) / _BPS, np.float64(burn_bps) / _BPS
    model_ratio = np.float64(of_model) / np.float64(whole)
    stakers_ratio = np.float64(of_stakers) / np.float64(whole)
    total, burned, staked = _NONE, _NONE, _NONE
    for u in range(bills.shape[0]):
        bill = bills[u]
        platform = min(bill, floor_share(bill, platform_bps, platform_ratio, _BPS) + flat)
        net = bill - platform
        burn = floor_share(net, burn_bps, burn_ratio, _BPS)
        divided = net - burn
        for_model = floor_share(divided, of_model, model_ratio, whole)
        for_stakers = floor_share(divided, of_stakers, stakers_ratio, whole)
        model[u], contributors[u] = for_model, divided - for_model - for_stakers
        total += platform
        burned += burn
        staked += for_stakers
    sums[0], sums[1], sums[2] = total, burned, staked


@njit(cache=True, nogil=True)
def _sum_up(owner, kind, model, contributors, by_builder, by_class):  # type: ignore[no-untyped-def]
    """Add a tile's parts of models by builder and of contributors by class of query."""
    for k in range(by_class.size):
        total = _NONE
        for i in range(kind.size):
            total += contributors[i] if kind[i] == k else _NONE
        by_class[k] += total
    for i in range(kind.size):
        by_builder[np.uint64(owner[i])] += model[i]


@njit(cache=True, nogil=True)
def bill_all(  # type: ignore[no-untyped-def]
    active, tokens_in, tokens_out, owner, credit, first, paid, query_class, shares, rates, access, level, rules, bills,
    counts, fees, sums, by_builder, by_class,
):  # fmt: skip
    """Bill every user, and sum the parts of all bills.

    Parameters
    ----------
    active
        How many users use the service, int64 (runs,): the first of each run.
    tokens_in, tokens_out, owner
        Tokens asked for, int64, and builder of the model, int32; (runs, users).
    credit, first
        Prepaid gwei, int64 (runs, all agents), and the column of the first user.
    paid, query_class
        Who pays for access, uint32, and class of queries, int16; (runs, users).
    shares
        Served parts of tokens in and out, float64 (2, runs).
    rates
        Gwei per 10^6 tokens in and out, int64 (2, runs).
    access, level
        Access fee, int64 gwei, paid below the level, uint64; (runs,).
    rules
        Platform bps, flat part, burn bps, weights of model, stakers and all, int64 (6, runs).
    bills
        int64 (runs, first users), as many as any run has, written.
    counts, fees
        Bills and token fees of each run, int64 (runs,), written.
    sums
        Parts of platform, burn and stakers, int64 (3, runs), zeros, written.
    by_builder, by_class
        Model parts by builder and contributors' parts by class of query, int64 (runs, builders) and (runs, classes),
        zeros, written.

    Returns
    -------
    bool
        Whether every bill was small enough to be split exactly; if not, nothing that was written holds.
    """
    parts, model, contributors = np.empty(3, np.int64), np.empty(TILE, np.int64), np.empty(TILE, np.int64)
    for r in range(active.size):
        count, charged = _NONE, _NONE
        bills[r, active[r] :] = 0
        for begin in range(0, active[r], TILE):
            end = min(begin + TILE, active[r])
            own = slice(begin, end)
            billed, fee, exact = _charge(
                tokens_in[r, own], tokens_out[r, own], credit[r, first + begin : first + end], paid[r, own],
                shares[:, r], rates[:, r], access[r], level[r], bills[r, own],
            )  # fmt: skip
            if not exact:
                return False
            count += billed
            charged += fee
            _split(bills[r, own], rules[:, r], model, contributors, parts)
            for k in range(3):
                sums[k, r] += parts[k]
            _sum_up(owner[r, own], query_class[r, own], model, contributors, by_builder[r], by_class[r])
        counts[r], fees[r] = count, charged
    return True
