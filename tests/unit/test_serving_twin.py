"""The compiled replica gives the times of the SimPy model, request by request, whatever the policy and the load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving import PromptFit, StepFit
from sim.serving import (
    FleetShape,
    Requests,
    ServingProfile,
    draw_requests,
    read_profile,
    serve_replica,
    simulate,
)

CPU = read_profile(Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json")
ROUND = replace(
    CPU, fit=StepFit(2.0, 0.25, 0.01, 0.002, 1.0, 0.0), prompts=PromptFit(3.0, 1.0, 0.125),
    joining=PromptFit(0.5, 0.75, 0.1), factors=tuple(np.linspace(0.8, 1.3, 33)), regroup_ms=0.6, gpu_hit_ms=0.25,
    host_load_ms=3.0, disk_load_ms=40.0, host_slots=12,
)  # fmt: skip
"""A machine of round numbers whose loads take long beside its steps."""


def assert_twins(profile: ServingProfile, shape: FleetShape, requests: Requests) -> None:
    one, two = simulate(profile, shape, requests), serve_replica(profile, shape, requests)
    assert np.array_equal(one.hit, two.hit)
    assert np.array_equal(one.refused, two.refused)
    for name in ("wait_s", "ttft_s", "latency_s"):
        first, second = getattr(one, name), getattr(two, name)
        assert np.array_equal(np.isnan(first), np.isnan(second)), name
        assert np.nanmax(np.abs(first - second), initial=0.0) < 1e-9, name


@pytest.mark.parametrize("policy", ["lru", "unload_always"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("slots", [2, 16])
@pytest.mark.parametrize(
    ("rate", "step_tokens", "limit"),
    [
        (2.0, 512, None),
        (15.0, 64, None),
        (60.0, 512, None),
        (60.0, 100, 9),
        (np.inf, 200, None),
        (np.inf, 200, 30),
    ],
)
def test_a_window_gives_the_same_times(policy, kind, slots, rate, step_tokens, limit):
    profile = replace(ROUND, device_kind=kind, step_tokens=step_tokens)
    requests = draw_requests(
        250, rate, adapters=60, zipf=1.0, input_tokens=80, output_tokens=24, length_cv=0.8, seed=3
    )
    assert_twins(profile, FleetShape(1, 8, slots, policy, limit), requests)


@pytest.mark.slow
@pytest.mark.parametrize("window", CPU.windows[:6], ids=lambda w: f"{w.arrival_rate:.0f}/s-{w.seed}")
@pytest.mark.parametrize("policy", ["lru", "unload_always", "resident"])
def test_the_measured_machine_gives_the_same_times(window, policy):
    adapters = min(window.adapters, CPU.slots) if policy == "resident" else window.adapters
    requests = draw_requests(
        3000, window.arrival_rate, adapters=adapters, zipf=window.zipf, input_tokens=window.input_tokens,
        output_tokens=window.output_tokens, length_cv=0.5, seed=window.seed,
    )  # fmt: skip
    assert_twins(CPU, FleetShape(1, window.batch_max, CPU.slots, policy), requests)


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3]),
        st.integers(0, 9),
        st.integers(1, 200),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(REQUESTS, st.integers(1, 5), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 4))
def test_any_requests_give_the_same_times(drawn, rows, slots, unload, cuda, host_slots):
    gaps, adapter, tokens_in, tokens_out = (np.array(column) for column in zip(*drawn, strict=True))
    # Moments that no sum of step times meets: which of two things at one moment comes first is nobody's rule.
    requests = Requests(np.cumsum(gaps) * 1.000001234567, adapter, tokens_in, tokens_out)
    profile = replace(ROUND, device_kind="cuda" if cuda else "cpu", host_slots=host_slots, step_tokens=96)
    assert_twins(profile, FleetShape(1, rows, slots, "unload_always" if unload else "lru"), requests)


def test_several_replicas_are_left_to_the_reference():
    requests = draw_requests(
        5, 1.0, adapters=3, zipf=1.0, input_tokens=8, output_tokens=4, length_cv=0.0, seed=1
    )
    with pytest.raises(ValueError, match="servers 2 must be 1"):
        serve_replica(CPU, FleetShape(2, 4, 4), requests)


def test_luck_that_is_dealt_evenly_has_every_length_once():
    even, plain = (
        draw_requests(
            4000, 2.0, adapters=50, zipf=1.0, input_tokens=1000, output_tokens=200, length_cv=0.5, seed=5,
            evenly=evenly,
        )
        for evenly in (True, False)
    )  # fmt: skip
    assert even.arrival_s[-1] == pytest.approx(2000.0, rel=1e-3)
    assert even.output_tokens.mean() == pytest.approx(200.0, rel=2e-3)
    assert even.output_tokens.std() == pytest.approx(100.0, rel=2e-2)
    assert np.quantile(even.output_tokens, 0.99) == pytest.approx(
        200 * 1.25**-0.5 * np.exp(0.47238 * 2.3263), rel=0.01
    )
    # independent draws of so many stray further
    assert abs(plain.arrival_s[-1] / 2000 - 1) > 2e-3
    again = draw_requests(
        4000,
        2.0,
        adapters=50,
        zipf=1.0,
        input_tokens=1000,
        output_tokens=200,
        length_cv=0.5,
        seed=5,
        evenly=True,
    )
    assert np.array_equal(again.arrival_s, even.arrival_s)


def test_the_same_requests_come_faster():
    requests = draw_requests(
        50, 1.0, adapters=3, zipf=1.0, input_tokens=8, output_tokens=4, length_cv=0.5, seed=1
    )
    fast, once = requests.at(4.0), requests.at(float("inf"))
    assert np.array_equal(fast.arrival_s, requests.arrival_s / 4.0)
    assert not once.arrival_s.any()
    assert np.array_equal(fast.adapter, requests.adapter)
