"""A small world built by hand on which the usage phases live day by day, without market, bridge or staking."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np

from models.units import Duration
from sim import payouts
from sim.governed_columns import GovernedColumns
from sim.journal import Journal
from sim.ledger import at, move
from sim.phases import attribution, billing, demand, grants, operators, serving, settle
from sim.picks import Picks
from sim.serving.day import ServingDay
from sim.states.holding import MarketState
from sim.states.usage import begin_state
from sim.world import Layout, UsdLog, World, empty_accounts

CAP = 10**18
START = date(2026, 1, 1)
PHASES = (
    ("demand", demand),
    ("serving", serving),
    ("billing", billing),
    ("attribution", attribution),
    ("operators", operators),
)
CLASSES = {"medicine": [0.6, 0.3, 0.1], "writing": [0.5, 0.3, 0.2]}


def leaf(value, unit=""):
    """Return a scenario's leaf: a value with its unit."""
    return SimpleNamespace(value=value, unit=unit)


def days(count):
    """Return a leaf that lasts so many days."""
    return leaf(Duration(seconds=count * 86_400))


def scenario(tmp_path, *, counts=None, slash_to="treasury", sell_to_cover=True, copy_share=0.1):
    """Return a scenario of the usage phases, with its influence profile written below `tmp_path`."""
    counts = {"users": 60, "contributors": 40, "builders": 8, "operators": 4, **(counts or {})}
    profile = {
        "schema": "influence.v1",
        "id": "test",
        "provenance": {"measured": False},
        "policy": "cluster_sum_clip.v1",
        "ranks": 3,
        "query_classes": {
            name: {"mean_shares": shares, "concentration": 20.0, "no_influence": 0.1}
            for name, shares in CLASSES.items()
        },
    }
    path = tmp_path / "influence.json"
    path.write_text(json.dumps(profile))
    half = leaf(Fraction(1, 2))
    agents = SimpleNamespace(
        users=SimpleNamespace(count=counts["users"], stands_for=leaf(10), prepaid=days(14), refill_at=half),
        contributors=SimpleNamespace(
            count=counts["contributors"],
            datanets=6,
            outside_income=leaf(5.0),
            active=leaf(Fraction(7, 10)),
            attackers=SimpleNamespace(copy_=leaf(copy_share), noise=leaf(0.1)),
            sell=half,
            fresh_data=half,
            join=half,
            leave=half,
            size_sigma=leaf(1.2),
        ),
        builders=SimpleNamespace(
            count=counts["builders"], adapters_each=3, active=leaf(Fraction(3, 4)), sell=half
        ),
        operators=SimpleNamespace(
            count=counts["operators"],
            sell_to_cover=sell_to_cover,
            cost_spread=leaf(Fraction(1, 5)),
            settle_every=days(7),
        ),
    )
    usd = "USD/1M tokens"
    return SimpleNamespace(
        start=START,
        runs=SimpleNamespace(seed=11),
        agents=agents,
        fees=SimpleNamespace(input=leaf(0.1, usd), output=leaf(0.4, usd)),
        operator_pay=SimpleNamespace(rate=leaf(0.15, usd), from_=("platform", "emission.operators")),
        attribution=SimpleNamespace(
            influence=path,
            slash=SimpleNamespace(to=slash_to),
            detection=half,
            noise_floor=leaf(Fraction(1, 20)),
            dispute=SimpleNamespace(rate=leaf(Fraction(1)), bond=leaf(10**9), window=days(7)),
        ),
        demand=SimpleNamespace(
            adoption=SimpleNamespace(
                bass=SimpleNamespace(potential=leaf(600), p=leaf(0.05), q=leaf(0.05)),
                churn=leaf(0.0003),
                churn_refused=leaf(0.1),
            ),
            tokens=SimpleNamespace(input=leaf(40_000), output=leaf(8_000), spread=half),
            elasticity=SimpleNamespace(
                price=leaf(-1.2), latency=leaf(-0.4), quality=leaf(0.8), bound=leaf(10.0)
            ),
            popularity=SimpleNamespace(zipf=leaf(1.0), query_classes=tuple(CLASSES)),
            reference_price=leaf(0.15),
            reference_latency=leaf(1.0),
            quality=SimpleNamespace(data=leaf(0.095), milestones=leaf(0.02)),
        ),
        serving=SimpleNamespace(
            fleet=(SimpleNamespace(count=4, price=leaf(0.001)),),
            enter_leave=SimpleNamespace(
                enter_above=leaf(Fraction(1, 5)),
                leave_below=leaf(Fraction(-1, 10)),
                after=days(10),
                keep=leaf(1),
            ),
        ),
        grants=SimpleNamespace(
            monthly=leaf(30_000 * 10**9),
            public_goods=leaf(Fraction(1, 5)),
            milestone=leaf(Fraction(7, 10)),
            tranches=leaf(3),
            brings=SimpleNamespace(contributors=leaf(4.0), builders=leaf(1.0)),
        ),
        gas=SimpleNamespace(
            price=leaf(Fraction(1)),
            data_cost_share=leaf(Fraction(2, 5)),
            actions=SimpleNamespace(claim=leaf(90_000), top_up=leaf(60_000)),
        ),
    )


class Fleet:
    """A fleet with a fixed capacity per replica."""

    def __init__(self, capacity=1e9):
        self.capacity = capacity

    def day(self, tokens_in, tokens_out, replicas, backlog):
        """Serve what fits the replicas and refuse the rest."""
        asked, replicas = tokens_in + tokens_out, replicas.sum(axis=1)
        share = np.divide(
            np.minimum(asked, replicas * self.capacity), asked, out=np.zeros_like(asked), where=asked > 0
        )
        zero = np.zeros_like(asked)
        return ServingDay(
            served_in=tokens_in * share,
            served_out=tokens_out * share,
            served_by_group=(asked * share)[:, None],
            capacity_tokens=replicas * self.capacity,
            utilisation=share,
            hit_rate=zero + 0.9,
            ttft_p50_s=zero + 0.5,
            ttft_p95_s=zero + 1.0,
            ttft_p99_s=zero + 1.5,
            latency_p50_s=zero + 1.0,
            latency_p95_s=zero + 2.0,
            latency_p99_s=zero + 3.0,
            refused_tokens=asked * (1 - share),
            backlog_tokens=zero,
            replicas_needed=np.ceil(asked / self.capacity).astype(np.int64),
            usd_cost=zero,
            slo_met=zero == 0,
        )


GOVERNED = {
    "fees.input": 100_000,
    "fees.output": 400_000,
    "fees.access.paid_models": 1_000,
    "fees.access.price": 5_000_000,
    "fees.platform": 1_000,
    "fees.platform_flat": 0,
    "fees.split.model": 2,
    "fees.split.stakers": 2,
    "fees.split.contributors": 5,
    "fees.burn": 300,
    "operator_pay.rate": 150_000,
    "attribution.slash.duplicate": 1_000,
    "attribution.min_claim.times_gas": 3_000,
    "grants.monthly": 30_000 * 10**9,
    "grants.public_goods": 2_000,
}


def economy_of(told, last=95, fleet=None):
    """Return what the phases read of an economy: layout, month ends up to day `last`, fleet."""
    counts = {
        name: getattr(told.agents, name).count for name in ("users", "contributors", "builders", "operators")
    }
    ends = np.zeros(last + 1, bool)
    ends[[d for d in (31, 59, 90) if d <= last]] = True
    month = np.array([(START + timedelta(days=d)).month - 1 for d in range(last + 1)])
    return SimpleNamespace(
        scenario=told,
        layout=Layout.of(counts),
        seed=told.runs.seed,
        days=last,
        epoch_end=ends,
        month_of_day=month,
        fleet=fleet or Fleet(),
        gas_fees={"claim": 90_000, "top_up": 60_000},
        people_per_agent=lambda name: 1.0,
        date_of=lambda day: START + timedelta(days=day),
    )


def world_of(economy, runs=(0, 1, 2)):
    """Return a world before its first day, with the pools of the ecosystem funded and a liquid venue."""
    runs = np.asarray(runs, np.int64)
    balances, expected_world, holdings, expected_agent = empty_accounts(len(runs), economy.layout)
    orders = (len(runs), economy.layout.agents)
    governed = GovernedColumns.begin(len(runs))
    zeros = lambda: np.zeros(orders, np.int64)  # noqa: E731
    world = World(
        runs=runs,
        layout=economy.layout,
        journal=Journal(),
        usd=UsdLog(),
        balances=balances,
        expected_world=expected_world,
        holdings=holdings,
        expected_agent=expected_agent,
        earned=zeros(),
        dust=np.zeros(len(runs), np.int64),
        income=zeros(),
        price_usd=np.full(len(runs), 0.5),
        governed=governed,
        market=order_book(),
        bridge=SimpleNamespace(withdraw_orders=[]),
        holding=None,
        usage=begin_state(economy, runs),
        governance=None,
        record=None,
    )
    share = np.full(len(runs), CAP // 5, np.int64)
    for role in ("community", "ecosystem", "liquidity", "investors", "team"):
        move(world, "G1", None, at(f"vesting.{role}"), share)
    for phase, flow, source, target in (
        ("unlock", "U1", "vesting.ecosystem", "pool.ecosystem.l1"),
        ("unlock", "U3", "vesting.liquidity", "venue"),
        ("bridge", "U4", "pool.ecosystem.l1", "transit_deposit.pool.ecosystem"),
        ("bridge", "U4", "transit_deposit.pool.ecosystem", "pool.ecosystem.l2"),
    ):
        world.phase = phase
        move(world, flow, at(source), at(target), share)
    return world


def govern(world, **changed):
    """Set every governed column; `fees__burn=0` stands for `fees.burn`."""
    for name, value in {**GOVERNED, **{k.replace("__", "."): v for k, v in changed.items()}}.items():
        world.governed.read(name)[:] = value


def order_book():
    """A market that takes orders and carries out none."""
    market = SimpleNamespace(purchases=[], sell_orders={})
    market.offer = partial(MarketState.offer, market)
    return market


def deliver(world):
    """Carry out purchases, sales and the bridge without delay, in place of market and bridge."""
    spent = Picks.joined([p.some for p in world.market.purchases]).dense(*world.income.shape)
    spent = spent[:, world.layout.slice("users")]
    bought = np.floor(spent * 1_000 / world.price_usd[:, None]).astype(np.int64)
    world.phase = "market"
    move(world, "M1", at("venue"), at("wallet.l1", "users"), bought)
    for name in ("operators", "contributors", "builders"):
        if name in world.market.sell_orders:
            move(world, "M1", at("wallet.l1", name), at("venue"), world.market.sell_orders[name])
    world.phase = "bridge"
    move(world, "X1", at("wallet.l1", "users"), at("transit_deposit", "users"), bought)
    move(world, "X1", at("transit_deposit", "users"), at("wallet.l2", "users"), bought)
    orders = Picks.joined(world.bridge.withdraw_orders).dense(*world.income.shape)
    for name in ("operators", "contributors", "builders"):
        wanted = np.minimum(orders[:, world.layout.slice(name)], world.agent_balance("wallet.l2", name))
        move(world, "X2", at("wallet.l2", name), at("transit_withdraw", name), wanted)
        move(world, "X2", at("transit_withdraw", name), at("wallet.l1", name), wanted)
    world.market.sell_orders.clear()
    world.market.purchases.clear()
    world.bridge.withdraw_orders.clear()


def check(world):
    """Assert that money is conserved, every balance is the sum of its flows and nobody owes."""
    totals = world.holdings.sum(axis=2).T
    assert (world.balances.sum(axis=1) + totals.sum(axis=1) == CAP).all()
    assert (world.balances == world.expected_world).all()
    assert (totals == world.expected_agent).all()
    assert world.balances.min() >= 0
    assert world.holdings.min() >= 0
    assert (world.world_balance("clearing") == 0).all()
    assert (world.world_balance("distributor") == world.earned.sum(axis=1) + world.dust).all()
    payouts.bring_forward(world)
    assert (world.usage.cumulative_earned - world.usage.claimed == world.earned).all()


def live(world, economy, day):
    """Live one day: the usage phases, delivery, grants and settlement, all checked."""
    world.day, world.journal.today, world.usd.today = day, {}, {}
    for name, module in PHASES:
        world.phase = name
        module.advance(world, economy)
    deliver(world)
    world.phase = "grants"
    grants.advance(world, economy)
    world.phase = "settle"
    settle.advance(world, economy, None)
    check(world)
    if economy.epoch_end[day]:
        world.usage.end_month()


def lived(economy, last, world=None, **changed):
    """Live days 0 to `last` under the changed parameters and return the world."""
    world = world or world_of(economy)
    govern(world, **changed)
    for day in range(last + 1):
        live(world, economy, day)
    return world
