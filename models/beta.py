"""Beta distribution: its distribution function and quantiles.

Rule decided here: the regularised incomplete beta function by its continued fraction (NIST DLMF 8.17.22), inverted by
bisection, so that a quantile needs nothing but numpy and is monotone in the probability.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_TERMS = 300
_TINY = 1e-300
_HALVINGS = 60


def beta_cdf(x: Float, a: float, b: float) -> Float:
    """Return the probability that a beta (a, b) variable is at most `x`.

    Parameters
    ----------
    x
        Numbers in [0, 1], any shape.
    a, b
        Shapes, above 0.

    Examples
    --------
    >>> beta_cdf(np.array([0.0, 0.5, 1.0]), 2.0, 2.0).round(12).tolist()
    [0.0, 0.5, 1.0]
    """
    x = np.asarray(x, np.float64)
    swapped = x > (a + 1) / (a + b + 2)  # the fraction converges fast on one side of the mean only
    inner = np.where(swapped, 1 - x, x)
    first, second = np.where(swapped, b, a), np.where(swapped, a, b)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    with np.errstate(divide="ignore"):
        front = np.exp(first * np.log(inner) + second * np.log1p(-inner) - log_beta) / first
    value: Float = front * _fraction(inner, first, second)
    return np.where(swapped, 1 - value, value)


def _fraction(x: Float, a: Float, b: Float) -> Float:
    """Return the continued fraction of DLMF 8.17.22 by the modified Lentz method."""
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for coefficient in (even, odd):
            d = 1 / _away_from_zero(1 + coefficient * d)
            c = _away_from_zero(1 + coefficient / c)
            value *= c * d
        if np.all(np.abs(c * d - 1) < 1e-15):
            break
    return value


def _away_from_zero(x: Float) -> Float:
    return np.where(np.abs(x) < _TINY, _TINY, x)


def beta_quantile(u: Float, a: float, b: float) -> Float:
    """Return the value that a beta (a, b) variable stays below with probability `u`.

    Parameters
    ----------
    u
        Probabilities in (0, 1), any shape.
    a, b
        Shapes, above 0.

    Examples
    --------
    >>> beta_quantile(np.array([0.25, 0.5]), 1.0, 1.0).round(12).tolist()
    [0.25, 0.5]
    """
    low, high = np.zeros(np.shape(u)), np.ones(np.shape(u))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = beta_cdf(middle, a, b) < u
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
