"""Statistics over runs: bands, intervals of means, paired differences.

Rule decided here: a band is a set of quantiles over the runs of one day, always with the number of runs that
it rests on; quantiles interpolate linearly. The interval of a mean is Student's t. Differences between arms
are taken run by run, because run k of both arms has the same luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import polars as pl

PERCENTILES = (5, 25, 50, 75, 95)
"""Percentiles of a band unless a scenario says otherwise."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 5/95 of a number over runs.

    Parameters
    ----------
    p05, p50, p95
        Quantiles, NaN where no run has a value.
    n
        Runs with a value.
    """

    p05: float
    p50: float
    p95: float
    n: int

    @property
    def known(self) -> bool:
        """Whether any run has a value."""
        return self.n > 0


def spread(values: ArrayLike) -> Spread:
    """Return median and 5/95 of the values that are not NaN.

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0, float("nan")])
    Spread(p05=1.1, p50=2.0, p95=2.9, n=3)
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return Spread(math.nan, math.nan, math.nan, 0)
    low, middle, high = np.quantile(known, [0.05, 0.5, 0.95])
    return Spread(float(low), float(middle), float(high), int(known.size))


def bands(frame: pl.DataFrame, column: str, percentiles: Sequence[int] = PERCENTILES) -> pl.DataFrame:
    """Return quantiles of a column over runs, per day.

    Parameters
    ----------
    frame
        Rows by run and day, with a date.
    column
        The number.
    percentiles
        Whole percentiles.

    Returns
    -------
    polars.DataFrame
        day, date, n (runs with a value) and ``p05``-like columns; days on which no run has a value are left
        out.
    """
    import polars as pl

    known = (
        frame.lazy().select("day", "date", pl.col(column).cast(pl.Float64).alias("value")).drop_nulls("value")
    )
    quantiles = [
        pl.col("value").quantile(p / 100, interpolation="linear").alias(f"p{p:02d}") for p in percentiles
    ]
    return (
        known.group_by("day", "date")
        .agg(pl.len().cast(pl.Int64).alias("n"), *quantiles)
        .sort("day")
        .collect()
    )


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """Mean with a confidence interval.

    Parameters
    ----------
    mean
        Arithmetic mean.
    low, high
        Ends of the interval; NaN for fewer than two values.
    n
        Number of values.
    """

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: ArrayLike, level: float = 0.95) -> MeanInterval:
    """Return mean and Student t interval of the values that are not NaN.

    Parameters
    ----------
    values
        One number per run.
    level
        Probability that the interval covers the mean, between 0 and 1.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.

    Examples
    --------
    >>> interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> round(interval.low, 2), round(interval.high, 2)
    (1.04, 4.96)
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; allowed between 0 and 1")
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    count = int(known.size)
    if count < 2:
        mean = float(known[0]) if count else math.nan
        return MeanInterval(mean, math.nan, math.nan, count)
    mean = float(known.mean())
    half = student_t((1 + level) / 2, count - 1) * float(known.std(ddof=1)) / math.sqrt(count)
    return MeanInterval(mean, mean - half, mean + half, count)


def student_t(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution.

    Parameters
    ----------
    probability
        Between 0 and 1.
    freedom
        Degrees of freedom, 1 or more.

    Examples
    --------
    >>> round(student_t(0.975, 3), 4)
    3.1824
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def paired_difference(base: pl.DataFrame, other: pl.DataFrame, column: str, day: int) -> np.ndarray:
    """Return base less other, run by run, on a day, for the runs that both have.

    Parameters
    ----------
    base, other
        Rows by run and day.
    column
        The number.
    day
        Day of the comparison.

    Returns
    -------
    numpy.ndarray
        float64 (runs,) in order of run; NaN where either is null.
    """
    import polars as pl

    sides = [
        frame.filter(pl.col("day") == day).select("run", pl.col(column).cast(pl.Float64).alias(name))
        for name, frame in (("base", base), ("other", other))
    ]
    joined = sides[0].join(sides[1], on="run").sort("run")
    return (joined["base"] - joined["other"]).fill_null(math.nan).to_numpy()
