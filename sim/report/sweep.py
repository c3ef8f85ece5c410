"""The page of a sweep: what was varied, what came out, and which inputs matter.

Rule decided here: the page is written from the sweep directory alone. Every number is a mean over the same runs at all
points with its 95 % interval; it says how many runs that is and which command gives it again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from sim.observables import BY_NAME
from sim.report import html
from sim.report.blocks import Block, Code, Heading, Paragraph, Picture, Table
from sim.report.figures_sweep import (
    INDEX_WORDS,
    axis_text,
    heatmap,
    index_bars,
    metric_label,
    response,
    tornado,
)
from sim.report.style import Note
from sim.report.text import DASH, interval, number
from sim.results.tables import read_parquet

if TYPE_CHECKING:
    import polars as pl

PAGE = "sweep.html"
FOLD = 24
"""Rows of a table beyond which it begins folded."""

MODE_WORDS = {
    "grid": "every combination", "zip": "rank by rank", "tornado": "one input at a time",
    "latin": "a Latin hypercube", "sobol": "Saltelli's sample on a Sobol sequence", "morris": "Morris trajectories",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SweepResults:
    """A complete sweep directory.

    Parameters
    ----------
    directory
        Where it is.
    facts
        ``sweep.json``.
    points, outcomes, indices
        Its tables.
    """

    directory: Path
    facts: dict[str, Any]
    points: pl.DataFrame
    outcomes: pl.DataFrame
    indices: pl.DataFrame

    @property
    def axes(self) -> list[str]:
        """Columns of the axes."""
        return [name for name in self.points.columns if name != "point"]

    @property
    def note(self) -> Note:
        """What stands below every figure."""
        return Note(int(self.facts["runs"]), str(self.facts["weakest"]))

    def at(self, metric: str, day: int) -> pl.DataFrame:
        """Return the outcomes of a metric and day with the axes beside them."""
        import polars as pl

        chosen = self.outcomes.filter((pl.col("metric") == metric) & (pl.col("day") == day))
        return chosen.join(self.points, on="point").sort("point")


def read_sweep_directory(directory: Path) -> SweepResults:
    """Read a sweep directory.

    Raises
    ------
    InputError
        If it is none, is not complete, or a table is damaged.
    """
    path = directory / "sweep.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{directory}: no sweep is here; make one with olsim sweep") from None
    if facts.get("status") != "complete":
        raise InputError(f"{directory}: the sweep is {facts.get('status')}; continue it with --resume")
    tables = (read_parquet(directory / f"{name}.parquet") for name in ("points", "outcomes", "sensitivity"))
    return SweepResults(directory, facts, *tables)


def write_page(directory: Path) -> Path:
    """Write ``sweep.html`` into a complete sweep directory and return its path."""
    found = read_sweep_directory(directory)
    target = directory / PAGE
    temporary = target.with_name(f".{PAGE}.part")
    temporary.write_text(html.render(f"Sweep of {found.facts['name']}", page_blocks(found)), encoding="utf-8")
    temporary.replace(target)
    return target


def page_blocks(found: SweepResults) -> list[Block]:
    """Return the page."""
    facts = found.facts
    blocks: list[Block] = [
        Paragraph(verdict(found), "verdict"),
        Heading("What was varied"),
        _axes_table(found),
    ]
    blocks.append(
        Paragraph(
            f"{facts['points']} points by {MODE_WORDS[facts['mode']]}, {facts['runs']} runs at each, "
            f"{facts['agents']} agents, {facts['days']} days. Run k has the same luck at every point, so a difference "
            "between points is not luck."
        )
    )
    for metric in facts["metrics"]:
        blocks.append(Heading(_title(metric)))
        for day in facts["at"]:
            blocks += _metric_blocks(found, metric, int(day))
    blocks += [
        Heading("Reproduce"),
        Code(f"{facts['command']}\n\ncode {facts['code_version']}\nseed {facts['seed']}"),
    ]
    return blocks


def verdict(found: SweepResults) -> str:
    """Return one sentence: which input moves the first metric most, or how far the metric goes."""
    import polars as pl

    metric, day = found.facts["metrics"][0], int(found.facts["at"][-1])
    ranked = found.indices.filter((pl.col("metric") == metric) & (pl.col("day") == day))
    means = found.at(metric, day)["mean"].drop_nulls()
    unit = BY_NAME[metric].unit
    if not means.len():
        return f"{_title(metric)} has no value on day {day}."
    low, high = number(_float(means.min()), unit), number(_float(means.max()), unit)
    label = BY_NAME[metric].label.partition(" (")[0]
    text = f"On day {day}, {label} goes from {low} to {high} {_unit(unit)} over the points"
    kinds = [kind for kind in ("ST", "mu_star", "rank_correlation") if kind in ranked["index"].to_list()]
    known = ranked.filter(pl.col("index").is_in(kinds) & pl.col("value").is_not_null())
    if not known.height:
        return f"{text} (means of {found.facts['runs']} runs)."
    top = known.sort(pl.col("value").abs(), descending=True).row(0, named=True)
    between = interval(_float(top["low"]), _float(top["high"]))
    return f"{text}; {top['axis']} moves it most: {INDEX_WORDS[top['index']]} {number(top['value'])} ({between})."


def _axes_table(found: SweepResults) -> Table:
    rows = tuple((a["path"], a["values"], a["unit"] or DASH, a["class"] or DASH) for a in found.facts["axes"])
    return Table(("input", "values", "unit", "class"), rows, "Inputs")


def _metric_blocks(found: SweepResults, metric: str, day: int) -> list[Block]:
    means, unit = found.at(metric, day), BY_NAME[metric].unit
    caption, runs = f"{_title(metric)}, day {day}", found.facts["runs"]
    values = means["mean"].drop_nulls()
    if values.n_unique() < 2:
        said = f"has the mean {number(_float(values[0]), unit)}" if values.len() else "has no value"
        return [Paragraph(f"{caption}, {said} at all points.")]
    blocks: list[Block] = []
    svg = _picture(found, means, metric, day)
    if svg:
        blocks.append(Picture(f"{metric}-{day}", svg, f"{caption}, {runs} runs at each point."))
    axes = ("input",) if found.facts["mode"] == "tornado" else tuple(found.axes)
    columns = (
        "point",
        *axes,
        f"mean [{unit}]",
        "95 % interval",
        "less point 0",
        "95 % interval",
        "runs lower",
    )
    rows = tuple(_row(found, row) for row in means.iter_rows(named=True))
    return [*blocks, Table(columns, rows, f"{caption}: mean of {runs} runs", folded=len(rows) > FOLD)]


def _row(found: SweepResults, row: dict[str, Any]) -> tuple[str, ...]:
    unit = row["unit"]
    said = tuple(DASH if row[axis] is None else axis_text(row[axis]) for axis in found.axes)
    if found.facts["mode"] == "tornado":
        said = (", ".join(_changed(found, said)) or "the scenario as it is",)
    mean, difference = (
        (number(_float(row[name]), unit), interval(_float(row[low]), _float(row[high]), unit))
        for name, low, high in (("mean", "low", "high"), ("difference", "difference_low", "difference_high"))
    )
    return (str(row["point"]), *said, *mean, *difference, number(_float(row["lower_share"]), "share"))


def _changed(found: SweepResults, said: tuple[str, ...]) -> list[str]:
    return [f"{axis} {text}" for axis, text in zip(found.axes, said, strict=True) if text != DASH]


def _picture(found: SweepResults, means: pl.DataFrame, metric: str, day: int) -> str:
    """Return the figure that suits the design, or "" where none does."""
    import polars as pl

    mode, numeric = found.facts["mode"], [a for a in found.axes if found.points.schema[a] == pl.Float64]
    if mode == "tornado":
        texts = [_ends(found.points, axis, index) for index, axis in enumerate(found.axes)]
        return tornado(means, found.axes, texts, metric, found.note)
    chosen = found.indices.filter((pl.col("metric") == metric) & (pl.col("day") == day))
    if mode in ("sobol", "morris", "latin"):
        return index_bars(chosen, metric, found.note) if chosen.height else ""
    if mode == "grid" and len(found.axes) == len(numeric) == 2:
        return heatmap(means, numeric[0], numeric[1], metric, found.note)
    along = bool(numeric) and (len(found.axes) == 1 or mode == "zip")
    return response(means, numeric[0], metric, found.note) if along else ""


def _ends(points: pl.DataFrame, axis: str, index: int) -> tuple[str, str]:
    low, high = (points[axis][1 + 2 * index + k] for k in (0, 1))
    return axis_text(low), axis_text(high)


def _title(metric: str) -> str:
    label = metric_label(metric)
    return label[0].upper() + label[1:]


def _unit(unit: str) -> str:
    return "" if unit == "share" else unit


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def summary_text(found: SweepResults, most: int) -> str:
    """Return the verdict and the first metric on the last day as lines of text, for a terminal.

    Parameters
    ----------
    found
        The sweep.
    most
        Points that are listed, where the design has no indices.
    """
    import polars as pl

    metric, *others = found.facts["metrics"]
    day = int(found.facts["at"][-1])
    chosen = found.indices.filter((pl.col("metric") == metric) & (pl.col("day") == day))
    head = f"{metric_label(metric)}, day {day}"
    if chosen.height:
        lines = [f"{head}: indices and their 95 % intervals", *map(_index_line, chosen.iter_rows(named=True))]
    else:
        means = found.at(metric, day)
        rows = [_row(found, row)[1:] for row in means.head(most).iter_rows(named=True)]
        lines = [f"{head}: mean and 95 % interval", *(_point_line(found, row) for row in rows)]
        lines += [f"  ... and {means.height - most} more points"] if means.height > most else []
    lines += [f"In the page too: {', '.join(others)}"] if others else []
    return "\n".join([verdict(found), "", *lines])


def _index_line(row: dict[str, Any]) -> str:
    between = interval(_float(row["low"]), _float(row["high"]))
    return f"  {row['axis']}: {INDEX_WORDS[row['index']]} {number(_float(row['value']))} ({between})"


def _point_line(found: SweepResults, cells: tuple[str, ...]) -> str:
    said, mean, between = cells[:-5], cells[-5], cells[-4]
    axes = said if found.facts["mode"] == "tornado" else _changed(found, said)
    return f"  {', '.join(axes)}: {mean} ({between})"


def summary_object(found: SweepResults, page: Path) -> dict[str, Any]:
    """Return the object that ``olsim sweep --json`` prints."""
    keep = (
        "name",
        "mode",
        "axes",
        "points",
        "runs",
        "seed",
        "agents",
        "days",
        "at",
        "metrics",
        "code_version",
    )
    return {
        "sweep": str(found.directory), "page": str(page), "verdict": verdict(found),
        **{key: found.facts[key] for key in keep},
        "outcomes": found.outcomes.join(found.points, on="point").to_dicts(),
        "sensitivity": found.indices.to_dicts(),
    }  # fmt: skip
