"""Record: the day's observables.

Rule decided here: how each of the standard outputs is read from accounts, flows and the states of the phases (columns
and units: `sim/observables.py`). What follows from columns alone is derived later (`sim/states/ratios.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim import identities, tables
from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, BUCKET_ROLES, WORLD_ACCOUNTS, Account, Chain, Counted
from sim.estates import survey
from sim.payouts import bring_income_forward
from sim.phases import record_people
from sim.phases.bridge import exit_days
from sim.phases.market import fee_bps
from sim.phases.unlock import unlocked_today
from sim.states.ratios import WINDOW, Terms, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.economy import Economy
    from sim.states.record import RecordState
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
UNLOCK_SELLERS = ("holders", "contributors", "builders", "operators", "investors", "team")
"""Classes whose sales are sales of unlocked or emitted tokens."""

_KINDS = (Counted.LOCKED, Counted.RESERVE, Counted.BURNED, Counted.FLOAT)
_STAKE = ACCOUNTS["stake"].index
_TRANSIT = [ACCOUNTS[name].index for name in ("transit_deposit", "transit_withdraw")]
_TRANSIT_WORLD = [account.index for account in WORLD_ACCOUNTS if account.chain is Chain.ESCROW]


def _by_kind(accounts: Sequence[Account]) -> Int:
    """Return as which of `_KINDS` each account counts, 1 or 0, int64 (accounts, kinds)."""
    return np.array([[account.counted is kind for kind in _KINDS] for account in accounts], np.int64)


_WORLD_BY_KIND, _AGENT_BY_KIND = _by_kind(WORLD_ACCOUNTS), _by_kind(AGENT_ACCOUNTS)


def advance(world: World, economy: Economy) -> None:
    """Write today's column elements, and on the last day of an epoch the tables."""
    record = world.record
    agent_totals = identities.totals(world)[0] if world.audited is None else world.audited
    world.audited = None
    record.begin_day(world.day, _terms(economy))
    _supply(world, economy, record, agent_totals)
    _market(world, record)
    _flows(world, record, agent_totals)
    _pots(world, economy, record)
    _governance(world, record)
    _serving(world, record)
    residual = identities.residual(world, economy, agent_totals)
    record.put(world.day, conservation_residual_gwei=residual)
    tables.accumulate(world)
    if economy.epoch_end[world.day]:
        bring_income_forward(world)
        estates = survey(world)
        record_people.advance(world, economy, estates)
        tables.close_epoch(world, economy, estates)
        record.settle()
        world.usage.end_month()
        world.income[:] = 0


def _terms(economy: Economy) -> Terms:
    prepaid = economy.scenario.agents.users.prepaid.value.days
    return Terms(economy.minted, fee_bps(economy), prepaid, exit_days(economy))


def _supply(world: World, economy: Economy, record: RecordState, agent_totals: Int) -> None:
    day = world.day
    locked, reserve, burned, wallets = (world.balances @ _WORLD_BY_KIND + agent_totals @ _AGENT_BY_KIND).T
    record.put(
        day, locked_gwei=locked, reserve_gwei=reserve, burned_gwei=burned, float_gwei=wallets,
        unlock_flow_gwei=sum(unlocked_today(economy, role, day) for role in BUCKET_ROLES),
        emission_gwei=world.holding.emitted, distributor_gwei=world.world_balance("distributor"),
        claimed_gwei=world.usage.claimed_gwei, price_usd=world.price_usd,
    )  # fmt: skip


def _market(world: World, record: RecordState) -> None:
    state, usd, runs = world.market, world.usd, world.count
    unlocked_sold = np.sum([usd.read_today(c, "sale", runs) for c in UNLOCK_SELLERS], axis=0)
    bought, sold = (usd.read_today("traders", purpose, runs) for purpose in ("purchase", "sale"))
    record.put(
        world.day, sold_gwei=state.sold_gwei, bought_gwei=state.bought_gwei, buyback_micro_usd=state.buyback_micro_usd,
        pool_micro_usd=state.pool_micro_usd, peak_usd=state.peak_usd, unlock_sold_usd=unlocked_sold / 1e6,
        outside_inflow_usd=(bought - sold) / 1e6, usage_topup_usd=usd.read_today("users", "purchase", runs) / 1e6,
    )  # fmt: skip


def _flows(world: World, record: RecordState, agent_totals: Int) -> None:
    """Write fees, stakes and what is between the chains."""
    usage, bridge, runs = world.usage, world.bridge, world.count
    moving = world.balances[:, _TRANSIT_WORLD].sum(axis=1) + agent_totals[:, _TRANSIT].sum(axis=1)
    record.put(
        world.day, fee_gross_gwei=usage.fee_gross_gwei, fee_net_gwei=usage.fee_net_gwei,
        staked_gwei=agent_totals[:, _STAKE], stakers_fee_gwei=world.journal.flow_total("B4", runs),
        stakers_emission_gwei=world.journal.flow_total("E3", runs), escrow_gwei=bridge.escrow,
        bridge_in_flight_gwei=moving, exits=bridge.exits_gwei, slow_exits=bridge.slow_exits_gwei,
    )  # fmt: skip


def _pots(world: World, economy: Economy, record: RecordState) -> None:
    day, b = world.day, world.world_balance
    treasury = b("treasury.l1") + b("treasury.l2") + b("transit_withdraw.treasury")
    community, ecosystem = (
        b(f"pool.{name}.l1") + b(f"pool.{name}.l2") + b(f"transit_deposit.pool.{name}")
        for name in ("community", "ecosystem")
    )
    record.put(
        day, treasury_gwei=treasury, pool_community_gwei=community, pool_ecosystem_gwei=ecosystem,
        staking_pot_gwei=b("staking_rewards"),
    )  # fmt: skip
    if economy.epoch_end[day] and day > WINDOW:
        pots = ("treasury", "pool_community", "pool_ecosystem", "staking_pot")
        months = np.stack([_runway(record.by_day[f"{pot}_gwei"], day) for pot in pots])
        least = np.where(np.isnan(months), np.inf, months).min(axis=0)
        first = np.where(np.isinf(least), np.nan, least)
        record.put(day, treasury_runway_months=months[0], first_empty_months=first)


def _runway(pot: Int, day: int) -> Float:
    """Months until a pot (days, runs) is empty at the pace of the last 30 days; null while it does not shrink."""
    now = pot[day].astype(np.float64)
    fall = pot[day - WINDOW].astype(np.float64) - now
    months = ratio(now, fall) * WINDOW / (365 / 12)
    return np.where(fall > 0, months, np.nan)


def _governance(world: World, record: RecordState) -> None:
    state, read = world.governance, world.governed.read
    record.put(
        world.day, turnout_gopen=state.turnout_gopen, turnout_delegated=state.turnout_delegated,
        turnout_circulating=state.turnout_circulating, quorum_margin=state.quorum_margin,
        quorum_rate=state.quorum_rate, pass_rate=state.pass_rate, small_votes_share=state.small_votes_share,
        cost_to_capture_usd=state.cost_to_capture_usd, gopen_supply_gwei=world.holding.gopen_supply,
        gopen_delegated_gwei=state.gopen_delegated_gwei, fees_platform_bps=read("fees.platform"),
        split_model_weight=read("fees.split.model"), split_stakers_weight=read("fees.split.stakers"),
        split_contributors_weight=read("fees.split.contributors"), quorum_bps=read("governance.quorum"),
    )  # fmt: skip


def _serving(world: World, record: RecordState) -> None:
    usage, served = world.usage, world.usage.serving
    record.put(
        world.day, users_active=usage.users_active, tokens_demanded=usage.tokens_demanded,
        tokens_served=usage.tokens_served, latency_p50_s=served.latency_p50_s, latency_p95_s=served.latency_p95_s,
        latency_p99_s=served.latency_p99_s, ttft_p50_s=served.ttft_p50_s, ttft_p95_s=served.ttft_p95_s,
        ttft_p99_s=served.ttft_p99_s, cache_hit_rate=served.hit_rate, utilisation=served.utilisation,
        refused_tokens=served.refused_tokens, serving_cost_usd=usage.serving_cost_usd,
        fee_usd_per_1m=usage.fee_usd_per_1m, operator_margin=usage.operator_margin,
        operator_profit_usd=usage.operator_profit_usd, replicas=usage.replicas.sum(axis=1),
        replicas_needed=served.replicas_needed,
    )  # fmt: skip
