"""Figures of people and rules: incomes, concentration, turnout, pots.

Rule decided here: pure functions from frames to SVG text.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from sim.experiment.statistics import bands
from sim.report.style import SERIES, Note, draw, fan, finish, positive, share_axis, to_svg
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import polars as pl

_QUANTILES = (5, 50, 95)
_POTS = {
    "treasury_gwei": "treasury",
    "pool_community_gwei": "community pool",
    "pool_ecosystem_gwei": "ecosystem pool",
    "staking_pot_gwei": "staking pot",
}


def income(metrics: pl.DataFrame, note: Note) -> str:
    """Return contributors' income (median and 90th percentile) and the share above break-even."""
    figure, (left, right) = draw(2, note)
    named = {"contributor_income_median_usd": "median", "contributor_income_p90_usd": "90th percentile"}
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        fan(left, positive(bands(metrics, column, _QUANTILES)), colour, label)
    finish(left, "Contributor's income", "USD per month (log)", log=True)
    fan(right, bands(metrics, "contributor_above_break_even", _QUANTILES), SERIES[2], "above break-even")
    fan(right, bands(metrics, "contributor_income_zero_share", _QUANTILES), SERIES[5], "without income")
    finish(right, "Contributors above break-even", "share of contributors")
    share_axis(right)
    return to_svg(figure, "income")


def lorenz_points(groups: pl.DataFrame, day: int) -> tuple[list[float], list[float]]:
    """Return the concentration curve of holders by decile of their baseline holding, mean over runs.

    Parameters
    ----------
    groups
        run, day, class, decile, agents, holding_gwei.
    day
        One of the days of `groups`.

    Returns
    -------
    tuple of list
        Cumulative shares of holders and of holdings, beginning at (0, 0); empty lists without deciles.
    """
    import polars as pl

    rows = groups.filter((pl.col("day") == day) & (pl.col("class") == "holders") & (pl.col("decile") > 0))
    by_decile = (
        rows.group_by("decile").agg(pl.col("agents").sum(), pl.col("holding_gwei").mean()).sort("decile")
    )
    if not by_decile.height:
        return [], []
    people = np.concatenate([[0.0], by_decile["agents"].to_numpy().cumsum()])
    held = np.concatenate([[0.0], by_decile["holding_gwei"].to_numpy().cumsum()])
    whole = held[-1] if held[-1] > 0 else 1.0
    return (people / people[-1]).tolist(), (held / whole).tolist()


def concentration(groups: pl.DataFrame, metrics: pl.DataFrame, as_of: date, note: Note) -> str:
    """Return concentration curves at the first month, the reference date and the end, and Ginis."""
    import polars as pl

    figure, (left, right) = draw(2, note)
    days = sorted(groups["day"].unique().to_list())
    reference = groups.filter(pl.col("date") <= as_of)["day"].max() if days else None
    picked = {days[0], reference if isinstance(reference, int) else days[0], days[-1]} if days else set()
    for day, colour in zip(sorted(picked), SERIES, strict=False):
        people, held = lorenz_points(groups, day)
        if people:
            left.plot(
                people, held, color=colour, marker="o", markersize=2.5, linewidth=1.2, label=f"day {day}"
            )
    if left.lines:
        left.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":", label="equal")
        left.set_xlabel("cumulative share of holders")
    finish(left, "Holdings by baseline decile", "cumulative share of holdings", dated=False)
    for (column, label), colour in zip(
        {
            "holder_gini": "holdings",
            "payout_gini": "payouts",
            "payout_top1_share": "payouts, top 1 %",
        }.items(),
        SERIES,
        strict=False,
    ):
        fan(right, bands(metrics, column, _QUANTILES), colour, label)
    finish(right, "Gini and top share", "index, share")
    return to_svg(figure, "concentration")


def turnout(metrics: pl.DataFrame, note: Note) -> str:
    """Return turnout against the quorum in force, and how many votes reached quorum and passed."""
    import polars as pl

    figure, (left, right) = draw(2, note)
    named = {
        "turnout_gopen": "of GOPEN",
        "turnout_delegated": "of delegated",
        "turnout_circulating": "of circulating",
    }
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        fan(left, bands(metrics, column, _QUANTILES), colour, label)
    quorum = metrics.with_columns(pl.col("quorum_bps") / 10_000)
    fan(left, bands(quorum, "quorum_bps", (50,)), "#333333", "quorum")
    finish(left, "Turnout of the last vote", "share of votes")
    share_axis(left)
    for (column, label), colour in zip(
        {"quorum_rate": "reached quorum", "pass_rate": "passed"}.items(), SERIES, strict=False
    ):
        fan(right, bands(metrics, column, _QUANTILES), colour, label)
    finish(right, "Votes so far", "share of votes held")
    share_axis(right)
    return to_svg(figure, "turnout")


def pots(metrics: pl.DataFrame, note: Note) -> str:
    """Return what treasury, pools and staking pot hold, and how many runs still have all of them filled."""
    import polars as pl

    figure, (left, right) = draw(2, note)
    for (column, label), colour in zip(_POTS.items(), SERIES, strict=False):
        scaled = metrics.select("day", "date", pl.col(column) / (GWEI_PER_TOKEN * 1e6))
        fan(left, bands(scaled, column, _QUANTILES), colour, label)
    finish(left, "Treasury, pools and staking pot", "million OPEN")
    for (column, label), colour in zip(_POTS.items(), SERIES, strict=False):
        filled = metrics.group_by("day", "date").agg((pl.col(column) > 0).mean().alias("p50")).sort("day")
        fan(right, filled, colour, label)
    finish(right, "Runs in which the pot holds anything", "share of runs")
    share_axis(right)
    return to_svg(figure, "pots")
