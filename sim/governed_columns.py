"""Governed parameters as columns over runs.

Rule decided here: what a vote may change is one int64 column per number and one element per run, so that a vote
that passes in some runs changes those runs alone. A dated value of the scenario writes all runs on its date.
Before a parameter's first date its columns hold `OFF`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.parameters import Parameter
from sim.scenario.governed import GOVERNED

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

Int = NDArray[np.int64]
OFF = np.int64(-(2**63))
"""Value of a column whose parameter has not begun."""

_COLUMNS = {name: i for i, name in enumerate(c for g in GOVERNED.values() for c in g.columns)}


@dataclass(slots=True)
class GovernedColumns:
    """The columns of a batch.

    Parameters
    ----------
    values
        int64 (runs, columns).
    dates
        Dates on which some value begins, once the first day is known.
    drawn
        Uncertain parameters: path -> encoded values of every run.
    """

    values: Int
    dates: frozenset[date] | None = None
    drawn: Mapping[str, Int] = field(default_factory=dict)

    @classmethod
    def begin(cls, runs: int, drawn: Mapping[str, Int] | None = None) -> GovernedColumns:
        """Return columns that are all off.

        Parameters
        ----------
        runs
            Number of runs.
        drawn
            Path of an uncertain parameter -> what each run draws of it, encoded, int64 (runs, columns of the path).
        """
        return cls(np.full((runs, len(_COLUMNS)), OFF, np.int64), drawn=drawn or {})

    def read(self, column: str) -> Int:
        """Return a column (runs,), such as ``fees.platform`` or ``fees.split.model``, in its encoded unit.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        return self.values[:, _COLUMNS[column]]

    def write(self, path: str, encoded: tuple[int, ...], mask: NDArray[np.bool_]) -> None:
        """Set the columns of governed parameter `path` in the runs of `mask`."""
        for name, number in zip(GOVERNED[path].columns, encoded, strict=True):
            self.values[mask, _COLUMNS[name]] = number

    def apply_dates(self, scenario: Scenario, day: date, first: bool) -> None:
        """Write the dated values that begin on `day`; on the first day, the values that hold on it."""
        if self.dates is None:
            values = [value for path in GOVERNED for value in _leaf(scenario, path).values]
            self.dates = frozenset(start for start, _ in values)
        if not first and day not in self.dates:
            return
        everyone = np.ones(len(self.values), bool)
        for path, governed in GOVERNED.items():
            parameter = _leaf(scenario, path)
            begins = first or any(start == day for start, _ in parameter.values)
            value = parameter.on(day) if begins else None
            if value is not None and path in self.drawn:
                self.values[:, [_COLUMNS[name] for name in governed.columns]] = self.drawn[path]
            elif value is not None:
                self.write(path, governed.encode(value), everyone)


def _leaf(scenario: Scenario, path: str) -> Parameter[Any]:
    node: Any = scenario
    for name in path.split("."):
        node = getattr(node, name)
    assert isinstance(node, Parameter), path
    return node
