"""Shards: how units of work land in a run directory.

Rule decided here: a unit of work lands as one folder of Parquet shards by atomic rename, so a killed run loses at
most the units in flight. Its ``unit.json`` says what computed it and the hash of every file, its own text
included, so that a damaged or foreign unit is recognised. A unit is bytes until it lands: whoever computes it,
on this machine or another, needs no access to the directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.batch import TABLES, BatchResult
from sim.results.code import file_sha256
from sim.results.directory import PARTS
from sim.results.naming import naming
from sim.results.origin import Origin
from sim.results.tables import metrics_frame, table_frame, write_parquet

if TYPE_CHECKING:
    import polars as pl

BASE = "base"
"""Name of the arm that is no twin."""

UNIT = "unit.json"


class Damaged(ValueError):  # noqa: N818 - named after what happened
    """A shard cannot be trusted: the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


@dataclass(frozen=True, slots=True)
class Shard:
    """A computed unit of work before it lands.

    Parameters
    ----------
    name
        Name of the unit.
    files
        File name -> its bytes, ``unit.json`` among them.
    """

    name: str
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Landed:
    """What a landed unit says about itself.

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
    origin
        What computed it.
    files
        File name -> SHA-256 of its bytes.
    """

    arm: str
    runs: tuple[int, ...]
    residual_gwei: int
    chain: dict[str, Any] | None
    wall_s: float
    origin: Origin
    files: dict[str, str]


def unit_name(arm: str, runs: Iterable[int]) -> str:
    """Return the name of a unit's folder, by arm and run numbers."""
    numbers = tuple(runs)
    return f"{arm}-{min(numbers):06d}-{max(numbers):06d}"


def encode(arm: str, result: BatchResult, start: date, wall_s: float, origin: Origin) -> Shard:
    """Return a unit of work as the files that will land.

    Parameters
    ----------
    arm
        `BASE` or the name of a twin, of which only the metrics are kept.
    result
        What the engine recorded.
    start
        Date of day 0.
    wall_s
        Seconds that the unit took.
    origin
        What computed it.
    """
    runs = [int(run) for run in result.runs]
    files = {"metrics.parquet": _parquet(metrics_frame(result, start))}
    for name in TABLES if arm == BASE else ():
        files[f"{name}.parquet"] = _parquet(table_frame(name, result.table(name), start))
    facts = {
        "arm": arm, "runs": runs, "residual_gwei": int(result.residual_gwei),
        "chain": result.chain_summary, "wall_s": round(wall_s, 3), "origin": origin.as_json(),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }  # fmt: skip
    facts = json.loads(json.dumps(facts, default=int))
    files[UNIT] = json.dumps({**facts, "sha256": _facts_sha256(facts)}).encode() + b"\n"
    return Shard(unit_name(arm, runs), files)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    write_parquet(frame, buffer, {})
    return buffer.getvalue()


def _facts_sha256(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def land(directory: Path, shard: Shard) -> None:
    """Write a unit of work into the run directory by atomic rename.

    Parameters
    ----------
    directory
        The run directory.
    shard
        The computed unit.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left then.
    """
    target = directory / PARTS / shard.name
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, content in shard.files.items():
            with naming(target / name):
                (temporary / name).write_bytes(content)
        temporary.replace(target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if (
            not target.is_dir()
        ):  # else a worker that outlived its killed main process was faster, with the same rows
            raise


def unit_folders(directory: Path) -> Iterator[Path]:
    """Yield the folders of landed units by name; unfinished ones are not among them."""
    for path in sorted((directory / PARTS).glob("*")):
        if path.is_dir() and not path.name.startswith("."):
            yield path


def read_unit(folder: Path) -> Landed:
    """Return what a landed unit says about itself.

    Raises
    ------
    Damaged
        If its ``unit.json`` is missing, changed, of another layout, or speaks of another unit.
    """
    path = folder / UNIT
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        said = facts.pop("sha256")
        unit = Landed(**{**facts, "runs": tuple(facts["runs"]), "origin": Origin.read(facts["origin"])})
    except FileNotFoundError:
        raise Damaged(path, "file is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(path, "not a readable description of a unit of work") from None
    if said != _facts_sha256(facts):
        raise Damaged(path, "its text is not what was written")
    if folder.name != unit_name(unit.arm, unit.runs):
        raise Damaged(path, f"describes the unit {unit_name(unit.arm, unit.runs)}")
    return unit


def check_files(folder: Path, unit: Landed) -> None:
    """Compare every file of a landed unit with its hash.

    Raises
    ------
    Damaged
        If a file is missing or its bytes are not those that were written.
    """
    for name, wanted in unit.files.items():
        path = folder / name
        if not path.is_file():
            raise Damaged(path, "file is missing")
        if file_sha256(path) != wanted:
            raise Damaged(path, f"its {path.stat().st_size} bytes are not those that were written")


def landed(directory: Path) -> dict[str, Landed]:
    """Return the landed units by name.

    Raises
    ------
    Damaged
        If one of them does not say what it is.
    """
    return {folder.name: read_unit(folder) for folder in unit_folders(directory)}
