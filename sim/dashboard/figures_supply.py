"""Interactive figures of supply and price: the unlock calendar, three supplies, price, what pays for unlocks.

Rule decided here: pure functions from frames to plotly figures; amounts in millions of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from models.calendar import add_months, month_index
from sim.dashboard.plot import (
    LINE,
    MILLION_TOKENS,
    MONTHLY,
    NEUTRAL,
    add_fan,
    blank,
    fans,
    from_zero,
    per_cent,
    plain_log,
    transparent,
    unknown,
)
from sim.experiment.statistics import PERCENTILES, bands
from sim.report.figures_market import cliffs
from sim.report.style import BUCKETS, SERIES, Note

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

    from sim.unlocks import Unlocks

MAX_PATHS = 20
SHORT = "no whole month within the run"
SUPPLIES = {
    "circulating_tracker_gwei": "as trackers print it (unlocked less burned)",
    "circulating_gwei": "circulating (without pools and treasury)",
    "float_gwei": "float (free wallets)",
}
FLOWS = {
    "unlock_flow_gwei": "unlocked",
    "emission_gwei": "emitted by programmes",
    "sold_gwei": "sold on the market",
}


def unlocks(calendar: pl.DataFrame, note: Note, symbol: str = "OPEN") -> go.Figure:
    """Return the stacked area of unlocked tokens by bucket, with a line where a locked bucket begins to pay.

    Parameters
    ----------
    calendar
        day, date, bucket, role, vested_gwei.
    note
        Below the title.
    symbol
        The token's.
    """
    import polars as pl

    wide = calendar.pivot(on="bucket", index=["day", "date"], values="vested_gwei").sort("day")
    names = [name for name in wide.columns if name not in ("day", "date")]
    roles = dict(calendar.select("bucket", "role").unique().iter_rows())
    moved = pl.any_horizontal(
        pl.col(name) != pl.col(name).shift(by) for name in names for by in (1, -1)
    ).fill_null(True)
    wide = wide.filter(moved)
    figure = blank("Unlocked supply by bucket", note, y=f"million {symbol}, end of day", height=460)
    colours = bucket_colours(names, roles)
    for name in names:
        _area(figure, wide["date"].to_list(), (wide[name] / MILLION_TOKENS).to_list(), name, colours[name])
    mark_cliffs(figure, cliffs(calendar))
    return from_zero(figure)


def bucket_colours(names: Sequence[str], roles: Mapping[str, str]) -> dict[str, str]:
    """Return a colour per bucket: its role's for the first of a role, else one of the series colours."""
    spare = iter([colour for colour in SERIES if colour not in BUCKETS.values()] * len(names))
    taken: dict[str, str] = {}
    for name in names:
        colour = BUCKETS.get(roles.get(name, ""), NEUTRAL)
        taken[name] = next(spare) if colour in taken.values() else colour
    return taken


def _area(figure: go.Figure, when: list[date], height: list[float], name: str, colour: str) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(
            x=when,
            y=height,
            name=name,
            stackgroup="buckets",
            mode="lines",
            line={"width": 0, "color": colour},
            fillcolor=transparent(colour, 0.85),
            hovertemplate="%{y:,.2f}",
        )
    )


def mark_cliffs(figure: go.Figure, marks: Sequence[tuple[date, str]]) -> None:
    """Draw a dashed line with a text where buckets that were locked begin to pay."""
    for when, names in marks:
        text: Any = f"{names} begin {when}"
        figure.add_vline(x=when.isoformat(), line={"color": LINE, "width": 1.2, "dash": "dash"})
        figure.add_annotation(
            x=when.isoformat(),
            y=0.98,
            yref="paper",
            yanchor="top",
            xanchor="right",
            text=text,
            showarrow=False,
            bgcolor="rgba(255, 255, 255, 0.8)",
            font={"size": 12},
        )


def calendar(answer: Unlocks, roles: Mapping[str, str]) -> go.Figure:
    """Return the stacked steps of a calendar that was read from a file, by month.

    Parameters
    ----------
    answer
        From `sim.unlocks.unlocks_of`.
    roles
        Bucket -> role, for colours.
    """
    import plotly.graph_objects as go

    per = 10**answer.decimals * 1_000_000
    y = f"million {answer.symbol}, month end"
    note = "exact calendar of the file, without agents and without a run"
    figure = blank("Unlocked supply by bucket", note, y=y, x=MONTHLY, height=460)
    colours = bucket_colours(list(answer.allocated), roles)
    when = [month.date for month in answer.months]
    for name in answer.allocated:
        total, heights = 0, []
        for month in answer.months:
            total += month.by_bucket[name]
            heights.append(total / per)
        _area(figure, when, heights, name, colours[name])
        figure.data[-1].line.shape = "hv"
    mark_cliffs(figure, _first_payments(answer))
    asked = answer.at.isoformat()
    figure.add_trace(
        go.Scatter(
            x=[asked],
            y=[answer.unlocked / per],
            mode="markers",
            name=f"on {asked}",
            marker={"color": LINE, "size": 9},
            hovertemplate="%{y:,.2f} unlocked",
        )
    )
    return from_zero(figure)


def _first_payments(answer: Unlocks) -> list[tuple[date, str]]:
    """Return when buckets that paid nothing for two months or more begin to."""
    marks: dict[date, list[str]] = {}
    for name in answer.allocated:
        first = next((month for month in answer.months if month.by_bucket[name]), None)
        if first is not None and first.month >= 2:
            marks.setdefault(first.date, []).append(name)
    return [(when, ", ".join(names)) for when, names in sorted(marks.items())]


def supplies(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return the three supplies that are confused everywhere, median and 5/95."""
    figure = blank("Three supplies", note, y="million OPEN, end of day")
    return from_zero(fans(figure, metrics, SUPPLIES, scale=MILLION_TOKENS))


def by_month(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return what was unlocked, emitted and sold in each whole month, and the unlock's share of float.

    Parameters
    ----------
    metrics
        Rows by run and day, from day 0.

    Returns
    -------
    polars.DataFrame
        month (from 1: day 0 is in none), until (its last day), and medians over runs: the columns of
        `FLOWS` in gwei, and ``share``: what was unlocked over the float at the end of the month before.
    """
    import polars as pl

    start = metrics["date"].min()
    assert isinstance(start, date)
    days = metrics["date"].unique().sort().to_list()
    months = {day: month_index(start, day) for day in days}
    ends = {day for day in days if add_months(start, months[day]) == day}
    number = [months[day] + (day not in ends) for day in days]
    named = pl.DataFrame({"date": days, "month": number, "is_end": [day in ends for day in days]})
    rows = metrics.join(named, on="date")
    closed = rows.filter("is_end").select("run", "month", "float_gwei", pl.col("date").alias("until"))
    before = closed.select("run", pl.col("month") + 1, pl.col("float_gwei").alias("float_before"))
    sums = rows.group_by("run", "month").agg(pl.col(list(FLOWS)).sum())
    joined = sums.join(closed, on=["run", "month"]).join(before, on=["run", "month"])
    share = pl.col("unlock_flow_gwei") / pl.col("float_before")
    medians = [*(pl.col(name).cast(pl.Float64).median() for name in FLOWS), share.median().alias("share")]
    return joined.group_by("month", "until").agg(medians).sort("month")


def monthly_flows(months: pl.DataFrame, note: Note) -> go.Figure:
    """Return what was unlocked, emitted and sold in each month, medians over runs, from `by_month`."""
    import plotly.graph_objects as go

    figure = blank("Unlocked, emitted and sold", note, y="million OPEN per month", x=MONTHLY)
    if not months.height:
        return unknown(figure, SHORT)
    for (column, label), colour in zip(FLOWS.items(), SERIES, strict=False):
        bars = (months[column] / MILLION_TOKENS).to_list()
        figure.add_trace(go.Bar(x=months["until"].to_list(), y=bars, name=label, marker_color=colour))
    figure.update_layout(barmode="group")
    return from_zero(figure)


def unlock_share(months: pl.DataFrame, note: Note) -> go.Figure:
    """Return each month's unlock as a share of the float before it, median over runs, from `by_month`."""
    import plotly.graph_objects as go

    figure = blank("Unlocks against the float", note, y="share of the float before", x=MONTHLY)
    if not months.height:
        return unknown(figure, SHORT)
    shares = months["share"].to_list()
    figure.add_trace(go.Bar(x=months["until"].to_list(), y=shares, name="unlocked", marker_color=SERIES[0]))
    return per_cent(from_zero(figure))


def price(
    metrics: pl.DataFrame, note: Note, percentiles: Sequence[int] = PERCENTILES, *, paths: bool = False
) -> go.Figure:
    """Return the fan of the price on a log axis, and on demand up to `MAX_PATHS` single runs."""
    import plotly.graph_objects as go

    figure = blank("Price", note, y="USD per OPEN, close of day (log)")
    inner = ", ".join(str(percentile) for percentile in percentiles if percentile != 50)
    label = f"median of {note.runs} runs; shades end at {inner} %"
    add_fan(figure, bands(metrics, "price_usd", percentiles), SERIES[0], label)
    runs = metrics["run"].unique().sort().to_list()[:MAX_PATHS] if paths else []
    for run in runs:
        own = metrics.filter(metrics["run"] == run).sort("day")
        line = {"width": 0.8, "color": transparent(LINE, 0.5)}
        figure.add_trace(
            go.Scatter(
                x=own["date"].to_list(),
                y=own["price_usd"].to_list(),
                mode="lines",
                line=line,
                name=f"run {run}",
                showlegend=False,
            )
        )
    return plain_log(figure)


def twins(metrics: pl.DataFrame, others: pl.DataFrame, words: Mapping[str, str], note: Note) -> go.Figure:
    """Return the price of the run and of each twin, over the runs that the twins have.

    Parameters
    ----------
    metrics, others
        Rows of the run, and of the twins with the column twin.
    words
        Name of a twin -> what is switched off.
    note
        Below the title.
    """
    import polars as pl

    figure = blank(
        "Price with one mechanism switched off, same luck", note, y="USD per OPEN, close of day (log)"
    )
    runs = others["run"].unique().to_list()
    arms = {"as in the scenario": metrics.filter(pl.col("run").is_in(runs))}
    for (name,), rows in others.group_by("twin", maintain_order=True):
        arms[words.get(str(name), str(name))] = rows
    for (label, rows), colour in zip(arms.items(), SERIES, strict=False):
        add_fan(figure, bands(rows, "price_usd", (5, 50, 95)), colour, label)
    return plain_log(figure)
