"""Ledger: the only code that moves money.

Rule decided here: every move names a permitted flow, debits and credits the same integers, and is written into the
journal. What the journal says an account holds is kept beside what its balances add up to, so that a gwei that
moved any other way is found the same day, with the account named. `move` takes an amount for every agent of a class,
`move_some` a list of the few agents to whom something happens: the same move, without a pass over the others.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion_floor
from sim.flows import FLOWS
from sim.journal import MINT, Moved
from sim.kernels import moves as kernel
from sim.kernels import moves_of_few as few
from sim.kernels import rewards
from sim.picks import Picks
from sim.places import EVERY_CLASS, Place, at

if TYPE_CHECKING:
    from sim.world import World

__all__ = ["EVERY_CLASS", "FlowRefused", "Int", "Place", "at", "compound", "move", "move_some"]

Int = NDArray[np.int64]

REWARD = "S2"
"""Flow by which stakes are paid."""

INCOME = frozenset({"E1", "O1", "R1", REWARD, "U2"})
"""Flows by which an agent is paid; payouts of the distributor count when they are earned, and rewards that stay in
stakes when they are brought forward (`sim/payouts.py`)."""


class FlowRefused(RuntimeError):  # noqa: N818 - the ledger refuses; nothing erred
    """A move that the table of flows does not list, or that the account cannot pay."""


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
    amount = np.ascontiguousarray(amount, np.int64)
    credited = amount
    if received is not None:
        credited = _rearranged(world, flow, source, target, amount, within, received)
    by_class, per_run = _take(world, flow, source, target, amount, within)
    if per_run is None:
        return
    _apply(world, flow, target, credited, per_run, within, 1)
    parts = None
    row = world.journal.witness_row
    if amount.ndim == 2 and row is not None:
        agents = world.layout.count((source.agent_class if source else "") or target.agent_class)
        parts = np.zeros(agents, np.int64)
        parts[within if within is not None else slice(None)] = amount[row]
    of_target = credited[row] if row is not None and credited is not amount else None
    world.journal.write(world, Moved(flow, source, target, per_run, by_class), parts, of_target)


def move_some(world: World, flow: str, source: Place, target: Place, some: Picks) -> Int:
    """Move money of few agents along a permitted flow.

    Parameters
    ----------
    world, flow, source, target
        As in `move`; at least one place is of agents.
    some
        Who pays or receives how much; all of them belong to the class of the place.

    Returns
    -------
    numpy.ndarray
        Moved in each run, int64 (runs,).

    Raises
    ------
    FlowRefused
        As `move` does, or if an agent is of another class.
    """
    _permitted(world.phase, flow, source, target)
    per_run = np.zeros(world.count, np.int64)
    if not some.where.size:
        return per_run
    by_class = np.zeros((len(world.layout.counts), world.count), np.int64)
    one_class = source.agent_class or target.agent_class
    only = -1 if one_class == EVERY_CLASS else world.layout.number(one_class)
    found = few.survey(some.where, some.amounts, world.layout.class_of, only, by_class, per_run)
    _refuse(world, flow, found, some.amounts)
    if found == kernel.OUTSIDE:
        raise FlowRefused(f"{flow}: an amount is of an agent outside {one_class}")
    if found == kernel.NOTHING:
        return per_run
    _apply(world, flow, source, some, per_run, None, -1)
    _apply(world, flow, target, some, per_run, None, 1)
    parts = None
    row = world.journal.witness_row
    if row is not None:
        own = some.where // world.layout.agents == row
        parts = np.zeros(world.layout.agents, np.int64)
        np.add.at(parts, some.where[own] % world.layout.agents, some.amounts[own])
        parts = parts[world.layout.slice(one_class)]
    moved = Moved(flow, source, target, per_run, by_class if only < 0 else None)
    world.journal.write(world, moved, parts)
    return per_run


def compound(world: World, flow: str, source: Place, target: Place, due: Int, columns: Int) -> Int:
    """Divide an amount among all agents by what they hold in `target`, floored, and move the parts there.

    It is `models.apportion.apportion_floor` and a `move` of its parts without an array of them between the two.

    Parameters
    ----------
    world, flow, source, target
        As in `move`; an account of the world pays agents of every class.
    due
        Gwei to pay, int64 (runs,), 0 or more.
    columns
        Where each class can hold something in `target`: first column and the one after the last, int64 (classes, 2).

    Returns
    -------
    numpy.ndarray
        What the floors keep at the source, int64 (runs,).

    Raises
    ------
    FlowRefused
        As `move` does, or if an agent holds less than nothing.
    """
    _permitted(world.phase, flow, source, target)
    if due.max() >= rewards.CLOSE:
        parts, kept = apportion_floor(due, world.holdings[target.account.index])
        move(world, flow, source, target, parts)
        return kept
    _refuse(world, flow, kernel.survey_runs(due), due)
    by_class, witnessed = _grow(world, flow, target, due, columns)
    per_run = by_class.sum(axis=0)
    if per_run.any():
        _apply(world, flow, source, due, per_run, None, -1)
        world.journal.write(world, Moved(flow, source, target, per_run, by_class), witnessed)
    return np.asarray(due - per_run)


def _grow(world: World, flow: str, target: Place, due: Int, columns: Int) -> tuple[Int, Int | None]:
    """Give agents their parts of what is due; return sums by class and the witness run's parts, None without one."""
    layout, index, row = world.layout, target.account.index, world.journal.witness_row
    by_class, weighted = (
        np.zeros((len(layout.counts), world.count), np.int64),
        np.zeros(world.count, np.int64),
    )
    stakes = world.holdings[index]
    before = None if row is None else stakes[row].copy()
    if not rewards.compound(due, stakes, layout.checksum_weights, weighted, columns, by_class):
        raise FlowRefused(f"{flow} on day {world.day}: {target.label} holds less than 0 gwei somewhere")
    world.checksum[:, index] += weighted
    return by_class, None if before is None else stakes[row] - before


def _take(
    world: World, flow: str, source: Place | None, target: Place, amount: Int, within: slice | None
) -> tuple[Int | None, Int | None]:
    """Survey an amount and take it from where it is.

    Returns sums by class, None unless the move is of all classes, and per run, None where nothing moves. Where agents
    are refused, runs before the one that is at fault may have paid: a refusal ends the batch.
    """
    if amount.ndim == 1:
        _require_shape(flow, amount, (world.count,))
        found, by_class, per_run = kernel.survey_runs(amount), None, amount
        _refuse(world, flow, found, amount)
    else:
        everybody = EVERY_CLASS in (target.agent_class, source.agent_class if source else "")
        _require_shape(flow, amount, (world.count, world.layout.agents if everybody else amount.shape[1]))
        bounds = world.layout.bounds if everybody else np.array((0, amount.shape[1]), np.int64)
        sums, per_run = np.empty((len(bounds) - 1, world.count), np.int64), np.empty(world.count, np.int64)
        by_class = sums if everybody else None
        if source is not None and source.account.per_agent:
            found = _take_all(world, flow, source, amount, within, (bounds, sums, per_run))
            return by_class, None if found == kernel.NOTHING else per_run
        found = kernel.survey(amount, bounds, sums, per_run)
        _refuse(world, flow, found, amount)
    if found == kernel.NOTHING:
        return None, None
    if source is not None:
        _apply(world, flow, source, amount, per_run, within, -1)
    return by_class, per_run


def _take_all(
    world: World, flow: str, source: Place, amount: Int, within: slice | None, sums: tuple[Int, Int, Int]
) -> int:
    """Survey what each agent pays and take it; returns what it is. `sums` are the last arguments of `survey`."""
    columns, book = _columns(world, flow, source, amount, within), _beside(world, flow, source, -1)
    at_, weights = (source.account.index, columns.start, columns.step or 1), world.layout.checksum_weights
    found, short = kernel.debit(world.holdings, *at_, amount, weights, world.checksum, *book, *sums)
    _refuse(world, flow, found, amount)
    if short >= 0:
        _refuse_short(world, flow, source, short)
    return int(found)


def _require_shape(flow: str, amount: Int, shape: tuple[int, ...]) -> None:
    if amount.shape != shape:
        raise FlowRefused(f"{flow}: an amount of shape {amount.shape} where {shape} is needed")


def _refuse(world: World, flow: str, found: int, amount: Int) -> None:
    if found == kernel.NEGATIVE:
        raise FlowRefused(f"{flow} on day {world.day}: negative amount {int(amount.min())} gwei")
    if found == kernel.TOO_MUCH:
        raise FlowRefused(f"{flow} on day {world.day}: amounts add up to more than 2^63 - 1 gwei")


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
    from_ = MINT if source is None else source.account.name
    from_class = "" if source is None else source.agent_class
    if row is None:
        raise FlowRefused(f"flow '{flow}' is not in the table of flows")
    if phase not in row.phases:
        raise FlowRefused(f"{flow} may run in {', '.join(row.phases)}, not in phase '{phase}'")
    if not row.permits(from_, from_class, target.account.name, target.agent_class):
        raise FlowRefused(f"{flow} does not permit {from_}/{from_class or '-'} -> {target.label}")


def _columns(world: World, flow: str, place: Place, amount: Int, within: slice | None) -> slice:
    """Return the columns of the agent axis that an amount speaks of: of the class, or of some of its agents."""
    columns = world.layout.slice(place.agent_class)
    if within is not None:
        chosen = range(columns.start, columns.stop)[within]
        columns = slice(chosen.start, chosen.stop, chosen.step)
    _require_shape(flow, amount, (world.count, len(range(columns.start, columns.stop, columns.step or 1))))
    return columns


def _beside(world: World, flow: str, place: Place, sign: int) -> tuple[Int, bool]:
    """Return a book of agents, and whether it changes as their account does.

    What stakes are without rewards changes with stakes unless they are rewarded; income grows by what is received.
    """
    if place.account.name == "stake":
        return world.principal, flow != REWARD
    return world.income, sign > 0 and flow in INCOME


def _refuse_short(world: World, flow: str, place: Place, row: int) -> None:
    index = place.account.index
    held = world.holdings[index, row].min() if place.account.per_agent else world.balances[row, index]
    run, missing = int(world.runs[row]), -int(held)
    raise FlowRefused(f"{flow} on day {world.day}, run {run}: {place.label} is short by {missing} gwei")


def _apply(
    world: World, flow: str, place: Place, amount: Int | Picks, per_run: Int, within: slice | None, sign: int
) -> None:
    """Give an amount that was surveyed to a place, or (`sign` below 0) take it from the world or a list of agents."""
    index, short, weights = place.account.index, -1, world.layout.checksum_weights
    if not place.account.per_agent:
        if sign > 0:
            world.balances[:, index] += per_run
        else:
            short = kernel.debit_runs(world.balances, index, per_run)
    elif isinstance(amount, Picks):
        side, book = few.credit if sign > 0 else few.debit, _beside(world, flow, place, sign)
        short = side(world.holdings, index, amount.where, amount.amounts, weights, world.checksum, *book)
    else:
        if amount.ndim != 2:
            raise FlowRefused(f"{flow}: {place.label} needs an amount per agent, (runs, agents)")
        columns, book = _columns(world, flow, place, amount, within), _beside(world, flow, place, sign)
        start, step = columns.start, columns.step or 1
        kernel.credit(world.holdings, index, start, step, amount, weights, world.checksum, *book)
    if short >= 0:
        _refuse_short(world, flow, place, short)
