"""Shards: how units of work land in a run directory, and how they become its tables.

Rule decided here: a unit of work lands as one folder of Parquet shards by atomic rename, so a killed run
loses at most the units in flight. When all have landed they are sorted into the final tables, each replaced
by atomic rename, then the manifest says ``complete`` and the shards go. Doing that twice gives the same
bytes, whatever was done before the interruption. A complete directory is extended by more runs or left alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.batch import TABLES, BatchResult
from sim.results.code import file_sha256
from sim.results.directory import FINAL_TABLES, PARTS, TWINS, UNLOCKS
from sim.results.manifest import Manifest
from sim.results.tables import (
    RUN_TABLES,
    file_metadata,
    metrics_frame,
    read_parquet,
    table_frame,
    write_parquet,
)

if TYPE_CHECKING:
    import polars as pl

BASE = "base"
"""Name of the arm that is no twin."""


@dataclass(frozen=True, slots=True)
class Landed:
    """What a landed unit said about itself.

    Parameters
    ----------
    arm
        `BASE` or the name of a twin.
    runs
        Its run numbers.
    residual_gwei
        Largest absolute conservation residual.
    chain
        Chain summary of the witness run, or None.
    wall_s
        Seconds that it took.
    """

    arm: str
    runs: tuple[int, ...]
    residual_gwei: int
    chain: dict[str, Any] | None
    wall_s: float


def unit_name(arm: str, runs: Iterable[int]) -> str:
    """Return the name of a unit's folder, by arm and run numbers."""
    numbers = tuple(runs)
    return f"{arm}-{min(numbers):06d}-{max(numbers):06d}"


def land(directory: Path, arm: str, result: BatchResult, start: date, wall_s: float) -> None:
    """Write one unit of work into the run directory by atomic rename.

    Parameters
    ----------
    directory
        The run directory.
    arm
        `BASE` or the name of a twin, of which only the metrics are kept.
    result
        What the engine recorded.
    start
        Date of day 0.
    wall_s
        Seconds that the unit took.
    """
    runs = [int(run) for run in result.runs]
    target = directory / PARTS / unit_name(arm, runs)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write_parquet(metrics_frame(result, start), temporary / "metrics.parquet", {})
    for name in TABLES if arm == BASE else ():
        write_parquet(table_frame(name, result.table(name), start), temporary / f"{name}.parquet", {})
    facts = {
        "arm": arm, "runs": runs, "residual_gwei": int(result.residual_gwei),
        "chain": result.chain_summary, "wall_s": round(wall_s, 3),
    }  # fmt: skip
    (temporary / "unit.json").write_text(json.dumps(facts, default=int) + "\n", encoding="utf-8")
    if target.exists():  # a worker that outlived its killed main process was faster, with the same rows
        shutil.rmtree(temporary)
        return
    temporary.replace(target)


def landed(directory: Path) -> dict[str, Landed]:
    """Return the landed units by name; unfinished ones are not among them."""
    found = {}
    for path in sorted((directory / PARTS).glob("*/unit.json")):
        if path.parent.name.startswith("."):
            continue
        data = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.name] = Landed(**{**data, "runs": tuple(data["runs"])})
    return found


def computed(directory: Path) -> dict[str, set[int]]:
    """Return which runs of which arm are there already, landed or in final tables."""
    have: dict[str, set[int]] = {}
    if (directory / "metrics.parquet").is_file():
        have[BASE] = set(read_parquet(directory / "metrics.parquet", ["run"])["run"].unique())
    if (directory / TWINS).is_file():
        pairs = read_parquet(directory / TWINS, ["twin", "run"]).unique()
        for twin, run in pairs.iter_rows():
            have.setdefault(twin, set()).add(run)
    for unit in landed(directory).values():
        have.setdefault(unit.arm, set()).update(unit.runs)
    return have


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
    """
    units = landed(directory).items()
    metadata = file_metadata(manifest.world_sha256)
    shards = [directory / PARTS / name for name, unit in units if unit.arm == BASE]
    for name in RUN_TABLES:
        file = f"{name}.parquet"
        merged = _merged(directory / file, [shard / file for shard in shards])
        write_parquet(merged, directory / file, metadata)
    twins = {
        twin: [directory / PARTS / name / "metrics.parquet" for name, unit in units if unit.arm == twin]
        for twin in manifest.twins.names
    }
    write_parquet(_twins(directory, twins), directory / TWINS, metadata)
    write_parquet(unlocks, directory / UNLOCKS, metadata)
    files = {name: file_sha256(directory / name) for name in FINAL_TABLES}
    whole = manifest.model_copy(update={"status": "complete", "failure": "", "files": files})
    whole.write(directory)
    shutil.rmtree(directory / PARTS, ignore_errors=True)
    return whole


def _merged(final: Path, shards: Sequence[Path]) -> pl.DataFrame:
    """Return the rows of the landed shards and of the final table, if there is one; shards win."""
    import polars as pl

    frames = [read_parquet(shard) for shard in shards]
    if final.is_file():
        new = [run for frame in frames for run in frame["run"].unique()]
        frames.insert(0, read_parquet(final).filter(~pl.col("run").is_in(new)))
    merged = pl.concat(frames, how="diagonal_relaxed")
    second = next(column for column in ("day", "epoch", "month") if column in merged.columns)
    return merged.sort("run", second, maintain_order=True)


def _twins(directory: Path, shards: Mapping[str, Sequence[Path]]) -> pl.DataFrame:
    """Return all twins' metrics in long form with the column twin first."""
    import polars as pl

    empty = read_parquet(directory / "metrics.parquet").clear()
    frames = [empty.select(pl.lit("", pl.String).alias("twin"), pl.all())]
    old = read_parquet(directory / TWINS) if (directory / TWINS).is_file() else frames[0]
    for twin, paths in shards.items():
        parts = [read_parquet(path) for path in paths]
        new = [run for part in parts for run in part["run"].unique()]
        parts.append(old.filter((pl.col("twin") == twin) & ~pl.col("run").is_in(new)).drop("twin"))
        frame = pl.concat(parts).sort("run", "day")
        frames.append(frame.select(pl.lit(twin).alias("twin"), pl.all()))
    return pl.concat(frames)
