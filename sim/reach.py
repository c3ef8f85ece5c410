"""Reach: where money of an agent account can be.

Rule decided here: an account of agents can hold money of the classes to which a flow of the table leads, and of those
to which the opening table gives some. The daily audit reads their columns; everywhere else is 0, which the audits of
the world's first and last day and of every epoch's last day make sure of. What the ledger moved elsewhere, or moves
out of there, breaks the sum of the account the same day: its books count it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import AGENT_ACCOUNTS
from sim.flows import classes_of

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.scenario.opening import Opening
    from sim.world import Layout

Int = NDArray[np.int64]

GAP = 256
"""Columns between two classes that are read with them, because to begin anew costs as much."""


def is_whole(economy: Economy, day: int) -> bool:
    """Whether a day's audit reads everything: the world's first and last day, and the last of an epoch."""
    return bool(day in (0, economy.days) or economy.epoch_end[day])


def everywhere(layout: Layout) -> Int:
    """Return whole rows of all agent accounts, as `daily` does."""
    return np.array([(account.index, 0, layout.agents) for account in AGENT_ACCOUNTS], np.int64)


@cache
def daily(layout: Layout, opening: Opening | None) -> Int:
    """Return the columns that a daily audit reads.

    Parameters
    ----------
    layout
        The agent axis.
    opening
        What accounts held when the world opened, or None.

    Returns
    -------
    numpy.ndarray
        Account, first column and the one after the last of each stretch, int64 (stretches, 3).
    """
    rows = opening.rows if opening else ()
    return np.array(
        [
            (account.index, first, last)
            for account in AGENT_ACCOUNTS
            for first, last in stretches(
                layout, classes_of(account.name) | {r.agent_class for r in rows if r.account == account.name}
            )
        ],
        np.int64,
    )


def stretches(layout: Layout, classes: Iterable[str]) -> list[tuple[int, int]]:
    """Return first columns and ends of the stretches that hold some classes, with narrow gaps between them."""
    joined: list[tuple[int, int]] = []
    for columns in sorted((layout.slice(name) for name in classes), key=lambda own: own.start):
        if joined and columns.start - joined[-1][1] < GAP:
            joined[-1] = joined[-1][0], columns.stop
        else:
            joined.append((columns.start, columns.stop))
    return joined
