"""The day of serving: conservation, overload, monotone response, the surface's error on fresh windows."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.serving import (
    cache_hit_rate,
    expected_distinct,
    mean_load_ms,
    request_work_ms,
    step_time_ms,
    zipf_popularity,
)
from sim.serving import FleetGroup, FleetModel, ServingDay, read_profile

pytestmark = pytest.mark.slow

CPU = read_profile(Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json")
SCENARIO = {
    "input_tokens_per_request": 1000.0,
    "output_tokens_per_request": 200.0,
    "adapters": 1200,
    "zipf": 1.0,
    "slo_ttft_p95_s": 1.0,
    "seed": 7,
}


@cache
def of_policy(policy: str) -> FleetModel:
    return build(policy)


def build(cache_policy: str = "lru", fleet: list[FleetGroup] | None = None, **changes: object) -> FleetModel:
    return FleetModel.from_scenario(
        fleet or [FleetGroup(CPU, 8, 0.4)], cache_policy=cache_policy, **(SCENARIO | changes)
    )


@pytest.fixture(scope="module")
def model() -> FleetModel:
    return of_policy("lru")


def a_day(model: FleetModel, tokens: np.ndarray, replicas: int = 8, backlog: float = 0.0) -> ServingDay:
    runs = len(tokens)
    return model.day(tokens * 5 / 6, tokens / 6, np.full(runs, replicas), np.full(runs, backlog))


DEMAND = np.concatenate(([0.0], np.geomspace(1e4, 1e12, 160)))


@pytest.mark.parametrize("policy", ["lru", "unload_always", "resident"])
@pytest.mark.parametrize(("replicas", "backlog"), [(8, 0.0), (8, 3e6), (0, 5e5), (1, 1e12)])
def test_every_token_is_served_refused_or_waiting(policy, replicas, backlog):
    day = a_day(of_policy(policy), DEMAND, replicas, backlog)
    total = day.served_in + day.served_out + day.refused_tokens + day.backlog_tokens
    assert np.allclose(total, DEMAND + backlog, rtol=1e-12, atol=1e-6)
    for field in fields(ServingDay):
        values = getattr(day, field.name)
        assert values.shape == DEMAND.shape
        assert np.isfinite(values).all(), field.name
        assert (values >= 0).all(), field.name
    assert (day.utilisation <= 1.0).all()


def test_light_load_is_served_whole_and_fast(model):
    day = a_day(model, np.array([1e6]))
    assert (day.served_in + day.served_out)[0] == pytest.approx(1e6, rel=1e-12)
    assert day.refused_tokens[0] == day.backlog_tokens[0] == 0.0
    assert day.slo_met[0]


def test_response_is_monotone_in_demand(model):
    day = a_day(model, DEMAND)
    for name in ("latency_p50_s", "latency_p95_s", "ttft_p95_s", "utilisation"):
        assert (np.diff(getattr(day, name)) >= -1e-12).all(), name
    assert (day.latency_p95_s >= day.latency_p50_s).all()
    assert not day.slo_met[-1]


def test_overload_serves_capacity_and_bounds_the_wait(model):
    day = a_day(model, np.array([1e9, 1e12]))
    served = day.served_in + day.served_out
    assert served[1] == pytest.approx(day.capacity_tokens[1], rel=1e-9)
    assert day.utilisation[1] == 1.0
    assert day.backlog_tokens[1] == pytest.approx(
        day.capacity_tokens[1] * model.max_wait_s / 86_400, rel=1e-9
    )
    assert day.latency_p50_s[1] < model.max_wait_s + 60.0


def test_cost_counts_replicas_used_or_not(model):
    assert a_day(model, np.array([0.0]), replicas=8).usd_cost[0] == pytest.approx(8 * 24 * 0.4)


def test_capacity_grows_with_replicas_and_shrinks_with_adapters(model):
    runs = np.zeros(3)
    by_replicas = model.day(runs, runs, np.array([1, 2, 40]), runs).capacity_tokens
    assert by_replicas == pytest.approx(by_replicas[0] * np.array([1, 2, 40]))
    by_adapters = model.day(runs, runs, np.full(3, 8), runs, adapters=np.array([300.0, 1200.0, 4800.0]))
    assert (np.diff(by_adapters.capacity_tokens) < 0).all()
    assert (np.diff(by_adapters.hit_rate) < 0).all()


def test_saturated_windows_agree_with_the_formulas(model):
    popularity = zipf_popularity(1200, 1.0)
    hit = cache_hit_rate(popularity, CPU.slots, "lru")
    host = cache_hit_rate(popularity, CPU.host_slots, "lru")
    load = mean_load_ms(hit, host, CPU.gpu_hit_ms, CPU.host_load_ms, CPU.disk_load_ms)
    step = step_time_ms(CPU.fit, 32, expected_distinct(popularity, 32), CPU.rank, 1100)
    prefill = CPU.prefill_base_ms + CPU.prefill_ms_per_token * 1000
    formula = 1e3 / float(request_work_ms(prefill, load, 200, step, 32))
    # Context in flight is length-biased (longer requests stay longer); the formula takes mean lengths.
    assert float(model.surfaces[0].capacity(np.array([1200.0]))[0]) == pytest.approx(formula, rel=0.06)


def test_surface_error_against_fresh_windows_is_bounded(model):
    error = model.surfaces[0].error(seed=99)
    assert error.latency_p50_median < 0.05
    assert error.latency_p50_max < 0.20
    assert error.latency_p95_median < 0.10
    assert error.latency_p95_max < 0.25


def test_building_is_deterministic_and_the_model_pickles(model):
    again = pickle.loads(pickle.dumps(build()))
    one, two = a_day(model, DEMAND), a_day(again, DEMAND)
    for field in fields(ServingDay):
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name)), field.name
    other = a_day(build(seed=8), DEMAND)
    assert not np.array_equal(one.latency_p95_s, other.latency_p95_s)


def test_runs_do_not_see_each_other(model):
    whole = a_day(model, DEMAND)
    for run in (0, 40, 160):
        alone = a_day(model, DEMAND[run : run + 1])
        for field in fields(ServingDay):
            assert getattr(alone, field.name)[0] == getattr(whole, field.name)[run], field.name


def test_identical_groups_equal_one_group(model):
    split = build(fleet=[FleetGroup(CPU, 3, 0.4), FleetGroup(CPU, 5, 0.4)])
    one, two = a_day(model, DEMAND), a_day(split, DEMAND)
    for field in fields(ServingDay):
        assert np.allclose(getattr(one, field.name), getattr(two, field.name), rtol=1e-9), field.name


def test_a_faster_group_adds_capacity(model):
    fast = replace(
        CPU, sha256="0" * 64, fit=replace(CPU.fit, a=CPU.fit.a / 4, b=CPU.fit.b / 4, d=CPU.fit.d / 4)
    )
    mixed = build(fleet=[FleetGroup(CPU, 4, 0.4), FleetGroup(fast, 4, 2.0)])
    day, plain = a_day(mixed, np.array([1e8])), a_day(model, np.array([1e8]))
    assert day.capacity_tokens[0] > 1.2 * plain.capacity_tokens[0]
    assert day.usd_cost[0] == pytest.approx(24 * (4 * 0.4 + 4 * 2.0))


def test_resident_policy_refuses_the_long_tail(model):
    day = a_day(of_policy("resident"), np.array([1e6]))
    reach = zipf_popularity(1200, 1.0)[: CPU.slots].sum()
    assert (day.served_in + day.served_out)[0] == pytest.approx(1e6 * reach, rel=1e-9)
    assert day.hit_rate[0] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapters": 0}, "adapters 0 must be 1 or more"),
        ({"output_tokens_per_request": 0.0}, "output_tokens 0.0"),
        ({"slo_ttft_p95_s": 0.0}, "slo 0.0 s"),
        ({"cache_policy": "mru"}, "policy 'mru' must be one of"),
    ],
)
def test_bad_numbers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
    with pytest.raises(ValueError, match="count 0 must be 1 or more"):
        FleetGroup(CPU, 0, 0.4)
