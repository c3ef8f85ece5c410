"""The SimPy fleet: equal to plain recursions where those exist, and close to what the node measured."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.serving import StepFit, cache_hit_rate, zipf_popularity
from sim.serving import FleetShape, Requests, ServingProfile, draw_requests, read_profile, simulate

CPU = read_profile(Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json")


def profile(**changes: object) -> ServingProfile:
    """Return round numbers: step 2 + batch/4 ms, prefill 5 + tokens/8 ms, loads free."""
    plain = replace(
        CPU, fit=StepFit(2.0, 0.25, 0.0, 0.0, 1.0, 0.0), prefill_base_ms=5.0, prefill_ms_per_token=0.125,
        gpu_hit_ms=0.0, host_load_ms=0.0, disk_load_ms=0.0,
    )  # fmt: skip
    return replace(plain, **changes)


def traffic(
    count: int, rate: float, *, seed: int = 3, adapters: int = 20, zipf: float = 1.0, cv: float = 0.8
) -> Requests:
    return draw_requests(
        count, rate, adapters=adapters, zipf=zipf, input_tokens=80, output_tokens=24, length_cv=cv, seed=seed
    )


@pytest.mark.parametrize("servers", [1, 3])
def test_waits_of_one_row_replicas_equal_the_fcfs_recursion(servers):
    fleet = profile()
    requests = traffic(4000, 0.9 * servers / 0.0685)
    found = simulate(fleet, FleetShape(servers, 1, 32), requests)
    service = 1e-3 * (5.0 + 0.125 * requests.input_tokens + 2.25 * (requests.output_tokens - 1))
    free = [0.0] * servers
    expected = np.empty(len(service))
    for i, (at, work) in enumerate(zip(requests.arrival_s, service, strict=True)):
        start = max(at, heapq.heappop(free))
        expected[i] = start - at
        heapq.heappush(free, start + work)
    assert np.max(np.abs(found.wait_s - expected)) < 1e-9
    assert np.max(np.abs(found.latency_s - expected - service)) < 1e-9
    assert expected.max() > 0.1


def step_by_step(fleet: ServingProfile, batch_max: int, requests: Requests) -> np.ndarray:
    """Serve one replica one step at a time, without any fast-forward, and return latencies."""
    waiting, rows, now, after = [], [], 0.0, 0
    latency, count, fit = np.empty(len(requests.arrival_s)), len(requests.arrival_s), fleet.fit
    while after < count or waiting or rows:
        if not rows and not waiting:
            now = max(now, float(requests.arrival_s[after]))
        while after < count and requests.arrival_s[after] <= now:
            waiting.append(after)
            after += 1
        while waiting and len(rows) < batch_max:
            request = waiting.pop(0)
            now += 1e-3 * (
                fleet.prefill_base_ms + fleet.prefill_ms_per_token * requests.input_tokens[request]
            )
            rows.append(
                [request, int(requests.output_tokens[request]) - 1, int(requests.input_tokens[request]) + 1]
            )
        for row in [row for row in rows if row[1] == 0]:
            latency[row[0]] = now - requests.arrival_s[row[0]]
            rows.remove(row)
        if rows:
            distinct = len({int(requests.adapter[row[0]]) for row in rows})
            context = sum(row[2] for row in rows)
            now += 1e-3 * (fit.a + fit.b * len(rows) + fit.c * distinct * fleet.rank + fit.d * context)
        for row in rows:
            row[1] -= 1
            row[2] += 1
        for row in [row for row in rows if row[1] == 0]:
            latency[row[0]] = now - requests.arrival_s[row[0]]
            rows.remove(row)
    return latency


@pytest.mark.parametrize("rate", [5.0, 25.0, 200.0])
def test_fast_forward_gives_the_times_of_single_steps(rate):
    fleet = profile(fit=StepFit(2.0, 0.25, 0.01, 0.002, 1.0, 0.0))
    requests = traffic(500, rate)
    found = simulate(fleet, FleetShape(1, 8, 32), requests)
    assert np.max(np.abs(found.latency_s - step_by_step(fleet, 8, requests))) < 1e-9


def test_lru_hits_equal_a_plain_lru_and_come_near_the_formula():
    fleet = profile(gpu_hit_ms=0.001, host_load_ms=0.5)
    requests = traffic(20_000, 5.0, adapters=200, cv=0.0)
    found = simulate(fleet, FleetShape(1, 1, 16), requests)
    cache: OrderedDict[int, None] = OrderedDict((adapter, None) for adapter in reversed(range(16)))
    expected = []
    for adapter in requests.adapter.tolist():
        expected.append(adapter in cache)
        if adapter not in cache:
            cache.popitem(last=False)
        cache[adapter] = None
        cache.move_to_end(adapter)
    assert found.hit.tolist() == expected
    assert found.hit.mean() == pytest.approx(cache_hit_rate(zipf_popularity(200, 1.0), 16, "lru"), abs=0.01)


def test_unloading_always_costs_more_than_lru():
    fleet = profile(gpu_hit_ms=0.001, host_load_ms=5.0)
    requests = traffic(3000, 15.0)
    lru, unload = (
        simulate(fleet, FleetShape(1, 8, 16, policy), requests) for policy in ("lru", "unload_always")
    )
    assert unload.hit.mean() < lru.hit.mean() - 0.1
    assert unload.latency_s.mean() > lru.latency_s.mean()


def test_a_request_waits_for_an_adapter_slot_in_flight():
    fleet = profile()
    requests = Requests(np.array([0.0, 0.001]), np.array([0, 1]), np.array([8, 8]), np.array([11, 11]))
    shared, split = (simulate(fleet, FleetShape(1, 4, slots), requests) for slots in (2, 1))
    first_s = 1e-3 * (6.0 + 10 * 2.25)
    assert split.wait_s[1] == pytest.approx(first_s - 0.001, abs=1e-12)
    assert shared.wait_s[1] < 0.01


def test_a_full_queue_refuses():
    requests = traffic(400, 500.0)
    found = simulate(profile(), FleetShape(1, 2, 32, queue_limit=5), requests)
    assert 0.5 < found.refused.mean() < 1.0
    assert np.isnan(found.latency_s[found.refused]).all()
    assert np.isfinite(found.latency_s[~found.refused]).all()


def test_draws_are_common_across_rates_and_adapter_counts():
    slow, fast, wide = traffic(100, 1.0), traffic(100, 10.0), traffic(100, 1.0, adapters=500)
    assert np.allclose(slow.arrival_s, 10.0 * fast.arrival_s, rtol=1e-12)
    assert np.array_equal(slow.output_tokens, wide.output_tokens)
    assert np.array_equal(slow.arrival_s, wide.arrival_s)
    assert not np.array_equal(slow.arrival_s, traffic(100, 1.0, seed=4).arrival_s)


def test_lengths_keep_their_mean():
    found = traffic(40_000, 1.0)
    assert found.input_tokens.mean() == pytest.approx(80, rel=0.02)
    assert found.output_tokens.mean() == pytest.approx(24, rel=0.02)


def test_simulated_throughput_matches_the_held_out_measurement():
    """The held-out overloaded run: tokens per second within 10 % of the measured ones."""
    held = max((w for w in CPU.windows if w.holdout), key=lambda w: w.arrival_rate)
    rates = []
    for seed in range(12):
        requests = draw_requests(
            held.completed, held.arrival_rate, adapters=held.adapters, zipf=held.zipf,
            input_tokens=held.input_tokens, output_tokens=held.output_tokens, length_cv=0.0, seed=seed,
        )  # fmt: skip
        found = simulate(CPU, FleetShape(1, held.batch_max, CPU.slots, held.cache_policy), requests)
        rates.append(requests.output_tokens.sum() / (requests.arrival_s + found.latency_s).max())
    assert float(np.median(rates)) == pytest.approx(held.output_tok_s, rel=0.10)


@pytest.mark.parametrize("wrong", [{"servers": 0}, {"batch_max": 0}, {"slots": 0}])
def test_empty_fleets_are_refused(wrong):
    with pytest.raises(ValueError, match="must be 1 or more"):
        FleetShape(**({"servers": 1, "batch_max": 1, "slots": 1} | wrong))
