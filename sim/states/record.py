"""State of the record phase: one column per observable over all days of the batch.

Rule decided here: a day writes what only that day can tell; what follows from columns alone (prices, ratios, rates of
30 days) is derived for a month of days at once, at the latest when somebody reads a column (`sim/states/ratios.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.observables import OBSERVABLES
from sim.states import ratios

Rows = dict[str, list[object]]


@dataclass(slots=True)
class RecordState:
    """Observables so far.

    Parameters
    ----------
    by_day
        Name -> (days + 1, runs): int64 for names ending in ``_gwei``, float64 with NaN for null otherwise, and what
        the ratios need beside the observables (`ratios.BESIDE`).
    terms
        Constants of the economy that ratios use, from the first day on.
    first, last
        Days that are written and not derived yet; none where `first` is above `last`.
    groups, accounts, flows, usd
        Rows of the tables of the same name, one list per column; accounts and flows of the witness run alone.
    month_flows
        (flow, source, target) -> gwei of the witness run since the last epoch ended.
    month_usd
        (class, purpose) -> micro-USD since the last epoch ended, int64 (runs,).
    """

    by_day: dict[str, NDArray[Any]]
    terms: ratios.Terms | None = None
    first: int = 0
    last: int = -1
    groups: Rows = field(default_factory=dict)
    accounts: Rows = field(default_factory=dict)
    flows: Rows = field(default_factory=dict)
    usd: Rows = field(default_factory=dict)
    month_flows: dict[tuple[str, str, str], int] = field(default_factory=dict)
    month_usd: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def begin(cls, runs: int, days: int) -> RecordState:
        """Return empty columns: zeros for money, null for everything else."""
        shape = (days + 1, runs)
        names = [o.name for o in OBSERVABLES]
        by_day = {
            n: np.zeros(shape, np.int64) if n.endswith("_gwei") else np.full(shape, np.nan) for n in names
        }
        return cls(by_day | {name: np.zeros(shape, kind) for name, kind in ratios.BESIDE.items()})

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Columns of all observables, writable views (runs, days + 1)."""
        self.settle()
        return {o.name: self.by_day[o.name].T for o in OBSERVABLES}

    def begin_day(self, day: int, terms: ratios.Terms) -> None:
        """Say which day is written from here on; days that do not follow it are settled first."""
        if day != self.last + 1:
            self.settle()
            self.first = day
        self.last, self.terms = day, terms

    def put(self, day: int, **values: object) -> None:
        """Write elements of one day, each (runs,) or one number for all runs."""
        for name, value in values.items():
            self.by_day[name][day] = value

    def settle(self) -> None:
        """Derive what follows from the days written so far."""
        if self.first <= self.last:
            assert self.terms is not None
            ratios.derive(self.by_day, self.first, self.last, self.terms)
            self.first = self.last + 1
