"""The world around the protocol: agents, demand, market, serving fleet, chain, runs, report.

Rule decided here: the shape and units of everything that no vote changes. A count of agents is the resolution of the simulation; money
never scales with it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from sim.scenario.fields import (
    Agents,
    CountP,
    DurationP,
    Durations,
    FileValue,
    Flag,
    ListOf,
    MonthlyShareP,
    MarginP,
    NoiseP,
    NumberP,
    PerDayP,
    PerUserDayP,
    Percentiles,
    PositiveP,
    SecondsP,
    Section,
    ShareP,
    Texts,
    UsdFlowP,
    UsdHourP,
    UsdMonthP,
    UsdP,
    UsersP,
    VotesP,
    YearlyRateP,
    choice,
    whole,
)
from models.units import Duration
from sim.scenario.leaves import Mistake, refuse


class Balances(Section):
    """First balances of holders: lognormal with this sigma of the logarithm."""

    lognormal_sigma: PositiveP


class Survival(Section):
    """Share still held t days after receipt, ``scale * t ** exponent``."""

    scale: PositiveP
    exponent: NumberP


class HolderSales(Section):
    """How holders sell."""

    survival: Survival


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
            raise refuse([Mistake(message, self.stake.place, "stake")])
        if self.every.value.seconds < 86_400 or self.every.value.seconds % 86_400:
            raise refuse([Mistake("is not a whole number of days, 1 or more", self.every.place, "every")])
        return self


class Holders(Section):
    """Holders: first balances, how they sell, and their plan."""

    count: Agents
    balances: Balances
    sell: HolderSales
    plan: Plan


class Users(Section):
    """Users of inference; each stands for several, and keeps some days of use prepaid."""

    count: Agents
    stands_for: CountP
    prepaid: DurationP


class Attackers(Section):
    """Parts of contributors that copy others' data or add noise."""

    copy_: ShareP = Field(alias="copy")
    noise: ShareP


class Contributors(Section):
    """Data contributors: datanets, what they could earn elsewhere, attackers among them."""

    count: Agents
    datanets: Annotated[int, whole(1, 100_000)]
    outside_income: UsdMonthP
    attackers: Attackers
    plan: Plan

    @model_validator(mode="after")
    def _not_all(self) -> Contributors:
        both = self.attackers.copy_.value + self.attackers.noise.value
        if both > 1:
            message = (
                f"copy and noise together are {float(100 * both):g} % of the contributors; allowed 0 to 100 %"
            )
            raise refuse([Mistake(message, self.attackers.copy_.place, "attackers")])
        return self


class Builders(Section):
    """Builders of adapters."""

    count: Agents
    adapters_each: Annotated[int, whole(1, 1000)]
    plan: Plan


class Operators(Section):
    """Operators of serving nodes."""

    count: Agents
    sell_to_cover: Flag


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


class Bass(Section):
    """Bass diffusion: potential users, innovation p and imitation q."""

    potential: UsersP
    p: PerDayP
    q: PerDayP


class Adoption(Section):
    """How users arrive."""

    bass: Bass


class TokensPerUser(Section):
    """Tokens in and out per user and day."""

    input: PerUserDayP
    output: PerUserDayP


class Elasticity(Section):
    """Elasticities of use."""

    price: NumberP
    latency: NumberP
    quality: NumberP


class Popularity(Section):
    """Zipf exponent of adapters and the classes of queries."""

    zipf: PositiveP
    query_classes: Texts


class Demand(Section):
    """Users' demand."""

    adoption: Adoption
    tokens: TokensPerUser
    elasticity: Elasticity
    reference_latency: SecondsP
    popularity: Popularity


class Buyback(Section):
    """USD per month spent on tokens, and what happens to them."""

    usd: UsdMonthP
    then: Annotated[str, choice("burn", "treasury")]


class Market(Section):
    """The market.

    Parameters
    ----------
    open_price
        Price on the start day.
    depth_2pct
        USD that move the price by 2 %; sets the pool.
    outside_net_inflow
        Net purchases from outside per month.
    volatility
        Annualised spread of the market maker's quotes.
    noise_half_life
        Time in which a quote's deviation halves.
    inflow_noise
        Daily spread of the outside inflow relative to its mean.
    traders_anticipate
        Part of traders' tokens sold over the lead time before an insider instalment that raises the flow.
    fee
        Fee of the pool.
    buyback
        Purchases by the protocol.
    """

    open_price: UsdP
    depth_2pct: UsdP
    outside_net_inflow: UsdFlowP
    volatility: YearlyRateP
    noise_half_life: DurationP
    inflow_noise: NoiseP
    traders_anticipate: ShareP
    fee: ShareP
    buyback: Buyback

    @model_validator(mode="after")
    def _positive(self) -> Market:
        mistakes = [
            Mistake("is 0; expected a price above 0", getattr(self, name).place, name)
            for name in ("open_price", "depth_2pct")
            if getattr(self, name).value <= 0
        ]
        if mistakes:
            raise refuse(mistakes)
        return self


class FleetPart(Section):
    """Machines of one kind: measured profile, how many, USD per hour."""

    profile: FileValue
    count: Annotated[int, whole(1, 1_000_000)]
    price: UsdHourP


class Cache(Section):
    """Adapter cache of a node and the latency that it should hold."""

    policy: Annotated[str, choice("lru")]
    slo_ttft_p95: SecondsP


class EnterLeave(Section):
    """Margins at which operators enter and leave, after this many days."""

    enter_above: MarginP
    leave_below: MarginP
    after: DurationP


class Serving(Section):
    """The serving fleet."""

    fleet: tuple[FleetPart, ...] = Field(min_length=1)
    cache: Cache
    enter_leave: EnterLeave


class Chain(Section):
    """What is executed on the chain."""

    witness_run: Annotated[int, whole(0, 1_000_000)]
    execute: Annotated[tuple[str, ...], ListOf(choice("vesting", "payouts", "governance", "bridge"))]
    epoch: Annotated[str, choice("month")]
    vote_cutoff: VotesP


class Runs(Section):
    """How often the world is run, and beside which counterfactuals."""

    count: Annotated[int, whole(1, 1_000_000)]
    seed: Annotated[int, whole(0, 2**64 - 1)]
    twins: Annotated[tuple[str, ...], ListOf(choice("no_unlock", "no_outside_inflow"))] = ()
    bands: Percentiles = (5, 25, 50, 75, 95)


class Report(Section):
    """What a report compares."""

    views: Annotated[tuple[str, ...], ListOf(choice("if_executed", "expected"))] = ("if_executed", "expected")
    horizons: Durations = (
        Duration(seconds=30 * 86_400),
        Duration(seconds=90 * 86_400),
        Duration(seconds=365 * 86_400),
    )
    behaviour: Annotated[tuple[str, ...], ListOf(choice("fixed", "respond"))] = ("fixed", "respond")
    flip: Texts = ()
