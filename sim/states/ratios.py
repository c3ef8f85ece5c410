"""Ratios: observables that follow from other columns alone.

Rule decided here: how supply, prices, ratios and rates are computed from what the days wrote (units:
`sim/observables.py`), for any stretch of days at once. Rates that a single day cannot carry use the last 30 days. A
ratio whose denominator is 0 is null, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from models.market import depth_usd, slippage
from models.staking import apy
from models.supply import supply
from sim.governed_columns import OFF

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Days = dict[str, NDArray[Any]]
WINDOW = 30

BESIDE: dict[str, type] = {
    "pool_micro_usd": np.int64, "buyback_micro_usd": np.int64, "peak_usd": np.float64, "exits": np.int64,
    "slow_exits": np.int64, "refused_tokens": np.float64, "serving_cost_usd": np.float64,
}  # fmt: skip
"""What days write for the ratios beside observables, and its kind."""
PARAMETERS = (
    "fees_platform_bps", "split_model_weight", "split_stakers_weight", "split_contributors_weight", "quorum_bps",
)  # fmt: skip
"""Columns of governed parameters."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Constants of an economy.

    Parameters
    ----------
    minted
        Tokens that exist, gwei.
    fee_bps
        The venue's fee.
    prepaid_days
        Days of use that users keep as credit.
    exit_days
        Days that a withdrawal takes.
    """

    minted: int
    fee_bps: int
    prepaid_days: int
    exit_days: int


def ratio(over: Int | Float, under: Int | Float) -> Float:
    """Return over / under as float64, NaN where the denominator is 0."""
    under = np.asarray(under, np.float64)
    out = np.full(np.shape(under), np.nan)
    np.divide(over, under, out=out, where=under != 0)
    return out


def trailing(values: NDArray[Any], first: int, last: int) -> Float:
    """Return the sums over the last 30 days up to each of the days, float64 (days, runs); null counts as 0.

    Parameters
    ----------
    values
        (all days, runs).
    first, last
        Days to sum up to; before the 30th all days so far are added.
    """
    out = np.empty((last - first + 1, values.shape[1]))
    for day in range(first, min(last + 1, WINDOW - 1)):
        out[day - first] = _sums(np.ascontiguousarray(values[: day + 1].T, np.float64))
    whole = max(first, WINDOW - 1)
    if whole <= last:
        out[whole - first :] = _windows(values[whole - WINDOW + 1 : last + 1])
    return out


def _windows(values: NDArray[np.generic]) -> Float:
    """Return the sums of every 30 days in a row, rounded as numpy does for 30 neighbours, which it adds by eights."""
    known = np.array(values, np.float64)
    known[np.isnan(known)] = 0.0
    days = [known[day : len(known) - WINDOW + 1 + day] for day in range(WINDOW)]
    eighths = [days[k] + days[k + 8] + days[k + 16] for k in range(8)]
    while len(eighths) > 1:
        eighths = [one + two for one, two in zip(eighths[::2], eighths[1::2], strict=True)]
    for rest in days[24:]:
        eighths[0] += rest
    return eighths[0]


def _sums(windows: Float) -> Float:
    """Return the sums along the last axis, which is contiguous, so that no grouping changes a rounding."""
    windows[np.isnan(windows)] = 0.0
    return np.asarray(windows.sum(axis=-1))


def derive(days: Days, first: int, last: int, terms: Terms) -> None:
    """Fill in what follows from the columns for days `first` .. `last`.

    Parameters
    ----------
    days
        Name -> (all days, runs), written.
    first, last
        The days; those before them are complete.
    terms
        Constants.
    """
    today = slice(first, last + 1)
    _supply(days, today, terms)
    _market(days, first, last, terms)
    _fees(days, first, last, terms)
    _staking(days, first, last)
    tokens, demanded = days["tokens_served"][today], days["tokens_demanded"][today]
    days["node_tokens_per_s"][today] = tokens / 86_400
    days["refused_share"][today] = ratio(days["refused_tokens"][today], demanded)
    days["serving_cost_usd_per_1m"][today] = ratio(days["serving_cost_usd"][today], tokens / 1e6)
    waited = ratio(days["slow_exits"][today], days["exits"][today])
    days["exit_days_mean"][today] = waited * terms.exit_days
    for name in PARAMETERS:
        column = days[name][today]
        column[column == float(OFF)] = np.nan
    if last >= WINDOW:
        _monthly(days, max(first, WINDOW), last)


def _supply(days: Days, today: slice, terms: Terms) -> None:
    counted = (days[f"{name}_gwei"][today] for name in ("locked", "reserve", "burned", "float"))
    series = supply(terms.minted, *counted)
    days["total_supply_gwei"][today] = series.total
    days["unlocked_gwei"][today] = series.unlocked
    days["circulating_gwei"][today] = series.circulating
    days["circulating_tracker_gwei"][today] = series.tracker
    price = days["price_usd"][today]
    market_cap, fdv = series.circulating / 1e9 * price, terms.minted / 1e9 * price
    days["market_cap_usd"][today] = market_cap
    days["fdv_usd"][today] = fdv
    days["mc_over_fdv"][today] = market_cap / fdv


def _market(days: Days, first: int, last: int, terms: Terms) -> None:
    today = slice(first, last + 1)
    price, sold, pool = (days[name][today] for name in ("price_usd", "sold_gwei", "pool_micro_usd"))
    days["volume_usd"][today] = (sold + days["bought_gwei"][today]) / 1e9 * price
    days["buyback_usd"][today] = days["buyback_micro_usd"][today] / 1e6
    days["depth_2pct_usd"][today] = depth_usd(pool, fee_bps=terms.fee_bps) / 1e6
    days["slippage_100k"][today] = slippage(pool, 100_000 * 10**6, terms.fee_bps)
    days["drawdown"][today] = 1 - price / days["peak_usd"][today]
    unlocked = trailing(days["unlock_flow_gwei"], first, last)
    days["unlock_share_of_float"][today] = ratio(unlocked, days["float_gwei"][today])


def _fees(days: Days, first: int, last: int, terms: Terms) -> None:
    today = slice(first, last + 1)
    price, float_gwei = days["price_usd"][today], days["float_gwei"][today]
    gross_usd = days["fee_gross_gwei"][today] / 1e9 * price
    days["fee_gross_usd"][today] = gross_usd
    sold_usd = days["sold_gwei"][today] / 1e9 * price
    days["net_flow_usd"][today] = gross_usd + days["buyback_micro_usd"][today] / 1e6 - sold_usd
    month = trailing(days["fee_gross_usd"], first, last)
    annual = month * 365 / _lived(first, last)
    days["velocity"][today] = ratio(annual, float_gwei / 1e9 * price)
    days["utility_price_usd"][today] = ratio(annual, float_gwei / 1e9 * (365 / terms.prepaid_days))
    days["price_to_sales"][today] = ratio(days["fdv_usd"][today], annual)
    revenue, emitted = (trailing(days[name], first, last) for name in ("fee_gross_gwei", "emission_gwei"))
    days["real_yield"][today] = ratio(revenue, emitted)
    income = month + trailing(days["buyback_usd"], first, last)
    days["usage_cover"][today] = ratio(income, trailing(days["unlock_sold_usd"], first, last))


def _staking(days: Days, first: int, last: int) -> None:
    today = slice(first, last + 1)
    staked, factor = days["staked_gwei"][today], 365 / _lived(first, last)
    days["staking_ratio"][today] = ratio(staked, days["circulating_gwei"][today])
    fee, emission = (
        ratio(trailing(days[f"stakers_{part}_gwei"], first, last) * factor, staked)
        for part in ("fee", "emission")
    )
    days["staking_apr_fee"][today] = fee
    days["staking_apr_emission"][today] = emission
    days["staking_apy"][today] = apy(np.minimum(fee + emission, 50.0))


def _lived(first: int, last: int) -> Int:
    """Return how many days the rates of each day span, int64 (days, 1)."""
    return np.minimum(np.arange(first, last + 1) + 1, WINDOW)[:, None]


def _monthly(days: Days, first: int, last: int) -> None:
    """Derive what needs 30 days of history."""
    today, then = slice(first, last + 1), slice(first - WINDOW, last + 1 - WINDOW)
    price = days["price_usd"]
    grown = ratio(days["float_gwei"][today], days["float_gwei"][then].astype(np.float64)) - 1
    days["inflation_annualised"][today] = grown * 365 / WINDOW
    returns = np.diff(np.log(price[first - WINDOW : last + 1]), axis=0)
    paths = np.array(sliding_window_view(returns, WINDOW, axis=0), order="C")
    days["volatility_30d"][today] = paths.std(axis=-1, ddof=1) * np.sqrt(365)
    volume = trailing(days["volume_usd"], first, last)
    days["unlock_sell_over_volume"][today] = ratio(trailing(days["unlock_sold_usd"], first, last), volume)
    unlocked_usd = trailing(days["unlock_flow_gwei"], first, last) / 1e9 * price[today]
    days["days_to_absorb"][today] = ratio(unlocked_usd, volume / WINDOW)
    lift = np.sqrt(price[then] / price[today]) - 1
    inflow = trailing(days["outside_inflow_usd"], first, last)
    days["holding_inflow_usd"][today] = inflow + days["pool_micro_usd"][today] / 1e6 * lift
