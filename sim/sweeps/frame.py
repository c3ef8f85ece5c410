"""Frames of a sweep: one tidy table of everything, and what follows from it.

Rule decided here: the tidy frame has a row per point, run, metric and day, with every axis as a column
``path [unit]``. An outcome of a point is its mean over runs with Student's interval; a difference between points is
taken run by run. Indices are computed from the means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.experiment.intervals import paired_interval
from sim.experiment.statistics import mean_interval
from sim.observables import BY_NAME
from sim.sweeps.sensitivity import indices

if TYPE_CHECKING:
    import polars as pl

    from sim.sweeps.design import Design
    from sim.sweeps.plan import Plan

Float = NDArray[np.float64]


def axis_column(path: str, unit: str) -> str:
    """Return the name of an axis's column.

    Examples
    --------
    >>> axis_column("governance.quorum", "%"), axis_column("serving.routing", "")
    ('governance.quorum [%]', 'serving.routing')
    """
    return f"{path} [{unit}]" if unit else path


def points_frame(plan: Plan) -> pl.DataFrame:
    """Return the points: point, and every axis as a number in its unit, or as a word; null where it is not set."""
    import polars as pl

    columns: dict[str, pl.Series] = {"point": pl.Series("point", range(len(plan.points)), pl.Int64)}
    for index, scale in enumerate(plan.scales):
        texts = [point.texts[index] for point in plan.points]
        numbers = [scale.number(text) if text else None for text in texts]
        name = axis_column(scale.axis.path, scale.unit)
        words = any(text and number is None for text, number in zip(texts, numbers, strict=True))
        columns[name] = (
            pl.Series(name, [text or None for text in texts], pl.String)
            if words
            else pl.Series(name, numbers, pl.Float64)
        )
    return pl.DataFrame(columns)


def tidy(points: pl.DataFrame, shards: Mapping[int, pl.DataFrame]) -> pl.DataFrame:
    """Return the frame of a sweep.

    Parameters
    ----------
    points
        As `points_frame` returns it.
    shards
        Point -> run, metric, day, value of all its runs.

    Returns
    -------
    polars.DataFrame
        point, the axes, run, metric, unit, day, value; sorted by point, metric, day and run.
    """
    import polars as pl

    rows = [
        shards[point].select(pl.lit(point, pl.Int64).alias("point"), pl.all()) for point in sorted(shards)
    ]
    frame = pl.concat(rows).join(points, on="point", how="left")
    units = pl.col("metric").replace_strict(
        {name: o.unit for name, o in BY_NAME.items()}, return_dtype=pl.String
    )
    axes = [name for name in points.columns if name != "point"]
    frame = frame.select("point", *axes, "run", "metric", units.alias("unit"), "day", "value")
    return frame.sort("point", "metric", "day", "run")


def outcomes(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every point's mean over runs with its interval, and its difference from point 0, run by run.

    Returns
    -------
    polars.DataFrame
        point, metric, unit, day, runs, mean, low, high, difference, difference_low, difference_high, lower_share.
    """
    import polars as pl

    rows = []
    for (metric, day), group in frame.group_by("metric", "day", maintain_order=True):
        by_point = {
            int(str(key)): part.sort("run") for (key,), part in group.group_by("point", maintain_order=True)
        }
        base = by_point[min(by_point)]
        for point, part in sorted(by_point.items()):
            mean = mean_interval(_values(part))
            shared = part.join(base.select("run", pl.col("value").alias("base")), on="run")
            pair = paired_interval(_values(shared, "base"), _values(shared))
            rows.append(
                (point, metric, part["unit"][0], day, mean.n, mean.mean, mean.low, mean.high,
                 pair.mean, pair.low, pair.high, pair.lower_share)
            )  # fmt: skip
    names = ("point", "metric", "unit", "day", "runs", "mean", "low", "high", "difference", "difference_low",
             "difference_high", "lower_share")  # fmt: skip
    frame = pl.DataFrame(rows, schema=list(names), orient="row")
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None)).sort("metric", "day", "point")


def _values(frame: pl.DataFrame, column: str = "value") -> Float:
    return np.asarray(frame[column].cast(float).fill_null(np.nan).to_numpy(), np.float64)


def indices_frame(design: Design, means: pl.DataFrame) -> pl.DataFrame:
    """Return how much every axis matters to every metric and day: metric, day, axis, index, value, low, high.

    Parameters
    ----------
    design
        The points.
    means
        As `outcomes` returns it. A metric that some point lacks is left out.
    """
    import polars as pl

    rows = []
    for (metric, day), group in means.group_by("metric", "day", maintain_order=True):
        outcome = _values(group.sort("point"), "mean")
        if len(outcome) == len(design.positions) and not np.isnan(outcome).any():
            rows += [(metric, day, i.axis, i.name, i.value, i.low, i.high) for i in indices(design, outcome)]
    schema = {
        "metric": pl.String, "day": pl.Int64, "axis": pl.String, "index": pl.String,
        "value": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
