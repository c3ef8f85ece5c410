"""Market: a constant-product pool, and all orders of a day at one price.

Rule decided here: buys and sells of a day meet at one uniform price and only the difference moves the pool;
every division is floored so that the pool keeps the dust and its product x * y never falls.

Derivation. The pool holds x tokens and y USD; a part 1 - g of what comes in is the fee (g = 1 - fee).
Sellers bring s tokens, buyers b USD, and everybody trades at price p.

- More buying than selling at p: the net n = b - s p enters the pool, which gives x g n / (y + g n) tokens.
  They must be worth n at the same price, so p = (y + g n) / (g x) and, with n put in,
  p = (y / g + b) / (x + s).
- More selling: the net m = s - b / p enters as tokens and p = g y / (x + g m), so p = g (y + b) / (x + g s).
- In between, where b / s lies from g y / x to y / (g x), the two sides match each other at p = b / s and the
  pool stays as it is.

Without a fee both cases are p = (y + b) / (x + s). Nobody trades ahead of anybody else: a day's orders have
no sequence. Buyers get floor(b / p) and sellers floor(s p), so the dust of both is the pool's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.units import GWEI_PER_OPEN, MICRO_USD_PER_USD

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BPS = 10_000


@dataclass(frozen=True, slots=True)
class Clearing:
    """What one day's batch did, per run; every array is `(runs,)`.

    Parameters
    ----------
    price_usd
        Price of a token in USD at which all orders were filled; the pool's own price where nobody traded.
    tokens_to_buyers
        Ledger units that leave the venue for the buyers.
    usd_to_sellers
        Micro-USD that leave the venue for the sellers.
    x, y
        The pool afterwards: ledger units and micro-USD.
    """

    price_usd: Floats
    tokens_to_buyers: Ints
    usd_to_sellers: Ints
    x: Ints
    y: Ints


def price_usd(x: Ints | int, y: Ints | int, units_per_token: int = GWEI_PER_OPEN) -> Floats:
    """Return the pool's price in USD per token.

    Parameters
    ----------
    x, y
        Pool in ledger units and micro-USD, any shape.
    units_per_token
        Ledger units in one token.

    Examples
    --------
    >>> float(price_usd(2 * 10**9, 10**6))
    0.5
    """
    return np.asarray(np.asarray(y) / np.asarray(x) * (units_per_token / MICRO_USD_PER_USD))


def swap(reserve_in: int, reserve_out: int, amount: int, fee_bps: int = 0) -> int:
    """Return what the pool pays out for `amount` paid in.

    Parameters
    ----------
    reserve_in, reserve_out
        What the pool holds of the side that comes in and of the side that goes out; both above 0.
    amount
        What comes in, 0 or more, in the unit of `reserve_in`.
    fee_bps
        Fee on what comes in, 0 to 9,999 basis points; it stays in the pool.

    Returns
    -------
    int
        floor(reserve_out * net / (reserve_in + net)) with net = floor(amount * (1 - fee)), so the product of
        the reserves never falls.

    Raises
    ------
    ValueError
        If the pool is empty, the amount negative or the fee out of range.

    Examples
    --------
    >>> swap(1000, 1000, 100)
    90
    """
    _check_pool(reserve_in, reserve_out, fee_bps)
    if amount < 0:
        raise ValueError(f"amount {amount} is negative")
    net = amount * (BPS - fee_bps) // BPS
    return reserve_out * net // (reserve_in + net)


def clearing_price(x: int, y: int, sell: int, buy_usd: int, fee_bps: int = 0) -> Fraction:
    """Return the uniform price of a day's orders, exactly, in micro-USD per ledger unit.

    Parameters
    ----------
    x, y
        Pool in ledger units and micro-USD, both above 0.
    sell
        Ledger units that all sellers bring, 0 or more.
    buy_usd
        Micro-USD that all buyers bring, 0 or more.
    fee_bps
        Fee on what enters the pool, 0 to 9,999 basis points.

    Returns
    -------
    fractions.Fraction
        The price of the module's derivation.

    Raises
    ------
    ValueError
        If the pool is empty, an order negative or the fee out of range.

    Examples
    --------
    >>> clearing_price(1000, 1000, sell=1000, buy_usd=0)
    Fraction(1, 2)
    """
    return Fraction(*_price(x, y, sell, buy_usd, fee_bps))


def _price(x: int, y: int, sell: int, buy_usd: int, fee_bps: int) -> tuple[int, int]:
    """Return numerator and denominator of `clearing_price`, not in lowest terms."""
    _check_pool(x, y, fee_bps)
    if sell < 0 or buy_usd < 0:
        raise ValueError(f"orders {sell} and {buy_usd} must be 0 or more")
    g = BPS - fee_bps
    if buy_usd * x * g > sell * y * BPS:
        return BPS * y + g * buy_usd, g * (x + sell)
    if buy_usd * x * BPS < sell * g * y:
        return g * (y + buy_usd), BPS * x + g * sell
    return (buy_usd, sell) if sell else (y, x)


def clear_batch(
    x: Ints,
    y: Ints,
    sell: Ints,
    buy_usd: Ints,
    fee_bps: int = 0,
    units_per_token: int = GWEI_PER_OPEN,
) -> Clearing:
    """Fill all orders of a day at one price per run.

    Parameters
    ----------
    x, y
        Pool per run in ledger units and micro-USD, `(runs,)`, all above 0.
    sell, buy_usd
        Ledger units that sellers and micro-USD that buyers bring per run, `(runs,)`.
    fee_bps
        Fee on what enters the pool.
    units_per_token
        Ledger units in one token, for the price in USD.

    Returns
    -------
    Clearing
        Price, payments and the pool afterwards. Exactly: x + sell = x' + tokens_to_buyers and
        y + buy_usd = y' + usd_to_sellers, and x' * y' >= x * y.

    Raises
    ------
    ValueError
        If a pool is empty, an order negative or the fee out of range.

    Examples
    --------
    >>> day = clear_batch(np.array([1000]), np.array([1000]), np.array([0]), np.array([1000]))
    >>> int(day.tokens_to_buyers[0]), int(day.x[0]), int(day.y[0])
    (500, 500, 2000)
    """
    columns = (np.asarray(column, dtype=np.int64).tolist() for column in (x, y, sell, buy_usd))
    rows = [_clear(a, b, c, d, fee_bps) for a, b, c, d in zip(*columns, strict=True)]
    prices, tokens, usd = zip(*rows, strict=True) if rows else ((), (), ())
    tokens_to_buyers = np.array(tokens, dtype=np.int64)
    usd_to_sellers = np.array(usd, dtype=np.int64)
    return Clearing(
        price_usd=np.array(prices, dtype=np.float64) * (units_per_token / MICRO_USD_PER_USD),
        tokens_to_buyers=tokens_to_buyers,
        usd_to_sellers=usd_to_sellers,
        x=x + sell - tokens_to_buyers,
        y=y + buy_usd - usd_to_sellers,
    )


def _clear(x: int, y: int, sell: int, buy_usd: int, fee_bps: int) -> tuple[float, int, int]:
    """Return (price in micro-USD per unit, tokens to buyers, micro-USD to sellers) of one run."""
    over, under = _price(x, y, sell, buy_usd, fee_bps)
    return over / under, buy_usd * under // over, sell * over // under


def pool_from_depth(
    depth_usd: int, price: float, move: float = 0.02, fee_bps: int = 0, units_per_token: int = GWEI_PER_OPEN
) -> tuple[int, int]:
    """Return the pool in which selling tokens worth `depth_usd` lowers the price by `move`.

    Parameters
    ----------
    depth_usd
        Market depth in micro-USD at the price before the sale.
    price
        USD per token.
    move
        Fall of the price, 0.02 for the usual 2 % depth.
    fee_bps
        Fee on what enters the pool.
    units_per_token
        Ledger units in one token.

    Returns
    -------
    tuple of int
        Pool in ledger units and micro-USD, floored: from P'/P = (x / (x + D (1 - fee)))^2 with D tokens sold.

    Raises
    ------
    ValueError
        If depth or price is not above 0, or move is outside 0..1.

    Examples
    --------
    >>> x, y = pool_from_depth(80_000 * 10**6, 0.60)
    >>> round(x / 10**9), round(y / 10**6)
    (13132997, 7879798)
    """
    if depth_usd <= 0 or not price > 0:
        raise ValueError(f"depth {depth_usd} micro-USD and price {price} USD must be above 0")
    if not 0 < move < 1:
        raise ValueError(f"move {move} is outside 0..1")
    _check_pool(1, 1, fee_bps)
    root = math.sqrt(1 - move)
    sold = depth_usd / MICRO_USD_PER_USD / price * (BPS - fee_bps) / BPS
    tokens = sold * root / (1 - root)
    return math.floor(tokens * units_per_token), math.floor(tokens * price * MICRO_USD_PER_USD)


def slippage(y: Ints, usd: int, fee_bps: int = 0) -> Floats:
    """Return how far below the pool's price a sale worth `usd` is filled on average.

    Parameters
    ----------
    y
        The pool's USD side per run in micro-USD, `(runs,)`; its token side cancels out.
    usd
        Worth of the tokens sold at the pool's price, micro-USD.
    fee_bps
        Fee on what enters the pool.

    Returns
    -------
    numpy.ndarray
        Shares of the worth that are lost, `(runs,)`: 1 - g / (1 + g usd / y).

    Examples
    --------
    >>> slippage(np.array([900_000]), 100_000).round(6).tolist()
    [0.1]
    """
    g = (BPS - fee_bps) / BPS
    return np.asarray(1 - g / (1 + g * usd / np.asarray(y)))


def depth_usd(y: Ints, move: float = 0.02, fee_bps: int = 0) -> Floats:
    """Return the worth of tokens whose sale lowers the pool's price by `move`: `pool_from_depth` backwards.

    Parameters
    ----------
    y
        The pool's USD side per run in micro-USD, `(runs,)`.
    move
        Fall of the price.
    fee_bps
        Fee on what enters the pool.

    Returns
    -------
    numpy.ndarray
        Micro-USD per run.
    """
    root = math.sqrt(1 - move)
    return np.asarray(np.asarray(y) * ((1 - root) / root * BPS / (BPS - fee_bps)))


def square_root_impact(volume_share: Floats, volatility: float, coefficient: float = 1.0) -> Floats:
    """Return the relative price move of an order on an order book: c * sigma * sqrt(Q / V).

    Parameters
    ----------
    volume_share
        Order over the market's volume in the same period, Q / V, 0 or more.
    volatility
        Standard deviation of the return over that period, 0.05 for 5 %.
    coefficient
        The constant c, of the order of one.

    Examples
    --------
    >>> square_root_impact(np.array([0.04]), 0.05).round(6).tolist()
    [0.01]
    """
    return np.asarray(coefficient * volatility * np.sqrt(volume_share))


def _check_pool(x: int, y: int, fee_bps: int) -> None:
    if x <= 0 or y <= 0:
        raise ValueError(f"the pool holds {x} and {y}; both must be above 0")
    if not 0 <= fee_bps < BPS:
        raise ValueError(f"fee {fee_bps} bps is outside 0..{BPS - 1}")
