"""Beginning: the world of day 0 before anything has moved.

Rule decided here: traits come from keyed draws of day 0, the initial state from the scenario alone, never from what
a proposal changes. The pool is as deep as the scenario wants it; where a table says what the venue holds, its USD
side is those tokens at the opening price.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.market import pool_from_depth
from models.units import GWEI_PER_OPEN, MICRO_USD_PER_USD
from sim import draws
from sim.clock import PHASES
from sim.draws import Decision
from sim.economy import Economy
from sim.governed_columns import GovernedColumns
from sim.initial import fill_accounts
from sim.journal import Journal
from sim.participation import participants
from sim.priors import INFLOW, draw_numbers, governed_draws
from sim.shares import even_weights, lognormal_weights
from sim.states.governance import begin_state as begin_governance
from sim.states.holding import BridgeState, HoldingState, MarketState
from sim.states.record import RecordState
from sim.states.usage import begin_state as begin_usage
from sim.world import UsdLog, World, empty_accounts

Int = NDArray[np.int64]
Float = NDArray[np.float64]


def begin_world(economy: Economy, runs: Int, witness: int | None = None) -> World:
    """Return the world of a batch on day 0: the cap minted and locked, or what the opening table says.

    Parameters
    ----------
    economy
        Static data.
    runs
        Run numbers, int64 (runs,).
    witness
        Run whose journal is kept entry by entry, or None.

    Returns
    -------
    World
        State before the first day.
    """
    runs = np.asarray(runs, np.int64)
    row = int(np.flatnonzero(runs == witness)[0]) if witness is not None else None
    balances, expected_world, holdings, expected_agent = empty_accounts(len(runs), economy.layout)
    market = _market(economy, runs)
    world = World(
        runs=runs, layout=economy.layout, journal=Journal(witness_row=row), usd=UsdLog(),
        balances=balances, expected_world=expected_world, holdings=holdings, expected_agent=expected_agent,
        earned=np.zeros((len(runs), economy.layout.agents), np.int64), dust=np.zeros(len(runs), np.int64),
        income=np.zeros((len(runs), economy.layout.agents), np.int64),
        price_usd=np.full(len(runs), float(economy.scenario.market.open_price.value)),
        governed=GovernedColumns.begin(len(runs), governed_draws(economy, runs)), market=market,
        bridge=_bridge(economy, runs),
        holding=_holding(economy, runs), usage=begin_usage(economy, runs), governance=begin_governance(economy, runs),
        record=RecordState.begin(len(runs), economy.days),
    )  # fmt: skip
    fill_accounts(world, economy)
    for _, phase in PHASES:
        if hasattr(phase, "begin"):
            phase.begin(world, economy)
    return world


def _market(economy: Economy, runs: Int) -> MarketState:
    market = economy.scenario.market
    count, price = len(runs), float(market.open_price.value)
    fee_bps = round(float(market.fee.value) * 10_000)
    depth = round(float(market.depth_2pct.value) * MICRO_USD_PER_USD)
    if economy.opening is None:
        x, y = pool_from_depth(depth, price, fee_bps=fee_bps)
    else:
        x = economy.opening.amount("venue")
        y = int(Fraction(price) * x * MICRO_USD_PER_USD / GWEI_PER_OPEN)
    zeros = np.zeros(count, np.int64)
    return MarketState(
        pool_micro_usd=np.full(count, y, np.int64),
        holder_sales=np.zeros((count, economy.layout.count("holders")), np.int64),
        holders_sell=zeros.copy(), treasury_sell=zeros.copy(), venue_target=np.full(count, x, np.int64),
        sold_gwei=zeros, bought_gwei=zeros, buyback_micro_usd=zeros, price_path=np.full((count, 31), price),
        peak_usd=np.full(count, price), inflow_usd_per_month=_inflow(economy, runs), quote_deviation=np.zeros(count),
    )  # fmt: skip


def _inflow(economy: Economy, runs: Int) -> Float:
    """Draw each run's outside net inflow in USD a month from its prior."""
    parameter = economy.scenario.market.outside_net_inflow
    if parameter.prior is None:
        return np.full(len(runs), float(parameter.value))
    return draw_numbers(economy.seed, INFLOW, parameter, runs)


def _bridge(economy: Economy, runs: Int) -> BridgeState:
    return BridgeState(
        treasury_withdraw=np.zeros(len(runs), np.int64),
        escrow=np.zeros(len(runs), np.int64),
        exits_gwei=np.zeros(len(runs), np.int64),
        slow_exits_gwei=np.zeros(len(runs), np.int64),
    )


def _holding(economy: Economy, runs: Int) -> HoldingState:
    agents = economy.scenario.agents
    hedged = _uniform(economy, Decision.TRAIT_HEDGED, runs, "investors") < float(
        agents.investors.sell.hedged.value
    )
    zeros, holders = np.zeros(len(runs), np.int64), economy.layout.count("holders")
    patience = draws.words(economy.seed, Decision.TRAIT_PATIENCE, runs, 0, "holders", holders)
    groups = np.array([0, participants(economy, "holders").stop, holders])
    for first, last in itertools.pairwise(groups):
        patience[:, first:last].sort(axis=1)
    return HoldingState(
        taste=_every_class(economy, Decision.TRAIT_TASTE, runs),
        haste=_every_class(economy, Decision.TRAIT_HASTE, runs),
        hedged=hedged,
        baseline_holding=lognormal_weights(economy, runs, float(agents.holders.balances.lognormal_sigma.value)),
        airdrop_weights=even_weights(economy, Decision.TRAIT_AIRDROP, runs, "holders"),
        investor_weights=even_weights(economy, Decision.TRAIT_SHARE, runs, "investors"),
        team_weights=even_weights(economy, Decision.TRAIT_SHARE, runs, "team"),
        trader_weights=even_weights(economy, Decision.TRAIT_SHARE, runs, "traders"),
        airdropped=np.zeros((len(runs), holders), np.int64), days_since_receipt=zeros.copy(),
        holder_groups=groups, patience=patience, sold_out=np.zeros((len(runs), 2), np.int64),
        gopen_supply=zeros.copy(), staking_paid=zeros, emitted=zeros,
    )  # fmt: skip


def _uniform(economy: Economy, decision: Decision, runs: Int, name: str) -> Float:
    return draws.uniform(economy.seed, decision, runs, 0, name, economy.layout.count(name))


def _every_class(economy: Economy, decision: Decision, runs: Int) -> Float:
    return np.concatenate(
        [_uniform(economy, decision, runs, name) for name, _ in economy.layout.counts], axis=1
    )
