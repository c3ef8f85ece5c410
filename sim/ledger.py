"""Ledger: the only code that moves money.

Rule decided here: every move names a permitted flow, debits and credits the same integers, and is written into the
journal. What the journal says an account holds is kept beside what its balances add up to, so that a gwei that
moved any other way is found the same day, with the account named.
"""

from __future__ import annotations


from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import ACCOUNTS, Account
from sim.flows import FLOWS

if TYPE_CHECKING:
    from sim.world import World

Int = NDArray[np.int64]


INCOME = frozenset({"E1", "O1", "R1", "S2", "U2"})
"""Flows by which an agent is paid; payouts of the distributor count when they are earned (`sim/payouts.py`)."""


class FlowRefused(RuntimeError):  # noqa: N818 - the ledger refuses; nothing erred
    """A move that the table of flows does not list, or that the account cannot pay."""


@dataclass(frozen=True)
class Place:
    """An account, and for an agent account the class whose balances are meant."""

    account: Account
    agent_class: str = ""

    @property
    def label(self) -> str:
        """Label in the journal: ``treasury.l2`` or ``wallet.l1/holders``."""
        return f"{self.account.name}/{self.agent_class}" if self.agent_class else self.account.name


@cache
def at(name: str, agent_class: str = "") -> Place:
    """Return the place of account `name`, for agent accounts with the class.

    Raises
    ------
    KeyError
        If there is no such account.
    ValueError
        If a class is missing for an agent account or given for a world account.
    """
    account = ACCOUNTS[name]
    if account.per_agent != bool(agent_class):
        raise ValueError(f"account '{name}' {'needs an' if account.per_agent else 'has no'} agent class")
    return Place(account, agent_class)


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
        Labels as `Place.label`.
    amount
        Total in gwei.
    source_parts, target_parts
        Amount per agent of the class, int64 (agents,), or None for world accounts.
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
    """What the ledger wrote down: totals of the day for all runs, single entries for the witness run.

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
        """Today's amount per run of a flow, int64 (runs,); labels match by their beginning."""
        total = np.zeros(runs, np.int64)
        for (id_, from_, to), amount in self.today.items():
            if id_ == flow and from_.startswith(source) and to.startswith(target):
                total += amount
        return total

    def take_entries(self) -> list[Entry]:
        """Return the witness run's entries since the last call and forget them."""
        taken, self.entries = self.entries, []
        return taken


def move(world: World, flow: str, source: Place | None, target: Place, amount: Int) -> None:
    """Move money along a permitted flow.

    Parameters
    ----------
    world
        The world whose balances change.
    flow
        Id of the flow.
    source
        Paying place; None only for the mint of G1.
    target
        Receiving place.
    amount
        int64 gwei, >= 0. (runs,) between world accounts; (runs, agents of the class) where a side is per agent:
        the other side, if a world account, pays or receives the sum over agents.

    Raises
    ------
    FlowRefused
        If the table does not list the move in the current phase, an amount is negative or a balance is too small.
    """
    _permitted(world.phase, flow, source, target)
    amount = np.asarray(amount, np.int64)
    per_run = amount.sum(axis=1) if amount.ndim == 2 else amount
    if not per_run.any() and not amount.any():
        return
    if amount.min() < 0:
        raise FlowRefused(f"{flow} on day {world.day}: negative amount {int(amount.min())} gwei")
    if source is not None:
        _apply(world, flow, source, amount, per_run, -1)
    _apply(world, flow, target, amount, per_run, 1)
    if flow in INCOME and target.account.per_agent:
        world.income[:, world.layout.slice(target.agent_class)] += amount
    _write(world, flow, source, target, amount, per_run)


@cache
def _permitted(phase: str, flow: str, source: Place | None, target: Place) -> None:
    row = FLOWS.get(flow)
    from_ = "mint" if source is None else source.account.name
    from_class = "" if source is None else source.agent_class
    if row is None:
        raise FlowRefused(f"flow '{flow}' is not in the table of flows")
    if phase not in row.phases:
        raise FlowRefused(f"{flow} may run in {', '.join(row.phases)}, not in phase '{phase}'")
    if not row.permits(from_, from_class, target.account.name, target.agent_class):
        raise FlowRefused(f"{flow} does not permit {from_}/{from_class or '-'} -> {target.label}")


def _apply(world: World, flow: str, place: Place, amount: Int, per_run: Int, sign: int) -> None:
    account = place.account
    if account.per_agent:
        if amount.ndim != 2:
            raise FlowRefused(f"{flow}: {place.label} needs an amount per agent, (runs, agents)")
        balance = world.holdings[account.index][:, world.layout.slice(place.agent_class)]
        balance += sign * amount
        world.expected_agent[:, account.index] += sign * per_run
    else:
        balance = world.balances[:, account.index]
        balance += sign * per_run
        world.expected_world[:, account.index] += sign * per_run
    if sign < 0 and balance.min() < 0:
        run = int(world.runs[np.argwhere(balance < 0)[0][0]])
        raise FlowRefused(
            f"{flow} on day {world.day}, run {run}: {place.label} is short by {-int(balance.min())} gwei"
        )


def _write(world: World, flow: str, source: Place | None, target: Place, amount: Int, per_run: Int) -> None:
    journal = world.journal
    key = (flow, "mint" if source is None else source.label, target.label)
    known = journal.today.get(key)
    journal.today[key] = per_run.copy() if known is None else known + per_run
    row = journal.witness_row
    if row is None or not per_run[row]:
        return
    parts = amount[row].copy() if amount.ndim == 2 else None
    journal.entries.append(
        Entry(
            day=world.day, flow=flow, source=key[1], target=key[2], amount=int(per_run[row]),
            source_parts=parts if source is not None and source.account.per_agent else None,
            target_parts=parts if target.account.per_agent else None,
        )
    )  # fmt: skip


