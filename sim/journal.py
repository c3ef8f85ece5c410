"""Journal: what the ledger wrote down.

Rule decided here: totals per flow and day for every run, single entries with the amount of each agent for the
witness run alone. A move over all classes at once is written down class by class, for the day's totals not before
somebody reads them. What is written here, and nothing else, says what each account should hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.accounts import Account
from sim.kernels import moves as kernel

if TYPE_CHECKING:
    from sim.places import Place
    from sim.world import World

Int = NDArray[np.int64]
Totals = dict[tuple[str, str, str], Int]
MINT = "mint"
"""Label of the source of what is minted, which is no account."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry of the witness run.

    Parameters
    ----------
    day
        Day of the move.
    flow
        Id of the flow.
    source, target
        Labels such as ``treasury.l2`` or ``wallet.l1/holders``.
    amount
        Total in gwei.
    source_parts, target_parts
        Amount per agent of the class, int64 (agents,), or None for world accounts. Equal where agents pay
        into another account of their own; otherwise only their sums are.
    """

    day: int
    flow: str
    source: str
    target: str
    amount: int
    source_parts: Int | None
    target_parts: Int | None


class Moved(NamedTuple):
    """One move as the journal is told of it.

    Parameters
    ----------
    flow
        Id of the flow.
    source, target
        Where from (None for the mint) and where to.
    per_run
        Totals, int64 (runs,).
    by_class
        Totals of each class, int64 (classes, runs), of a move over all classes; otherwise None.
    """

    flow: str
    source: Place | None
    target: Place
    per_run: Int
    by_class: Int | None = None

    def key(self, agent_class: str = "") -> tuple[str, str, str]:
        """Return the flow and the labels of both sides, those of one class for a move over all."""
        return _key(self.flow, self.source, self.target, agent_class)


@dataclass(slots=True)
class Journal:
    """Totals of the day for all runs, single entries for the witness run.

    Parameters
    ----------
    witness_row
        Row of the witness run in the batch, or None.
    entries
        Entries of the witness run since they were last taken.
    """

    witness_row: int | None = None
    entries: list[Entry] = field(default_factory=list)
    _today: Totals = field(init=False, default_factory=dict)
    _unread: list[tuple[Moved, tuple[str, ...]]] = field(init=False, default_factory=list)

    @property
    def today(self) -> Totals:
        """(flow, source label, target label) -> amount per run, int64 (runs,), of the current day."""
        for moved, names in self._unread:
            assert moved.by_class is not None
            for i in np.flatnonzero(moved.by_class.any(axis=1)).tolist():
                self._add(moved.key(names[i]), moved.by_class[i])
        self._unread.clear()
        return self._today

    @today.setter
    def today(self, totals: Totals) -> None:
        self._today = totals
        self._unread.clear()

    def flow_total(self, flow: str, runs: int, source: str = "", target: str = "") -> Int:
        """Return today's amount of a flow, int64 (runs,); labels match by their beginning."""
        total = np.zeros(runs, np.int64)
        is_unread = any(moved.flow == flow for moved, _ in self._unread)
        for (id_, from_, to), amount in (self.today if is_unread else self._today).items():
            if id_ == flow and from_.startswith(source) and to.startswith(target):
                total += amount
        return total

    def take_entries(self) -> list[Entry]:
        """Return the witness run's entries since the last call and forget them."""
        taken, self.entries = self.entries, []
        return taken

    def write(self, world: World, moved: Moved, parts: Int | None, received: Int | None = None) -> None:
        """Write one move down, and what both accounts should hold after it.

        Parameters
        ----------
        world
            Says the day; its expected balances are brought up to date.
        moved
            The move.
        parts
            The witness run's amount per agent, int64 (agents of the class or of all,), or None between world accounts.
        received
            The same of the receiving class, where others receive than pay.
        """
        if moved.by_class is None:
            self._add(moved.key(), moved.per_run)
        else:
            self._unread.append((moved, world.layout.names))
        source, target = moved.source, moved.target.account
        kernel.book(
            _book(world, target if source is None else source.account),
            -1 if source is None else source.account.index,
            _book(world, target),
            target.index,
            moved.per_run,
        )
        if self.witness_row is not None and moved.per_run[self.witness_row]:
            self._enter(world, self.witness_row, moved, parts, received)

    def _add(self, key: tuple[str, str, str], per_run: Int) -> None:
        known = self._today.get(key)
        self._today[key] = per_run.copy() if known is None else known + per_run

    def _enter(self, world: World, row: int, moved: Moved, parts: Int | None, received: Int | None) -> None:
        """Write down what the move is in the witness run, class by class."""
        if moved.by_class is None:
            self._enter_one(world.day, moved.key(), int(moved.per_run[row]), parts, received)
            return
        for i in np.flatnonzero(moved.by_class[:, row]).tolist():
            name = world.layout.names[i]
            own = None if parts is None else parts[world.layout.slice(name)].copy()
            self._enter_one(world.day, moved.key(name), int(moved.by_class[i, row]), own, None)

    def _enter_one(
        self, day: int, key: tuple[str, str, str], amount: int, parts: Int | None, received: Int | None
    ) -> None:
        of_source, of_target = (parts if "/" in label else None for label in key[1:])
        if received is not None:
            of_target = received.copy()
        self.entries.append(Entry(day, *key, amount, of_source, of_target))


@cache
def _key(flow: str, source: Place | None, target: Place, agent_class: str) -> tuple[str, str, str]:
    return flow, MINT if source is None else source.label_of(agent_class), target.label_of(agent_class)


def _book(world: World, account: Account) -> Int:
    return world.expected_agent if account.per_agent else world.expected_world
