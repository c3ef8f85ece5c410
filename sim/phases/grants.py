"""Grants: the ecosystem pool brings builders and data, and contributors come and go by income.

Rules decided here, once a month on its last day. A part of the budget goes to public goods, the rest to as
many new grantees as a full budget brings, dormant agents before active ones in a keyed order; nobody is
granted twice. Awards are paid in tranches, and a milestone reached raises the models' quality. A
contributor whose income of the month is below what the same work earns outside leaves at a keyed chance;
dormant ones join while the average income is above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.grants import awards, payable, tranche
from sim import draws
from sim.draws import Decision
from sim.kernels.apportion import apportion
from sim.kernels.grantees import first
from sim.ledger import at, move
from sim.payouts import bring_forward, plan_sale
from sim.rates import on

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

GRANTEES = (("builders", Decision.BUILDER_JOIN), ("contributors", Decision.CONTRIBUTOR_JOIN))
"""Classes that grants bring, in the order of `UsageState.award`, and the draw that orders them."""


def advance(world: World, economy: Economy) -> None:
    """Pay grants (flow R1) and let contributors come and go, on the last day of a month."""
    if not economy.epoch_end[world.day]:
        return
    budget = on(world, "grants.monthly")
    public = budget // 10_000 * on(world, "grants.public_goods")
    public += budget % 10_000 * on(world, "grants.public_goods") // 10_000
    due = _milestones(world, economy)
    due += _award(world, economy, budget - public)
    _pay(world, economy, due)
    left = np.minimum(public, world.world_balance("pool.ecosystem.l2"))
    move(world, "R1", at("pool.ecosystem.l2"), at("wallet.l2", "public_goods"), left[:, None])
    _come_and_go(world, economy)


def _uniform(world: World, economy: Economy, decision: Decision, name: str) -> Float:
    return draws.uniform(economy.seed, decision, world.runs, world.day, name, world.layout.count(name))


def _milestones(world: World, economy: Economy) -> Int:
    """Return the tranches whose milestones were reached this month; a missed one ends the grant."""
    usage, terms = world.usage, economy.scenario.grants
    last = int(terms.tranches.value)
    running = (usage.award > 0) & (usage.tranche > 0) & (usage.tranche < last)
    u = np.concatenate(
        [_uniform(world, economy, Decision.GRANT_OUTCOME, name) for name, _ in GRANTEES], axis=1
    )
    reached = running & (u < float(terms.milestone.value))
    due = np.zeros_like(usage.award)
    due[reached] = tranche(usage.award[reached], usage.tranche[reached], last)
    usage.milestones = usage.milestones + reached.sum(axis=1)
    usage.tranche = np.where(running, np.where(reached, usage.tranche + 1, -usage.tranche), usage.tranche)
    return due


def _award(world: World, economy: Economy, budget: Int) -> Int:
    """Choose this month's grantees, wake the dormant among them, and return their first tranches."""
    usage, terms = world.usage, economy.scenario.grants
    brings = tuple(_brought(world, economy, name) for name, _ in GRANTEES)
    chosen, split = [], world.layout.count("builders")
    for (name, decision), each, columns in zip(
        GRANTEES, brings, (slice(None, split), slice(split, None)), strict=True
    ):
        active = usage.builder_active if name == "builders" else usage.contributor_active
        order = _uniform(world, economy, decision, name) + active
        picked = np.empty(order.shape, np.bool_)
        first(order, usage.award[:, columns] == 0, _number(world, economy, each, budget), picked)
        active |= picked
        chosen.append(picked)
    grantees = np.concatenate(chosen, axis=1)
    new = awards(budget, grantees, sum(brings))
    usage.award += new
    usage.tranche[grantees] = 1
    award = new[grantees]
    new[grantees] = tranche(award, np.zeros_like(award), int(terms.tranches.value))
    return new


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


def _pay(world: World, economy: Economy, due: Int) -> None:
    """Pay tranches out of what the pool holds on L2."""
    if not due.any():
        return
    paid = payable(world.world_balance("pool.ecosystem.l2"), due, apportion)
    split = world.layout.count("builders")
    agents = economy.scenario.agents
    for name, amounts in (("builders", paid[:, :split]), ("contributors", paid[:, split:])):
        move(world, "R1", at("pool.ecosystem.l2"), at("wallet.l2", name), amounts)
        plan_sale(world, name, amounts, float(getattr(agents, name).sell.value))


def _come_and_go(world: World, economy: Economy) -> None:
    """Let contributors leave and join by what the month paid."""
    bring_forward(world)
    usage, terms = world.usage, economy.scenario.agents.contributors
    income = usage.income_month / 1e9 * world.price_usd[:, None] / economy.people_per_agent("contributors")
    outside, active = float(terms.outside_income.value), usage.contributor_active
    average = np.where(active, income, 0.0).sum(axis=1) / np.maximum(active.sum(axis=1), 1)
    granted = usage.tranche[:, world.layout.count("builders") :] > 0
    u = _uniform(world, economy, Decision.CONTRIBUTOR_LEAVE, "contributors")
    leaves = active & ~granted & (income < outside) & (u < float(terms.leave.value))
    joins = ~active & (average > outside)[:, None] & (u < float(terms.join.value))
    usage.contributor_active = (active & ~leaves) | joins
