"""Replicas of its own for every model: equal to simulated queues, one for each, and to plain arithmetic."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.dedicated import hosting, replicas_needed
from models.serving import usd_per_million_tokens, zipf_popularity
from sim.serving import (
    DedicatedFleet,
    FleetGroup,
    FleetShape,
    ServingDay,
    Traffic,
    draw_requests,
    read_profile,
    simulate,
)
from sim.serving.dedicated import merged_profile

CPU = read_profile(Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json")
MODELS = 60
TOKENS = 1200.0


@pytest.fixture(scope="module")
def fleet() -> DedicatedFleet:
    traffic = Traffic(1000.0, 200.0, MODELS, 1.0)
    return DedicatedFleet.build([FleetGroup(CPU, 8, 0.4)], traffic, slo_ttft_p95_s=1.0, seed=7)


def a_day(fleet: DedicatedFleet, tokens, replicas, backlog: float = 0.0) -> ServingDay:
    tokens = np.asarray(tokens, float)
    count = np.full(len(tokens), replicas) if np.ndim(replicas) == 0 else replicas
    return fleet.day(tokens * 5 / 6, tokens / 6, count, np.full(len(tokens), backlog))


@given(
    models=st.integers(1, 60),
    zipf=st.floats(0.0, 2.0),
    replicas=st.integers(1, 200),
)
def test_spare_replicas_go_one_by_one_to_the_busiest(models, zipf, replicas):
    popularity = zipf_popularity(models, zipf)
    plain = (np.arange(models) < replicas).astype(int)
    for _ in range(max(replicas - models, 0)):
        plain[np.argmax(popularity / plain)] += 1
    found = hosting(popularity, replicas)
    assert found.sum() == plain.sum() == replicas
    held = found > 0
    if held.any():
        assert (popularity[held] / found[held]).max() == pytest.approx((popularity[held] / plain[held]).max())


@given(load=st.floats(0.0, 500.0), bound=st.floats(0.1, 1.0))
def test_the_needed_replicas_hold_every_model_below_the_bound(load, bound):
    popularity = zipf_popularity(MODELS, 1.0)
    needed = int(replicas_needed(popularity, np.array([load]), bound)[0])
    assert needed >= MODELS
    assert (load * popularity / hosting(popularity, needed)).max() <= bound * (1 + 1e-9)


DEMAND = np.concatenate(([0.0], np.geomspace(1e4, 1e12, 60)))


@pytest.mark.parametrize(("replicas", "backlog"), [(8, 0.0), (60, 3e6), (0, 5e5), (200, 1e12)])
def test_every_token_is_served_refused_or_waiting(fleet, replicas, backlog):
    day = a_day(fleet, DEMAND, replicas, backlog)
    total = day.served_in + day.served_out + day.refused_tokens + day.backlog_tokens
    assert np.allclose(total, DEMAND + backlog, rtol=1e-12, atol=1e-6)
    for field in fields(ServingDay):
        values = getattr(day, field.name)
        assert np.isfinite(values).all(), field.name
        assert (values >= 0).all(), field.name
    assert (day.utilisation <= 1.0 + 1e-12).all()
    if replicas:
        for name in ("latency_p50_s", "ttft_p99_s", "latency_p99_s", "replicas_needed"):
            assert (np.diff(getattr(day, name)) >= -1e-9).all(), name


def test_models_without_a_replica_are_refused(fleet):
    day = a_day(fleet, [1e6, 1e6, 1e6], np.array([1, 8, MODELS]))
    popularity = zipf_popularity(MODELS, 1.0)
    served = day.served_in + day.served_out
    assert served == pytest.approx([1e6 * popularity[:n].sum() for n in (1, 8, MODELS)], rel=1e-9)
    assert day.refused_tokens[2] == 0.0


def test_times_are_those_of_a_simulated_queue_for_each_replica(fleet):
    """Pooled latencies of one SimPy window per model's replica, at loads from idle to 0.6."""
    replicas = 66
    hosts = hosting(zipf_popularity(MODELS, 1.0), replicas)
    popularity, merged = zipf_popularity(MODELS, 1.0), merged_profile(CPU)
    capacity = float(fleet.base.surfaces[0].capacity(np.ones(1))[0])
    rate = 0.6 * capacity / (popularity / hosts).max()
    latency, ttft = [], []
    for model, (share, count) in enumerate(zip(popularity, hosts, strict=True)):
        requests = max(round(24_000 * share), 300)
        window = draw_requests(
            requests, rate * share / count, adapters=1, zipf=0.0, input_tokens=1000, output_tokens=200,
            length_cv=0.5, seed=1000 + model,
        )  # fmt: skip
        found = simulate(merged, FleetShape(1, CPU.batch_max, 1), window)
        skip = requests // 10
        weight = share / (requests - skip)
        latency += [(value, weight) for value in found.latency_s[skip:]]
        ttft += [(value, weight) for value in found.ttft_s[skip:]]
    day = a_day(fleet, [rate * 86_400 * TOKENS], replicas)
    for kind, pooled in (("latency", latency), ("ttft", ttft)):
        values, weights = np.array(sorted(pooled)).T
        for level, tolerance in ((50, 0.03), (95, 0.05), (99, 0.08)):
            simulated = np.interp(level / 100, np.cumsum(weights), values)
            assert getattr(day, f"{kind}_p{level}_s")[0] == pytest.approx(simulated, rel=tolerance), (
                kind,
                level,
            )
    assert day.utilisation[0] == pytest.approx(rate / capacity / replicas, rel=1e-9)


def test_a_merged_replica_is_never_slower_than_a_shared_one_of_the_same_load():
    merged = merged_profile(CPU)
    assert merged.fit.c == 0.0
    requests = draw_requests(
        300, 3.0, adapters=8, zipf=1.0, input_tokens=100, output_tokens=30, length_cv=0.5, seed=1
    )
    alone, shared = (
        simulate(profile, FleetShape(1, 16, 8), replace(requests, adapter=adapter))
        for profile, adapter in ((merged, np.zeros_like(requests.adapter)), (CPU, requests.adapter))
    )
    assert (alone.latency_s <= shared.latency_s + 1e-12).all()


def test_low_demand_cannot_pay_for_a_machine_per_model(fleet):
    """The cost per token of idle machines, from hours and tokens alone."""
    tokens = np.array([6e6, 6e7, 6e10])
    needed = fleet.replicas_needed(tokens, np.full(3, MODELS))
    assert needed[0] == needed[1] == MODELS
    assert needed[2] > MODELS
    cost = usd_per_million_tokens(0.4, needed, tokens)
    assert cost[0] == pytest.approx(MODELS * 0.4 * 24 / 6)
    assert (np.diff(cost) < 0).all()


def test_more_models_on_offer_need_more_machines(fleet):
    tokens = np.full(3, 1e6)
    day = fleet.day(tokens, tokens, np.full(3, 60), np.zeros(3), adapters=np.array([10.0, 60.0, 90.0]))
    assert day.replicas_needed.tolist() == [10, 60, 90]
    assert (day.refused_tokens[:2] == 0.0).all()
    assert day.refused_tokens[2] > 0.0


def test_two_kinds_of_machine_lie_between_the_two(fleet):
    fast = replace(CPU, sha256="0" * 64, fit=replace(CPU.fit, a=CPU.fit.a / 4, b=CPU.fit.b / 4))
    both = DedicatedFleet.build(
        [FleetGroup(CPU, 1, 0.4), FleetGroup(fast, 1, 0.8)], fleet.traffic, slo_ttft_p95_s=1.0, seed=7
    )
    day = both.day(np.array([5e8]), np.array([1e8]), np.array([[40, 40]]), np.zeros(1))
    slow = a_day(fleet, [6e8], 80)
    assert day.latency_p50_s[0] < slow.latency_p50_s[0]
    assert day.usd_cost[0] == pytest.approx(24 * 40 * (0.4 + 0.8))
    assert day.served_by_group[0].sum() == pytest.approx(6e8, rel=1e-9)
