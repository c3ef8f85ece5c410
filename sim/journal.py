"""Journal: what the ledger wrote down.

Rule decided here: totals per flow and day for every run, single entries with the amount of each agent for the
witness run alone. A move over all classes at once is written down class by class. What is written here, and
nothing else, says what each account should hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import ACCOUNTS, Account
from sim.kernels import moves as kernel

if TYPE_CHECKING:
    from sim.world import World

Int = NDArray[np.int64]


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


@dataclass(slots=True)
class Journal:
    """Totals of the day for all runs, single entries for the witness run.

    Parameters
    ----------
    witness_row
        Row of the witness run in the batch, or None.
    today
        (flow, source label, target label) -> amount per run, int64 (runs,), of the current day.
    entries
        Entries of the witness run since they were last taken.
    """

    witness_row: int | None = None
    today: dict[tuple[str, str, str], Int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def flow_total(self, flow: str, runs: int, source: str = "", target: str = "") -> Int:
        """Return today's amount of a flow, int64 (runs,); labels match by their beginning."""
        total = np.zeros(runs, np.int64)
        for (id_, from_, to), amount in self.today.items():
            if id_ == flow and from_.startswith(source) and to.startswith(target):
                total += amount
        return total

    def take_entries(self) -> list[Entry]:
        """Return the witness run's entries since the last call and forget them."""
        taken, self.entries = self.entries, []
        return taken

    def write(
        self,
        world: World,
        flow: str,
        source: str,
        target: str,
        per_run: Int,
        parts: Int | None,
        received: Int | None = None,
    ) -> None:
        """Write one move down, and what both accounts should hold after it.

        Parameters
        ----------
        world
            Says the day; its expected balances are brought up to date.
        flow, source, target
            As in `Entry`.
        per_run
            Totals, int64 (runs,).
        parts
            The witness run's amount per agent, int64 (agents of the class,), or None between world accounts.
        received
            The same of the receiving class, where others receive than pay.
        """
        key = (flow, source, target)
        known = self.today.get(key)
        self.today[key] = per_run.copy() if known is None else known + per_run
        from_, to = _account(source), _account(target)
        assert to is not None
        kernel.book(
            _book(world, from_ or to),
            -1 if from_ is None else from_.index,
            _book(world, to),
            to.index,
            per_run,
        )
        if self.witness_row is None or not per_run[self.witness_row]:
            return
        of_source, of_target = (parts if "/" in label else None for label in (source, target))
        if received is not None:
            of_target = received.copy()
        self.entries.append(
            Entry(world.day, flow, source, target, int(per_run[self.witness_row]), of_source, of_target)
        )


@cache
def _account(label: str) -> Account | None:
    """Return the account of a label, None for the mint, which is none."""
    return ACCOUNTS.get(label.partition("/")[0])


def _book(world: World, account: Account) -> Int:
    return world.expected_agent if account.per_agent else world.expected_world
