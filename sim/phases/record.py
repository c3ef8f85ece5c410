"""Record: the day's observables.

Rule decided here: how each of the standard outputs is computed from accounts, flows and the states of the phases
(columns and units: `sim/observables.py`). Rates that a single day cannot carry use the last 30 days. A ratio whose
denominator is 0 is null, never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.market import depth_usd, slippage
from models.staking import apy
from models.supply import supply
from sim import identities, tables
from sim.accounts import AGENT_ACCOUNTS, BUCKET_ROLES, WORLD_ACCOUNTS, Chain, Counted
from sim.governed_columns import OFF
from sim.phases import record_people
from sim.phases.bridge import exit_days
from sim.phases.market import fee_bps
from sim.phases.unlock import unlocked_today

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.states.record import RecordState
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
WINDOW = 30
UNLOCK_SELLERS = ("holders", "contributors", "builders", "operators", "investors", "team")
"""Classes whose sales are sales of unlocked or emitted tokens."""


def advance(world: World, economy: Economy) -> None:
    """Write today's column elements, and on the last day of an epoch the tables."""
    record = world.record
    agent_totals, _ = identities.totals(world)
    _supply(world, economy, record, agent_totals)
    _market(world, economy, record)
    _fees(world, economy, record)
    _cover(world, record)
    _staking(world, record)
    _pots(world, economy, record)
    _governance(world, record)
    _serving(world, economy, record)
    _bridge(world, economy, record)
    _parameters(world, record)
    _put(record, "conservation_residual_gwei", world.day, identities.residual(world, economy, agent_totals))
    tables.accumulate(world)
    if economy.epoch_end[world.day]:
        record_people.advance(world, economy)
        tables.close_epoch(world, economy, agent_totals)
        world.usage.end_month()
        world.income[:] = 0


def _put(record: RecordState, name: str, day: int, value: Int | Float) -> None:
    record.columns[name][:, day] = value


def ratio(over: Int | Float, under: Int | Float) -> Float:
    """Return over / under as float64, NaN where the denominator is 0."""
    under = np.asarray(under, np.float64)
    out = np.full(np.shape(under), np.nan)
    np.divide(over, under, out=out, where=under != 0)
    return out


def _counted(world: World, agent_totals: Int, kinds: tuple[Counted, ...]) -> Int:
    per_world = world.balances[:, [a.index for a in WORLD_ACCOUNTS if a.counted in kinds]].sum(axis=1)
    per_agent = agent_totals[:, [a.index for a in AGENT_ACCOUNTS if a.counted in kinds]].sum(axis=1)
    return np.asarray(per_world + per_agent, np.int64)


def _supply(world: World, economy: Economy, record: RecordState, agent_totals: Int) -> None:
    day = world.day
    series = supply(
        economy.minted,
        _counted(world, agent_totals, (Counted.LOCKED,)),
        _counted(world, agent_totals, (Counted.RESERVE,)),
        _counted(world, agent_totals, (Counted.BURNED,)),
        _counted(world, agent_totals, (Counted.FLOAT,)),
    )
    flow = sum(unlocked_today(economy, role, day) for role in BUCKET_ROLES)
    for name, value in (
        ("total_supply_gwei", series.total), ("unlocked_gwei", series.unlocked), ("locked_gwei", series.locked),
        ("circulating_gwei", series.circulating), ("circulating_tracker_gwei", series.tracker),
        ("reserve_gwei", series.reserve), ("burned_gwei", series.burned), ("float_gwei", series.float),
        ("unlock_flow_gwei", np.full(world.count, flow)), ("emission_gwei", world.holding.emitted),
        ("distributor_gwei", world.world_balance("distributor")), ("claimed_gwei", world.usage.claimed_gwei),
    ):  # fmt: skip
        _put(record, name, day, value)
    _put(
        record,
        "unlock_share_of_float",
        day,
        ratio(record.last("unlock_flow_gwei", day, WINDOW), series.float),
    )
    if day >= WINDOW:
        then = record.before("float_gwei", day, WINDOW)
        _put(record, "inflation_annualised", day, (ratio(series.float, then) - 1) * 365 / WINDOW)
    price = world.price_usd
    cap = economy.minted / 1e9
    market_cap, fdv = series.circulating / 1e9 * price, cap * price
    _put(record, "price_usd", day, price)
    _put(record, "market_cap_usd", day, market_cap)
    _put(record, "fdv_usd", day, fdv)
    _put(record, "mc_over_fdv", day, market_cap / fdv)


def _market(world: World, economy: Economy, record: RecordState) -> None:
    day, state, price = world.day, world.market, world.price_usd
    pool, fee = state.pool_micro_usd, fee_bps(economy)
    _put(record, "sold_gwei", day, state.sold_gwei)
    _put(record, "bought_gwei", day, state.bought_gwei)
    _put(record, "volume_usd", day, (state.sold_gwei + state.bought_gwei) / 1e9 * price)
    _put(record, "buyback_usd", day, state.buyback_micro_usd / 1e6)
    _put(record, "depth_2pct_usd", day, depth_usd(pool, fee_bps=fee) / 1e6)
    _put(record, "slippage_100k", day, slippage(pool, 100_000 * 10**6, fee))
    _put(record, "drawdown", day, 1 - price / state.peak_usd)
    unlocked_sold = np.sum([world.usd.read_today(c, "sale", world.count) for c in UNLOCK_SELLERS], axis=0)
    _put(record, "unlock_sold_usd", day, unlocked_sold / 1e6)
    bought, sold = (world.usd.read_today("traders", purpose, world.count) for purpose in ("purchase", "sale"))
    _put(record, "outside_inflow_usd", day, (bought - sold) / 1e6)
    _put(record, "usage_topup_usd", day, world.usd.read_today("users", "purchase", world.count) / 1e6)
    if day < WINDOW:
        return
    returns = np.diff(np.log(state.price_path), axis=1)
    _put(record, "volatility_30d", day, returns.std(axis=1, ddof=1) * np.sqrt(365))
    volume = record.last("volume_usd", day, WINDOW)
    _put(record, "unlock_sell_over_volume", day, ratio(record.last("unlock_sold_usd", day, WINDOW), volume))
    unlocked_usd = record.last("unlock_flow_gwei", day, WINDOW) / 1e9 * price
    _put(record, "days_to_absorb", day, ratio(unlocked_usd, volume / WINDOW))
    lift = np.sqrt(state.price_path[:, 0] / price) - 1
    needed = record.last("outside_inflow_usd", day, WINDOW) + state.pool_micro_usd / 1e6 * lift
    _put(record, "holding_inflow_usd", day, needed)


def _fees(world: World, economy: Economy, record: RecordState) -> None:
    day, usage = world.day, world.usage
    _put(record, "fee_gross_gwei", day, usage.fee_gross_gwei)
    _put(record, "fee_net_gwei", day, usage.fee_net_gwei)
    gross_usd = usage.fee_gross_gwei / 1e9 * world.price_usd
    _put(record, "fee_gross_usd", day, gross_usd)
    sold_usd = world.market.sold_gwei / 1e9 * world.price_usd
    _put(record, "net_flow_usd", day, gross_usd + world.market.buyback_micro_usd / 1e6 - sold_usd)
    annual = record.last("fee_gross_usd", day, WINDOW) * 365 / min(WINDOW, day + 1)
    float_gwei = record.columns["float_gwei"][:, day]
    turnover = 365 / economy.scenario.agents.users.prepaid.value.days
    _put(record, "velocity", day, ratio(annual, float_gwei / 1e9 * world.price_usd))
    _put(record, "utility_price_usd", day, ratio(annual, float_gwei / 1e9 * turnover))
    _put(record, "price_to_sales", day, ratio(record.columns["fdv_usd"][:, day], annual))
    revenue, emitted = (record.last(name, day, WINDOW) for name in ("fee_gross_gwei", "emission_gwei"))
    _put(record, "real_yield", day, ratio(revenue, emitted))


def _cover(world: World, record: RecordState) -> None:
    day = world.day
    income = record.last("fee_gross_usd", day, WINDOW) + record.last("buyback_usd", day, WINDOW)
    _put(record, "usage_cover", day, ratio(income, record.last("unlock_sold_usd", day, WINDOW)))


def _staking(world: World, record: RecordState) -> None:
    day, runs = world.day, world.count
    staked = world.agent_balance("stake").sum(axis=1)
    _put(record, "staked_gwei", day, staked)
    _put(record, "stakers_fee_gwei", day, world.journal.flow_total("B4", runs))
    _put(record, "stakers_emission_gwei", day, world.journal.flow_total("E3", runs))
    _put(record, "staking_ratio", day, ratio(staked, record.columns["circulating_gwei"][:, day]))
    factor = 365 / min(WINDOW, day + 1)
    rates = [
        ratio(record.last(f"stakers_{part}_gwei", day, WINDOW) * factor, staked)
        for part in ("fee", "emission")
    ]
    _put(record, "staking_apr_fee", day, rates[0])
    _put(record, "staking_apr_emission", day, rates[1])
    _put(record, "staking_apy", day, apy(np.minimum(rates[0] + rates[1], 50.0)))


def _pots(world: World, economy: Economy, record: RecordState) -> None:
    day, b = world.day, world.world_balance
    treasury = b("treasury.l1") + b("treasury.l2") + b("transit_withdraw.treasury")
    _put(record, "treasury_gwei", day, treasury)
    for name in ("community", "ecosystem"):
        held = b(f"pool.{name}.l1") + b(f"pool.{name}.l2") + b(f"transit_deposit.pool.{name}")
        _put(record, f"pool_{name}_gwei", day, held)
    _put(record, "staking_pot_gwei", day, b("staking_rewards"))
    if economy.epoch_end[day] and day > WINDOW:
        pots = ("treasury", "pool_community", "pool_ecosystem", "staking_pot")
        months = np.stack([_runway(record, f"{pot}_gwei", day) for pot in pots])
        _put(record, "treasury_runway_months", day, months[0])
        least = np.where(np.isnan(months), np.inf, months).min(axis=0)
        _put(record, "first_empty_months", day, np.where(np.isinf(least), np.nan, least))


def _runway(record: RecordState, name: str, day: int) -> Float:
    """Months until a pot is empty at the pace of the last 30 days; null while it does not shrink."""
    now = record.columns[name][:, day].astype(np.float64)
    fall = record.before(name, day, WINDOW) - now
    months = ratio(now, fall) * WINDOW / (365 / 12)
    return np.where(fall > 0, months, np.nan)


def _governance(world: World, record: RecordState) -> None:
    state, day = world.governance, world.day
    for name in (
        "turnout_gopen", "turnout_delegated", "turnout_circulating", "quorum_margin", "quorum_rate", "pass_rate",
        "small_votes_share",
    ):  # fmt: skip
        _put(record, name, day, getattr(state, name))
    _put(record, "cost_to_capture_usd", day, state.cost_to_capture_usd)
    _put(record, "gopen_supply_gwei", day, world.holding.gopen_supply)
    _put(record, "gopen_delegated_gwei", day, state.gopen_delegated_gwei)


def _serving(world: World, economy: Economy, record: RecordState) -> None:
    day, usage, served = world.day, world.usage, world.usage.serving
    tokens = usage.tokens_served
    for name, value in (
        ("users_active", usage.users_active), ("tokens_demanded", usage.tokens_demanded), ("tokens_served", tokens),
        ("node_tokens_per_s", tokens / 86_400), ("latency_p50_s", served.latency_p50_s),
        ("latency_p95_s", served.latency_p95_s), ("latency_p99_s", served.latency_p99_s),
        ("ttft_p50_s", served.ttft_p50_s), ("ttft_p95_s", served.ttft_p95_s), ("ttft_p99_s", served.ttft_p99_s),
        ("cache_hit_rate", served.hit_rate), ("utilisation", served.utilisation),
        ("refused_share", ratio(served.refused_tokens, usage.tokens_demanded)),
        ("serving_cost_usd_per_1m", ratio(usage.serving_cost_usd, tokens / 1e6)),
        ("fee_usd_per_1m", usage.fee_usd_per_1m), ("operator_margin", usage.operator_margin),
        ("operator_profit_usd", usage.operator_profit_usd), ("replicas", usage.replicas.sum(axis=1)),
        ("replicas_needed", served.replicas_needed),
    ):  # fmt: skip
        _put(record, name, day, np.asarray(value, np.float64))


def _bridge(world: World, economy: Economy, record: RecordState) -> None:
    state, day = world.bridge, world.day
    in_transit = [a.index for a in WORLD_ACCOUNTS if a.chain is Chain.ESCROW]
    agents = world.agent_balance("transit_deposit").sum(axis=1) + world.agent_balance("transit_withdraw").sum(
        axis=1
    )
    _put(record, "escrow_gwei", day, state.escrow)
    _put(record, "bridge_in_flight_gwei", day, world.balances[:, in_transit].sum(axis=1) + agents)
    _put(record, "exit_days_mean", day, ratio(state.slow_exits_gwei, state.exits_gwei) * exit_days(economy))


def _parameters(world: World, record: RecordState) -> None:
    for name, column in (
        ("fees_platform_bps", "fees.platform"), ("split_model_weight", "fees.split.model"),
        ("split_stakers_weight", "fees.split.stakers"), ("split_contributors_weight", "fees.split.contributors"),
        ("quorum_bps", "governance.quorum"),
    ):  # fmt: skip
        value = world.governed.read(column)
        _put(record, name, world.day, np.where(value == OFF, np.nan, value.astype(np.float64)))
