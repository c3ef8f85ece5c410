"""State of the record phase: one column per observable over all days of the batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.observables import OBSERVABLES

Rows = dict[str, list[object]]


@dataclass(slots=True)
class RecordState:
    """Observables so far.

    Parameters
    ----------
    columns
        Name -> (runs, days + 1): int64 for names ending in ``_gwei``, float64 with NaN for null otherwise.
    groups, accounts, flows, usd
        Rows of the tables of the same name, one list per column; accounts and flows of the witness run alone.
    month_flows
        (flow, source, target) -> gwei of the witness run since the last epoch ended.
    month_usd
        (class, purpose) -> micro-USD since the last epoch ended, int64 (runs,).
    """

    columns: dict[str, NDArray[Any]]
    groups: Rows = field(default_factory=dict)
    accounts: Rows = field(default_factory=dict)
    flows: Rows = field(default_factory=dict)
    usd: Rows = field(default_factory=dict)
    month_flows: dict[tuple[str, str, str], int] = field(default_factory=dict)
    month_usd: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def begin(cls, runs: int, days: int) -> RecordState:
        """Return empty columns: zeros for money, null for everything else."""
        shape = (runs, days + 1)
        columns = {
            o.name: np.zeros(shape, np.int64) if o.name.endswith("_gwei") else np.full(shape, np.nan)
            for o in OBSERVABLES
        }
        return cls(columns)

    def last(self, name: str, day: int, days: int) -> NDArray[np.float64]:
        """Return a column's sum over the last `days` days up to `day`, float64 (runs,); null counts as 0."""
        window = self.columns[name][:, max(day - days + 1, 0) : day + 1].astype(np.float64)
        return np.asarray(np.nansum(window, axis=1))

    def before(self, name: str, day: int, days: int) -> NDArray[np.float64]:
        """Return a column's value `days` days before `day` (or on day 0), float64 (runs,)."""
        return np.asarray(self.columns[name][:, max(day - days, 0)], np.float64)
