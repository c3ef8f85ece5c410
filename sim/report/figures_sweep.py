"""Figures of a sweep: response, heatmap, tornado, and which inputs matter.

Rule decided here: pure functions from frames to SVG text. A value is the mean over runs, with its 95 % interval where
it is drawn as a line or a bar; a tornado shows differences taken run by run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.observables import BY_NAME
from sim.report.style import SERIES, Note, draw, empty, finish, to_svg
from sim.report.text import number

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

LOW, HIGH = SERIES[0], SERIES[1]
_BAR_IN = 0.34
_FEW = 36
"""Cells of a heatmap up to which each carries its number."""

INDEX_WORDS = {
    "S1": "alone (S1)",
    "ST": "with all interactions (ST)",
    "mu_star": "mean absolute effect (mu*)",
    "sigma": "spread of the effect (sigma)",
    "rank_correlation": "rank correlation",
}


def metric_label(metric: str) -> str:
    """Return name and unit of a metric for an axis."""
    known = BY_NAME[metric]
    label = known.label.partition(" (")[0]
    return f"{label} [{known.unit}]"


def axis_text(value: float | str) -> str:
    """Return a value of an axis with at most six significant digits.

    Examples
    --------
    >>> axis_text(3251670.4), axis_text(0.04), axis_text("cheapest")
    ('3,251,670', '0.04', 'cheapest')
    """
    return value if isinstance(value, str) else f"{float(f'{value:.6g}'):,.10g}"


def response(means: pl.DataFrame, axis: str, metric: str, note: Note) -> str:
    """Return the mean of a metric along one axis.

    Parameters
    ----------
    means
        Outcomes of one metric and day with the axis as a column.
    axis
        Name of the axis's column.
    metric
        The metric.
    note
        Line below the figure.
    """
    figure, (axes,) = draw(1, note)
    ordered = means.sort(axis)
    x = ordered[axis].to_numpy()
    axes.fill_between(x, ordered["low"], ordered["high"], color=SERIES[0], alpha=0.18, linewidth=0)
    axes.plot(x, ordered["mean"], color=SERIES[0], marker="o", markersize=3.5, linewidth=1.3)
    finish(axes, "Mean over runs, with its 95 % interval", metric_label(metric), zero=False, dated=False)
    axes.set_xlabel(axis)
    return to_svg(figure, f"response-{metric}")


def heatmap(means: pl.DataFrame, across: str, up: str, metric: str, note: Note) -> str:
    """Return the mean of a metric over two axes, with a line where it changes its sign.

    Parameters
    ----------
    means
        Outcomes of one metric and day, one row per cell.
    across, up
        Columns of the two axes.
    metric
        The metric.
    note
        Line below the figure.
    """
    figure, (axes,) = draw(1, note, height=4.0)
    x, y = (np.unique(means[name].to_numpy()) for name in (across, up))
    table: Any = np.full((len(y), len(x)), np.nan)
    for row in means.iter_rows(named=True):
        if row["mean"] is not None:
            table[np.searchsorted(y, row[up]), np.searchsorted(x, row[across])] = row["mean"]
    if np.isnan(table).all():
        empty(axes, "no values in this sweep")
        return to_svg(figure, f"heatmap-{metric}")
    figure.subplots_adjust(left=0.15, right=1.02)
    image = axes.imshow(table, origin="lower", aspect="auto", cmap="viridis")
    unit = BY_NAME[metric].unit
    figure.colorbar(image, ax=axes, label=metric_label(metric), format=lambda value, _: number(value, unit))
    if table.size <= _FEW:
        _cell_texts(axes, table, metric)
    if np.nanmin(table) < 0 < np.nanmax(table) and min(table.shape) > 1:
        axes.contour(table, levels=[0.0], colors="#ffffff", linewidths=1.6, linestyles="--")
    axes.grid(visible=False)
    axes.set_xticks(range(len(x)), [axis_text(float(value)) for value in x])
    axes.set_yticks(range(len(y)), [axis_text(float(value)) for value in y])
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title("Mean over runs", fontsize=10, loc="left")
    return to_svg(figure, f"heatmap-{metric}")


def _cell_texts(axes: Axes, table: Any, metric: str) -> None:
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    unit = BY_NAME[metric].unit
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            colour = "#1b1b1b" if value > middle else "#ffffff"
            axes.text(
                column, row, number(float(value), unit), ha="center", va="center", fontsize=8, color=colour
            )


def tornado(
    means: pl.DataFrame, names: list[str], texts: list[tuple[str, str]], metric: str, note: Note
) -> str:
    """Return how a metric moves when every axis alone goes to its two ends, the widest on top.

    Parameters
    ----------
    means
        Outcomes of one metric and day: point 0 is the scenario, 1 + 2k and 2 + 2k are the ends of axis k.
    names
        Axes.
    texts
        Values at both ends.
    metric
        The metric.
    note
        Line below the figure.
    """
    figure, (axes,) = draw(1, note, height=1.3 + _BAR_IN * len(names))
    rows = {row["point"]: row for row in means.iter_rows(named=True)}
    swings = []
    for index, name in enumerate(names):
        ends = [rows[1 + 2 * index], rows[2 + 2 * index]]
        width = max(abs(end["difference"] or 0.0) for end in ends)
        swings.append((width, name, ends, texts[index]))
    for place, (_, _, ends, said) in enumerate(sorted(swings, key=lambda swing: swing[0])):
        # ends that move one way would cover each other: each has half of the place
        apart = 0.17 if (ends[0]["difference"] or 0.0) * (ends[1]["difference"] or 0.0) > 0 else 0.0
        for end, text, colour, aside in zip(ends, said, (LOW, HIGH), (apart, -apart), strict=True):
            _bar(axes, place + aside, 0.62 - 2 * apart, end, text, colour)
    axes.axvline(0, color="#333333", linewidth=0.9)
    ordered = [name for _, name, _, _ in sorted(swings, key=lambda swing: swing[0])]
    axes.set_yticks(range(len(ordered)), ordered)
    axes.margins(x=0.16)
    finish(
        axes,
        "Difference from the scenario as it is, run by run, with 95 % interval",
        "",
        zero=False,
        dated=False,
    )
    axes.set_xlabel(metric_label(metric))
    figure.subplots_adjust(
        left=0.3, bottom=0.21 * 3.0 / figure.get_figheight(), top=1 - 0.3 / figure.get_figheight()
    )
    return to_svg(figure, f"tornado-{metric}")


def _bar(axes: Axes, place: float, height: float, end: dict[str, Any], text: str, colour: str) -> None:
    value = end["difference"]
    if not value:
        return
    axes.barh(place, value, height=height, color=colour, alpha=0.75)
    low, high = end["difference_low"], end["difference_high"]
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color="#333333", linewidth=1.0)
    side = 1 if value > 0 else -1
    outermost = max((low or value, high or value, value), key=lambda x: x * side)
    axes.annotate(
        text, (outermost, place), xytext=(4 * side, -3), textcoords="offset points", fontsize=7, color="#333333",
        ha="left" if side > 0 else "right",
    )  # fmt: skip


def _index_label(metric: str, kind: str) -> str:
    """Return what a bar of an index measures."""
    label = metric_label(metric)
    if kind == "S1":
        return f"share of the variance of {label.partition(' [')[0]}"
    return label if kind == "mu_star" else f"{INDEX_WORDS[kind]} with {label.partition(' [')[0]}"


def index_bars(found: pl.DataFrame, metric: str, note: Note) -> str:
    """Return the indices of one metric and day as bars with intervals, the axis that matters most on top.

    Parameters
    ----------
    found
        axis, index, value, low, high.
    metric
        The metric.
    note
        Line below the figure.
    """
    names, kinds = (
        found["axis"].unique(maintain_order=True).to_list(),
        found["index"].unique(maintain_order=True),
    )
    figure, (axes,) = draw(1, note, height=1.5 + _BAR_IN * len(names) * max(1, len(kinds) * 0.7))
    rows = {(row["axis"], row["index"]): row for row in found.iter_rows(named=True)}
    ordered = sorted(
        names,
        key=lambda name: abs(rows[name, kinds[-1] if kinds[-1] != "sigma" else kinds[0]]["value"] or 0.0),
    )
    height = 0.8 / len(kinds)
    for position, (kind, colour) in enumerate(zip(kinds, SERIES, strict=False)):
        for place, name in enumerate(ordered):
            row, where = rows[name, kind], place + 0.4 - height * (position + 0.5)
            label = INDEX_WORDS[kind] if place == 0 else "_"
            axes.barh(where, row["value"] or 0.0, height=height * 0.9, color=colour, alpha=0.8, label=label)
            if row["low"] is not None:
                axes.plot([row["low"], row["high"]], [where, where], color="#333333", linewidth=1.0)
    axes.set_yticks(range(len(ordered)), ordered)
    axes.axvline(0, color="#333333", linewidth=0.9)
    finish(axes, "Which input moves it, with 95 % interval", "", zero=False, dated=False)
    axes.set_xlabel(_index_label(metric, kinds[0]))
    figure.subplots_adjust(
        left=0.3, bottom=0.21 * 3.0 / figure.get_figheight(), top=1 - 0.3 / figure.get_figheight()
    )
    return to_svg(figure, f"indices-{metric}")
