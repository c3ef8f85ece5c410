"""The population: how many agents of each class are simulated, what they hold and how they act.

Rule decided here: the shape and units of the agents' behaviour. A count of agents is the resolution of the
simulation; money never scales with it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from models.units import SECONDS_PER_DAY
from sim.scenario.fields import (
    Agents,
    CountP,
    DurationP,
    Flag,
    MonthlyShareP,
    NumberP,
    PositiveP,
    Section,
    ShareP,
    UsdMonthP,
    YearlyRateP,
    whole,
)
from sim.scenario.forms import Mistake
from sim.scenario.leaves import refuse


class Balances(Section):
    """First balances of holders: lognormal with this sigma of the logarithm."""

    lognormal_sigma: PositiveP


class Survival(Section):
    """Share still held t days after receipt, ``scale * t ** exponent``."""

    scale: PositiveP
    exponent: NumberP


class HolderSales(Section):
    """How holders sell: airdrops by a survival curve, the rest by a share a month."""

    survival: Survival
    monthly: MonthlyShareP


class Plan(Section):
    """How a class spreads its tokens: reviewed every so often, by the part that takes part.

    Parameters
    ----------
    every
        Days between two reviews of one agent.
    participate
        Part of the class that stakes or wraps at all.
    stake, wrap
        Targets as parts of all tokens of a participant.
    """

    every: DurationP
    participate: ShareP
    stake: ShareP
    wrap: ShareP

    @model_validator(mode="after")
    def _fits(self) -> Plan:
        if self.stake.value + self.wrap.value > 1:
            over = float(100 * (self.stake.value + self.wrap.value))
            message = f"stake and wrap together are {over:g} % of the tokens; allowed 0 to 100 %"
            raise refuse([Mistake(message, below="stake")])
        if self.every.value.seconds < SECONDS_PER_DAY or self.every.value.seconds % SECONDS_PER_DAY:
            raise refuse([Mistake("is not a whole number of days, 1 or more", below="every")])
        return self


class Holders(Section):
    """Holders: first balances, how they sell, and their plan."""

    count: Agents
    balances: Balances
    sell: HolderSales
    plan: Plan


class Users(Section):
    """Users of inference; each stands for several.

    Parameters
    ----------
    prepaid
        Days of use that a user keeps as credit.
    refill_at
        Part of that credit below which the user buys again.
    """

    count: Agents
    stands_for: CountP
    prepaid: DurationP
    refill_at: ShareP


class Attackers(Section):
    """Parts of contributors that copy others' data or add noise."""

    copy_: ShareP = Field(alias="copy")
    noise: ShareP


class Contributors(Section):
    """Data contributors.

    Parameters
    ----------
    datanets
        Into how many DataNets they bring their data.
    size_sigma
        Sigma of the logarithm of how much data one brings.
    active
        Part that is active on day 0; grants and income bring the others.
    join, leave
        Part of the dormant that joins in a month whose mean income is above `outside_income`; part of the
        active below it that leaves.
    fresh_data
        Data that the active add per year, part of what they began with.
    outside_income
        What the same work earns elsewhere.
    sell
        Part of claims and grants that is withdrawn and sold.
    attackers
        Those who copy or add noise.
    """

    count: Agents
    datanets: Annotated[int, whole(1, 100_000)]
    size_sigma: PositiveP
    active: ShareP
    join: MonthlyShareP
    leave: MonthlyShareP
    fresh_data: YearlyRateP
    outside_income: UsdMonthP
    sell: ShareP
    attackers: Attackers
    plan: Plan

    @model_validator(mode="after")
    def _not_all(self) -> Contributors:
        both = self.attackers.copy_.value + self.attackers.noise.value
        if both > 1:
            message = (
                f"copy and noise together are {float(100 * both):g} % of the contributors; allowed 0 to 100 %"
            )
            raise refuse([Mistake(message, below="attackers")])
        return self


class Builders(Section):
    """Builders of adapters: part active on day 0, part of claims and grants that they sell."""

    count: Agents
    adapters_each: Annotated[int, whole(1, 1000)]
    active: ShareP
    sell: ShareP
    plan: Plan


class Operators(Section):
    """Operators of serving nodes: spread of costs around the fleet's price, how often they cover them."""

    count: Agents
    sell_to_cover: Flag
    cost_spread: ShareP
    settle_every: DurationP


class InvestorSales(Section):
    """Part of unlocked tokens sold per month, part hedged before, days ahead of an unlock."""

    monthly: MonthlyShareP
    hedged: ShareP
    lead: DurationP


class TeamSales(Section):
    """Part of unlocked tokens sold per month, days ahead of an unlock."""

    monthly: MonthlyShareP
    lead: DurationP


class Investors(Section):
    """Investors."""

    count: Agents
    sell: InvestorSales
    plan: Plan


class Team(Section):
    """Team members."""

    count: Agents
    sell: TeamSales
    plan: Plan


class Delegates(Section):
    """Delegates, and their yearly attrition."""

    count: Agents
    attrition: YearlyRateP


class Traders(Section):
    """Traders, who carry outside demand."""

    count: Agents
    plan: Plan


class AgentsSection(Section):
    """Agents by class."""

    holders: Holders
    users: Users
    contributors: Contributors
    builders: Builders
    operators: Operators
    investors: Investors
    team: Team
    delegates: Delegates
    traders: Traders
