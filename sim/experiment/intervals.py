"""Intervals: how sure a quantile is, and how sure the difference between two arms.

Rule decided here: the interval of a quantile lies between two order statistics and holds for every distribution
(Conover, Practical Nonparametric Statistics, 3.2). That of a difference is Student's t over pairs of runs with the
same luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sim.experiment.statistics import mean_interval


@dataclass(frozen=True, slots=True)
class QuantileInterval:
    """Quantile with a distribution-free confidence interval.

    Parameters
    ----------
    value
        The quantile of the values, linearly interpolated.
    low, high
        Order statistics; infinite where so few values bound the quantile on one side only.
    n
        Number of values.
    coverage
        Exact probability that an interval made this way covers the quantile, never under the level asked for.
    """

    value: float
    low: float
    high: float
    n: int
    coverage: float


def quantile_interval(values: ArrayLike, probability: float, level: float = 0.95) -> QuantileInterval:
    """Return a quantile of the values that are not NaN with its binomial interval.

    How many of n values lie below the quantile is binomial (n, probability), whatever the distribution is; each end
    is the order statistic nearest the middle that leaves at most half of 1 - level outside.

    Parameters
    ----------
    values
        One number per run.
    probability
        Which quantile, between 0 and 1.
    level
        Probability that the interval covers the quantile, between 0 and 1.

    Raises
    ------
    ValueError
        If `probability` or `level` is not between 0 and 1.

    Examples
    --------
    >>> found = quantile_interval(range(1, 101), 0.5)
    >>> found.low, found.high, round(found.coverage, 4)
    (40.0, 61.0, 0.9648)
    """
    from scipy.special import bdtr

    for name, number in (("probability", probability), ("level", level)):
        if not 0 < number < 1:
            raise ValueError(f"{name} is {number}; allowed between 0 and 1")
    known = np.asarray(values, np.float64)
    known = np.sort(known[~np.isnan(known)])
    count = int(known.size)
    if not count:
        return QuantileInterval(math.nan, math.nan, math.nan, 0, 0.0)
    below = bdtr(
        np.arange(count), count, probability
    )  # P(at most k values lie below the quantile), k = 0 .. n - 1
    tail = (1 - level) / 2
    first = int(np.count_nonzero(below <= tail))  # rank of the low end, 0 for none
    last = int(np.count_nonzero(below < 1 - tail)) + 1  # rank of the high end, n + 1 for none
    return QuantileInterval(
        value=float(np.quantile(known, probability)),
        low=float(known[first - 1]) if first else -math.inf,
        high=float(known[last - 1]) if last <= count else math.inf,
        n=count,
        coverage=float((below[last - 1] if last <= count else 1.0) - (below[first - 1] if first else 0.0)),
    )


@dataclass(frozen=True, slots=True)
class PairedInterval:
    """Mean of the differences between pairs of runs, with its interval.

    Parameters
    ----------
    mean, low, high
        Mean of other less base and its Student t interval.
    n
        Pairs in which both sides have a value.
    lower_share
        Share of the pairs in which the other side is lower.
    """

    mean: float
    low: float
    high: float
    n: int
    lower_share: float


def paired_interval(base: ArrayLike, other: ArrayLike, level: float = 0.95) -> PairedInterval:
    """Return the mean of other less base over runs with the same luck, with its interval.

    Parameters
    ----------
    base, other
        One number per run, (runs,); entry k of both is run k. NaN in either leaves the pair out.
    level
        Probability that the interval covers the mean.

    Raises
    ------
    ValueError
        If the two sides differ in length, or `level` is out of range.

    Examples
    --------
    >>> paired_interval([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    PairedInterval(mean=1.0, low=1.0, high=1.0, n=3, lower_share=0.0)
    """
    sides = np.asarray(base, np.float64), np.asarray(other, np.float64)
    if sides[0].shape != sides[1].shape:
        raise ValueError(f"{sides[0].size} runs against {sides[1].size}; both sides need the same runs")
    difference = sides[1] - sides[0]
    interval = mean_interval(difference, level)
    lower = float((difference < 0).sum()) / interval.n if interval.n else math.nan
    return PairedInterval(interval.mean, interval.low, interval.high, interval.n, lower)
