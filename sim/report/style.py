"""Style of the figures: colours, axes and deterministic SVG.

Rule decided here: one colour per bucket, class and band everywhere; a figure says its period, its unit, the
number of runs and the class of its weakest input; the same frame gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BUCKETS = {
    "community": "#2a6f97",
    "ecosystem": "#61a5c2",
    "liquidity": "#a9d6e5",
    "investors": "#e07a5f",
    "team": "#9b2226",
}
"""Colour of each bucket role."""
SERIES = ("#2a6f97", "#e07a5f", "#3a7d44", "#7b2cbf", "#b08900", "#6c757d")
"""Colours of series, in order."""
_RC: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "path.simplify": False,
}
NARROW = 1e3
"""Ratio of the ends of a log axis below which 2 and 5 are labelled beside the powers of ten."""
MAX_POINTS = 160
"""Points of a line: more make a file larger and a picture no finer."""


@dataclass(frozen=True, slots=True)
class Note:
    """What stands below every figure.

    Parameters
    ----------
    runs
        Runs that the figure rests on; 0 where it rests on the calendar alone.
    evidence
        Class of the weakest input.
    """

    runs: int
    evidence: str

    @property
    def text(self) -> str:
        """The line below the figure."""
        rests = f"{self.runs} run{'s' if self.runs != 1 else ''}" if self.runs else "exact calendar"
        return f"{rests}; weakest input: {self.evidence}"


def draw(panels: int, note: Note, *, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with panels side by side and its note.

    Parameters
    ----------
    panels
        1 or 2.
    note
        Written in the lower left corner.
    height
        In inches; the width is fixed.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC):
        figure = Figure(figsize=(8.6, height))
        axes = [figure.add_subplot(1, panels, index + 1) for index in range(panels)]
    figure.subplots_adjust(left=0.085, right=0.985, bottom=0.21, top=0.91, wspace=0.24)
    figure.text(0.005, 0.015, note.text, fontsize=8, color="#666666")
    return figure, axes


def to_svg(figure: Figure, salt: str) -> str:
    """Return a figure as an SVG element without date, doctype or metadata.

    Parameters
    ----------
    figure
        The figure.
    salt
        Name of the figure: makes identifiers that are the same every time and differ between figures.
    """
    import matplotlib as mpl

    settings: Any = {**_RC, "svg.hashsalt": salt}
    with mpl.rc_context(settings):
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :].strip()


def dates(frame: pl.DataFrame) -> Any:
    """Return the date column as numpy dates for an axis."""
    return frame["date"].to_numpy()


def thinned(frame: pl.DataFrame, points: int = MAX_POINTS) -> pl.DataFrame:
    """Return every k-th row and the last, so that a daily series of years stays a small picture."""
    step = max(1, frame.height // points)
    if step == 1:
        return frame
    keep = sorted({*range(0, frame.height, step), frame.height - 1})
    return frame[keep]


def fan(axes: Axes, band: pl.DataFrame, colour: str, label: str) -> None:
    """Draw a band: the outer pair of quantiles light, inner pairs darker, the median as a line."""
    if not band.height:
        return
    band = thinned(band)
    columns = [name for name in band.columns if name.startswith("p") and name[1:].isdigit()]
    lows = [name for name in columns if int(name[1:]) < 50]
    highs = [name for name in reversed(columns) if int(name[1:]) > 50]
    for low, high in zip(lows, highs, strict=False):
        axes.fill_between(dates(band), band[low], band[high], color=colour, alpha=0.18, linewidth=0)
    if "p50" in columns:
        axes.plot(dates(band), band["p50"], color=colour, linewidth=1.4, label=label)


def positive(band: pl.DataFrame) -> pl.DataFrame:
    """Return the days of a band on which all of it can stand on a log axis."""
    import polars as pl

    return band.filter(pl.col("p05") > 0)


def finish(
    axes: Axes, title: str, ylabel: str, *, zero: bool = True, log: bool = False, dated: bool = True
) -> None:
    """Label an axis; a linear one begins at 0 unless told otherwise, a log one has plain numbers."""
    axes.set_title(title, fontsize=10, loc="left")
    if not axes.lines and not axes.collections:
        empty(axes, "no values in this run")
        return
    axes.set_ylabel(ylabel)
    if log:
        _log_axis(axes)
    elif zero:
        axes.set_ylim(bottom=0)
    if dated:
        _date_axis(axes)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(loc="best")


def _log_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    steps = (1.0, 2.0, 5.0) if high < low * NARROW else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(10, subs=steps, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_locator(LogLocator(10, subs=()))


def _date_axis(axes: Axes) -> None:
    from matplotlib import dates as mdates

    module: Any = mdates
    locator = module.AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(module.ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlabel("date")


def empty(axes: Axes, why: str) -> None:
    """Say in the middle of a panel why it holds nothing."""
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, color="#666666", wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])


def share_axis(axes: Axes) -> None:
    """Write the y axis in per cent."""
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def colours(count: int) -> Sequence[str]:
    """Return the first `count` series colours."""
    return [SERIES[index % len(SERIES)] for index in range(count)]
