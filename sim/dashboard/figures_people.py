"""Interactive figures of people: incomes, concentration, what each class and decile was paid.

Rule decided here: pure functions from frames to plotly figures. Groups are those of the baseline (class, and
decile of the holding on day 0); USD values use the price of the month's last day.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sim.dashboard.plot import CLASSES, LINE, MONTHLY, NEUTRAL, blank, fans, from_zero, per_cent, unknown
from sim.report.figures_people import lorenz_points
from sim.report.style import SERIES, Note
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

INCOME = {
    "contributor_income_median_usd": "median contributor",
    "contributor_income_p90_usd": "90th percentile",
}
SHARES = {
    "contributor_above_break_even": "at or above break-even",
    "contributor_income_zero_share": "without any income",
}
INEQUALITY = {
    "holder_gini": "Gini of holdings",
    "payout_gini": "Gini of payouts",
    "payout_top1_share": "payouts to the top 1 %",
}
NO_EPOCH = "no settlement epoch ended within the run"


def income(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return contributors' monthly income."""
    figure = blank("Contributor's income", note, y="USD per month, at month-end price", x=MONTHLY)
    return from_zero(fans(figure, metrics, INCOME))


def break_even(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return the shares of contributors above break-even and without income."""
    figure = blank("Contributors above break-even", note, y="share of contributors, month", x=MONTHLY)
    return from_zero(per_cent(fans(figure, metrics, SHARES)))


def inequality(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return how concentrated holdings and payouts are."""
    figure = blank("Concentration", note, y="index, 0 is equal, per month", x=MONTHLY)
    figure = fans(figure, metrics, INEQUALITY)
    figure.update_yaxes(range=[0, 1])
    return figure


def lorenz(groups: pl.DataFrame, as_of: date, note: Note) -> go.Figure:
    """Return concentration curves of holders by decile: first month, reference date, last month."""
    import plotly.graph_objects as go
    import polars as pl

    figure = blank(
        "Holdings by baseline decile of holders",
        note,
        x="share of holders, smallest first",
        y="share of holdings, month end",
    )
    ends = groups.select("day", "date").unique().sort("day")
    if not ends.height:
        return unknown(figure, NO_EPOCH)
    until = ends.filter(pl.col("date") <= as_of)
    picked = dict.fromkeys([ends.row(0), until.row(-1) if until.height else ends.row(0), ends.row(-1)])
    for (day, when), colour in zip(picked, SERIES, strict=False):
        people, held = lorenz_points(groups, day)
        if people:
            line = {"color": colour, "width": 2}
            figure.add_trace(go.Scatter(x=people, y=held, name=str(when), mode="lines+markers", line=line))
    if not figure.data:
        return unknown(figure, "fewer than ten holders: no deciles")
    equal = {"color": NEUTRAL, "dash": "dot", "width": 1}
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], name="equal", mode="lines", line=equal))
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    return figure


def paid(groups: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """Return what each group was paid in each month, in USD at the month's last price.

    Parameters
    ----------
    groups
        run, day, date, class, decile, agents, holding_gwei, income_gwei.
    metrics
        For the price of the day.

    Returns
    -------
    polars.DataFrame
        class, decile, day, date, agents, and over runs the medians ``paid_usd``, ``each_usd`` (per agent),
        ``income_tokens`` and ``holding_tokens``.
    """
    import polars as pl

    usd = pl.col("income_gwei") / GWEI_PER_TOKEN * pl.col("price_usd")
    priced = groups.join(metrics.select("run", "day", "price_usd"), on=["run", "day"])
    return (
        priced.group_by("class", "decile", "day", "date", maintain_order=True)
        .agg(
            pl.col("agents").first(),
            usd.median().alias("paid_usd"),
            (usd / pl.col("agents").clip(lower_bound=1)).median().alias("each_usd"),
            (pl.col("income_gwei").median() / GWEI_PER_TOKEN).alias("income_tokens"),
            (pl.col("holding_gwei").median() / GWEI_PER_TOKEN).alias("holding_tokens"),
        )
        .sort("day", "class", "decile")
    )


def paid_classes(paid_groups: pl.DataFrame, note: Note) -> go.Figure:
    """Return payouts to each class per month as stacked bars.

    Parameters
    ----------
    paid_groups
        From `paid`.
    note
        Below the title.
    """
    import plotly.graph_objects as go
    import polars as pl

    figure = blank("Paid to each class", note, y="thousand USD per month", x=MONTHLY, height=460)
    whole = paid_groups.filter((pl.col("decile") == 0) & (pl.col("paid_usd") > 0))
    if not whole.height:
        return unknown(figure, "nobody was paid" if paid_groups.height else NO_EPOCH)
    for name, colour in CLASSES.items():
        own = whole.filter(pl.col("class") == name)
        if own.height:
            bars = (own["paid_usd"] / 1e3).to_list()
            figure.add_trace(
                go.Bar(
                    x=own["date"].to_list(), y=bars, name=name, marker_color=colour, hovertemplate="%{y:,.1f}"
                )
            )
    figure.update_layout(barmode="stack")
    return figure


def paid_deciles(paid_groups: pl.DataFrame, until: date, note: Note) -> go.Figure:
    """Return holding and monthly payout of each decile of holders at the last month end not after a date."""
    import plotly.graph_objects as go
    import polars as pl

    deciles = paid_groups.filter((pl.col("decile") > 0) & (pl.col("date") <= until))
    deciles = deciles.filter(pl.col("day") == pl.col("day").max()).sort("decile")
    y = "OPEN per holder (log)"
    figure = blank("Deciles of holders by their holding on day 0", note, y=y, x="decile, 1 holds least")
    if not deciles.height:
        return unknown(figure, "no deciles by that date")
    when = deciles["date"][0]
    named = {"holding_tokens": f"held on {when}", "income_tokens": f"paid in the month to {when}"}
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        each = (deciles[column] / deciles["agents"].clip(lower_bound=1)).to_list()
        shown = [value if value > 0 else None for value in each]
        figure.add_trace(go.Bar(x=deciles["decile"].to_list(), y=shown, name=label, marker_color=colour))
    figure.update_layout(barmode="group")
    figure.update_xaxes(dtick=1, linecolor=LINE)
    figure.update_yaxes(type="log", dtick=1, tickformat=",~s")
    return figure
