"""The world around the protocol: demand, market, serving fleet, chain, runs, report.

Rule decided here: the shape and units of what no vote changes, and of how often a world is run.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from models.caching import SERVING_POLICIES
from models.units import Duration
from sim.scenario.fields import (
    CountP,
    DurationP,
    Durations,
    FactorP,
    FileValue,
    ListOf,
    MarginP,
    MaybeDate,
    NoiseP,
    NumberP,
    Percentiles,
    PerDayP,
    PerUserDayP,
    PositiveP,
    RequestsP,
    SecondsP,
    Section,
    ShareP,
    Texts,
    UsdFlowP,
    UsdHourP,
    UsdMonthP,
    UsdP,
    UsdRateP,
    UsersP,
    VotesP,
    YearlyRateP,
    choice,
    whole,
)
from sim.scenario.forms import Mistake
from sim.scenario.leaves import refuse


class Bass(Section):
    """Bass diffusion: potential users, innovation p and imitation q."""

    potential: UsersP
    p: PerDayP
    q: PerDayP


class Adoption(Section):
    """How users arrive and leave: churn per day, and more of it when demand was refused."""

    bass: Bass
    churn: PerDayP
    churn_refused: PerDayP


class TokensPerUser(Section):
    """Tokens in and out per user and day, and how far a user's day may lie from the mean."""

    input: PerUserDayP
    output: PerUserDayP
    spread: ShareP


class Elasticity(Section):
    """Elasticities of use; their joint response stays between 1 / bound and bound."""

    price: NumberP
    latency: NumberP
    quality: NumberP
    bound: FactorP


class Quality(Section):
    """Exponents of quality in the stock of data and in 1 + milestones that grants reached."""

    data: PositiveP
    milestones: PositiveP


class Popularity(Section):
    """Zipf exponent of adapters and the classes of queries."""

    zipf: PositiveP
    query_classes: Texts


class Demand(Section):
    """Users' demand.

    Parameters
    ----------
    adoption
        How users arrive.
    tokens
        Tokens per user and day.
    requests
        Requests per user and day; tokens over requests is the length of a request.
    elasticity
        Response of use to price, latency and quality.
    reference_latency, reference_price
        Time to first token (p95), and price of a million tokens, at which the response is 1.
    quality
        What makes models better.
    popularity
        Adapters and classes of queries.
    """

    adoption: Adoption
    tokens: TokensPerUser
    requests: RequestsP
    elasticity: Elasticity
    reference_latency: SecondsP
    reference_price: UsdRateP
    quality: Quality
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
            Mistake("is 0; expected a price above 0", below=name)
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
    """How replicas hold adapters (shared caches, or each model on replicas of its own), and the latency bound."""

    policy: Annotated[str, choice(*SERVING_POLICIES)]
    slo_ttft_p95: SecondsP


class EnterLeave(Section):
    """Margins at which operators enter and leave, after so many days; `keep` replicas always stay."""

    enter_above: MarginP
    leave_below: MarginP
    after: DurationP
    keep: CountP


class Serving(Section):
    """The serving fleet.

    Parameters
    ----------
    fleet
        Kinds of machine.
    routing
        Where requests go first: to all kinds as their capacity is, or to the cheapest per token.
    cache
        How adapters are held.
    enter_leave
        When operators enter and leave.
    """

    fleet: tuple[FleetPart, ...] = Field(min_length=1)
    routing: Annotated[str, choice("capacity", "cheapest")] = "capacity"
    cache: Cache
    enter_leave: EnterLeave


class Chain(Section):
    """What is executed on the chain."""

    witness_run: Annotated[int, whole(0, 1_000_000)]
    execute: Annotated[tuple[str, ...], ListOf(choice("vesting", "payouts", "governance", "bridge"))]
    epoch: Annotated[str, choice("month")]
    vote_cutoff: VotesP


class Runs(Section):
    """How often the world is run, and beside which counterfactuals.

    Parameters
    ----------
    count
        Runs.
    seed
        Key of every draw.
    twin_runs
        Runs of each twin, the first ones of `count`.
    twins
        Counterfactuals that are run beside the world.
    bands
        Percentiles that tables and fans show.
    """

    count: Annotated[int, whole(1, 1_000_000)]
    seed: Annotated[int, whole(0, 2**64 - 1)]
    twin_runs: Annotated[int, whole(1, 1_000_000)] = 16
    twins: Annotated[tuple[str, ...], ListOf(choice("no_unlock", "no_outside_inflow"))] = ()
    bands: Percentiles = (5, 25, 50, 75, 95)


class Report(Section):
    """What a report shows and compares.

    Parameters
    ----------
    as_of
        Day that a headline speaks of, or None for the report's own rule.
    views
        Difference if the proposal executes, and weighted by its probability.
    horizons
        Time after which differences are taken.
    behaviour
        Whether agents respond.
    flip
        Parameters of which the value that turns the verdict is searched.
    """

    as_of: MaybeDate = None
    views: Annotated[tuple[str, ...], ListOf(choice("if_executed", "expected"))] = ("if_executed", "expected")
    horizons: Durations = (
        Duration(seconds=30 * 86_400),
        Duration(seconds=90 * 86_400),
        Duration(seconds=365 * 86_400),
    )
    behaviour: Annotated[tuple[str, ...], ListOf(choice("fixed", "respond"))] = ("fixed", "respond")
    flip: Texts = ()
