"""Fees: what a bill costs, and who gets which part of it.

Rules decided here. The bill is the unit of rounding: one request on the node, one (user, model, day) in the
simulation; sums of bills are never floored again. Tokens cost floor((in * rate_in + out * rate_out) / per)
with one floor. The platform's part (a share or a flat amount) comes off first and pays the operators before
anybody else; a share of the net fee may be burned; the rest is divided by exact integer weights among named
payees, each by floor, and one of them, the contributors, gets what the floors leave over. Form of the
formula: the protocol's published inference fee, F_net = F - F_platform divided by weights
(docs/economy.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.exact import mul_div

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PER_MILLION = 1_000_000
"""Tokens that a rate speaks of."""
BPS = 10_000
"""Basis points of a whole."""
MICRO_TO_LEDGER = 1_000
"""Gwei per micro-USD at a price of 1 USD: 10^9 gwei of a token over 10^6 micro-USD."""
LARGEST_RATE = 10**18
"""A quoted rate stops here, the whole cap per million tokens: a price near zero must not overflow."""

_EXACT_FLOAT = 2**53
_FITS = 2**62


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How bills are split, one element per run.

    Parameters
    ----------
    platform_bps, platform_flat
        The platform's share of a bill, and a flat amount beside it, `(runs,)`; together never more than the
        bill.
    burn_bps
        Burned share of the net fee, `(runs,)`.
    payees
        Names of those who divide the rest.
    weights
        Their weights, `(runs, payees)`, 0 or more, with a positive sum.
    remainder
        Payee that gets what the floors leave over.
    """

    platform_bps: Ints
    platform_flat: Ints
    burn_bps: Ints
    payees: tuple[str, ...]
    weights: Ints
    remainder: str = "contributors"


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of bills, each of the bills' shape; together they are the bills.

    Parameters
    ----------
    platform, burn
        The platform's part and what is burned.
    parts
        Payee -> part.
    """

    platform: Ints
    burn: Ints
    parts: dict[str, Ints]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A payee that got what no split of the day's bills can have given it."""

    payee: str
    row: int
    booked: int
    expected: int
    tolerance: int


def token_fee_reference(
    tokens_in: int, tokens_out: int, rate_in: int, rate_out: int, per: int = PER_MILLION
) -> int:
    """Return the fee of one bill's tokens in Python integers: the definition that `token_fee` is held to.

    Parameters
    ----------
    tokens_in, tokens_out
        Tokens read and written, 0 or more.
    rate_in, rate_out
        Gwei per `per` tokens, 0 or more.
    per
        Tokens that the rates speak of.

    Examples
    --------
    >>> token_fee_reference(1500, 500, 1, 3, per=1000)
    3
    """
    if min(tokens_in, tokens_out, rate_in, rate_out) < 0 or per < 1:
        raise ValueError("tokens and rates must be 0 or more, and per at least 1")
    return (tokens_in * rate_in + tokens_out * rate_out) // per


def token_fee(
    tokens_in: Ints, tokens_out: Ints, rate_in: Ints, rate_out: Ints, per: int = PER_MILLION
) -> Ints:
    """Return the token fee of each bill, gwei; shapes broadcast, as `(runs, bills)` with rates `(runs, 1)`.

    Parameters
    ----------
    tokens_in, tokens_out, rate_in, rate_out, per
        As in `token_fee_reference`.
    """
    fed, written, dear_in, dear_out = (
        np.asarray(x, np.int64) for x in (tokens_in, tokens_out, rate_in, rate_out)
    )
    if min(_least(fed), _least(written), _least(dear_in), _least(dear_out)) < 0:
        raise ValueError("tokens and rates must be 0 or more")
    if _most(fed) * _most(dear_in) + _most(written) * _most(dear_out) < 2 * _FITS:
        return np.asarray((fed * dear_in + written * dear_out) // per)
    whole_in, rest_in = mul_div(fed, dear_in, per)
    whole_out, rest_out = mul_div(written, dear_out, per)
    return np.asarray(whole_in + whole_out + (rest_in + rest_out) // per)


def quote(micro_usd: Ints | int, price_usd: Floats | float) -> Ints:
    """Return the gwei that an amount of micro-USD buys at a price, floored once.

    Parameters
    ----------
    micro_usd
        Micro-USD (a rate's per million tokens, or an amount), shape `(runs,)` or one number.
    price_usd
        USD per token, positive; decisions use yesterday's close.

    Examples
    --------
    >>> int(quote(100_000, 0.5))
    200000000
    """
    value = np.asarray(micro_usd, np.float64) * MICRO_TO_LEDGER / np.asarray(price_usd, np.float64)
    return np.floor(np.minimum(value, LARGEST_RATE)).astype(np.int64)


def access_fee(price_per_month: Ints, days_in_month: int, users: float = 1.0) -> Ints:
    """Return a day's part of a monthly access price for the users that a bill stands for, floored once.

    Parameters
    ----------
    price_per_month
        Gwei per user and calendar month, `(runs,)`.
    days_in_month
        Days of the month that the day lies in.
    users
        Users behind one bill.
    """
    return np.floor(np.asarray(price_per_month, np.float64) * users / days_in_month).astype(np.int64)


def split_reference(
    fee: int,
    weights: Mapping[str, int],
    platform_bps: int = 0,
    platform_flat: int = 0,
    burn_bps: int = 0,
    remainder: str = "contributors",
) -> dict[str, int]:
    """Split one bill in Python integers: the definition that `split` is held to.

    Parameters
    ----------
    fee
        The bill in gwei, 0 or more.
    weights
        Payee -> whole weight of the net fee.
    platform_bps, platform_flat, burn_bps, remainder
        As in `SplitRule`.

    Returns
    -------
    dict
        ``platform``, ``burn`` and every payee -> gwei; the values sum to `fee`.

    Raises
    ------
    ValueError
        If an amount is negative, a share is over 10,000 bps, no weight is positive or `remainder` is no
        payee.

    Examples
    --------
    >>> weights = {"model": 2, "stakers": 2, "contributors": 5}
    >>> split_reference(1_000_000_000, weights, platform_bps=1000)["contributors"]
    500000000
    """
    whole = sum(weights.values())
    if (
        min(fee, platform_flat, platform_bps, burn_bps, *weights.values()) < 0
        or max(platform_bps, burn_bps) > BPS
    ):
        raise ValueError(
            f"fee {fee}, flat {platform_flat}, weights {dict(weights)}: all 0 or more; shares 0 to {BPS} bps"
        )
    if whole == 0 or remainder not in weights:
        raise ValueError(f"weights {dict(weights)} need a positive sum and the payee '{remainder}'")
    platform = min(fee, fee * platform_bps // BPS + platform_flat)
    net = fee - platform
    burn = net * burn_bps // BPS
    divided = net - burn
    parts = {name: divided * weight // whole for name, weight in weights.items() if name != remainder}
    parts[remainder] = divided - sum(parts.values())
    return {"platform": platform, "burn": burn, **{name: parts[name] for name in weights}}


def split(fee: Ints, rule: SplitRule) -> Split:
    """Split bills by the parameters of their run.

    Parameters
    ----------
    fee
        Bills in gwei, `(runs, bills)`, 0 or more.
    rule
        The parameters, `(runs,)`.

    Returns
    -------
    Split
        Parts of the same shape, equal to `split_reference` bill by bill.
    """
    if _least(fee) < 0:
        raise ValueError("bills must be 0 or more")
    if rule.remainder not in rule.payees or not rule.weights.sum(axis=1).all():
        raise ValueError(f"weights need a positive sum in every run and the payee '{rule.remainder}'")
    platform = _part(fee, rule.platform_bps, BPS)
    if rule.platform_flat.any():
        platform = np.minimum(fee, platform + rule.platform_flat[:, None])
    net = fee - platform
    burn = _part(net, rule.burn_bps, BPS) if rule.burn_bps.any() else np.zeros_like(net)
    divided = net - burn
    whole, left, parts = rule.weights.sum(axis=1), divided.copy(), {}
    for i, name in enumerate(rule.payees):
        if name != rule.remainder:
            parts[name] = _part(divided, rule.weights[:, i], whole)
            left -= parts[name]
    parts[rule.remainder] = left
    return Split(platform, burn, parts)


def pay_operators(platform: Ints, claim: Ints) -> tuple[Ints, Ints, Ints]:
    """Pay the operators' claim out of the platform part before the treasury gets the rest.

    Parameters
    ----------
    platform
        Platform part of the day, `(runs,)`.
    claim
        Served tokens times the posted rate, `(runs,)`.

    Returns
    -------
    tuple of numpy.ndarray
        To operators, to the treasury, and the claim's part that the platform part could not pay, `(runs,)`.

    Examples
    --------
    >>> [int(x) for x in pay_operators(np.int64(10), np.int64(14))]
    [10, 0, 4]
    """
    paid = np.minimum(platform, claim)
    return paid, platform - paid, claim - paid


def split_bounds(gross: Ints, bills: Ints, rule: SplitRule, booked: Mapping[str, Ints]) -> list[Disagreement]:
    """Return who was paid what no split of the day's bills can have given.

    Floors of n bills are together less than n below the formula on their sum, so what was booked for each
    party must lie within n (n per payee for the one that keeps the remainders) of the formula on the sums
    booked before it.

    Parameters
    ----------
    gross
        Sum of the bills, `(runs,)`.
    bills
        How many bills there were, `(runs,)`.
    rule
        The parameters in force.
    booked
        ``platform``, ``burn`` and every payee -> what it was paid, `(runs,)`.
    """
    found: list[Disagreement] = []

    def check(payee: str, expected: Ints, tolerance: Ints) -> None:
        numbers = booked[payee], expected, tolerance
        wrong = np.flatnonzero(np.abs(booked[payee] - expected) > tolerance)
        found.extend(Disagreement(payee, int(row), *(int(x[row]) for x in numbers)) for row in wrong)

    share = _part(gross, rule.platform_bps, BPS)
    # small bills cut a flat part, so it is bounded by the share alone and by the flat part of every bill
    within = np.clip(booked["platform"], share - bills, share + bills * rule.platform_flat)
    check("platform", within, np.zeros_like(bills))
    net = gross - booked["platform"]
    check("burn", _part(net, rule.burn_bps, BPS), bills)
    divided, whole = net - booked["burn"], rule.weights.sum(axis=1)
    for i, name in enumerate(rule.payees):
        slack = bills * len(rule.payees) if name == rule.remainder else bills
        check(name, _part(divided, rule.weights[:, i], whole), slack)
    return found


def _part(amount: Ints, numerator: Ints, denominator: Ints | int) -> Ints:
    """Return floor(amount * numerator / denominator), the last two `(runs,)` along amount's first axis."""
    tail = (slice(None),) + (None,) * (amount.ndim - 1)
    over = np.asarray(denominator, np.int64)
    top, under = numerator[tail], over[tail] if over.ndim else over
    largest = _most(amount) * _most(top)
    if (
        largest < _EXACT_FLOAT
    ):  # below 2^53 a float quotient never reaches the next integer: its floor is exact
        return np.asarray((amount * top / under).astype(np.int64))
    if largest < _FITS:
        return np.asarray(amount * top // under)
    return mul_div(amount, top, under)[0]


def _most(values: Ints) -> int:
    return int(values.max(initial=0))


def _least(values: Ints) -> int:
    return int(values.min(initial=0))
