"""Assembly: how landed units become the tables of a run directory.

Rule decided here: tables are streamed, run after run, from the units and from the tables that are there already, so
that memory does not grow with the number of runs. All new tables are written beside the old ones; then the
manifest names the hashes of both; then each table is replaced by atomic rename; then the manifest says ``complete``
and the units go. Doing that twice gives the same bytes, wherever the first time was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.results.code import file_sha256
from sim.results.directory import FINAL_TABLES, PARTS, TWINS, UNLOCKS
from sim.results.manifest import Manifest
from sim.results.shards import BASE, Damaged, Landed, check_files, landed
from sim.results.tables import RUN_TABLES, file_metadata, sink_parquet
from sim.results.trust import final_runs, final_twins

if TYPE_CHECKING:
    import polars as pl


def assemble(directory: Path, manifest: Manifest, unlocks: pl.DataFrame) -> Manifest:
    """Make the directory whole: sort everything that landed into the final tables and complete the manifest.

    Parameters
    ----------
    directory
        The run directory; all its units have landed.
    manifest
        What the directory will hold; hashes of files are filled in here.
    unlocks
        The unlock calendar: day, date, bucket, role, vested_gwei.

    Returns
    -------
    Manifest
        The manifest as written, with status ``complete``.

    Raises
    ------
    InputError
        If a unit was damaged since it landed.
    """
    units = _intact(directory)
    metadata = file_metadata(manifest.world_sha256)
    final = final_runs(directory)
    with _new_tables(directory) as new:
        for file in (f"{name}.parquet" for name in RUN_TABLES):
            sources = _sources(directory, units, BASE, file, (final, file))
            sink_parquet(_in_run_order(sources), new[file], metadata)
        sink_parquet(_twins(directory, units, manifest, new["metrics.parquet"]), new[TWINS], metadata)
        sink_parquet(unlocks.lazy(), new[UNLOCKS], metadata)
        files = {name: file_sha256(path) for name, path in new.items()}
        manifest.model_copy(update={"assembling": files}).write(directory)
        for name, path in new.items():
            path.replace(directory / name)
    whole = manifest.model_copy(
        update={"status": "complete", "failure": "", "files": files, "assembling": {}}
    )
    whole.write(directory)
    shutil.rmtree(directory / PARTS, ignore_errors=True)
    return whole


def _intact(directory: Path) -> dict[str, Landed]:
    """Return the landed units after comparing their bytes with their hashes once more."""
    try:
        units = landed(directory)
        for name, unit in units.items():
            check_files(directory / PARTS / name, unit)
    except Damaged as damage:
        raise InputError(f"{damage}; --resume sets it aside and computes its runs again") from None
    return units


@contextmanager
def _new_tables(directory: Path) -> Iterator[dict[str, Path]]:
    """Give each final table a name to be written under; what was not renamed at the end is removed."""
    new = {name: directory / f".{name}.part" for name in FINAL_TABLES}
    try:
        yield new
    finally:
        for path in new.values():
            path.unlink(missing_ok=True)


def _sources(
    directory: Path, units: Mapping[str, Landed], arm: str, file: str, final: tuple[set[int], str]
) -> dict[int, Path]:
    """Return run -> the table that its rows are read from; a landed unit wins over a final table.

    Parameters
    ----------
    directory, units
        The run directory and what has landed in it.
    arm
        Whose runs.
    file
        Name of the table in a unit's folder.
    final
        Runs that a final table holds, and its name.
    """
    runs, name = final
    sources = dict.fromkeys(runs, directory / name)
    for folder, unit in units.items():
        if unit.arm == arm:
            sources |= dict.fromkeys(unit.runs, directory / PARTS / folder / file)
    return sources


def _in_run_order(sources: Mapping[int, Path], twin: str = "") -> pl.LazyFrame:
    """Return the rows of all runs, by run; within a run they are in order where they come from."""
    import polars as pl

    pieces = []
    for path, group in groupby(sorted(sources), key=sources.__getitem__):
        runs = list(group)
        rows = pl.scan_parquet(path).filter(pl.col("run").is_between(runs[0], runs[-1]))
        if path.name == TWINS:
            rows = rows.filter(pl.col("twin") == twin).drop("twin")
        pieces.append(rows)
    return pl.concat(pieces)


def _twins(directory: Path, units: Mapping[str, Landed], manifest: Manifest, metrics: Path) -> pl.LazyFrame:
    """Return all twins' metrics in long form with the column twin first."""
    import polars as pl

    final = final_twins(directory)
    frames = [pl.scan_parquet(metrics).head(0).select(pl.lit("", pl.String).alias("twin"), pl.all())]
    for twin in manifest.twins.names:
        sources = _sources(directory, units, twin, "metrics.parquet", (final.get(twin, set()), TWINS))
        if sources:
            frames.append(_in_run_order(sources, twin).select(pl.lit(twin).alias("twin"), pl.all()))
    return pl.concat(frames)
