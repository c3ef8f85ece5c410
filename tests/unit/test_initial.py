"""A run that starts after the token: accounts from a table, nothing paid twice, every identity from the first day."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.apportion import apportion
from models.vesting import vested_on
from sim import identities
from sim.accounts import BUCKET_ROLES
from sim.begin import begin_world
from sim.clock import advance_day
from sim.engine import build_economy, run_batch
from sim.experiment.twins import without_unlock
from sim.scenario import load

pytestmark = pytest.mark.slow

SCENARIOS = Path(__file__).parents[2] / "scenarios"
EXAMPLE = SCENARIOS / "from_2026_09.yaml"
GWEI = 10**9


@cache
def economy(*settings, agents=300, days=62):
    return build_economy(load(EXAMPLE, [f"days={days}", *settings]), agents=agents)


@pytest.fixture
def opened():
    return begin_world(economy(), np.array([0, 3]), witness=3)


def table():
    """Return the table's rows as (account, class, gwei)."""
    lines = (SCENARIOS / "tables" / "accounts_2026_09.csv").read_text().splitlines()[1:]
    cells = [line.split(",") for line in lines]
    return [(account, name, int(Decimal(amount) * GWEI)) for account, name, amount in cells]


def test_the_accounts_are_those_of_the_table(opened):
    rows = table()
    assert len(rows) > 30
    owed = 0
    for account, name, gwei in rows:
        if account == "distributor":
            assert opened.earned_by(name).sum(axis=1).tolist() == [gwei, gwei]
            owed += gwei
        elif name:
            assert opened.agent_balance(account, name).sum(axis=1).tolist() == [gwei, gwei]
        else:
            assert opened.world_balance(account).tolist() == [gwei, gwei]
    assert opened.world_balance("distributor").tolist() == [owed, owed]
    agent_totals, least = identities.totals(opened)
    assert (opened.balances.sum(axis=1) + agent_totals.sum(axis=1) == 10**18).all()
    assert min(least.min(), opened.balances.min()) >= 0
    assert (opened.expected_world == opened.balances).all()
    assert (opened.expected_agent == agent_totals).all()
    assert (opened.holding.gopen_supply == opened.agent_balance("wrapped").sum(axis=1)).all()
    assert (opened.bridge.escrow == identities.escrow_of(opened, agent_totals)).all()
    assert (opened.usage.cumulative_earned == opened.earned).all()
    assert opened.journal.today == {}, "no flow stands for what was there"
    assert opened.journal.take_entries() == []


def test_a_class_divides_its_total_by_its_fixed_weights(opened):
    held = opened.agent_balance("wallet.l1", "holders")
    assert (held == apportion(held.sum(axis=1), opened.holding.baseline_holding)).all()
    traders = opened.agent_balance("wallet.l1", "traders")
    assert (traders == apportion(traders.sum(axis=1), opened.holding.trader_weights)).all()
    prepaid = opened.agent_balance("prepaid", "users")
    assert (prepaid > 0).all()
    assert not (prepaid[0] == prepaid[1]).all(), "weights are drawn for each run"


def test_stake_and_gopen_are_with_those_who_take_part(opened):
    count = math.ceil(0.3 * opened.layout.count("holders"))
    for account in ("stake", "unbonding", "wrapped"):
        held = opened.agent_balance(account, "holders")
        assert not held[:, count:].any()
        assert (held[:, :count] > 0).mean() > 0.9


def test_the_balances_of_a_run_do_not_depend_on_its_batch(opened):
    alone = begin_world(economy(), np.array([3]))
    assert (alone.holdings[:, 0] == opened.holdings[:, 1]).all()
    assert (alone.balances[0] == opened.balances[1]).all()


def test_the_pool_is_the_venue_at_the_opening_price(opened):
    venue = int(opened.world_balance("venue")[0])
    price = opened.market.pool_micro_usd[0] / 1e6 / (venue / GWEI)
    assert price == pytest.approx(0.4916, rel=1e-9)
    assert opened.price_usd.tolist() == [0.4916, 0.4916]


def test_day_0_releases_its_own_instalment_and_pays_nothing_twice(opened):
    built = economy()
    before = {role: int(opened.world_balance(f"vesting.{role}")[0]) for role in BUCKET_ROLES}
    advance_day(opened, built, 0)
    for name, schedule in built.schedules.items():
        today = vested_on(schedule, date(2026, 9, 8)) - vested_on(schedule, date(2026, 9, 7))
        assert before[name] - int(opened.world_balance(f"vesting.{name}")[0]) == today
        assert (today > 0) == (name in ("community", "ecosystem"))
    flows = {flow for flow, _, _ in opened.journal.today}
    assert "U1" in flows
    assert not flows & {"G1", "U2", "U3", "E1"}
    first = opened.journal.flow_total("X4", 2, source="market_maker")
    assert first.tolist() == [0, 0]
    assert opened.record.columns["unlock_flow_gwei"][0, 0] == built.vested["community"][0] + built.vested[
        "ecosystem"
    ][0] - sum(built.vested_before[role] for role in ("community", "ecosystem"))


def test_an_airdrop_of_the_first_day_is_not_in_the_table_and_is_paid():
    built = economy("emission.airdrops={at: {2025-09-08: 10 OPEN, 2026-09-08: 7 OPEN}}", days=1)
    world = begin_world(built, np.array([0]))
    advance_day(world, built, 0)
    assert world.journal.flow_total("E1", 1).tolist() == [7 * GWEI]


def test_unbonding_stake_is_free_when_the_flexible_lock_has_passed(opened):
    built = economy()
    waiting = opened.agent_balance("unbonding").copy()
    for day in range(7):
        advance_day(opened, built, day)
        assert not opened.journal.flow_total("S1", 2, source="unbonding").any()
    advance_day(opened, built, 7)
    released = opened.journal.flow_total("S1", 2, source="unbonding")
    assert (released >= waiting.sum(axis=1)).all(), "with what was unstaked on day 0"
    assert (released < waiting.sum(axis=1) * 1.1).all()


def test_instalments_of_insiders_before_the_start_are_in_the_table(tmp_path):
    """Two of the 36 instalments came before 2026-11-20: they are no cliff ahead, and nothing pays them again."""
    assert economy().days_to_cliff[0] == 30, "the first instalment, 2026-10-08, lies ahead of the example"
    start, held = date(2026, 11, 20), {account: gwei for account, name, gwei in table() if not name}
    for name, schedule in economy().schedules.items():
        locked = schedule.allocation - vested_on(schedule, start - timedelta(days=1))
        held["market_maker"] += held.get(f"vesting.{name}", 0) - locked
        held[f"vesting.{name}"] = locked
    rows = [f"{account},,{Decimal(gwei) / GWEI}" for account, gwei in held.items()]
    rows += [f"{account},{name},{Decimal(gwei) / GWEI}" for account, name, gwei in table() if name]
    other = tmp_path / "later.csv"
    other.write_text("\n".join(["account,class,OPEN", *rows]))
    built = build_economy(load(EXAMPLE, [f"start={start}", f"initial={other}", "days=40"]), agents=300)
    assert built.days_to_cliff.min() > 1000, "equal instalments follow"
    assert built.vested_before["team"] == 150_000_000 * GWEI * 2 // 36
    result = run_batch(built, np.array([0]), witness=0)
    flows = zip(*(result.flows[name] for name in ("day", "flow", "source", "amount_gwei")), strict=True)
    paid = [(day, gwei) for day, flow, source, gwei in flows if (flow, source) == ("U2", "vesting.team")]
    third = 150_000_000 * GWEI * 3 // 36 - built.vested_before["team"]
    assert [gwei for _, gwei in paid] == [third]


def test_runs_live_on_with_every_identity_and_their_twins():
    for built in (economy(days=40), without_unlock(economy(days=40))):
        result = run_batch(built, np.array([0, 1]))
        assert result.residual_gwei == 0
        metrics = result.metrics
        assert (metrics["price_usd"][:, -1] > 0).all()
        assert (metrics["gopen_supply_gwei"][:, 0] >= 3_000_000 * GWEI).all()


def test_without_a_table_nothing_changed():
    built = build_economy(load(SCENARIOS / "baseline.yaml", ["days=1"]), agents=300)
    assert built.genesis
    assert set(built.vested_before.values()) == {0}
    world = begin_world(built, np.array([0]), witness=0)
    assert {entry.flow for entry in world.journal.take_entries()} == {"G1"}
    advance_day(world, built, 0)
    flows = {flow for flow, _, _ in world.journal.today}
    assert flows >= {"U1", "U3", "E1", "X4"}


def test_the_table_is_part_of_the_scenarios_hash(tmp_path):
    there = load(EXAMPLE)
    text = (SCENARIOS / "tables" / "accounts_2026_09.csv").read_text()
    other = tmp_path / "other.csv"
    other.write_text(
        text.replace("venue,,14514104", "venue,,14514103").replace("_maker,,33699736", "_maker,,33699737")
    )
    assert load(EXAMPLE, [f"initial={other}"]).sha256() != there.sha256()
    other.write_text(text)
    assert load(EXAMPLE, [f"initial={other}"]).sha256() == there.sha256()


@pytest.mark.slow
def test_the_chains_open_with_the_table_and_reconcile():
    pytest.importorskip("eth")
    from sim.witness import Witness

    built = economy(days=62)
    chain = Witness(built)
    result = run_batch(built, np.array([0]), witness=0, chain=chain)
    summary = result.chain_summary
    assert (summary["reconciled_epochs"], summary["max_abs_diff_wei"]) == (2, 0)
    assert result.residual_gwei == 0
    listed = dict(zip(result.chain["account"], result.chain["chain_wei"], strict=True))
    assert listed["burned.l1"] == 0
    assert listed["open.supply"] == 10**27
    assert (
        sum(wei for label, wei in listed.items() if label.startswith("wrapped/"))
        == listed["gopen.supply"]
        > 0
    )
    off = run_batch(built, np.array([0]), witness=0)
    assert off.metrics.keys() == result.metrics.keys()
    for name, rows in off.metrics.items():
        assert np.array_equal(rows, result.metrics[name], equal_nan=True), name
