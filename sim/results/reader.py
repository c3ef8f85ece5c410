"""Reader: a complete run directory as frames.

Rule decided here: what is read is what was written: each table is compared with its hash in the manifest
before the first use, so a damaged file is an error and never a wrong number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.results.code import file_sha256
from sim.results.directory import PARAMETERS, RESOLVED, TWINS, UNLOCKS
from sim.results.manifest import Manifest
from sim.results.tables import read_parquet, unreadable

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One parameter as the run used it.

    Parameters
    ----------
    path
        Dotted path in the scenario.
    value
        Value as text with its unit; dated values as ``date: value`` pairs.
    evidence
        measured, documented, estimated or illustrative.
    source
        What it rests on.
    range
        Allowed or plausible range as text, or "".
    place
        ``file:line:column`` where it was set, or "" for a default.
    """

    path: str
    value: str
    evidence: str
    source: str = ""
    range: str = ""
    place: str = ""


class Run:
    """A complete run directory; tables are read on first use and kept.

    Parameters
    ----------
    directory
        The run directory.
    manifest
        Its manifest.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest

    @property
    def start(self) -> date:
        """Date of day 0."""
        return date.fromisoformat(self.manifest.start)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Observables: run, day, date and one column each."""
        return self._table("metrics.parquet")

    @cached_property
    def groups(self) -> pl.DataFrame:
        """Classes and deciles of baseline holding, monthly."""
        return self._table("groups.parquet")

    @cached_property
    def accounts(self) -> pl.DataFrame:
        """Accounts of the witness run, monthly."""
        return self._table("accounts.parquet")

    @cached_property
    def events(self) -> pl.DataFrame:
        """What happened: proposals, votes, cliffs, slashes."""
        return self._table("events.parquet")

    @cached_property
    def chain(self) -> pl.DataFrame:
        """Reconciled accounts of the witness run by epoch."""
        return self._table("chain.parquet")

    @cached_property
    def flows(self) -> pl.DataFrame:
        """Monthly totals of the witness run's flows."""
        return self._table("flows.parquet")

    @cached_property
    def usd(self) -> pl.DataFrame:
        """USD from and to the outside, by class and purpose, monthly."""
        return self._table("usd.parquet")

    @cached_property
    def unlocks(self) -> pl.DataFrame:
        """Unlock calendar: day, date, bucket, role, vested_gwei; reaches beyond the run's last day."""
        return self._table(UNLOCKS)

    @cached_property
    def twins(self) -> pl.DataFrame:
        """Metrics of the counterfactual twins, with the column twin."""
        return self._table(TWINS)

    @cached_property
    def parameters(self) -> tuple[ParameterRow, ...]:
        """Every parameter of the scenario."""
        path = self.directory / PARAMETERS
        try:
            return tuple(ParameterRow(**row) for row in json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise InputError(f"{path}: not a readable list of parameters; run the scenario again") from None

    @property
    def resolved(self) -> Path:
        """The resolved scenario's file."""
        return self.directory / RESOLVED

    def _table(self, file: str) -> pl.DataFrame:
        path = self.directory / file
        if path.is_file() and file_sha256(path) != self.manifest.files.get(file):
            frame = read_parquet(path)
            raise unreadable(path, f"{frame.height} rows whose bytes are not those of the manifest")
        return read_parquet(path)


def load_run(path: Path | str) -> Run:
    """Open a complete run directory.

    Parameters
    ----------
    path
        The run directory.

    Returns
    -------
    Run
        Manifest and tables.

    Raises
    ------
    InputError
        If it is no complete run directory of this version, or a table is missing.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such run directory")
    manifest = Manifest.read(directory)
    if manifest.status != "complete":
        why = f": {manifest.failure}" if manifest.failure else ""
        raise InputError(
            f"{directory}: the run is {manifest.status}{why}; "
            "continue it with olsim run SCENARIO --out DIR --resume"
        )
    missing = [name for name in manifest.files if not (directory / name).is_file()]
    if missing:
        raise InputError(f"{directory}: lacks {', '.join(missing)}; the run directory is not whole")
    return Run(directory, manifest)
