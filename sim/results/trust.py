"""Trust: which of the rows that a run directory holds may be built upon.

Rule decided here: before a directory is continued or extended, every landed unit and every final table is compared
with the hashes that were written with it, and every unit with what computes now. What does not fit is set aside
under ``aside/``, never deleted and never used; its runs count as not computed. A final table stands or falls with
the others, because they hold the same runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sim.results.code import file_sha256
from sim.results.directory import ASIDE, FINAL_TABLES, TWINS
from sim.results.origin import Origin
from sim.results.shards import BASE, Damaged, check_files, landed, read_unit, unit_folders
from sim.results.tables import RUN_TABLES

if TYPE_CHECKING:
    from sim.results.manifest import Manifest


def set_aside_untrusted(directory: Path, there: Manifest, origin: Origin) -> list[str]:
    """Move what cannot be built upon out of the way.

    Parameters
    ----------
    directory
        The run directory, locked.
    there
        Its manifest: hashes of the final tables, before and after an assembly that was interrupted.
    origin
        What computes now.

    Returns
    -------
    list of str
        One sentence for each file or folder that was set aside: which, why and where it is now.
    """
    told = []
    for folder in unit_folders(directory):
        try:
            unit = read_unit(folder)
            check_files(folder, unit)
            different = unit.origin.difference(origin)
        except Damaged as damage:
            told.append(_set_aside(directory, folder, str(damage)))
        else:
            if different:
                told.append(
                    _set_aside(directory, folder, f"{folder}: computed by another version ({different})")
                )
    for name in FINAL_TABLES:
        path = directory / name
        if path.is_file() and not _known(path, there.files, there.assembling):
            told.append(_set_aside(directory, path, f"{path}: its bytes are not those of the manifest"))
    return told


def _known(path: Path, *hashes: Mapping[str, str]) -> bool:
    return file_sha256(path) in {known.get(path.name) for known in hashes}


def _set_aside(directory: Path, path: Path, why: str) -> str:
    folder = directory / ASIDE
    folder.mkdir(exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.name}.{number}"
    path.rename(target)
    return f"{why}; set aside as {target}, its runs are computed again"


def final_runs(directory: Path) -> set[int]:
    """Return the runs of the base arm that the final tables hold; none unless all of them are there."""
    import polars as pl

    if not all((directory / f"{name}.parquet").is_file() for name in RUN_TABLES):
        return set()
    runs = pl.scan_parquet(directory / "metrics.parquet").select("run").unique()
    return set(runs.collect(engine="streaming")["run"])


def final_twins(directory: Path) -> dict[str, set[int]]:
    """Return twin -> its runs that the final table of twins holds."""
    import polars as pl

    if not (directory / TWINS).is_file():
        return {}
    have: dict[str, set[int]] = {}
    pairs = pl.scan_parquet(directory / TWINS).select("twin", "run").unique()
    for twin, run in pairs.collect(engine="streaming").iter_rows():
        have.setdefault(twin, set()).add(run)
    return have


def computed(directory: Path) -> dict[str, set[int]]:
    """Return which runs of which arm are there already, landed or in final tables."""
    have = final_twins(directory)
    have[BASE] = final_runs(directory)
    for unit in landed(directory).values():
        have.setdefault(unit.arm, set()).update(unit.runs)
    return have
