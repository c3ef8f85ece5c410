"""The engine under random scenarios and batches: no gwei is ever lost, and a run is what it is in any company."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sim import identities
from sim.begin import begin_world
from sim.clock import advance_day
from sim.engine import run_batch
from sim.experiment.execute import Order, run_experiment
from sim.observables import OBSERVABLES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
import small_world as small

DAYS = 40

SETTINGS = st.fixed_dictionaries(
    {
        "fees.platform": st.integers(0, 50).map(lambda x: f"{x} %"),
        "fees.burn": st.integers(0, 20).map(lambda x: f"{x} %"),
        "fees.split": st.tuples(*[st.integers(0, 9)] * 3)
        .filter(any)
        .map(lambda x: f"{{model: {x[0]}, stakers: {x[1]}, contributors: {x[2]}}}"),
        "emission.monthly.stakers": st.integers(0, 20_000_000).map(lambda x: f"{x} OPEN"),
        "emission.monthly.contributors": st.integers(0, 20_000_000).map(lambda x: f"{x} OPEN"),
        "bridge.fast_exit.fee": st.integers(0, 100).map(lambda x: f"{x / 10} %"),
        "bridge.window": st.integers(1, 20).map(lambda x: f"{x} d"),
        "market.volatility": st.integers(0, 300).map(lambda x: f"{x} %/year"),
        "market.buyback.usd": st.integers(0, 500_000).map(lambda x: f"{x} USD/month"),
        "agents.holders.sell.monthly": st.integers(0, 100).map(lambda x: f"{x} %"),
        "agents.holders.plan.participate": st.integers(0, 100).map(lambda x: f"{x} %"),
        "grants.monthly": st.integers(0, 3_000_000).map(lambda x: f"{x} OPEN"),
    }
)
FAST = (
    "fees.input=0.10 USD/1M tokens", "fees.output=0.40 USD/1M tokens", "demand.adoption.bass.p=0.05/day",
)  # fmt: skip


def economy(chosen):
    return small.economy(*FAST, *(f"{path}={value}" for path, value in chosen.items()), agents=50, days=DAYS)


def conserves(chosen, runs):
    """Live through the days; every identity is checked on each, and once more here."""
    built = economy(chosen)
    world = begin_world(built, np.array(runs), runs[0])
    for day in range(DAYS + 1):
        advance_day(world, built, day)
    sums, least = identities.totals(world)
    assert (world.balances.sum(axis=1) + sums.sum(axis=1) == 10**18).all()
    assert least.min() >= 0
    assert world.balances.min() >= 0
    assert (world.expected_world == world.balances).all()
    assert (world.expected_agent == sums).all()
    assert np.isfinite(world.price_usd).all()
    assert world.price_usd.min() > 0


@settings(max_examples=4)
@given(SETTINGS, st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True))
@example({"agents.holders.sell.monthly": "100 %", "agents.holders.plan.participate": "0 %"}, [9126])
def test_no_scenario_loses_a_gwei(chosen, runs):
    conserves(chosen, runs)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(SETTINGS, st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True))
@example({"emission.monthly.stakers": "500_000_000 OPEN"}, [0])
@example({"agents.holders.sell.monthly": "100 %", "market.depth_2pct": "1_000 USD"}, [0, 1])
@example({"market.open_price": "0.0001 USD", "market.depth_2pct": "10 USD"}, [0])
@example({"bridge.fast_exit.share": "100 %", "bridge.fast_exit.inventory": "0 OPEN"}, [0])
@example({"gas.price": "1_000_000 gwei/gas"}, [0])
def test_no_scenario_at_all_loses_a_gwei(chosen, runs):
    conserves(chosen, runs)


@pytest.mark.slow
@settings(max_examples=6)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=5, unique=True), st.data())
def test_a_run_is_the_same_in_any_batch(runs, data):
    built = economy({})
    cut = data.draw(st.integers(1, len(runs) - 1))
    whole = run_batch(built, np.array(runs))
    parts = [run_batch(built, np.array(runs[:cut])), run_batch(built, np.array(runs[cut:]))]
    for observable in OBSERVABLES:
        name = observable.name
        joined = np.concatenate([part.metrics[name] for part in parts])
        assert np.array_equal(joined, whole.metrics[name], equal_nan=not name.endswith("_gwei")), name


def parquet(economy, out, workers=1):
    order = Order(economy=economy, out=out, workers=workers, chain=False, resume=False, command="a test")
    return (run_experiment(order, lambda progress: None) / "metrics.parquet").read_bytes()


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    built = small.economy(*FAST, "runs.count=2", "runs.twin_runs=1", agents=50, days=12)
    assert parquet(built, tmp_path / "a") == parquet(built, tmp_path / "b")


@pytest.mark.slow
def test_neither_the_number_of_workers_nor_the_seed_of_another_run_shows(tmp_path):
    built = small.economy(*FAST, "runs.count=5", "runs.twin_runs=1", agents=50, days=12)
    one = parquet(built, tmp_path / "one")
    assert one == parquet(built, tmp_path / "two", workers=2)
    other = small.economy(*FAST, "runs.count=5", "runs.twin_runs=1", "runs.seed=8", agents=50, days=12)
    assert one != parquet(other, tmp_path / "other")
