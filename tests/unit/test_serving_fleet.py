"""The day of serving: conservation, overload, monotone response, the surface's error on fresh windows."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.caching import cache_hit_rate, mean_load_ms
from models.serving import (
    PromptFit,
    expected_distinct,
    prompt_work_ms,
    request_work_ms,
    zipf_popularity,
)
from sim.serving import FleetGroup, FleetModel, ServingDay, Traffic, read_profile
from sim.serving.surface import RHO_GRID
from sim.serving.week import check_week

pytestmark = pytest.mark.slow

CPU = read_profile(Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json")
TRAFFIC = Traffic(1000.0, 200.0, 1200, 1.0)


@cache
def of_policy(policy: str) -> FleetModel:
    return build(policy)


def build(
    cache_policy: str = "lru",
    fleet: list[FleetGroup] | None = None,
    traffic: Traffic = TRAFFIC,
    seed: int = 7,
    slo: float = 1.0,
    **changes: object,
) -> FleetModel:
    groups = fleet or [FleetGroup(CPU, 8, 0.4)]
    return FleetModel.build(
        groups, traffic, cache_policy=cache_policy, slo_ttft_p95_s=slo, seed=seed, **changes
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
        assert values.shape == ((*DEMAND.shape, 1) if field.name == "served_by_group" else DEMAND.shape)
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
    times = [f"{kind}_p{level}_s" for kind in ("ttft", "latency") for level in (50, 95, 99)]
    for name in (*times, "utilisation", "replicas_needed"):
        assert (np.diff(getattr(day, name)) >= -1e-12).all(), name
    assert (day.latency_p99_s >= day.latency_p95_s).all()
    assert (day.latency_p95_s >= day.latency_p50_s).all()
    assert (day.ttft_p99_s <= day.latency_p99_s).all()
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
    copy = mean_load_ms(
        hit, 1.0, CPU.gpu_hit_ms, CPU.host_load_ms, 0.0
    )  # reads from disk keep nobody waiting
    step = CPU.decode_ms(32, float(expected_distinct(popularity, 32)), 1100)
    prompt = prompt_work_ms(CPU.joining, 1000, CPU.step_tokens)
    formula = 1e3 / float(request_work_ms(prompt, copy, 200, step, 32))
    # Context in flight is length-biased (longer requests stay longer); the formula takes mean lengths.
    assert float(model.surfaces[0].capacity(np.array([1200.0]))[0]) == pytest.approx(formula, rel=0.06)


@pytest.mark.parametrize("policy", ["lru", "unload_always", "resident"])
def test_the_surface_is_right_within_three_per_cent_where_it_was_not_built(policy):
    error = of_policy(policy).error(seed=99)
    assert error.median < 0.03
    assert error.largest < 0.5
    for name, (median, worst) in error.by_number().items():
        assert median < (0.10 if name == "hit_rate" else 0.05), name
        assert worst >= median, name
    assert error.by_number()["capacity_tokens"][1] < 0.02
    assert np.all(np.abs(np.subtract.outer(error.rho, RHO_GRID)) > 1e-6)
    overloaded = error.rho > 1.0
    assert 0 < overloaded.sum() < error.rho.size
    assert np.median(error.times[overloaded]) < 0.05


def test_the_error_depends_on_its_seed_alone(model):
    one, again, other = (model.error(seed) for seed in (4, 4, 5))
    assert np.array_equal(one.times, again.times)
    assert not np.array_equal(one.rho, other.rho)


def test_a_surface_that_is_wrong_says_so(model):
    surface = model.surfaces[0]
    wrong = replace(surface, latency_s=1.2 * surface.latency_s)
    found = replace(model, surfaces=(wrong,)).error(seed=99)
    assert found.by_number()["latency_p50_s"][0] > 0.15
    assert found.by_number()["ttft_p50_s"][0] < 0.03


def test_a_week_of_overload_is_what_its_fluid_days_say(model):
    week = check_week(model, seed=3, rho=(0.9, 1.4, 1.05, 0.7))
    assert np.allclose(week.served[0], week.served[1], atol=0.01)
    assert np.allclose(week.refused[0], week.refused[1], atol=0.01)
    assert week.refused[0, 1] == pytest.approx(0.4, abs=0.01)
    assert np.median(week.times) < 0.05
    assert week.times[1:3].max() < 0.10


def test_a_week_is_checked_where_one_replica_stands_for_all():
    with pytest.raises(ValueError, match="one kind of machine"):
        check_week(of_policy("resident"), seed=1)


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


@pytest.mark.parametrize("count", [1.0, 300.0, 700.0, 1200.0, 9000.0])
def test_one_count_of_adapters_for_all_runs_is_read_as_many_are(model, count):
    """A count that all runs share is placed once, and on a mix of the grid no other mix is read."""
    surface, rho = model.surfaces[0], np.array([0.0, 0.3, RHO_GRID[-1], 0.99, 1.0, np.inf, 0.5])
    alike, among = np.full(rho.size, count), np.array([count] * (rho.size - 1) + [500.0])
    for read in (surface.latency, surface.ttft, surface.hit_rate):
        assert (read(rho, alike)[..., :-1] == read(rho, among)[..., :-1]).all()
    for read in (surface.capacity, surface.full_latency, surface.full_ttft):
        assert (read(alike)[..., :-1] == read(among)[..., :-1]).all()


def test_identical_groups_equal_one_group(model):
    split = build(fleet=[FleetGroup(CPU, 3, 0.4), FleetGroup(CPU, 5, 0.4)])
    one, two = a_day(model, DEMAND), a_day(split, DEMAND)
    for field in fields(ServingDay):
        if field.name == "served_by_group":
            continue
        # quantiles of a mixture are read off a common axis, 4 % of a decade apart
        loose = 0.01 if "_p" in field.name else 1e-9
        assert np.allclose(getattr(one, field.name), getattr(two, field.name), rtol=loose), field.name
    assert np.allclose(two.served_by_group.sum(axis=1), one.served_by_group[:, 0], rtol=1e-9)


def quicker(prompts: PromptFit) -> PromptFit:
    return PromptFit(prompts.base / 4, prompts.chunk / 4, prompts.token / 4)


FAST = replace(
    CPU, sha256="0" * 64, prompts=quicker(CPU.prompts), joining=quicker(CPU.joining),
    fit=replace(CPU.fit, a=CPU.fit.a / 4, b=CPU.fit.b / 4, c=CPU.fit.c / 4, d=CPU.fit.d / 4),
)  # fmt: skip
"""A machine that does everything in a quarter of the time."""


@cache
def mixed(routing: str) -> FleetModel:
    return build(fleet=[FleetGroup(CPU, 4, 0.4), FleetGroup(FAST, 4, 4.0)], routing=routing)


def test_a_faster_group_adds_capacity(model):
    day, plain = a_day(mixed("capacity"), np.array([1e8])), a_day(model, np.array([1e8]))
    assert day.capacity_tokens[0] == pytest.approx(2.5 * plain.capacity_tokens[0], rel=0.02)
    assert day.usd_cost[0] == pytest.approx(24 * (4 * 0.4 + 4 * 4.0))
    slow, fast = day.served_by_group[0]
    assert fast == pytest.approx(4 * slow, rel=0.02)
    # users of both kinds together: between what either alone would give
    alone = a_day(build(fleet=[FleetGroup(FAST, 8, 4.0)]), np.array([1e8]))
    assert alone.latency_p50_s[0] < day.latency_p50_s[0] < plain.latency_p50_s[0]


def test_cheapest_first_fills_the_cheap_machines_up_to_the_bound():
    demand = np.array([1e5, 1e8, 1e9, 1e12])
    cheap, even = a_day(mixed("cheapest"), demand), a_day(mixed("capacity"), demand)
    assert cheap.served_by_group[0, 1] == 0.0
    share = cheap.served_by_group[:, 0] / cheap.served_by_group.sum(axis=1)
    assert (np.diff(share) <= 1e-12).all()
    assert np.allclose(cheap.served_by_group[-1], even.served_by_group[-1], rtol=1e-6)
    total = cheap.served_in + cheap.served_out + cheap.refused_tokens + cheap.backlog_tokens
    assert np.allclose(total, demand, rtol=1e-9)


def test_replicas_by_group_are_taken_as_they_are():
    fleet, zero = mixed("capacity"), np.zeros(2)
    day = fleet.day(zero, zero, np.array([[8, 0], [0, 2]]), zero)
    assert day.usd_cost == pytest.approx([24 * 8 * 0.4, 24 * 2 * 4.0])
    assert day.capacity_tokens[0] == pytest.approx(day.capacity_tokens[1], rel=0.02)


def test_the_needed_replicas_keep_the_bound_and_one_less_does_not(model):
    tight = replace(model, slo_ttft_p95_s=0.2, utilisation_max=(model.surfaces[0].utilisation_at(0.2),))
    demand = np.geomspace(1e7, 1e10, 40)
    needed = tight.replicas_needed(demand, np.full(40, 1))
    day = tight.day(demand * 5 / 6, demand / 6, needed[:, None], np.zeros(40))
    assert day.slo_met.all()
    assert (day.replicas_needed == needed).all()
    fewer = tight.day(demand * 5 / 6, demand / 6, (needed - 1)[:, None], np.zeros(40))
    assert not fewer.slo_met[(needed > 1) & (needed < 200)].any()


def test_an_unreachable_bound_leaves_capacity_to_decide(model):
    assert model.surfaces[0].utilisation_at(1e-6) == model.surfaces[0].rho[-1]
    assert model.surfaces[0].utilisation_at(1e6) == model.surfaces[0].rho[-1]


def test_resident_policy_refuses_the_long_tail(model):
    day = a_day(of_policy("resident"), np.array([1e6]))
    reach = zipf_popularity(1200, 1.0)[: CPU.slots].sum()
    assert (day.served_in + day.served_out)[0] == pytest.approx(1e6 * reach, rel=1e-9)
    assert day.hit_rate[0] == 1.0


def test_resident_adapters_may_be_split_over_the_needed_replicas():
    day = a_day(of_policy("resident"), np.array([0.0, 1e6]))
    assert (day.replicas_needed == -(-1200 // CPU.slots)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slo": 0.0}, "slo 0.0 s"),
        ({"cache_policy": "mru"}, "policy 'mru' must be one of lru, unload_always, resident, dedicated"),
        ({"routing": "random"}, "routing 'random' must be one of capacity, cheapest"),
    ],
)
def test_bad_numbers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_empty_groups_and_traffic_are_refused():
    with pytest.raises(ValueError, match="count 0 must be 1 or more"):
        FleetGroup(CPU, 0, 0.4)
    with pytest.raises(ValueError, match="adapters 0 must be 1 or more"):
        Traffic(1000.0, 200.0, 0, 1.0)
    with pytest.raises(ValueError, match=r"output_tokens 0\.0"):
        Traffic(1000.0, 0.0, 1200, 1.0)
