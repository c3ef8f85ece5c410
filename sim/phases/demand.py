"""Demand: users arrive, choose a model, and keep prepaid credit.

Rules decided here. Adoption is a Bass curve on the number of users that starts when the service is sold; a
user is active while the adopted share is above their threshold, so those who leave are those who came last.
Use responds to price, time to first token and quality. Users begin without tokens: they keep credit for
some days of expected use, buy what is missing (carried out by the market, usable two days later), deposit
what has reached their L2 wallet, and are refunded to it when they leave. What credit does not cover is not
asked for, so a bill never exceeds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.demand import bass_step, popularity_cells, response, zipf_weights
from models.fees import token_fee
from models.quality import grow_stock, quality
from sim import draws, gas
from sim.draws import Decision
from sim.ledger import at, move
from sim.rates import Rates, begins_month, rates_of, stands_for

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

CELL_BITS = 12
"""2^12 cells choose a model from one keyed word; a model under 1/8192 of its class's use may have none."""


def advance(world: World, economy: Economy) -> None:
    """Let users come and go, top up (flow D1), order tokens, and say what they ask for today."""
    rates = rates_of(world, economy)
    _improve(world, economy)
    if begins_month(world, economy):
        _rank_models(world, economy)
    world.usage.topup_micro_usd = np.zeros(world.count, np.int64)
    _adopt(world, economy, rates)
    mean_in, mean_out = _mean_use(world, economy, rates)
    if rates.sold.any():
        _keep_credit(world, economy, rates, mean_in, mean_out)
        _ask(world, economy, rates, mean_in, mean_out)


def _improve(world: World, economy: Economy) -> None:
    """Let active contributors add data, and say how good models are today."""
    usage, scenario = world.usage, economy.scenario
    bringing = np.where(usage.contributor_active & ~usage.contributors.noise, usage.contributors.size, 0.0)
    fresh = bringing.sum(axis=1) * float(scenario.agents.contributors.fresh_data.value)
    usage.data_stock = grow_stock(usage.data_stock, fresh)
    terms = scenario.demand.quality
    usage.quality = quality(
        usage.data_stock, usage.data_at_start, terms.data.value, usage.milestones, terms.milestones.value
    )


def _rank_models(world: World, economy: Economy) -> None:
    """Rebuild the table of choice: Zipf within each query class, over active builders' adapters."""
    usage, runs = world.usage, world.count
    builders, each = economy.layout.count("builders"), economy.scenario.agents.builders.adapters_each
    classes, models = usage.class_pot.shape[1], builders * each
    order = draws.uniform(economy.seed, Decision.TRAIT_ADAPTER, world.runs, 0, "builders", models)
    offered = np.repeat(usage.builder_active, each, axis=1)
    zipf = float(economy.scenario.demand.popularity.zipf.value)
    tables = []
    for k in range(classes):
        served = offered & (np.arange(models) % classes == k)
        served |= offered & ~served.any(axis=1, keepdims=True)  # a class without models of its own uses any
        place = np.argsort(np.argsort(np.where(served, order, 2.0), axis=1), axis=1)
        weights = zipf_weights(np.where(served, place, -1), zipf)
        weights[~served.any(axis=1), 0] = 1  # nobody builds: use falls to the first builder's model
        tables.append(popularity_cells(weights, 2**CELL_BITS) // each)
    usage.popularity = np.concatenate(tables, axis=1).reshape(runs, classes * 2**CELL_BITS)


def _adopt(world: World, economy: Economy, rates: Rates) -> None:
    """Move adoption by a day and refund those who leave."""
    usage, adoption = world.usage, economy.scenario.demand.adoption
    bass = adoption.bass
    asked = usage.tokens_demanded
    refused = np.divide(usage.serving.refused_tokens, asked, out=np.zeros(world.count), where=asked > 0)
    leave = adoption.churn.value + adoption.churn_refused.value * np.clip(refused, 0.0, 1.0)
    grown = bass_step(usage.adopters, float(bass.potential.value), bass.p.value, bass.q.value, leave)
    usage.adopters = np.where(rates.sold, grown, usage.adopters)
    simulated = economy.layout.count("users") * stands_for(economy)
    level = np.minimum(usage.adopters / simulated, 1.0) * 2.0**32
    active = usage.users.threshold < np.ceil(level).astype(np.uint64)[:, None]
    gone = usage.user_active & ~active
    if gone.any():
        credit = np.where(gone, world.agent_balance("prepaid", "users"), 0)
        move(world, "D1", at("prepaid", "users"), at("wallet.l2", "users"), credit)
    usage.user_active = active
    usage.users_active = active.sum(axis=1) * stands_for(economy)


def _mean_use(world: World, economy: Economy, rates: Rates) -> tuple[Float, Float]:
    """Return the mean tokens in and out of one simulated user's day, (runs,)."""
    demand, usage = economy.scenario.demand, world.usage
    first_token = np.nan_to_num(usage.serving.ttft_p95_s, nan=demand.reference_latency.value)
    factors = (
        rates.usd_per_1m / demand.reference_price.value,
        first_token / demand.reference_latency.value,
        usage.quality,
    )
    e = demand.elasticity
    level = response(factors, (e.price.value, e.latency.value, e.quality.value), e.bound.value)
    scale = np.where(rates.sold, level * stands_for(economy), 0.0)
    return scale * demand.tokens.input.value, scale * demand.tokens.output.value


def _keep_credit(world: World, economy: Economy, rates: Rates, mean_in: Float, mean_out: Float) -> None:
    """Buy what is missing and deposit what has arrived, up to the wanted days of expected spending."""
    usage, users = world.usage, economy.scenario.agents.users
    fee = token_fee(mean_in.astype(np.int64), mean_out.astype(np.int64), rates.input, rates.output)
    days = users.prepaid.value.days
    target = np.where(
        _pays_access(world, rates), (days * (fee + rates.access))[:, None], (days * fee)[:, None]
    )
    target[~usage.user_active] = 0
    credit, wallet = world.agent_balance("prepaid", "users"), world.agent_balance("wallet.l2", "users")
    have = credit + wallet + world.agent_balance("transit_deposit", "users")
    have += world.agent_balance("wallet.l1", "users")
    low = have < target * float(users.refill_at.value)
    if low.any():
        orders, run = np.zeros_like(target), np.nonzero(low)[0]
        orders[low] = np.floor((target - have)[low] * (world.price_usd / 1_000.0)[run])
        world.market.buy_orders[:, world.layout.slice("users")] = orders
        usage.topup_micro_usd = orders.sum(axis=1)
    if np.any(usage.user_active & (wallet > 0)):
        _deposit(world, economy, target)


def _deposit(world: World, economy: Economy, target: Int) -> None:
    """Move what users hold on L2 into their credit, up to the target and less the gas of the deposit."""
    lacking = np.maximum(target - world.agent_balance("prepaid", "users"), 0)
    topping = (np.minimum(lacking, world.agent_balance("wallet.l2", "users")) > 0) & world.usage.user_active
    gas.charge(world, economy, "users", "top_up", topping.astype(np.int64))
    amount = np.where(topping, np.minimum(lacking, world.agent_balance("wallet.l2", "users")), 0)
    move(world, "D1", at("wallet.l2", "users"), at("prepaid", "users"), amount)


def _pays_access(world: World, rates: Rates) -> Bool:
    return np.asarray(world.usage.users.paid < rates.paid_level[:, None])


def _ask(world: World, economy: Economy, rates: Rates, mean_in: Float, mean_out: Float) -> None:
    """Draw today's use and model of every active user, cut to what their credit covers."""
    usage, count = world.usage, world.layout.count("users")
    spread = float(economy.scenario.demand.tokens.spread.value)
    u = draws.uniform(economy.seed, Decision.USER_VOLUME, world.runs, world.day, "users", count)
    volume = 1.0 - spread + (2.0 * spread) * u
    access = np.where(_pays_access(world, rates), rates.access[:, None], 0)
    full = (rates.input * mean_in + rates.output * mean_out)[:, None] * volume / 1e6 + access
    credit = world.agent_balance("prepaid", "users")
    volume *= usage.user_active
    if np.any(full > credit):  # the rest of a gwei that floors may add is kept back
        volume *= np.minimum(np.maximum(credit - access - 1, 0) / np.maximum(full - access, 1.0), 1.0)
    usage.demand_in = (volume * mean_in[:, None]).astype(np.int64)
    usage.demand_out = (volume * mean_out[:, None]).astype(np.int64)
    words = draws.words(economy.seed, Decision.USER_MODEL, world.runs, world.day, "users", count)
    first = (np.arange(world.count) * usage.popularity.shape[1])[:, None]
    cells = (usage.users.query_class << CELL_BITS) + first + (words >> (32 - CELL_BITS))
    usage.model_owner = usage.popularity.ravel()[cells]
    usage.tokens_demanded = (usage.demand_in.sum(axis=1) + usage.demand_out.sum(axis=1)).astype(np.float64)
