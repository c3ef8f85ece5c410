"""Voters: who can vote in some runs, and with how many votes, as of now.

Rule decided here: each run's voters are a row of arrays (places, voters), in the order of the agents' columns; shorter
rows end with zeros, which are voters without votes, and every formula leaves out who has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.governance.desk import Desk
from sim.kernels import votes as kernel
from sim.states.governance import Roll

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Voters:
    """Everybody who has votes in some runs.

    Parameters
    ----------
    columns
        Column of each voter, int64 (places, voters).
    power
        Its votes in gwei, int64 (places, voters).
    of_small
        Those of its votes that belong to contributors and small holders, int64 (places, voters).
    counts
        How many voters each place has, int64 (places,).
    """

    columns: Int
    power: Int
    of_small: Int
    counts: Int

    @classmethod
    def now(cls, desk: Desk, rows: Int) -> Voters:
        """Return who can vote now in the runs of `rows`, int64 (places,)."""
        layout, given = desk.world.layout, desk.state.delegations
        columns, power, of_small = (np.empty(rows.size * layout.agents, np.int64) for _ in range(3))
        counts = np.empty(rows.size, np.int64)
        kernel.voters(
            desk.world.agent_balance("wrapped"), given.owner, given.voter, given.is_small, given.starts, rows,
            columns, power, of_small, counts,
        )  # fmt: skip
        columns, power, of_small = _in_rows(counts, columns, power, of_small)
        return cls(columns, power, of_small, counts)


def of_rolls(rolls: list[Roll]) -> tuple[Int, Int, NDArray[np.int8]]:
    """Return columns, votes and support of the voters of several rolls, each (rolls, voters)."""
    lists = zip(*((roll.columns, roll.power, roll.support) for roll in rolls), strict=True)
    counts = np.array([roll.columns.size for roll in rolls])
    columns, power, support = _in_rows(counts, *(np.concatenate(values) for values in lists))
    return columns, power, support


def _in_rows(counts: Int, *lists: NDArray[Any]) -> list[NDArray[Any]]:
    """Return lists of each place's values, one place after the other, as rows that end with zeros."""
    is_voter = np.arange(max(1, counts.max())) < counts[:, None]
    found = []
    for values in lists:
        rows = np.zeros(is_voter.shape, values.dtype)
        rows[is_voter] = values[: counts.sum()]
        found.append(rows)
    return found
