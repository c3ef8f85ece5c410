"""Grants: the ecosystem pool brings builders and data, and contributors come and go by income.

Rules decided here, once a month on its last day. A part of the budget goes to public goods, the rest to as
many new grantees as a full budget brings, dormant agents before active ones in a keyed order; nobody is
granted twice. Awards are paid in tranches, and a milestone reached raises the models' quality. A
contributor whose income of the month is below what the same work earns outside leaves at a keyed chance;
dormant ones join while the average income is above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.grants import awards, payable, tranche
from sim import draws
from sim.draws import Decision
from sim.kernels.apportion import apportion
from sim.kernels.grantees import first, incomes, stay
from sim.ledger import at, move, move_some
from sim.payouts import bring_forward, plan_some_sales
from sim.picks import Picks
from sim.rates import on

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]

GRANTEES = (("builders", Decision.BUILDER_JOIN), ("contributors", Decision.CONTRIBUTOR_JOIN))
"""Classes that grants bring, in the order of `UsageState.award`, and the draw that orders them."""


class Due(NamedTuple):
    """Tranches that fall due: row, column in `UsageState.award` and gwei of each, int64 (entries,)."""

    run: Int
    agent: Int
    amount: Int


def advance(world: World, economy: Economy) -> None:
    """Pay grants (flow R1) and let contributors come and go, on the last day of a month."""
    if not economy.epoch_end[world.day]:
        return
    budget = on(world, "grants.monthly")
    public = budget // 10_000 * on(world, "grants.public_goods")
    public += budget % 10_000 * on(world, "grants.public_goods") // 10_000
    due = (_milestones(world, economy), _award(world, economy, budget - public))
    _pay(world, economy, Due(*(np.concatenate(part) for part in zip(*due, strict=True))))
    left = np.minimum(public, world.world_balance("pool.ecosystem.l2"))
    move(world, "R1", at("pool.ecosystem.l2"), at("wallet.l2", "public_goods"), left[:, None])
    _come_and_go(world, economy)


def _words(world: World, economy: Economy, decision: Decision, name: str) -> NDArray[np.uint32]:
    return draws.words(economy.seed, decision, world.runs, world.day, name, world.layout.count(name))


def _columns(world: World) -> tuple[slice, slice]:
    """Return the columns of builders and of contributors in `UsageState.award`."""
    split = world.layout.count("builders")
    return slice(0, split), slice(split, split + world.layout.count("contributors"))


def _milestones(world: World, economy: Economy) -> Due:
    """Return the tranches whose milestones were reached this month; a missed one ends the grant."""
    usage, terms = world.usage, economy.scenario.grants
    last, milestone = int(terms.tranches.value), draws.below(np.asarray(float(terms.milestone.value)))
    reached = np.zeros(usage.tranche.shape, np.bool_)
    for (name, _), columns in zip(GRANTEES, _columns(world), strict=True):
        np.less(_words(world, economy, Decision.GRANT_OUTCOME, name), milestone, out=reached[:, columns])
    run, agent = np.nonzero((usage.tranche > 0) & (usage.tranche < last))
    awarded = usage.award[run, agent] > 0
    run, agent = run[awarded], agent[awarded]
    won, paid = reached[run, agent], usage.tranche[run, agent]
    usage.tranche[run, agent] = np.where(won, paid + 1, -paid)
    run, agent, paid = run[won], agent[won], paid[won]
    usage.milestones = usage.milestones + np.bincount(run, minlength=world.count)
    return Due(run, agent, tranche(usage.award[run, agent], paid, last))


def _award(world: World, economy: Economy, budget: Int) -> Due:
    """Choose this month's grantees, wake the dormant among them, and return their first tranches."""
    usage, terms = world.usage, economy.scenario.grants
    brings = tuple(_brought(world, economy, name) for name, _ in GRANTEES)
    chosen = []
    for (name, decision), each, columns in zip(GRANTEES, brings, _columns(world), strict=True):
        active = usage.builder_active if name == "builders" else usage.contributor_active
        words, number = _words(world, economy, decision, name), _number(world, economy, each, budget)
        where = np.empty((2, int(np.clip(number, 0, words.shape[1]).sum())), np.int64)
        run, agent = where[:, : first(words, active, usage.award[:, columns], number, *where)]
        active[run, agent] = True
        chosen.append((run, agent + columns.start))
    run, agent = (np.concatenate(part) for part in zip(*chosen, strict=True))
    granted = np.bincount(run, minlength=world.count) > 0
    award = awards(budget, granted[:, None], sum(brings))[run, 0]
    usage.award[run, agent] = award
    usage.tranche[run, agent] = 1
    return Due(run, agent, tranche(award, np.zeros_like(award), int(terms.tranches.value)))


def _brought(world: World, economy: Economy, name: str) -> float:
    """Return how many agents of a class a full month brings, at this population's resolution."""
    simulated = world.layout.count(name) / int(getattr(economy.scenario.agents, name).count)
    return float(getattr(economy.scenario.grants.brings, name).value) * simulated


def _number(world: World, economy: Economy, each: float, budget: Int) -> Int:
    """Return a class's grantees of this month: cumulative floors, in proportion to the budget."""
    terms = economy.scenario.grants
    full = float(terms.monthly.value * (1 - terms.public_goods.value))
    rate = each * (budget / full) if full > 0 else np.zeros(world.count)
    month = int(economy.month_of_day[world.day])
    tiny = 1e-9  # a tenth of ten months is one, whatever floats say
    return (np.floor(rate * month + tiny) - np.floor(rate * (month - 1) + tiny)).astype(np.int64)


def _pay(world: World, economy: Economy, due: Due) -> None:
    """Pay tranches out of what the pool holds on L2."""
    pool, total = world.world_balance("pool.ecosystem.l2"), np.zeros(world.count, np.int64)
    np.add.at(total, due.run, due.amount)
    amount = due.amount
    if (total > pool).any():
        dense = np.zeros_like(world.usage.award)
        dense[due.run, due.agent] = amount
        amount = payable(pool, dense, apportion)[due.run, due.agent]
    for (name, _), columns in zip(GRANTEES, _columns(world), strict=True):
        own = (due.agent >= columns.start) & (due.agent < columns.stop)
        column = due.agent[own] - columns.start + world.layout.slice(name).start
        some = Picks(due.run[own] * world.layout.agents + column, amount[own]).where_positive()
        move_some(world, "R1", at("pool.ecosystem.l2"), at("wallet.l2", name), some)
        plan_some_sales(world, name, some, float(getattr(economy.scenario.agents, name).sell.value))


def _come_and_go(world: World, economy: Economy) -> None:
    """Let contributors leave and join by what the month paid."""
    bring_forward(world)
    usage, terms = world.usage, economy.scenario.agents.contributors
    outside, active = float(terms.outside_income.value), usage.contributor_active
    earned = (usage.income_month, world.price_usd, float(economy.people_per_agent("contributors")), active)
    usd = np.empty(active.shape)
    incomes(*earned, usd)
    average = usd.sum(axis=1) / np.maximum(active.sum(axis=1), 1)
    words = _words(world, economy, Decision.CONTRIBUTOR_LEAVE, "contributors")
    leave, join = draws.below(np.array([float(terms.leave.value), float(terms.join.value)]))
    stay(*earned, usage.tranche[:, _columns(world)[1]], words, outside, average, leave, join)
