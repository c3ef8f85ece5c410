"""Demand: users arrive, choose a model, and keep prepaid credit.

Rules decided here. Adoption is a Bass curve on the number of users that starts when the service is sold; a
user is active while the adopted share is above their threshold, so those who leave are those who came last: users are
numbered in the order in which they adopt, and the first of a run are those who use the service.
Use responds to price, time to first token and quality. Users begin without tokens: they keep credit for
some days of expected use, buy what is missing (carried out by the market, usable two days later), deposit
what has reached their L2 wallet, and are refunded to it when they leave. What credit does not cover is not
asked for, so a bill never exceeds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.demand import bass_step, response, zipf_weights
from models.fees import token_fee
from models.quality import grow_stock, quality
from sim import draws, gas
from sim.draws import Decision
from sim.kernels import users as kernels
from sim.kernels.popularity import cells_of
from sim.ledger import at, move_some
from sim.picks import Picks, room
from sim.rates import Rates, begins_month, rates_of, stands_for
from sim.states.holding import Purchases

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]

CELL_BITS = 12
"""2^12 cells choose a model from one keyed word; a model under 1/8192 of its class's use may have none."""


def advance(world: World, economy: Economy) -> None:
    """Let users come and go, top up (flow D1), order tokens, and say what they ask for today."""
    rates = world.usage.rates = rates_of(world, economy)
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
    if not np.array_equal(usage.brought_by, usage.contributor_active):  # they change once a month
        bringing = np.where(
            usage.contributor_active & ~usage.contributors.noise, usage.contributors.size, 0.0
        )
        usage.brought, usage.brought_by = bringing.sum(axis=1), usage.contributor_active.copy()
    fresh = usage.brought * float(scenario.agents.contributors.fresh_data.value)
    usage.data_stock = grow_stock(usage.data_stock, fresh)
    terms = scenario.demand.quality
    usage.quality = quality(
        usage.data_stock, usage.data_at_start, terms.data.value, usage.milestones, terms.milestones.value
    )


def _rank_models(world: World, economy: Economy) -> None:
    """Rebuild the table of choice: Zipf within each query class, over active builders' adapters."""
    usage, each = world.usage, economy.scenario.agents.builders.adapters_each
    models = economy.layout.count("builders") * each
    if not usage.model_order.size:
        u = draws.uniform(economy.seed, Decision.TRAIT_ADAPTER, world.runs, 0, "builders", models)
        usage.model_order = np.argsort(u, axis=1, kind="stable").astype(np.int32)
    weights = zipf_weights(np.arange(models), float(economy.scenario.demand.popularity.zipf.value))
    usage.popularity = cells_of(
        usage.model_order, usage.builder_active, each, weights, usage.class_pot.shape[1], 2**CELL_BITS
    )


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
    where, credit = room(usage.user_bills.size)
    gone = kernels.adopt(
        usage.users.threshold, np.ceil(level).astype(np.uint64), usage.active_users, world.agent_balance("prepaid"),
        world.layout.slice("users").start, where, credit,
    )  # fmt: skip
    if gone:
        move_some(
            world, "D1", at("prepaid", "users"), at("wallet.l2", "users"), Picks(where[:gone], credit[:gone])
        )
    usage.users_active = usage.active_users * np.float64(stands_for(economy))


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
    orders, lacking = room(2 * usage.user_bills.size).reshape(2, 2, -1)
    buying, can = kernels.keep_credit(
        usage.active_users, usage.users.paid,
        tuple(world.agent_balance(name) for name in ("prepaid", "wallet.l2", "transit_deposit", "wallet.l1")),
        world.layout.slice("users").start, rates.paid_level, np.stack((days * fee, days * (fee + rates.access))),
        float(users.refill_at.value), world.price_usd / 1_000.0, usage.topup_micro_usd, orders, lacking,
    )  # fmt: skip
    if buying:
        some = Picks(*orders[:, :buying].copy())
        world.market.purchases.append(Purchases("users", some, usage.topup_micro_usd))
    if can:
        _deposit(world, economy, *lacking[:, :can].copy())


def _deposit(world: World, economy: Economy, where: Int, lacking: Int) -> None:
    """Move what users hold on L2 into their credit, up to what it lacks and less the gas of the deposit."""
    gas.charge_some(world, economy, "users", "top_up", where)
    amount = np.minimum(lacking, world.agent_balance("wallet.l2").reshape(-1)[where])
    move_some(world, "D1", at("wallet.l2", "users"), at("prepaid", "users"), Picks(where, amount))


def _ask(world: World, economy: Economy, rates: Rates, mean_in: Float, mean_out: Float) -> None:
    """Draw today's use and model of every active user, cut to what their credit covers."""
    usage = world.usage
    kernels.ask(
        usage.active_users, usage.users.paid, usage.users.query_class,
        world.agent_balance("prepaid"), world.layout.slice("users").start,
        *draws.key(economy.seed, Decision.USER_MODEL, world.runs, world.day, "users"),
        float(economy.scenario.demand.tokens.spread.value), rates.paid_level, rates.access,
        rates.input * mean_in + rates.output * mean_out, mean_in, mean_out, usage.popularity, CELL_BITS,
        usage.demand_in, usage.demand_out, usage.model_owner, usage.asked,
    )  # fmt: skip
    usage.tokens_demanded = (usage.asked[0] + usage.asked[1]).astype(np.float64)
