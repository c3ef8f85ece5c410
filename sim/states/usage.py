"""State of use: users, contributors, builders, operators, and what they earned and paid today.

Rule decided here: what the phases from demand to settlement keep from one day to the next. Traits are drawn
in `sim/states/usage_traits.py` and never change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.influence import Influence, load_influence
from sim.states.usage_traits import (
    ContributorTraits,
    UserTraits,
    contributor_traits,
    first_replicas,
    fleet_counts,
    operator_kinds,
    user_traits,
)

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.rates import Rates
    from sim.serving.day import ServingDay

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

MARGIN_DAYS = 30
"""Days of the operators' margin."""


@dataclass(slots=True)
class UsageState:
    """State of use; arrays have one row per run, money is int64 gwei.

    Parameters
    ----------
    users, contributors
        Fixed traits.
    influence
        How answers rest on DataNets.
    active_users, adopters
        How many users use the service, which are the first of each run, and how many adoption has reached, (runs,).
    demand_in, demand_out, model_owner
        Tokens that each user asks for today and can pay, and the builder of the model they choose, int32; (runs,
        users), of those who use the service.
    user_bills
        Room for the bills of the day, (runs, users).
    asked
        Tokens in and out that all users ask for today, (2, runs).
    rates
        Prices of the day, once demand has seen them.
    popularity
        Builder per cell of the choice of models, (runs, classes * cells), in the smallest type that holds them.
    model_order
        Models in the order of their popularity, int32 (runs, models); found on the first day.
    contributor_active, builder_active
        Who takes part; the others are dormant, (runs, agents).
    detected
        Contributors whose data was found to be copied, (runs, contributors).
    dispute_day
        Day on which a dispute over a contributor's data is decided, 0 for none, (runs, contributors).
    dispute_bond
        Bond of the owner in that dispute, at the accused, (runs, contributors).
    class_weights
        Weights of this month, int32 (runs, classes, contributors); those of a class sum to 10^9.
    class_pot
        Contributors' part of today's bills, (runs, classes).
    contributor_weights, builder_weights
        Shares in which the two groups last earned, (runs, agents).
    data_stock, data_at_start, milestones
        What quality rests on, (runs,).
    brought, brought_by
        Useful data that active contributors bring, (runs,), and who was active when it was summed, (runs,
        contributors).
    award, tranche
        Award of each grantee and tranches paid (negative: ended), (runs, builders + contributors).
    machine
        Kind of machine that each operator runs, an index into the scenario's fleet, (operators,).
    replicas, cost_factor
        Replicas by operator and the operator's cost relative to the kind's price, (runs, operators).
    revenue_ring, cost_ring
        USD of one replica of each kind on each of the last 30 days, (runs, kinds, 30).
    days_above, days_below, uncovered_usd
        Operators' days in a row beyond the thresholds, and USD of cost that no sale has covered, (runs,
        operators).
    operator_shortfall
        Claim of the last day that the platform part did not pay, (runs,).
    cumulative_earned, claimed
        Lifetime payouts as last brought forward (`sim/payouts.py`), and claims, (runs, agents).
    income_month
        Contributors' payouts since the last epoch ended, as last brought forward, (runs, contributors).
    to_withdraw
        What agents of a class will withdraw and sell, int64 (runs, agents of the class), by class.
    serving
        The fleet's day.
    quality, users_active, tokens_demanded, tokens_served, fee_usd_per_1m, serving_cost_usd, operator_margin,
    operator_profit_usd
        Figures of the day, float64 (runs,).
    fee_gross_gwei, fee_net_gwei, platform_gwei, burned_gwei, claimed_gwei, topup_micro_usd, bills
        Figures of the day, int64 (runs,).
    """

    users: UserTraits
    contributors: ContributorTraits
    influence: Influence
    active_users: Int
    adopters: Float
    demand_in: Int
    demand_out: Int
    model_owner: NDArray[np.int32]
    user_bills: Int
    asked: Int
    popularity: NDArray[np.unsignedinteger[Any]]
    model_order: NDArray[np.int32]
    contributor_active: Bool
    builder_active: Bool
    detected: Bool
    dispute_day: Int
    dispute_bond: Int
    class_weights: NDArray[np.int32]
    class_pot: Int
    contributor_weights: Int
    builder_weights: Int
    data_stock: Float
    data_at_start: Float
    milestones: Int
    brought: Float
    brought_by: Bool
    award: Int
    tranche: Int
    machine: Int
    replicas: Int
    cost_factor: Float
    revenue_ring: Float
    cost_ring: Float
    days_above: Int
    days_below: Int
    uncovered_usd: Float
    operator_shortfall: Int
    cumulative_earned: Int
    claimed: Int
    income_month: Int
    serving: ServingDay
    quality: Float
    users_active: Float
    tokens_demanded: Float
    tokens_served: Float
    fee_usd_per_1m: Float
    serving_cost_usd: Float
    operator_margin: Float
    operator_profit_usd: Float
    fee_gross_gwei: Int
    fee_net_gwei: Int
    platform_gwei: Int
    burned_gwei: Int
    claimed_gwei: Int
    topup_micro_usd: Int
    bills: Int
    rates: Rates | None = None
    to_withdraw: dict[str, Int] = field(default_factory=dict)

    @property
    def replicas_by_kind(self) -> Int:
        """Replicas of each kind of machine, (runs, kinds)."""
        return self.by_kind(self.replicas)

    def by_kind(self, of_operators: Int) -> Int:
        """Return sums over the operators of each kind of machine, (runs, kinds); operators stand in order of kind."""
        starts = np.searchsorted(self.machine, np.arange(self.revenue_ring.shape[1]))
        return np.asarray(np.add.reduceat(of_operators, starts, axis=1))

    def end_month(self) -> None:
        """Forget the epoch's income, after it was recorded."""
        self.income_month[:] = 0


def begin_state(economy: Economy, runs: Int) -> UsageState:
    """Return the state before day 0.

    Parameters
    ----------
    economy
        Static data.
    runs
        Run numbers, int64 (runs,).

    Raises
    ------
    models.errors.InputError
        If the influence profile is not usable.
    """
    layout, agents = economy.layout, economy.scenario.agents
    count = len(runs)
    traits = contributor_traits(economy, runs)
    replicas, cost_factor = first_replicas(economy, runs)
    kinds = np.array(fleet_counts(economy))
    names = economy.scenario.demand.popularity.query_classes
    classes = len(names)

    def gwei(*shape: int) -> Int:
        return np.zeros((count, *shape), np.int64)

    def number(*shape: int) -> Float:
        return np.zeros((count, *shape))

    users, contributors, builders, operators = (
        layout.count(name) for name in ("users", "contributors", "builders", "operators")
    )
    active = traits.joins < float(agents.contributors.active.value)
    building = np.arange(builders) < round(builders * float(agents.builders.active.value))
    data = np.where(active, traits.size, 0.0).sum(axis=1)
    return UsageState(
        users=user_traits(economy, runs),
        contributors=traits,
        influence=load_influence(economy.scenario.attribution.influence, names),
        active_users=gwei(),
        adopters=number(),
        demand_in=gwei(users),
        demand_out=gwei(users),
        model_owner=np.zeros((count, users), np.int32),
        user_bills=gwei(users),
        asked=np.zeros((2, count), np.int64),
        popularity=np.zeros((count, 0), np.min_scalar_type(builders)),
        model_order=np.zeros((count, 0), np.int32),
        contributor_active=active,
        builder_active=np.tile(building, (count, 1)),
        detected=np.zeros((count, contributors), bool),
        dispute_day=gwei(contributors),
        dispute_bond=gwei(contributors),
        class_weights=np.zeros((count, classes, contributors), np.int32),
        class_pot=gwei(classes),
        contributor_weights=active.astype(np.int64),
        builder_weights=np.tile(building.astype(np.int64), (count, 1)),
        data_stock=data.copy(),
        data_at_start=data,
        milestones=gwei(),
        brought=number(),
        brought_by=np.zeros((count, 0), bool),
        award=gwei(builders + contributors),
        tranche=gwei(builders + contributors),
        machine=operator_kinds(economy),
        replicas=replicas,
        cost_factor=cost_factor,
        revenue_ring=number(kinds.size, MARGIN_DAYS),
        cost_ring=number(kinds.size, MARGIN_DAYS),
        days_above=gwei(operators),
        days_below=gwei(operators),
        uncovered_usd=number(operators),
        operator_shortfall=gwei(),
        cumulative_earned=gwei(layout.agents),
        claimed=gwei(layout.agents),
        income_month=gwei(contributors),
        serving=economy.fleet.day(number(), number(), np.tile(kinds, (count, 1)), number()),
        quality=np.ones(count),
        users_active=number(),
        tokens_demanded=number(),
        tokens_served=number(),
        fee_usd_per_1m=np.full(count, np.nan),
        serving_cost_usd=number(),
        operator_margin=np.full(count, np.nan),
        operator_profit_usd=number(),
        fee_gross_gwei=gwei(),
        fee_net_gwei=gwei(),
        platform_gwei=gwei(),
        burned_gwei=gwei(),
        claimed_gwei=gwei(),
        topup_micro_usd=gwei(),
        bills=gwei(),
    )
