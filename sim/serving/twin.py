"""The fast twin of the SimPy fleet: one replica, its window served by compiled code.

Rule decided here: `serve_replica` gives the times of `sim.serving.replicas.simulate` for a fleet of one; the SimPy
model is the reference and the only one that knows several replicas behind one queue.
"""

from __future__ import annotations

import numpy as np

from sim.kernels.adapter_cache import CacheRules, new_cache, new_linked
from sim.kernels.replica import serve_window
from sim.kernels.replica_state import Machine, Records, State, Window
from sim.serving.profile import ServingProfile
from sim.serving.replicas import BYPASS_MAX, LOOK_MAX, FleetShape, Outcome
from sim.serving.traffic import Requests

UNLIMITED = int(np.iinfo(np.int64).max)


def serve_replica(profile: ServingProfile, shape: FleetShape, requests: Requests) -> Outcome:
    """Serve a window of requests on one replica and return what each one saw.

    Parameters
    ----------
    profile
        Step, prefill and load times of the replica.
    shape
        Rows, slots and policy; `servers` of 1.
    requests
        Traffic, arrivals in order.

    Raises
    ------
    ValueError
        If the fleet has several replicas.
    """
    if shape.servers != 1:
        raise ValueError(f"servers {shape.servers} must be 1; use simulate for more")
    count = len(requests.arrival_s)
    adapters = int(requests.adapter.max(initial=0)) + 1
    rules = _rules(profile, shape)
    blank, no = np.full((3, count), np.nan), np.zeros((2, count), np.bool_)
    records = Records(blank[0], blank[1], blank[2], no[0], no[1])
    window = Window(
        arrival=requests.arrival_s.astype(np.float64),
        adapter=requests.adapter.astype(np.int64),
        input=requests.input_tokens.astype(np.int64),
        output=requests.output_tokens.astype(np.int64),
    )
    cache = new_cache(rules, adapters, count)
    serve_window(_machine(profile, shape), rules, cache, window, _state(shape, adapters, count), records)
    wait, ttft, latency = (moment - window.arrival for moment in blank)
    return Outcome(wait, ttft, latency, records.hit, records.refused)


def _machine(profile: ServingProfile, shape: FleetShape) -> Machine:
    fit, alone, joining = profile.fit, profile.prompts, profile.joining
    return Machine(
        line=np.array([fit.a, fit.b, fit.c * profile.rank, fit.d]),
        alone=np.array([alone.base, alone.chunk, alone.token]),
        joining=np.array([joining.base, joining.chunk, joining.token]),
        factors=np.array(profile.factors),
        regroup_ms=float(profile.regroup_ms),
        rows_max=shape.batch_max,
        step_tokens=profile.step_tokens,
        look_max=LOOK_MAX,
        bypass_max=BYPASS_MAX,
        queue_max=UNLIMITED if shape.queue_limit is None else shape.queue_limit,
    )


def _rules(profile: ServingProfile, shape: FleetShape) -> CacheRules:
    return CacheRules(
        shape.slots,
        profile.host_slots,
        shape.cache_policy == "unload_always",
        profile.device_kind == "cuda",
        float(profile.gpu_hit_ms),
        float(profile.host_load_ms),
        max(float(profile.disk_load_ms - profile.host_load_ms), 0.0),
    )


def _state(shape: FleetShape, adapters: int, requests: int) -> State:
    known = max(adapters, shape.slots)
    return State(
        counts=np.zeros(8, np.int64),
        queue=new_linked(requests),
        rows=np.zeros((2, shape.batch_max), np.int64),
        prompts=np.zeros((2, shape.batch_max), np.int64),
        shared=np.zeros(known, np.int64),
        barred=np.zeros(known, np.int64),
        passed=np.zeros(LOOK_MAX, np.int64),
        bypassed=np.zeros(requests, np.int64),
        heard=np.zeros(1),
    )
