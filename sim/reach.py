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

from sim.accounts import AGENT_ACCOUNTS, EARNERS
from sim.flows import classes_of
from sim.participation import BY_PLAN, opened_on_l2

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.scenario.opening import Opening
    from sim.world import Columns, Layout

Int = NDArray[np.int64]

GAP = 256
"""Columns between two stretches that are read with them, because to begin anew costs as much."""

TO_L2 = (*BY_PLAN, "transit_deposit")
"""Accounts into which money of those who can stake comes by their plan alone."""
BESIDE_EARNINGS = ("wallet.l2", "transit_withdraw")
"""Accounts that also those have who earn on L2."""


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
    found = [
        (account.index, first, last)
        for account in AGENT_ACCOUNTS
        for first, last in stretches(_by_class(layout, opening, parts, account.name).values())
    ]
    return np.array(found, np.int64)


@cache
def by_class(
    layout: Layout, opening: Opening | None, parts: tuple[tuple[str, int], ...], account: str
) -> Int:
    """Return where each class can hold an account: first column and the one after the last, int64 (classes, 2).

    Arguments are those of `daily`, and the account.
    """
    held = _by_class(layout, opening, parts, account)
    columns = [held.get(name, slice(0, 0)) for name, _ in layout.counts]
    return np.array([(own.start, own.stop) for own in columns], np.int64)


def _by_class(
    layout: Layout, opening: Opening | None, parts: tuple[tuple[str, int], ...], account: str
) -> dict[str, Columns]:
    """Return the columns of each class that can hold an account."""
    opened, taking_part, rows = opened_on_l2(opening), dict(parts), opening.rows if opening else ()
    found = {}
    for name in classes_of(account) | {row.agent_class for row in rows if row.account == account}:
        columns = layout.slice(name)
        by_plan = account in TO_L2 or (account in BESIDE_EARNINGS and name not in EARNERS)
        if by_plan and name in taking_part and name not in opened:
            columns = slice(columns.start, columns.start + taking_part[name])
        found[name] = columns
    return found


def stretches(columns: Iterable[Columns]) -> list[tuple[int, int]]:
    """Return first columns and ends of the stretches that hold some columns, with narrow gaps between them."""
    joined: list[tuple[int, int]] = []
    for own in sorted((one for one in columns if one.stop > one.start), key=lambda one: one.start):
        if joined and own.start - joined[-1][1] < GAP:
            joined[-1] = joined[-1][0], own.stop
        else:
            joined.append((own.start, own.stop))
    return joined
