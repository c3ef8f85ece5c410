"""Plot: what all interactive figures share: colours, axes, bands.

Rule decided here: one colour per bucket, class and series everywhere, the same as in the report; every axis
says its unit and its period, every figure its number of runs and the class of its weakest input; areas stand
on zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.experiment.statistics import bands
from sim.report.style import BUCKETS, SERIES, Note, thinned
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

MILLION_TOKENS = GWEI_PER_TOKEN * 1e6
"""Gwei in a million tokens."""
NEUTRAL = "#6c757d"
LINE = "#333333"
CLASSES = {
    "holders": "#468faf", "users": "#5b8e7d", "contributors": "#b08900", "builders": "#7b2cbf",
    "operators": "#6c757d", "investors": BUCKETS["investors"], "team": BUCKETS["team"],
    "delegates": "#0f4c5c", "traders": "#c9ada7",
}  # fmt: skip
"""Colour of each class of agents; insiders have the colour of their bucket."""
PARTIES = {
    "treasury": "#1d3557", "platform": "#8d99ae", "community pool": BUCKETS["community"],
    "ecosystem pool": BUCKETS["ecosystem"], "staking pot": "#3a7d44", "stakers": "#3a7d44",
    "model owners": CLASSES["builders"], "data contributors": CLASSES["contributors"],
}  # fmt: skip
"""Colour of each pot and of each party to a fee."""
NARROW, WIDE = 8, 500
"""Ratios of largest to smallest value up to which a log axis chooses its ticks, and from which it has decades."""
DAILY = "date (daily values)"
MONTHLY = "date (month ends)"
_LAYOUT: dict[str, Any] = {
    "title": {
        "x": 0, "xref": "paper", "yref": "container", "y": 0.97, "yanchor": "top", "font": {"size": 16},
        "subtitle": {"font": {"size": 12, "color": NEUTRAL}},
    },
    "margin": {"l": 70, "r": 20, "t": 70, "b": 95},
    "font": {"family": "Source Sans, DejaVu Sans, sans-serif", "size": 13, "color": "#212529"},
    "plot_bgcolor": "white",
    "paper_bgcolor": "white",
    "hovermode": "x unified",
    "legend": {
        "orientation": "h", "x": 0, "y": 0.01, "yref": "container", "yanchor": "bottom", "traceorder": "normal",
    },
    "xaxis": {"showgrid": False, "linecolor": LINE, "ticks": "outside", "automargin": True},
    "yaxis": {"gridcolor": "#e9ecef", "zerolinecolor": "#adb5bd", "automargin": True},
}  # fmt: skip


def blank(title: str, note: Note | str, *, y: str, x: str = DAILY, height: int = 420) -> go.Figure:
    """Return an empty figure with its title, its note and labelled axes.

    Parameters
    ----------
    title
        What it shows.
    note
        Number of runs and weakest input, or what else the figure rests on; stands below the title.
    y, x
        Titles of the axes with unit and period.
    height
        Pixels; the width is the page's.
    """
    import plotly.graph_objects as go

    figure = go.Figure(layout={**_LAYOUT, "height": height})
    said = note if isinstance(note, str) else note.text
    figure.update_layout(title={"text": f"<b>{title}</b>", "subtitle": {"text": said}})
    figure.update_xaxes(title={"text": x, "standoff": 8})
    figure.update_yaxes(title={"text": y, "standoff": 12})
    return figure


def unknown(figure: go.Figure, why: str) -> go.Figure:
    """Say in the middle of a figure why it holds nothing."""
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text=why,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"color": NEUTRAL, "size": 14},
    )
    return figure


def per_cent(figure: go.Figure) -> go.Figure:
    """Write the y axis in per cent; numbers stay fractions of 1."""
    figure.update_yaxes(tickformat=".3~%")
    return figure


def from_zero(figure: go.Figure) -> go.Figure:
    """Let a linear y axis begin at zero."""
    figure.update_yaxes(rangemode="tozero")
    return figure


def plain_log(figure: go.Figure) -> go.Figure:
    """Give a figure a log y axis with plain numbers: ticks at 1, 2, 5, or at decades alone over a wide range."""
    heights = [float(y) for trace in figure.data for y in trace.y or () if y is not None and y > 0]
    ratio = max(heights) / min(heights) if heights else 1.0
    dtick = None if ratio < NARROW else "D2" if ratio < WIDE else 1
    figure.update_yaxes(type="log", dtick=dtick, tickformat=",~f")
    return figure


def transparent(colour: str, opacity: float) -> str:
    """Return a colour as ``rgba(...)``.

    Examples
    --------
    >>> transparent("#ff8000", 0.2)
    'rgba(255, 128, 0, 0.2)'
    """
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def add_fan(figure: go.Figure, band: pl.DataFrame, colour: str, label: str) -> None:
    """Draw a band: pairs of quantiles as shades, outer ones light, and the median as a line.

    Parameters
    ----------
    figure
        Gains the traces.
    band
        From `sim.experiment.statistics.bands`: date and ``p05``-like columns.
    colour, label
        Colour and name; shades belong to the line in the legend.
    """
    import plotly.graph_objects as go

    band = thinned(band)
    when = band["date"].to_list()
    columns = [name for name in band.columns if name.startswith("p") and name[1:].isdigit()]
    lows = [name for name in columns if int(name[1:]) < 50]
    highs = [name for name in reversed(columns) if int(name[1:]) > 50]
    quiet: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "legendgroup": label, "showlegend": False}
    for low, high in zip(lows, highs, strict=False):
        shade = {"fill": "tonexty", "fillcolor": transparent(colour, 0.18)}
        figure.add_trace(
            go.Scatter(x=when, y=band[low].to_list(), name=_edge(label, low), hoverinfo="skip", **quiet)
        )
        figure.add_trace(
            go.Scatter(
                x=when, y=band[high].to_list(), name=_edge(label, high), hoverinfo="skip", **quiet, **shade
            )
        )
    if "p50" in columns:
        line = {"color": colour, "width": 2}
        figure.add_trace(
            go.Scatter(
                x=when, y=band["p50"].to_list(), name=label, mode="lines", line=line, legendgroup=label
            )
        )


def _edge(label: str, column: str) -> str:
    return f"{label}, {int(column[1:])} %"


def fans(
    figure: go.Figure, metrics: pl.DataFrame, named: Mapping[str, str], *, scale: float = 1.0,
    percentiles: Sequence[int] = (5, 50, 95), colours: Iterable[str] = SERIES,
) -> go.Figure:  # fmt: skip
    """Draw the bands of some observables over runs; say so where none has a value.

    Parameters
    ----------
    figure
        Gains the traces.
    metrics
        Rows by run and day.
    named
        Column -> label.
    scale
        What numbers are divided by, such as `MILLION_TOKENS`.
    percentiles
        Of the bands.
    colours
        One per column.
    """
    import polars as pl

    for (column, label), colour in zip(named.items(), colours, strict=False):
        scaled = metrics.select("day", "date", pl.col(column) / scale)
        band = bands(scaled, column, percentiles)
        if band.height:
            add_fan(figure, band, colour, label)
    return figure if figure.data else unknown(figure, "no run has a value on any day")


def smoothed(metrics: pl.DataFrame, columns: Iterable[str], days: int) -> pl.DataFrame:
    """Return run, day, date and each column's mean over the last `days` days, run by run."""
    import polars as pl

    means = [pl.col(column).rolling_mean(days, min_samples=1).over("run").alias(column) for column in columns]
    return metrics.sort("run", "day").select("run", "day", "date", *means)
