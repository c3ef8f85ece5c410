"""The record's phase: what each observable is, from balances set by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sim.engine import result_of
from sim.observables import OBSERVABLES
from sim.states import ratios
from sim.states.ratios import ratio

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

GWEI = small.GWEI
MILLION = 10**6 * GWEI
CAP = 10**18
ECONOMY = small.economy(days=100)


@pytest.fixture
def world():
    """A cap of 1,000 M: 700 M locked, 180 M reserve, 15 M burned, the rest circulates, 60 M of it in wallets."""
    world = small.stand(ECONOMY, 40)
    for role in ("community", "ecosystem", "liquidity", "investors", "team"):
        small.give(world, f"vesting.{role}", 140 * MILLION)
    for name, millions in (
        ("pool.community.l1", 80), ("pool.ecosystem.l2", 40), ("treasury.l2", 20), ("market_maker", 30),
        ("staking_rewards", 6), ("transit_deposit.pool.community", 4), ("burned.l1", 10), ("burned.l2", 5),
        ("venue", 25), ("distributor", 5),
    ):  # fmt: skip
        small.give(world, name, millions * MILLION)
    team, holders = world.layout.count("team"), world.layout.count("holders")
    assert (team, holders) == (1, 50)
    small.give(world, "wallet.l1", 40 * MILLION, "team")
    small.give(world, "wallet.l2", MILLION * 2 // 5, "holders")
    small.give(world, "stake", 9 * MILLION, "team")
    small.give(world, "wrapped", 4 * MILLION, "team")
    small.give(world, "transit_withdraw", 2 * MILLION, "team")
    world.price_usd[:] = 0.5
    world.market.peak_usd[:] = 2.0
    world.market.pool_micro_usd[:] = 12_500_000 * 10**6
    return world


def recorded(world, name):
    return world.record.columns[name][:, world.day].tolist()


def millions(world, name):
    return [value / MILLION for value in recorded(world, name)]


def test_the_supply_series(world):
    small.run_phase_of(world, ECONOMY, "record")
    expected = {
        "locked_gwei": 700, "unlocked_gwei": 300, "reserve_gwei": 180, "burned_gwei": 15, "circulating_gwei": 105,
        "circulating_tracker_gwei": 285, "float_gwei": 60, "total_supply_gwei": 985, "staked_gwei": 9,
        "treasury_gwei": 20, "pool_community_gwei": 84, "pool_ecosystem_gwei": 40, "staking_pot_gwei": 6,
        "distributor_gwei": 5, "bridge_in_flight_gwei": 6,
    }  # fmt: skip
    assert {name: millions(world, name) for name in expected} == {n: [m] * 3 for n, m in expected.items()}
    parts = sum(
        np.array(recorded(world, f"{n}_gwei")) for n in ("locked", "reserve", "circulating", "burned")
    )
    assert parts.tolist() == [CAP] * 3
    assert recorded(world, "conservation_residual_gwei") == [0] * 3


def test_prices_and_ratios(world):
    small.run_phase_of(world, ECONOMY, "record")
    assert recorded(world, "price_usd") == [0.5] * 3
    assert recorded(world, "market_cap_usd") == [52_500_000.0] * 3
    assert recorded(world, "fdv_usd") == [500_000_000.0] * 3
    assert recorded(world, "mc_over_fdv") == [0.105] * 3
    assert recorded(world, "drawdown") == [0.75] * 3
    assert recorded(world, "staking_ratio") == pytest.approx([9 / 105] * 3)


def test_depth_and_slippage_know_the_venues_fee(world):
    """12.5 M USD, fee 0.1 %: a sale of D USD lowers the price by 2 % where 0.999 D = y (0.98^-0.5 - 1)."""
    small.run_phase_of(world, ECONOMY, "record")
    root = 0.98**0.5
    assert recorded(world, "depth_2pct_usd") == pytest.approx([12_500_000 * (1 / root - 1) / 0.999] * 3)
    filled = 0.999 / (1 + 0.999 * 100_000 / 12_500_000)
    assert recorded(world, "slippage_100k") == pytest.approx([1 - filled] * 3)


def test_the_depth_of_day_0_is_the_scenarios():
    world = small.stand(ECONOMY, 0)
    small.run_phase_of(world, ECONOMY, "record")
    assert recorded(world, "depth_2pct_usd") == pytest.approx([80_000] * 3, rel=1e-9)


def test_a_missing_gwei_is_recorded(world):
    small.give(world, "venue", [25 * MILLION, 25 * MILLION - 3, 25 * MILLION])
    small.run_phase_of(world, ECONOMY, "record")
    assert recorded(world, "conservation_residual_gwei") == [0, 3, 0]
    assert result_of(world).residual_gwei == 3


def test_yields_are_what_was_paid_over_thirty_days(world):
    """9 M staked; 30 days of 3,000 OPEN from fees and 6,000 OPEN from the programme."""
    columns = world.record.columns
    columns["stakers_fee_gwei"][:, 11:40] = 3_000 * GWEI
    columns["stakers_emission_gwei"][:, 11:40] = 6_000 * GWEI
    world.journal.today[("B4", "clearing", "staking_rewards")] = np.full(3, 3_000 * GWEI)
    world.journal.today[("E3", "pool.community.l2", "staking_rewards")] = np.full(3, 6_000 * GWEI)
    small.run_phase_of(world, ECONOMY, "record")
    assert recorded(world, "staking_apr_fee") == pytest.approx([3_000 * 365 / 9e6] * 3)
    assert recorded(world, "staking_apr_emission") == pytest.approx([6_000 * 365 / 9e6] * 3)
    assert recorded(world, "staking_apy") == pytest.approx([np.expm1(9_000 * 365 / 9e6)] * 3)


def test_runway_is_null_while_a_pot_grows():
    """At the end of an epoch: the treasury lost a third within 30 days, so two thirds last two months."""
    world = small.stand(ECONOMY, 61)
    columns = world.record.columns
    small.give(world, "treasury.l2", [20 * MILLION, 40 * MILLION, 0])
    small.give(world, "vesting.team", 0)
    columns["treasury_gwei"][:, 31] = [30 * MILLION, 30 * MILLION, 0]
    small.run_phase_of(world, ECONOMY, "record")
    months = recorded(world, "treasury_runway_months")
    assert months[0] == pytest.approx(2 * 30 / (365 / 12))
    assert np.isnan(months[1])
    assert np.isnan(months[2])


def test_a_ratio_over_nothing_is_null():
    got = ratio(np.array([1, 0, 6]), np.array([0, 0, 3]))
    assert np.isnan(got[:2]).all()
    assert got[2] == 2


def test_parameters_are_null_before_their_date(world):
    small.run_phase_of(world, ECONOMY, "record")
    assert recorded(world, "fees_platform_bps") == [1000] * 3
    assert recorded(world, "quorum_bps") == [500] * 3
    world.governed.write("fees.platform", (1500, 0), np.array([True, False, False]))
    small.run_phase_of(world, ECONOMY, "record")
    assert recorded(world, "fees_platform_bps") == [1500, 1000, 1000]


def test_every_observable_has_a_column_of_its_kind():
    columns = small.stand(ECONOMY, 0).record.columns
    assert set(columns) == {observable.name for observable in OBSERVABLES}
    for name, values in columns.items():
        assert values.shape == (3, 101)
        assert values.dtype == (np.int64 if name.endswith("_gwei") else np.float64)


@pytest.mark.slow
def test_daily_observables_are_daily_and_monthly_ones_monthly():
    economy = small.busy(days=62)
    world = small.world_after(economy, 62)
    for observable in OBSERVABLES:
        values = world.record.columns[observable.name]
        if observable.name.endswith("_gwei") or not observable.monthly:
            continue
        others = [day for day in range(63) if day not in (30, 61)]
        assert np.isnan(values[:, others]).all(), observable.name


def test_ratios_are_the_same_however_many_days_are_derived_at_once():
    """Bit for bit: a month at once, day by day, and all days; a sum of 30 days is numpy's over one run's days."""
    economy = small.economy(days=75)
    world = small.world_after(economy, 75)
    record = world.record
    record.settle()
    for stretches in ([(0, 75)], [(day, day) for day in range(76)], [(0, 28), (29, 30), (31, 75)]):
        again = {name: values.copy() for name, values in record.by_day.items()}
        for first, last in stretches:
            ratios.derive(again, first, last, record.terms)
        for name, values in record.by_day.items():
            assert np.array_equal(values, again[name], equal_nan=values.dtype.kind == "f"), name
    for name in ("fee_gross_usd", "unlock_flow_gwei", "volume_usd"):
        got = ratios.trailing(record.by_day[name], 0, 75)
        for day in (0, 5, 29, 30, 75):
            window = record.columns[name][:, max(day - 29, 0) : day + 1].astype(np.float64, order="C")
            assert (got[day] == np.nansum(window, axis=1)).all()


def test_a_day_that_does_not_follow_is_derived_alone(world):
    small.run_phase_of(world, ECONOMY, "record")
    assert (world.record.first, world.record.last) == (40, 40)
    assert recorded(world, "mc_over_fdv") == [0.105] * 3
    assert (world.record.first, world.record.last) == (41, 40)
    assert np.isnan(world.record.columns["mc_over_fdv"][:, 39]).all()


def test_a_groups_rows_hold_what_its_people_hold():
    economy = small.busy(days=62)
    world = small.world_after(economy, 61)
    rows = world.record.groups
    keys = zip(rows["day"], rows["run"], rows["class"], rows["decile"], strict=True)
    held = dict(zip(keys, rows["holding_gwei"], strict=True))
    for row, run in enumerate(small.RUNS.tolist()):
        for name, _ in world.layout.counts[:9]:
            columns = world.layout.slice(name)
            own = world.holdings[:, row, columns].sum() + world.earned[row, columns].sum()
            assert held[61, run, name, 0] == own
        assert sum(held[61, run, "holders", decile] for decile in range(1, 11)) == held[61, run, "holders", 0]
