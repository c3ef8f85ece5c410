"""The usage phases, day by day, on a small world built by hand: money is conserved, every phase acts."""

from __future__ import annotations

import copy
import json
from datetime import date, timedelta
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from models.units import Duration
from sim.accounts import ACCOUNTS
from sim.governed_columns import GovernedColumns
from sim.journal import Journal
from sim.ledger import at, move
from sim.phases import attribution, billing, demand, grants, operators, serving, settle
from sim.serving.fleet import ServingDay
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
    return SimpleNamespace(value=value, unit=unit)


def days(count):
    return leaf(Duration(seconds=count * 86_400))


def scenario(tmp_path, *, counts=None, slash_to="treasury", sell_to_cover=True, copy_share=0.1):
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
        asked = tokens_in + tokens_out
        share = np.divide(
            np.minimum(asked, replicas * self.capacity), asked, out=np.zeros_like(asked), where=asked > 0
        )
        zero = np.zeros_like(asked)
        return ServingDay(
            served_in=tokens_in * share,
            served_out=tokens_out * share,
            capacity_tokens=replicas * self.capacity,
            utilisation=share,
            hit_rate=zero + 0.9,
            ttft_p95_s=zero + 1.0,
            latency_p50_s=zero + 1.0,
            latency_p95_s=zero + 2.0,
            refused_tokens=asked * (1 - share),
            backlog_tokens=zero,
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
        people_per_agent=lambda name: 1.0,
        date_of=lambda day: START + timedelta(days=day),
    )


def world_of(economy, runs=(0, 1, 2)):
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
        market=SimpleNamespace(buy_orders=zeros(), sell_orders=zeros()),
        bridge=SimpleNamespace(withdraw_orders=zeros()),
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
    for name, value in {**GOVERNED, **{k.replace("__", "."): v for k, v in changed.items()}}.items():
        world.governed.read(name)[:] = value


def deliver(world):
    """Carry out purchases, sales and the bridge without delay, in place of market and bridge."""
    users = world.layout.slice("users")
    bought = np.floor(world.market.buy_orders[:, users] * 1_000 / world.price_usd[:, None]).astype(np.int64)
    world.phase = "market"
    move(world, "M1", at("venue"), at("wallet.l1", "users"), bought)
    for name in ("operators", "contributors", "builders"):
        sold = world.market.sell_orders[:, world.layout.slice(name)]
        move(world, "M1", at("wallet.l1", name), at("venue"), sold)
    world.phase = "bridge"
    move(world, "X1", at("wallet.l1", "users"), at("transit_deposit", "users"), bought)
    move(world, "X1", at("transit_deposit", "users"), at("wallet.l2", "users"), bought)
    for name in ("operators", "contributors", "builders"):
        wanted = np.minimum(
            world.bridge.withdraw_orders[:, world.layout.slice(name)], world.agent_balance("wallet.l2", name)
        )
        move(world, "X2", at("wallet.l2", name), at("transit_withdraw", name), wanted)
        move(world, "X2", at("transit_withdraw", name), at("wallet.l1", name), wanted)
    world.market.buy_orders[:], world.market.sell_orders[:], world.bridge.withdraw_orders[:] = 0, 0, 0


def check(world):
    totals = world.holdings.sum(axis=2).T
    assert (world.balances.sum(axis=1) + totals.sum(axis=1) == CAP).all()
    assert (world.balances == world.expected_world).all()
    assert (totals == world.expected_agent).all()
    assert world.balances.min() >= 0
    assert world.holdings.min() >= 0
    assert (world.world_balance("clearing") == 0).all()
    assert (world.world_balance("distributor") == world.earned.sum(axis=1) + world.dust).all()
    assert (world.usage.cumulative_earned - world.usage.claimed == world.earned).all()


def live(world, economy, day):
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
    world = world or world_of(economy)
    govern(world, **changed)
    for day in range(last + 1):
        live(world, economy, day)
    return world


def test_sixty_days_conserve_money_and_every_party_is_paid(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 60)
    usage = world.usage
    assert (usage.users_active > 100).all()
    assert (usage.fee_gross_gwei > 0).all()
    assert (usage.claimed[:, economy.layout.slice("contributors")].sum(axis=1) > 0).all()
    assert (usage.claimed[:, economy.layout.slice("builders")].sum(axis=1) > 0).all()
    for account in ("staking_rewards", "treasury.l2", "burned.l2"):
        assert (world.world_balance(account) > 0).all(), account
    assert (world.agent_balance("wallet.l2", "sequencer") > 0).all()
    assert (world.agent_balance("wallet.l2", "public_goods") > 0).all()
    assert world.usd.total["operators", "serving cost"].min() > 0


def test_bills_are_what_the_formula_says(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 9)
    before = world.agent_balance("prepaid", "users").copy()
    day_balance = {name: world.world_balance(name).copy() for name in ("staking_rewards", "burned.l2")}
    live(world, economy, 10)
    deposited = world.journal.flow_total("D1", 3, "wallet.l2")
    paid = before.sum(axis=1) + deposited - world.agent_balance("prepaid", "users").sum(axis=1)
    usage = world.usage
    assert (paid == usage.fee_gross_gwei).all()
    assert (usage.platform_gwei <= usage.fee_gross_gwei // 10).all()
    assert (usage.fee_gross_gwei // 10 - usage.platform_gwei <= usage.bills).all()
    net = usage.fee_net_gwei - usage.burned_gwei
    stakers = world.world_balance("staking_rewards") - day_balance["staking_rewards"]
    assert (net * 2 // 9 - stakers <= usage.bills).all()
    assert (stakers <= net * 2 // 9).all()
    assert (world.world_balance("burned.l2") - day_balance["burned.l2"] == usage.burned_gwei).all()
    assert np.isfinite(usage.fee_usd_per_1m).all()
    assert 0.14 < usage.fee_usd_per_1m.mean() < 0.16


def test_before_its_first_date_nothing_is_sold_and_nobody_adopts(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = world_of(economy)
    govern(world)
    for name in ("fees.input", "fees.output"):
        world.governed.read(name)[:] = -(2**63)
    for day in range(5):
        live(world, economy, day)
    assert not world.usage.users_active.any()
    assert not world.usd.total
    assert not world.market.buy_orders.any()
    assert world.usage.contributor_weights.any(axis=1).all(), "emission needs shares before the first bill"


def test_a_swapped_split_is_found_with_its_account(tmp_path, monkeypatch):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 9)
    honest = billing.split

    def swapped(fee, rule):
        result = honest(fee, rule)
        parts = result.parts
        parts["stakers"], parts["contributors"] = parts["contributors"], parts["stakers"]
        return result

    monkeypatch.setattr(billing, "split", swapped)
    with pytest.raises(billing.SplitBroken, match=r"day 10, run 0: staking_rewards got \d+ gwei"):
        live(world, economy, 10)


def test_runs_do_not_depend_on_their_batch(tmp_path):
    economy = economy_of(scenario(tmp_path))
    together, alone = lived(economy, 40), lived(economy, 40, world_of(economy, (1,)))
    assert (together.balances[1] == alone.balances[0]).all()
    assert (together.holdings[:, 1] == alone.holdings[:, 0]).all()
    assert (together.usage.contributor_weights[1] == alone.usage.contributor_weights[0]).all()


def test_a_copied_world_lives_the_same_days(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 20)
    twin = copy.deepcopy(world)
    for day in (21, 22):
        live(world, economy, day)
    for day in (21, 22):
        live(twin, economy, day)
    assert (world.holdings == twin.holdings).all()
    assert (world.balances == twin.balances).all()


def test_found_copiers_earn_nothing_more_and_lose_stake(tmp_path):
    told = scenario(tmp_path, copy_share=0.3)
    told.attribution.detection = leaf(Fraction(1))
    economy = economy_of(told)
    world = world_of(economy)
    world.phase = "market"
    stake = np.full((3, 40), 10_005, np.int64)
    move(world, "M1", at("venue"), at("wallet.l1", "contributors"), stake)
    world.phase = "bridge"
    move(world, "X1", at("wallet.l1", "contributors"), at("transit_deposit", "contributors"), stake)
    move(world, "X1", at("transit_deposit", "contributors"), at("wallet.l2", "contributors"), stake)
    world.phase = "staking"
    move(world, "S1", at("wallet.l2", "contributors"), at("stake", "contributors"), stake)
    world = lived(economy, 20, world)
    found = world.usage.detected
    assert found.any(axis=1).all()
    assert not world.earned_by("contributors")[found].any()
    assert (world.agent_balance("stake", "contributors")[found] == 10_005 - 1_000).all()
    assert (world.agent_balance("stake", "contributors")[~found] == 10_005).all()


def test_disputes_lock_a_bond_and_give_it_back(tmp_path):
    told = scenario(tmp_path, copy_share=0.4)
    told.attribution.detection = leaf(Fraction(0))
    economy = economy_of(told)
    world = world_of(economy)
    govern(world)
    bonded = []
    for day in range(75):
        live(world, economy, day)
        bonded.append(int(world.agent_balance("bond", "contributors").sum()))
    assert max(bonded[60:67]) > 0, "owners who claimed by day 59 can post a bond on day 60"
    assert bonded[74] == 0
    assert not world.usage.detected.any()


def test_refused_demand_drives_users_away_with_their_credit(tmp_path):
    economy = economy_of(scenario(tmp_path), fleet=Fleet(1e9))
    world = lived(economy, 30)
    users = world.usage.users_active.copy()
    economy.fleet = Fleet(1.0)
    for day in range(31, 45):
        live(world, economy, day)
    assert (world.usage.users_active < users).all()
    gone = ~world.usage.user_active
    assert not world.agent_balance("prepaid", "users")[gone].any()
    assert world.agent_balance("wallet.l2", "users")[gone].any()


@pytest.mark.parametrize(("hourly", "grows"), [(1e-7, True), (1.0, False)])
def test_operators_enter_on_margin_and_leave_on_loss(tmp_path, hourly, grows):
    told = scenario(tmp_path)
    told.serving.fleet[0].price = leaf(hourly)
    economy = economy_of(told)
    world = lived(economy, 60)
    replicas = world.usage.replicas.sum(axis=1)
    if grows:
        assert (replicas > 4).all()
        assert (world.usage.operator_margin > 0.2).all()
    else:
        assert (replicas == 1).all(), "the last replica is kept"
        assert (world.usage.operator_margin < -0.1).all()


def test_grants_bring_new_agents_once_and_raise_quality(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 91)
    usage = world.usage
    awarded = usage.award > 0
    assert (awarded.sum(axis=1) == 15).all(), "4 contributors and a builder in each of 3 months"
    assert (usage.award[awarded] == 24_000 * 10**9 // 5).all()
    assert (usage.milestones > 0).all()
    assert (usage.quality > 1).all()


def test_what_no_data_influenced_goes_to_the_treasury(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 12)
    unowned = world.journal.flow_total("A1", 3)
    pot = world.journal.flow_total("B5", 3)
    assert (np.abs(unowned * 10 - pot) <= 20).all(), "the profile says a tenth"
    assert (world.dust == 0).all()


def test_orders_cover_costs_and_sell_what_arrived(tmp_path):
    economy = economy_of(scenario(tmp_path))
    world = lived(economy, 60)
    rest = scenario(tmp_path, sell_to_cover=False)
    keeping = lived(economy_of(rest), 60)
    sold = lambda w: w.agent_balance("wallet.l2", "operators").sum()  # noqa: E731
    assert sold(world) < sold(keeping)
    assert world.usage.uncovered_usd.sum() < keeping.usage.uncovered_usd.sum()


def disputed_world(tmp_path, *, slash_to="challenger", found=1):
    """Return a world of one run on its first day: contributor 0 has copied 5, contributors 1 and 2 have copied 6."""
    told = scenario(tmp_path, copy_share=0.0, slash_to=slash_to)
    told.attribution.detection = leaf(Fraction(found))
    economy = economy_of(told)
    world = world_of(economy, runs=(4,))
    govern(world)
    world.usage.contributors.origin[0, :3] = 5, 6, 6
    world.usage.contributor_active[:] = True
    for account in ("stake", "wallet.l2"):
        world.holdings[ACCOUNTS[account].index][:, world.layout.slice("contributors")] = 10_000
    world.phase = "attribution"
    return world, economy


def shown(world, account):
    """Return what the copiers and the owners hold beyond what they had."""
    had = 0 if account == "bond" else 10_000
    return (world.agent_balance(account, "contributors")[0, [0, 1, 2, 5, 6]] - had).tolist()


def decide(world, economy, bonds=(700, 800, 900), day=3):
    """Open disputes over the three copies, decide them `day`, and return the contributors' total before."""
    accused = slice(0, 3)
    world.usage.dispute_day[0, accused] = day
    world.usage.dispute_bond[0, accused] = bonds
    bond = world.agent_balance("bond", "contributors")
    bond[0, 5], bond[0, 6] = bonds[0], bonds[1] + bonds[2]
    before = int(world.holdings.sum())
    world.day = day
    attribution._decide_disputes(world, economy)
    assert not world.usage.dispute_day.any()
    assert not world.usage.dispute_bond.any()
    assert not world.agent_balance("bond").any()
    return before


def test_a_challenger_who_is_right_gets_the_bond_back_and_the_slash(tmp_path):
    world, economy = disputed_world(tmp_path)
    before = decide(world, economy)
    assert shown(world, "stake") == [-1_000, -1_000, -1_000, 0, 0]
    assert shown(world, "wallet.l2") == [0, 0, 0, 700 + 1_000, 800 + 900 + 2_000]
    assert int(world.holdings.sum()) == before
    assert world.journal.flow_total("A2", 1, target="wallet.l2").tolist() == [3_000]


def test_a_challenger_who_is_wrong_loses_the_bond_to_the_accused(tmp_path):
    world, economy = disputed_world(tmp_path, found=0)
    before = decide(world, economy)
    assert shown(world, "stake") == [0, 0, 0, 0, 0]
    assert shown(world, "wallet.l2") == [700, 800, 900, 0, 0]
    assert int(world.holdings.sum()) == before
    assert not world.usage.detected.any()


@pytest.mark.parametrize(
    ("slash_to", "account"),
    [("treasury", "treasury.l2"), ("burn", "burned.l2"), ("challenger", "treasury.l2")],
)
def test_what_an_audit_finds_undisputed_has_no_challenger(tmp_path, slash_to, account):
    world, economy = disputed_world(tmp_path, slash_to=slash_to)
    if slash_to == "challenger":
        world.usage.dispute_day[0, 1] = 9
    attribution._audit(world, economy)
    disputed = slash_to == "challenger"
    assert shown(world, "stake") == [-1_000, -1_000, -1_000, 0, 0]
    assert world.world_balance(account).tolist() == [2_000 if disputed else 3_000]
    assert shown(world, "wallet.l2") == [0, 0, 0, 0, 1_000 if disputed else 0]


def test_a_dispute_whose_copy_an_audit_found_is_won(tmp_path):
    world, economy = disputed_world(tmp_path, found=0)
    world.usage.detected[0, 1] = True
    decide(world, economy)
    assert shown(world, "wallet.l2") == [700, 0, 900, 0, 800]
    assert shown(world, "stake") == [0, 0, 0, 0, 0], "slashed once, when it was found"


def test_an_owner_with_two_disputes_puts_up_two_bonds_or_divides_what_there_is(tmp_path):
    world, economy = disputed_world(tmp_path)
    economy.scenario.attribution.dispute.bond = leaf(6_000)
    before = int(world.holdings.sum())
    attribution._open_disputes(world, economy)
    assert world.usage.dispute_bond[0, :3].tolist() == [6_000, 5_000, 5_000]
    assert shown(world, "bond") == [0, 0, 0, 6_000, 10_000]
    assert shown(world, "wallet.l2") == [0, 0, 0, -6_000, -10_000]
    assert int(world.holdings.sum()) == before
