"""Reach: where money of an agent account can be.

Rule decided here: an account of agents can hold money of the classes to which a flow of the table leads, and of those
to which the opening table gives some; what only a plan brings to L2 those hold who take part, unless the table gave
their class something there. The daily audit reads their columns; everywhere else is 0, which the audits of
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
from sim.participation import opened_on_l2

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.scenario.opening import Opening
    from sim.world import Columns, Layout

Int = NDArray[np.int64]

GAP = 256
"""Columns between two stretches that are read with them, because to begin anew costs as much."""

BY_PLAN = ("stake", "unbonding", "wrapped", "transit_deposit")
"""Accounts into which money of those who can stake comes by their plan alone."""
BESIDE_EARNINGS = ("wallet.l2", "transit_withdraw")
"""Accounts that also those have who earn on L2."""
EARNERS = ("contributors", "builders", "operators")
"""Classes that are paid on L2."""


def is_whole(economy: Economy, day: int) -> bool:
    """Whether a day's audit reads everything: the world's first and last day, and the last of an epoch."""
    return bool(day in (0, economy.days) or economy.epoch_end[day])


def everywhere(layout: Layout) -> Int:
    """Return whole rows of all agent accounts, as `daily` does."""
    return np.array([(account.index, 0, layout.agents) for account in AGENT_ACCOUNTS], np.int64)


@cache
def daily(layout: Layout, opening: Opening | None, parts: tuple[tuple[str, int], ...] = ()) -> Int:
    """Return the columns that a daily audit reads.

    Parameters
    ----------
    layout
        The agent axis.
    opening
        What accounts held when the world opened, or None.
    parts
        How many of each class that can stake take part (`Economy.taking_part`); of classes that are not
        listed everybody may hold something.

    Returns
    -------
    numpy.ndarray
        Account, first column and the one after the last of each stretch, int64 (stretches, 3).
    """
    rows = opening.rows if opening else ()
    known = {name: count for name, count in parts if name not in opened_on_l2(opening)}
    found: list[tuple[int, int, int]] = []
    for account in AGENT_ACCOUNTS:
        own = [
            _columns(layout, account.name, name, known.get(name))
            for name in classes_of(account.name) | {r.agent_class for r in rows if r.account == account.name}
        ]
        found += [(account.index, first, last) for first, last in stretches(own)]
    return np.array(found, np.int64)


@cache
def by_class(
    layout: Layout, opening: Opening | None, parts: tuple[tuple[str, int], ...], account: str
) -> Int:
    """Return where each class can hold an account: first column and the one after the last, int64 (classes, 2).

    Arguments are those of `daily`, and the account.
    """
    opened = opened_on_l2(opening)
    classes, known = classes_of(account) | opened, {n: count for n, count in parts if n not in opened}
    own = [
        _columns(layout, account, name, known.get(name)) if name in classes else slice(0, 0)
        for name, _ in layout.counts
    ]
    return np.array([(columns.start, columns.stop) for columns in own], np.int64)


def _columns(layout: Layout, account: str, agent_class: str, part: int | None) -> Columns:
    """Return the columns of a class in which an account can hold money; `part` is how many of it take part."""
    columns = layout.slice(agent_class)
    by_plan = account in BY_PLAN or (account in BESIDE_EARNINGS and agent_class not in EARNERS)
    return columns if part is None or not by_plan else slice(columns.start, columns.start + part)


def stretches(columns: Iterable[Columns]) -> list[tuple[int, int]]:
    """Return first columns and ends of the stretches that hold some columns, with narrow gaps between them."""
    joined: list[tuple[int, int]] = []
    for own in sorted((one for one in columns if one.stop > one.start), key=lambda one: one.start):
        if joined and own.start - joined[-1][1] < GAP:
            joined[-1] = joined[-1][0], own.stop
        else:
            joined.append((own.start, own.stop))
    return joined
