"""Ledger: the only code that moves money.

Rule decided here: every move names a permitted flow, debits and credits the same integers, and is written into the
journal. What the journal says an account holds is kept beside what its balances add up to, so that a gwei that
moved any other way is found the same day, with the account named.
"""

from __future__ import annotations

from dataclasses import dataclass
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

EVERY_CLASS = "*"
"""Place of all agents at once, for flows that are open to every class."""


class FlowRefused(RuntimeError):  # noqa: N818 - the ledger refuses; nothing erred
    """A move that the table of flows does not list, or that the account cannot pay."""


@dataclass(frozen=True)
class Place:
    """An account, and for an agent account the class whose balances are meant (or `EVERY_CLASS`)."""

    account: Account
    agent_class: str = ""

    @property
    def label(self) -> str:
        """Label in the journal: ``treasury.l2`` or ``wallet.l1/holders``."""
        return f"{self.account.name}/{self.agent_class}" if self.agent_class else self.account.name

    def label_of(self, agent_class: str) -> str:
        """Return the label with `EVERY_CLASS` replaced by one class."""
        return f"{self.account.name}/{agent_class}" if self.agent_class == EVERY_CLASS else self.label


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


def move(
    world: World,
    flow: str,
    source: Place | None,
    target: Place,
    amount: Int,
    within: slice | None = None,
    received: Int | None = None,
) -> None:
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
    within
        Which agents of the class `amount` speaks of, where not all.
    received
        Between two agent places, what each agent of the target's class receives, int64 (runs, agents of that
        class), where it is not what the same agent pays; in every run it adds up to `amount`.

    Raises
    ------
    FlowRefused
        If the table does not list the move in the current phase, an amount is negative, a balance is too small,
        or what is received is not what is paid.
    """
    _permitted(world.phase, flow, source, target)
    amount = np.asarray(amount, np.int64)
    credited = amount
    if received is not None:
        credited = _rearranged(world, flow, source, target, amount, within, received)
    if not amount.any():
        return
    if amount.min() < 0:
        raise FlowRefused(f"{flow} on day {world.day}: negative amount {int(amount.min())} gwei")
    per_run = amount.sum(axis=1) if amount.ndim == 2 else amount
    if source is not None:
        _apply(world, flow, source, amount, per_run, within, -1)
    _apply(world, flow, target, credited, per_run, within, 1)
    if flow in INCOME and target.account.per_agent:
        world.income[:, _columns(world, target, within)] += credited
    _write(world, flow, source, target, amount, per_run, within, credited)


def _rearranged(
    world: World,
    flow: str,
    source: Place | None,
    target: Place,
    amount: Int,
    within: slice | None,
    received: Int,
) -> Int:
    """Return what each agent receives, after making sure that it is what is paid."""
    classes = {"" if place is None else place.agent_class for place in (source, target)}
    if classes & {"", EVERY_CLASS} or within is not None:
        raise FlowRefused(f"{flow}: 'received' needs all agents of one class on either side")
    received = np.asarray(received, np.int64)
    shape = (world.count, world.layout.count(target.agent_class))
    if received.shape != shape or amount.ndim != 2:
        raise FlowRefused(f"{flow}: {target.label} needs an amount per agent, {shape}, not {received.shape}")
    if received.min() < 0:
        raise FlowRefused(f"{flow} on day {world.day}: negative amount {int(received.min())} gwei")
    difference = received.sum(axis=1) - amount.sum(axis=1)
    if difference.any():
        row = int(np.flatnonzero(difference)[0])
        run, off = int(world.runs[row]), int(difference[row])
        raise FlowRefused(f"{flow} on day {world.day}, run {run}: received is off what is paid by {off} gwei")
    return received


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


def _columns(world: World, place: Place, within: slice | None) -> slice:
    """Return the columns of the agent axis: of the class, or of some of its agents."""
    whole = world.layout.slice(place.agent_class)
    if within is None:
        return whole
    chosen = range(whole.start, whole.stop)[within]
    return slice(chosen.start, chosen.stop, chosen.step)


def _apply(
    world: World, flow: str, place: Place, amount: Int, per_run: Int, within: slice | None, sign: int
) -> None:
    account = place.account
    if account.per_agent:
        if amount.ndim != 2:
            raise FlowRefused(f"{flow}: {place.label} needs an amount per agent, (runs, agents)")
        columns = _columns(world, place, within)
        balance = world.holdings[account.index][:, columns]
        change = amount
        world.checksum[:, account.index] += sign * (amount @ world.layout.checksum_weights[columns])
    else:
        balance = world.balances[:, account.index]
        change = per_run
    if sign > 0:
        balance += change
        return
    balance -= change
    if balance.min() < 0:
        run = int(world.runs[np.argwhere(balance < 0)[0][0]])
        short = -int(balance.min())
        raise FlowRefused(f"{flow} on day {world.day}, run {run}: {place.label} is short by {short} gwei")


def _write(
    world: World,
    flow: str,
    source: Place | None,
    target: Place,
    amount: Int,
    per_run: Int,
    within: slice | None,
    credited: Int,
) -> None:
    if EVERY_CLASS in (target.agent_class, source.agent_class if source else ""):
        _write_by_class(world, flow, source, target, amount)
        return
    parts = None
    row = world.journal.witness_row
    if amount.ndim == 2 and row is not None:
        agents = world.layout.count((source.agent_class if source else "") or target.agent_class)
        parts = np.zeros(agents, np.int64)
        parts[within if within is not None else slice(None)] = amount[row]
    from_ = "mint" if source is None else source.label
    received = credited[row] if row is not None and credited is not amount else None
    world.journal.write(world, flow, from_, target.label, per_run, parts, received)


def _write_by_class(world: World, flow: str, source: Place | None, target: Place, amount: Int) -> None:
    row = world.journal.witness_row
    sums = np.add.reduceat(amount, world.layout.starts, axis=1)
    for i, (name, _) in enumerate(world.layout.counts):
        if sums[:, i].any():
            parts = None if row is None else amount[row, world.layout.slice(name)].copy()
            from_ = "mint" if source is None else source.label_of(name)
            world.journal.write(world, flow, from_, target.label_of(name), sums[:, i], parts)
