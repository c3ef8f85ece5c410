"""The usage phases, day by day, on a small world built by hand: money is conserved, every phase acts."""

from __future__ import annotations

import copy
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sim.ledger import at, move
from sim.phases import billing
from sim.phases.demand_reference import first_of

sys.path.insert(0, str(Path(__file__).parent))
from usage_world import Fleet, economy_of, govern, leaf, live, lived, scenario, world_of


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
    assert not world.market.purchases
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

    monkeypatch.setattr(billing, "bill_fast", billing.bill)
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
    gone = ~first_of(world.usage.active_users, world.layout.count("users"))
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
