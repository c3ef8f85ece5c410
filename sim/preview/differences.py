"""Differences: how far two arms are apart at each horizon, with the spread over the runs.

Rule decided here: a difference is proposal less baseline, run by run, on the day that lies the horizon
after the execution; a metric that exists once a month is read at its last value by then. Percentiles are
those of the difference, not differences of percentiles. Which direction is worse is said per metric, or
not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.observables import BY_NAME

Float = NDArray[np.float64]

METRICS: Mapping[str, int] = {
    "price_usd": 1, "circulating_gwei": 0, "float_gwei": 0, "contributor_income_median_usd": 1,
    "contributor_income_p90_usd": 1, "contributor_above_break_even": 1, "contributor_income_zero_share": -1,
    "payout_gini": -1, "payout_top1_share": -1, "staking_apr_fee": 1, "staking_apr_emission": 1,
    "staking_ratio": 0, "treasury_gwei": 1, "pool_community_gwei": 1, "pool_ecosystem_gwei": 1,
    "staking_pot_gwei": 1, "operator_margin": 1, "replicas": 1, "latency_p95_s": -1, "users_active": 1,
    "tokens_served": 1, "fee_gross_usd": 1, "usage_cover": 1, "turnout_gopen": 1, "quorum_margin": 1,
    "nakamoto_votes": 1, "cost_to_capture_usd": 1,
}  # fmt: skip
"""Metric of a preview -> 1 where more is better, -1 where less is, 0 where it is neither."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Difference of one metric at one horizon.

    Parameters
    ----------
    metric, unit
        Column of the metrics, and the unit of its values.
    horizon_days
        Days after the execution.
    view
        ``if_executed``, or ``expected``: weighted by the chance to pass.
    spread
        The difference over the runs.
    baseline
        Median of the baseline arm.
    """

    metric: str
    horizon_days: int
    unit: str
    view: str
    spread: Spread
    baseline: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields that a preview's JSON lists."""
        place = {name: getattr(self, name) for name in ("metric", "horizon_days", "unit", "view")}
        return place | asdict(self.spread)


def unit_of(metric: str) -> str:
    """Return the unit of a metric's values: money is in gwei, rates keep their unit."""
    unit = BY_NAME[metric].unit
    return unit.replace("GOPEN", "gwei").replace("OPEN", "gwei") if metric.endswith("_gwei") else unit


def read_at(values: NDArray[Any], days: NDArray[np.int64], monthly: bool) -> Float:
    """Return each run's value on its day, or the last one before where values are monthly.

    Parameters
    ----------
    values
        (runs, days + 1).
    days
        Day of each run, int64 (runs,).
    monthly
        Whether the metric exists on the last day of a settlement epoch only.

    Returns
    -------
    numpy.ndarray
        float64 (runs,), NaN where there is no value.
    """
    rows = np.arange(len(days))
    if not monthly:
        return values[rows, days].astype(np.float64)
    known = ~np.isnan(values)
    columns = np.arange(values.shape[1])
    last = np.where(known & (columns <= days[:, None]), columns, -1).max(axis=1)
    return np.where(last >= 0, values[rows, np.maximum(last, 0)], np.nan)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and percentiles of a difference over the runs, and the share of runs in which it is worse."""

    mean: float
    p05: float
    p50: float
    p95: float
    p_worse: float | None


def spread(difference: Float, better: int) -> Spread:
    """Return the spread of a difference (runs,); `better` as in `METRICS`."""
    low, middle, high = (float(value) for value in np.percentile(difference, [5, 50, 95]))
    worse = float((difference * better < 0).mean()) if better else None
    return Spread(float(difference.mean()), low, middle, high, worse)


def difference_at(
    base: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]], metric: str, days: NDArray[np.int64]
) -> tuple[Float, Float]:
    """Return the baseline's values and the differences of a metric on each run's day, (runs,) each.

    Money is subtracted as integers and converted afterwards, so that equal worlds differ by exactly 0.
    """
    monthly = BY_NAME[metric].monthly
    before = read_at(base[metric], days, monthly)
    if metric.endswith("_gwei"):
        rows = np.arange(len(days))
        return before, (other[metric][rows, days] - base[metric][rows, days]).astype(np.float64)
    return before, read_at(other[metric], days, monthly) - before


def deltas(
    base: Mapping[str, NDArray[Any]],
    other: Mapping[str, NDArray[Any]],
    executed: NDArray[np.int64],
    horizons: tuple[int, ...],
    passed: NDArray[np.bool_],
) -> tuple[list[Delta], list[str]]:
    """Return the differences of all metrics in both views.

    Parameters
    ----------
    base, other
        Metrics of the two forced arms, (runs, days + 1).
    executed
        Day of execution per run, int64 (runs,).
    horizons
        Days after the execution; those beyond the last day are left out.
    passed
        Whether the votes pass it, per run, bool (runs,).

    Returns
    -------
    tuple
        The differences, and the metrics that have no value at some horizon.
    """
    last = next(iter(base.values())).shape[1] - 1
    found, missing = [], []
    for horizon in (h for h in horizons if int(executed.max()) + h <= last):
        for metric, better in METRICS.items():
            before, difference = difference_at(base, other, metric, executed + horizon)
            known = ~np.isnan(difference)
            if not known.any():
                missing.append(f"{metric} at {horizon} d")
                continue
            middle = float(np.median(before[known]))
            for view, values in (
                ("if_executed", difference),
                ("expected", np.where(passed, difference, 0.0)),
            ):
                over_runs = spread(values[known], better)
                found.append(Delta(metric, horizon, unit_of(metric), view, over_runs, middle))
    return found, missing
