"""Tables of a run directory: from columns to frames, and Parquet files that are the same bytes every time.

Rule decided here: amounts are int64 gwei, wei are Decimal(38, 0), dates are dates, a null number is null and
never NaN. Files are zstd Parquet with one fixed row-group size, sorted by run and time; their metadata
carries the units and the hash of the simulated world, and nothing that changes from one run of the program to
the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import InputError
from sim.batch import TABLES, BatchResult, Columns
from sim.observables import OBSERVABLES
from sim.results.naming import naming

if TYPE_CHECKING:
    import polars as pl

SCHEMA = 1
"""Version of the run directory's layout; another version's directory is refused."""

RUN_TABLES = ("metrics", *TABLES)
"""Tables that every unit of work yields."""

ROW_GROUP = 65_536
_SORT = {"chain": ("run", "epoch"), "usd": ("run", "month", "class", "purpose")}


def metrics_frame(result: BatchResult, start: date) -> pl.DataFrame:
    """Return a batch's observables in long form.

    Parameters
    ----------
    result
        The batch.
    start
        Date of day 0.

    Returns
    -------
    polars.DataFrame
        Columns run, day, date and one per observable; rows by run and day.
    """
    import polars as pl

    runs = len(result.runs)
    days = next(iter(result.metrics.values())).shape[1]
    frame = pl.DataFrame(
        {
            "run": np.repeat(np.asarray(result.runs, np.int64), days),
            "day": np.tile(np.arange(days, dtype=np.int64), runs),
            **{o.name: result.metrics[o.name].ravel() for o in OBSERVABLES},
        }
    )
    floats = [o.name for o in OBSERVABLES if not o.name.endswith("_gwei")]
    frame = frame.with_columns(pl.col(floats).fill_nan(None), _dates(start).alias("date"))
    return frame.select("run", "day", "date", *(o.name for o in OBSERVABLES)).sort("run", "day")


def table_frame(name: str, columns: Columns, start: date) -> pl.DataFrame:
    """Return one of a batch's other tables.

    Parameters
    ----------
    name
        A key of `sim.batch.TABLES`.
    columns
        Its columns; an empty mapping gives an empty table.
    start
        Date of day 0; tables with a day gain a date column.
    """
    import polars as pl

    kinds = TABLES[name]
    series = [_series(column, columns.get(column, []), kind) for column, kind in kinds.items()]
    series += [pl.Series(column, values) for column, values in columns.items() if column not in kinds]
    frame = pl.DataFrame(series)
    floats = [column for column, dtype in frame.schema.items() if dtype in (pl.Float32, pl.Float64)]
    frame = frame.with_columns(pl.col(floats).fill_nan(None))
    if "day" in kinds:
        frame = frame.with_columns(_dates(start).alias("date"))
        frame = frame.select("run", "day", "date", pl.exclude("run", "day", "date"))
    if name == "usd":  # a batch logs 0 for runs that did nothing where another run of the batch did
        frame = frame.filter(pl.col("micro_usd") != 0)
    return frame.sort(*_SORT.get(name, ("run", "day")), maintain_order=True)


def _dates(start: date) -> pl.Expr:
    import polars as pl

    return pl.lit(start, pl.Date) + pl.duration(days=pl.col("day"))


def _series(name: str, values: Sequence[Any], kind: str) -> pl.Series:
    import polars as pl

    if kind == "wei":
        exact = [None if value is None else Decimal(int(value)) for value in values]
        return pl.Series(name, exact, pl.Decimal(38, 0))
    if kind == "date":
        days = [date.fromisoformat(value) if isinstance(value, str) else value for value in values]
        return pl.Series(name, days, pl.Date)
    if kind == "text":
        return pl.Series(name, [str(value) for value in values], pl.String)
    dtype = pl.Int64 if kind == "int" else pl.Float64
    return pl.Series(name, np.asarray(values, np.int64 if kind == "int" else np.float64), dtype)


def write_parquet(frame: pl.DataFrame, target: Path | BytesIO, metadata: Mapping[str, str]) -> None:
    """Write a frame, to a path by temporary file and atomic rename.

    Parameters
    ----------
    frame
        The rows in their final order.
    target
        Path, of which an existing file is replaced, or a buffer.
    metadata
        Key-value metadata of the file; must not depend on time or place.
    """
    if isinstance(target, BytesIO):
        frame.write_parquet(target, compression="zstd", row_group_size=ROW_GROUP, metadata=dict(metadata))
        return
    temporary = target.with_name(f".{target.name}.part")
    frame.write_parquet(temporary, compression="zstd", row_group_size=ROW_GROUP, metadata=dict(metadata))
    temporary.replace(target)


def sink_parquet(rows: pl.LazyFrame, path: Path, metadata: Mapping[str, str]) -> None:
    """Write rows as they come, in their order, without holding them all; an existing file is replaced."""
    with naming(path):
        rows.sink_parquet(
            path, compression="zstd", row_group_size=ROW_GROUP, metadata=dict(metadata), maintain_order=True
        )


def file_metadata(world_sha256: str) -> dict[str, str]:
    """Return the metadata of every table: layout version, hash of the simulated world, units by column."""
    units = {o.name: o.unit for o in OBSERVABLES}
    return {
        "olsim.schema": str(SCHEMA),
        "olsim.world_sha256": world_sha256,
        "olsim.units": json.dumps(units, sort_keys=True),
    }


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a table of a run directory.

    Parameters
    ----------
    path
        The file.
    columns
        Which columns to read; None for all.

    Raises
    ------
    InputError
        If the file is missing, is no readable Parquet file or lacks a column.
    """
    import polars as pl

    if not path.is_file():
        raise InputError(f"{path}: file is missing; the run directory is not whole")
    try:
        return pl.read_parquet(path, columns=None if columns is None else list(columns))
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unreadable(path, reason) from None


def unreadable(path: Path, reason: str) -> InputError:
    """Return the error of a damaged table."""
    return InputError(
        f"{path}: not a readable table ({reason}); delete the run directory and run the scenario again"
    )
