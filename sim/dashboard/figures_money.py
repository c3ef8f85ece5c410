"""Interactive figures of fees and of what they have to carry.

Rule decided here: pure functions from frames to plotly figures; daily money is shown as the mean of 30 days,
because single days are noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.dashboard.plot import (
    LINE,
    MILLION_TOKENS,
    PARTIES,
    add_fan,
    blank,
    fans,
    from_zero,
    per_cent,
    plain_log,
    smoothed,
    transparent,
    unknown,
)
from sim.experiment.statistics import bands
from sim.report.style import SERIES, Note

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

SMOOTH_DAYS = 30
DEMAND = {
    "fee_gross_usd": "fees paid by users",
    "usage_topup_usd": "users' purchases of tokens",
    "unlock_sold_usd": "unlocked and emitted tokens sold",
    "outside_inflow_usd": "outside net inflow (traders)",
}
SPLIT = {
    "split_model_weight": "model owners",
    "split_stakers_weight": "stakers",
    "split_contributors_weight": "data contributors",
}
POTS = {
    "treasury_gwei": "treasury",
    "pool_community_gwei": "community pool",
    "pool_ecosystem_gwei": "ecosystem pool",
    "staking_pot_gwei": "staking pot",
}


def fees(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return gross and net fees."""
    import polars as pl

    net = pl.col("fee_net_gwei") / pl.col("fee_gross_gwei")
    paid = metrics.with_columns((pl.col("fee_gross_usd") * net.fill_nan(0)).alias("fee_net_usd"))
    named = {"fee_gross_usd": "gross", "fee_net_usd": "net of the platform part"}
    figure = blank("Inference and access fees", note, y="USD per day, mean of 30 days")
    return from_zero(fans(figure, smoothed(paid, named, SMOOTH_DAYS), named))


def cover(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return usage cover, with the line at which fees and buyback pay for all unlocked tokens that are sold."""
    figure = blank("Usage cover", note, y="(fees + buyback) / sold, 30 days")
    figure = from_zero(fans(figure, metrics, {"usage_cover": "usage cover"}))
    figure.add_hline(
        y=1,
        line={"color": LINE, "dash": "dash", "width": 1.2},
        annotation_text="usage pays for all of it",
        annotation_position="top left",
    )
    return figure


def demand(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return fee demand, unlock supply and outside inflow on one log axis, each where it is positive."""
    figure = blank(
        "Fee demand against unlock supply", note, y="USD per day, mean of 30 days (log)", height=460
    )
    smooth = smoothed(metrics, DEMAND, SMOOTH_DAYS)
    for (column, label), colour in zip(DEMAND.items(), SERIES, strict=False):
        for part in _positive_parts(bands(smooth, column, (5, 50, 95))):
            known = {trace.name for trace in figure.data}
            add_fan(figure, part, colour, label)
            figure.data[-1].showlegend = label not in known
    return plain_log(figure) if figure.data else unknown(figure, "nothing was paid or sold in any run")


def _positive_parts(band: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the stretches of days on which the lowest quantile is above zero, so that no line spans a gap."""
    import polars as pl

    positive = pl.col("p05") > 0
    numbered = band.with_columns((positive != positive.shift(1)).fill_null(True).cum_sum().alias("part"))
    return numbered.filter(positive).partition_by("part", maintain_order=True, include_key=False)


def split(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return the shares of the gross fee by the weights in force, mean over runs, stacked."""
    import plotly.graph_objects as go
    import polars as pl

    figure = blank("Who a fee goes to", note, y="share of gross fee, each day")
    weights = pl.sum_horizontal(list(SPLIT))
    platform = pl.col("fees_platform_bps") / 10_000
    shares = metrics.group_by("day", "date").agg(
        platform.mean().alias("platform"),
        *(((1 - platform) * pl.col(column) / weights).mean().alias(column) for column in SPLIT),
    )
    shares = shares.drop_nulls().sort("day")
    if not shares.height:
        return unknown(figure, "no fee is in force on any day")
    for column, label in {"platform": "platform", **SPLIT}.items():
        colour = PARTIES[label]
        figure.add_trace(
            go.Scatter(
                x=shares["date"].to_list(),
                y=shares[column].to_list(),
                name=label,
                stackgroup="fee",
                mode="lines",
                line={"width": 0, "color": colour},
                fillcolor=transparent(colour, 0.85),
                hovertemplate="%{y:.1%}",
            )
        )
    return from_zero(per_cent(figure))


def pots(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return what treasury, pools and staking pot hold."""
    colours = [PARTIES[label] for label in POTS.values()]
    figure = blank("Treasury, pools and staking pot", note, y="million OPEN, end of day")
    return from_zero(fans(figure, metrics, POTS, scale=MILLION_TOKENS, colours=colours))
