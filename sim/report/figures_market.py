"""Figures of supply and market: unlocks, supplies, price, fees against unlocks, what the twins differ by.

Rule decided here: pure functions from frames to SVG text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from sim.experiment.statistics import PERCENTILES, bands
from sim.report.style import BUCKETS, SERIES, Note, dates, draw, fan, finish, positive, to_svg
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import polars as pl

MILLION = 1e6
SMOOTH_DAYS = 30
_CLIFF_DAYS = 60


def unlocks(calendar: pl.DataFrame, note: Note) -> str:
    """Return the stacked area of unlocked tokens by bucket, with a marker where a locked bucket begins.

    Parameters
    ----------
    calendar
        day, date, bucket, role, vested_gwei.
    note
        Line below the figure.
    """
    import polars as pl

    wide = calendar.pivot(on="bucket", index=["day", "date"], values="vested_gwei").sort("day")
    names = [name for name in wide.columns if name not in ("day", "date")]
    roles = dict(calendar.select("bucket", "role").unique().iter_rows())
    total = sum((pl.col(name) for name in names[1:]), pl.col(names[0]))
    moved = (total != total.shift(1)) | (total != total.shift(-1))
    wide = wide.filter(moved.fill_null(True))
    figure, (axes,) = draw(1, note, height=3.4)
    axes.stackplot(
        dates(wide),
        [wide[name].to_numpy() / GWEI_PER_TOKEN / MILLION for name in names],
        labels=names,
        colors=[BUCKETS.get(roles[name], SERIES[-1]) for name in names],
    )
    for day, label in cliffs(calendar):
        where: Any = day
        axes.axvline(where, color="#333333", linewidth=0.9, linestyle="--")
        place: Any = {"xycoords": ("data", "axes fraction"), "rotation": 90, "va": "top", "ha": "right"}
        axes.annotate(f"{label} {day}", (where, 0.98), fontsize=7, **place)
    finish(axes, "Unlocked supply by bucket", "million OPEN")
    return to_svg(figure, "unlocks")


def cliffs(calendar: pl.DataFrame) -> list[tuple[date, str]]:
    """Return when buckets that were locked for two months or more begin to pay, with their names."""
    import polars as pl

    paying = calendar.filter(pl.col("vested_gwei") > 0).group_by("bucket").agg(pl.col("day", "date").min())
    late = paying.filter(pl.col("day") >= _CLIFF_DAYS).sort("date", "bucket")
    grouped = late.group_by("date", maintain_order=True).agg(pl.col("bucket")).sort("date")
    return [(day, ", ".join(names)) for day, names in grouped.iter_rows()]


def price_fan(metrics: pl.DataFrame, note: Note, percentiles: Sequence[int] = PERCENTILES) -> str:
    """Return the fan chart of the price, log scale."""
    band = bands(metrics, "price_usd", percentiles)
    figure, (axes,) = draw(1, note)
    fan(axes, band, SERIES[0], "median")
    shown = ", ".join(str(percentile) for percentile in percentiles)
    finish(axes, f"Price: median and {shown} % of {note.runs} runs", "USD per OPEN (log)", log=True)
    return to_svg(figure, "price")


def supplies(metrics: pl.DataFrame, note: Note) -> str:
    """Return the three supplies that are confused everywhere, median and 5/95."""
    figure, (axes,) = draw(1, note)
    named = {
        "circulating_tracker_gwei": "as trackers print it",
        "circulating_gwei": "circulating",
        "float_gwei": "float",
    }
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        fan(axes, _millions(bands(metrics, column, (5, 50, 95))), colour, label)
    finish(axes, "Three supplies", "million OPEN")
    return to_svg(figure, "supplies")


def _millions(band: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return band.with_columns(pl.col("^p[0-9]+$") / (GWEI_PER_TOKEN * MILLION))


def cover(metrics: pl.DataFrame, note: Note) -> str:
    """Return fee demand and sales of unlocked tokens on one log axis, medians of 30-day means."""
    import polars as pl

    figure, (axes,) = draw(1, note)
    named = {
        "fee_gross_usd": "fees",
        "usage_topup_usd": "users' purchases",
        "unlock_sold_usd": "unlocked tokens sold",
        "outside_inflow_usd": "outside inflow",
    }
    ordered = metrics.sort("run", "day")
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        smooth = ordered.select(
            "day", "date", pl.col(column).rolling_mean(SMOOTH_DAYS, min_samples=1).over("run").alias(column)
        )
        fan(axes, positive(bands(smooth, column, (5, 50, 95))), colour, label)
    finish(axes, "What users pay against what unlocks sell, 30-day means", "USD per day (log)", log=True)
    return to_svg(figure, "cover")


def twins(metrics: pl.DataFrame, others: pl.DataFrame, note: Note) -> str:
    """Return the median price of the base and of each twin over the runs that the twins have."""
    import polars as pl

    figure, (axes,) = draw(1, note)
    runs = others["run"].unique().to_list()
    arms: Mapping[str, pl.DataFrame] = {
        "baseline": metrics.filter(pl.col("run").is_in(runs)),
        **{str(name): rows for (name,), rows in others.group_by("twin", maintain_order=True)},
    }
    for (name, frame), colour in zip(arms.items(), SERIES, strict=False):
        fan(axes, bands(frame, "price_usd", (5, 50, 95)), colour, name)
    finish(axes, "Price with one mechanism off, same luck", "USD per OPEN (log)", log=True)
    return to_svg(figure, "twins")
