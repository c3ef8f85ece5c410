"""Exact multiply-then-divide on int64 arrays: floor(a * b / c) where a * b does not fit 64 bits.

Rule decided here: the quotient is estimated in float64 and corrected by its remainder, which is exact
because int64 products wrap around: the difference a * b - q * c is right whenever its true value fits 64
bits. Operands are first reduced modulo c, and split at 30 bits where one estimate would not be close
enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LARGEST_DIVISOR = 2**61
"""Divisors up to here are exact: twice the cap of 10^18 units."""

_HALF = 30


def mul_div(a: Ints | int, b: Ints | int, c: Ints | int) -> tuple[Ints, Ints]:
    """Return quotient and remainder of a * b by c, exactly, element by element.

    Parameters
    ----------
    a, b
        Factors from 0; shapes broadcast.
    c
        Divisors from 1 to 2^61.

    Returns
    -------
    tuple of numpy.ndarray
        floor(a * b / c), which must fit int64, and a * b - c * quotient.

    Raises
    ------
    ValueError
        If a factor is negative or a divisor is outside 1..2^61.

    Examples
    --------
    >>> quotient, remainder = mul_div(10**18, 10**18 - 1, 10**18)
    >>> int(quotient), int(remainder)
    (999999999999999999, 0)
    """
    a, b, c = (np.asarray(value, dtype=np.int64) for value in (a, b, c))
    if a.size and b.size and min(a.min(), b.min()) < 0:
        raise ValueError("factors must be 0 or more")
    if c.size and not 1 <= c.min() <= c.max() <= LARGEST_DIVISOR:
        raise ValueError(f"divisors must be from 1 to {LARGEST_DIVISOR}")
    whole_a, a = np.divmod(a, c)
    whole_b, rest_b = np.divmod(b, c)
    quotient, remainder = mul_div_reduced(a, rest_b, c)
    return whole_a * b + a * whole_b + quotient, remainder


def mul_div_reduced(a: Ints, b: Ints, c: Ints) -> tuple[Ints, Ints]:
    """Return what `mul_div` does, unchecked, for factors that are not above their divisor.

    Parameters
    ----------
    a, b
        Factors from 0 to c; shapes broadcast.
    c
        Divisors from 1 to 2^61.

    Returns
    -------
    tuple of numpy.ndarray
        Quotient and remainder.
    """
    if not (a.size and b.size and c.size):
        shape = np.broadcast_shapes(a.shape, b.shape, c.shape)
        return np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    with np.errstate(over="ignore"):  # numpy warns of the wanted wrap-around where arrays have no axis
        if min(int(a.max()), int(b.max())) < 2**50:
            return _by_estimate(a, b, c)
        top, rest = _by_estimate(a >> _HALF, b, c)
        middle, rest = _by_estimate(rest, np.asarray(2**_HALF), c)
        bottom, low_rest = _by_estimate(a & (2**_HALF - 1), b, c)
    rest = rest + low_rest
    carry = rest >= c
    return (top << _HALF) + middle + bottom + carry, rest - carry * c


def _by_estimate(a: Ints, b: Ints, c: Ints) -> tuple[Ints, Ints]:
    """Return quotient and remainder where the quotient is below 2^50: the estimate is off by at most one."""
    quotient = ((a / c) * b).astype(np.int64)
    remainder = a * b - quotient * c
    too_high, too_low = remainder < 0, remainder >= c
    quotient += too_low
    quotient -= too_high
    remainder += c * too_high
    remainder -= c * too_low
    return quotient, remainder
