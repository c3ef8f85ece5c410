"""The SimPy fleet: equal to plain recursions where those exist, and close to what the node measured."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.caching import cache_hit_rate
from models.serving import PromptFit, StepFit, mixed_step_ms, zipf_popularity
from sim.serving import FleetShape, Requests, ServingProfile, draw_requests, read_profile, simulate
from sim.serving.predicted import held_out, predict

CPU = read_profile(Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json")


def profile(**changes: object) -> ServingProfile:
    """Return round numbers: step 2 + batch/4 ms, prompts 5 + tokens/8 ms, 3 ms less beside rows, loads free."""
    plain = replace(
        CPU, fit=StepFit(2.0, 0.25, 0.0, 0.0, 1.0, 0.0), prompts=PromptFit(5.0, 0.0, 0.125),
        joining=PromptFit(2.0, 0.0, 0.125), factors=(1.0,) * 33, regroup_ms=0.0, gpu_hit_ms=0.0, host_load_ms=0.0,
        disk_load_ms=0.0,
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
    fleet = profile(step_tokens=4096)
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


class Plain:
    """One replica that takes one step at a time, without any fast-forward; everything in plain lists."""

    def __init__(self, fleet: ServingProfile, shape: FleetShape, requests: Requests) -> None:
        self.fleet, self.shape, self.requests, self.now = fleet, shape, requests, 0.0
        self.waiting, self.rows, self.after = [], [], 0  # a row: [request, prompt left, tokens made]
        self.device = [] if shape.cache_policy == "unload_always" else list(reversed(range(shape.slots)))
        self.host = list(reversed(range(fleet.host_slots)))
        self.ready, self.reader_free, self.bypassed = {}, 0.0, {}
        self.last = []  # what the last step held
        self.latency, self.ttft = np.empty(len(requests.arrival_s)), np.empty(len(requests.arrival_s))

    def adapter(self, request: int) -> int:
        return int(self.requests.adapter[request])

    def serve(self) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.requests.arrival_s)
        while self.after < count or self.waiting or self.rows:
            while self.after < count and self.requests.arrival_s[self.after] <= self.now:
                self.waiting.append(self.after)
                self.after += 1
            decoding = [row for row in self.rows if not row[1]]
            budget = self.fleet.step_tokens - len(decoding)
            chunks = []
            for row in self.rows:
                budget = self.feed(row, budget, chunks)
            copies = self.admit(budget, chunks)
            if self.rows:
                self.step(decoding, chunks, copies)
                continue
            events = [at for at in self.ready.values() if at > self.now] if self.waiting else []
            if self.after < count:
                events.append(float(self.requests.arrival_s[self.after]))
            self.now = min(events)
        return self.latency, self.ttft

    def feed(self, row: list[int], budget: int, chunks: list[tuple[list[int], int]]) -> int:
        take = min(row[1], budget)
        if take:
            row[1] -= take
            chunks.append((row, take))
        return budget - take

    def admit(self, budget: int, chunks: list[tuple[list[int], int]]) -> float:
        copies, passed, refused = 0.0, [], set()
        for request in self.waiting[:256]:
            adapter = self.adapter(request)
            if not budget or len(self.rows) >= self.shape.batch_max:
                break
            if adapter in refused or any(self.bypassed.get(other, 0) >= 64 for other in passed):
                continue
            cost = self.bring(adapter)
            if isinstance(cost, str):
                refused.add(adapter)
                passed += [request] if cost == "full" else []
                continue
            copies += cost
            self.waiting.remove(request)
            for other in passed:
                self.bypassed[other] = self.bypassed.get(other, 0) + 1
            self.rows.append([request, int(self.requests.input_tokens[request]), 0])
            budget = self.feed(self.rows[-1], budget, chunks)
        return copies

    def bring(self, adapter: int) -> float | str:
        cost = self.fleet.gpu_hit_ms
        if adapter not in self.device:
            if not self.read(adapter):
                return "loading"
            if len(self.device) >= self.shape.slots:
                pinned = {self.adapter(row[0]) for row in self.rows}
                idle = [a for a in self.device if a not in pinned]
                if not idle:
                    return "full"
                self.device.remove(idle[0])
            if self.ready.pop(adapter, None) is not None:
                self.host = [*self.host, adapter][-self.fleet.host_slots :]
            cost = self.fleet.host_load_ms
        else:
            self.device.remove(adapter)
        self.device.append(adapter)
        return cost

    def read(self, adapter: int) -> bool:
        if adapter not in self.host:
            if adapter not in self.ready:
                read_s = 1e-3 * (self.fleet.disk_load_ms - self.fleet.host_load_ms)
                self.reader_free = self.ready[adapter] = max(self.reader_free, self.now) + read_s
            return self.ready[adapter] <= self.now
        self.host.remove(adapter)
        self.host.append(adapter)
        return True

    def step(self, decoding: list[list[int]], chunks: list[tuple[list[int], int]], copies: float) -> None:
        context = sum(int(self.requests.input_tokens[row[0]]) + row[2] for row in decoding)
        distinct = len({self.adapter(row[0]) for row in decoding})
        decode = self.fleet.decode_ms(len(decoding), distinct, context / len(decoding)) if decoding else 0.0
        taken = sum(take for _, take in chunks)
        forward = mixed_step_ms(decode, self.fleet.prompts, self.fleet.joining, taken, len(chunks))
        regrouped = self.last != [row[0] for row in decoding] and not chunks
        self.last = [row[0] for row in decoding] if not chunks else []
        self.now += 1e-3 * (copies + float(forward) + (self.fleet.regroup_ms if regrouped else 0.0))
        for row in [*decoding, *(row for row, _ in chunks if not row[1])]:
            row[2] += 1
            at = self.now - self.requests.arrival_s[row[0]]
            if row[2] == 1:
                self.ttft[row[0]] = at
            if row[2] == self.requests.output_tokens[row[0]]:
                self.latency[row[0]] = at
                self.rows.remove(row)
                shared = any(self.adapter(other[0]) == self.adapter(row[0]) for other in self.rows)
                if self.shape.cache_policy == "unload_always" and not shared:
                    self.device.remove(self.adapter(row[0]))


LOADS = {"gpu_hit_ms": 0.25, "host_load_ms": 3.0, "disk_load_ms": 40.0, "host_slots": 12}


@pytest.mark.parametrize("policy", ["lru", "unload_always"])
@pytest.mark.parametrize("slots", [3, 16])
@pytest.mark.parametrize(("rate", "step_tokens"), [(2.0, 512), (15.0, 512), (15.0, 64), (200.0, 100)])
def test_fast_forward_gives_the_times_of_single_steps(policy, slots, rate, step_tokens):
    fleet = profile(
        fit=StepFit(2.0, 0.25, 0.01, 0.002, 1.0, 0.0), prompts=PromptFit(3.0, 1.0, 0.125),
        joining=PromptFit(0.5, 0.75, 0.1), regroup_ms=0.6, step_tokens=step_tokens,
        factors=tuple(np.linspace(0.8, 1.3, 33)), **LOADS,
    )  # fmt: skip
    requests, shape = traffic(400, rate), FleetShape(1, 8, slots, policy)
    found = simulate(fleet, shape, requests)
    latency, ttft = Plain(fleet, shape, requests).serve()
    assert np.max(np.abs(found.latency_s - latency)) < 1e-9
    assert np.max(np.abs(found.ttft_s - ttft)) < 1e-9
    assert 0.0 < found.hit.mean() < 1.0


def test_a_mixed_step_pays_its_fixed_cost_once():
    fleet = profile()
    requests = Requests(np.array([0.0, 0.0065]), np.array([0, 1]), np.array([8, 16]), np.array([3, 1]))
    found = simulate(fleet, FleetShape(1, 4, 16), requests)
    assert found.ttft_s[0] == pytest.approx(6e-3, abs=1e-12)
    # the second prompt joins the first request's second decode step: 2 + 1/4 and 2 + 16/8 ms
    assert found.latency_s[0] == pytest.approx(1e-3 * (6.0 + 2.25 + 6.25), abs=1e-12)
    assert found.ttft_s[1] == pytest.approx(1e-3 * (6.0 + 2.25 + 6.25 - 6.5), abs=1e-12)


def test_a_cold_adapter_keeps_its_own_request_waiting_and_no_other():
    fleet = profile(host_load_ms=1.0, disk_load_ms=101.0, host_slots=2)
    at = np.array([0.0, 0.001])
    cold_first = Requests(at, np.array([9, 0]), np.array([8, 8]), np.array([11, 11]))
    found = simulate(fleet, FleetShape(1, 4, 2), cold_first)
    assert found.wait_s == pytest.approx([0.1, 0.0], abs=1e-9)
    assert found.latency_s[1] == pytest.approx(1e-3 * (6.0 + 10 * 2.25), abs=1e-9)
    assert found.ttft_s[0] == pytest.approx(1e-3 * (100.0 + 1.0 + 6.0), abs=1e-9)


def test_an_accelerator_copies_beside_its_steps():
    fleet = profile(host_load_ms=50.0, disk_load_ms=50.0, device_kind="cuda")
    requests = Requests(np.array([0.0, 0.0005]), np.array([0, 9]), np.array([8, 8]), np.array([11, 11]))
    found = simulate(fleet, FleetShape(1, 4, 2), requests)
    assert found.latency_s[0] == pytest.approx(1e-3 * (6.0 + 10 * 2.25), abs=1e-9)
    assert found.wait_s[1] == pytest.approx(0.0555, abs=1e-9)  # asked for at the next boundary, 6 ms
    assert found.hit.tolist() == [True, False]


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


def test_a_request_without_a_slot_is_passed_by_those_whose_adapter_is_there_but_not_for_ever():
    at = np.concatenate(([0.0, 0.001], np.full(200, 0.002)))
    adapter = np.concatenate(([0, 1], np.zeros(200, int)))
    requests = Requests(at, adapter, np.full(202, 8), np.concatenate(([4000, 4], np.full(200, 40))))
    found = simulate(profile(), FleetShape(1, 8, 1), requests)
    passed = found.wait_s[2:] + at[2:] < found.wait_s[1] + at[1]
    assert passed.sum() == 64
    assert found.wait_s[1] == pytest.approx(found.latency_s[0] - 0.001, rel=1e-9)


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


@pytest.mark.parametrize("found", held_out(CPU), ids=lambda found: f"{found.window.arrival_rate:.0f}/s")
def test_held_out_runs_are_predicted_request_by_request(found):
    """The arrivals that the node served, below capacity and above: 5 % on throughput, 15 % on 99th percentiles."""
    assert abs(found.throughput) < 0.05
    assert abs(found.ttft_p99) < 0.15
    assert abs(found.e2e_p99) < 0.15
    assert found.p99 == max(abs(found.ttft_p99), abs(found.e2e_p99))
    assert found.hit_rate == pytest.approx(found.window.hit_rate, abs=0.03)


def test_a_machine_that_is_faster_than_measured_is_found_out():
    window = next(w for w in CPU.windows if w.holdout)
    wrong = replace(CPU, fit=replace(CPU.fit, a=2 * CPU.fit.a, b=2 * CPU.fit.b, d=2 * CPU.fit.d))
    assert predict(wrong, window).e2e_p99 > predict(CPU, window).e2e_p99 + 0.15


def test_the_profile_holds_runs_on_both_sides_of_capacity():
    held = [w for w in CPU.windows if w.holdout]
    offered = [w.arrival_rate * w.output_tokens / w.output_tok_s for w in held]
    assert len(held) >= 2
    assert min(offered) < 1.05
    assert max(offered) > 1.2


@pytest.mark.parametrize("wrong", [{"servers": 0}, {"batch_max": 0}, {"slots": 0}])
def test_empty_fleets_are_refused(wrong):
    with pytest.raises(ValueError, match="must be 1 or more"):
        FleetShape(**({"servers": 1, "batch_max": 1, "slots": 1} | wrong))
