"""Figures of serving: the surface's error, the twins' difference, predictions of measured runs.

Rule decided here: the surface is that of the scenario, its error is measured with three seeds that it was not built
with, overload included, and a week of overload is simulated exactly beside it; predictions are judged by their worst.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from sim.bench import Figure, Progress

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario
    from sim.serving import FleetModel

SEEDS = (101, 202, 303)
FRESH = 60_000
"""Requests of a calm fresh window: three times what a run takes, so that less of the error is the window's own."""
JOBS, SERVERS, UTILISATION = 20_000, 16, 0.9
"""Of the queue whose waits SimPy and the recursion give: M/G/16 with lognormal times in service."""
WINDOW = 4000
"""Requests of the window that SimPy and the compiled replica serve."""
MEDIAN_BAR, DIFFERENCE_BAR_S, THROUGHPUT_BAR, P99_BAR = 0.03, 1e-9, 0.05, 0.15


def serving_figures(scenario: Scenario, tell: Progress) -> list[Figure]:
    """Return the figures of a scenario's fleet."""
    from sim.fleet import fleet_of
    from sim.serving import FleetModel

    tell("response surface against windows with fresh draws")
    fleet = fleet_of(scenario)
    model = fleet if isinstance(fleet, FleetModel) else fleet.base
    return [*_surface(model, tell), _twins(model, tell), *_predictions(model, tell)]


def _build_ms(model: FleetModel) -> float:
    """Return what it takes to build the surface of the fleet's first machine, compiled code being there."""
    from sim.serving import ResponseSurface

    surface = model.surfaces[0]
    began = time.perf_counter()
    ResponseSurface.build(surface.profile, surface.shape, surface.traffic, SEEDS[0])
    return round(1e3 * (time.perf_counter() - began), 1)


def _surface(model: FleetModel, tell: Progress) -> list[Figure]:
    from sim.serving.surface_error import SurfaceError

    error = SurfaceError.together([model.error(seed, requests=FRESH) for seed in SEEDS])
    detail = {
        "points": error.rho.size,
        "overloaded": int((error.rho > 1.0).sum()),
        "build_ms": _build_ms(model),
        "median_and_max": {name: [round(x, 5) for x in both] for name, both in error.by_number().items()},
        "rho": error.rho.round(4).tolist(),
        "adapters": error.adapters.tolist(),
        "times": error.times.round(5).tolist(),
        "worst_week": _week(model, tell),
    }
    return [
        Figure("surface.median_error", error.median, "share", "lower", MEDIAN_BAR, detail),
        Figure("surface.max_error", error.largest, "share", "lower", None, {"see": "surface.median_error"}),
    ]


def _week(model: FleetModel, tell: Progress) -> dict[str, object]:
    """Return a week of overload as the fleet's days have it, and as it was request by request."""
    from sim.serving.week import check_week

    if len(model.groups) != 1 or model.surfaces[0].shape.cache_policy == "resident":
        return {"left_out": "the fleet has several kinds of machine, or refuses adapters"}
    tell("a week of overload, request by request")
    week = check_week(model, SEEDS[0])
    return {
        "rho": week.rho.tolist(),
        "served_fluid_and_exact": week.served.round(5).tolist(),
        "refused_fluid_and_exact": week.refused.round(5).tolist(),
        "times_median_error": round(float(np.median(week.times)), 5),
        "times_max_error": round(float(week.times.max()), 5),
    }


def _twins(model: FleetModel, tell: Progress) -> Figure:
    tell("SimPy against its fast twins")
    found = {"fcfs": _queue(), "replica": _replica(model)}
    worst = max(each["max_abs_diff_s"] for each in found.values())
    return Figure("simpy.twin_max_abs_diff", worst, "s", "lower", DIFFERENCE_BAR_S, dict(found))


def _queue() -> dict[str, float]:
    """Compare waits of an M/G/k queue."""
    from sim.kernels.queue import fcfs_waits_fast
    from sim.serving.fcfs import fcfs_waits_simpy

    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(SEEDS[0], spawn_key=(5,))))
    service = draw.lognormal(-0.5, 1.0, JOBS)
    arrival = np.cumsum(draw.exponential(1.0 / (UTILISATION * SERVERS), JOBS))
    fcfs_waits_fast(arrival[:9], service[:9], SERVERS)
    times = [time.perf_counter()]
    waits = []
    for queue in (fcfs_waits_simpy, fcfs_waits_fast):
        waits.append(queue(arrival, service, SERVERS))
        times.append(time.perf_counter())
    return _compared(waits[0], waits[1], JOBS, times)


def _replica(model: FleetModel) -> dict[str, float]:
    """Compare latencies of a busy window of the fleet's first machine."""
    from sim.serving import serve_replica, simulate
    from sim.serving.traffic import draw_window

    surface = model.surfaces[0]
    count = surface.own_count()
    rate = UTILISATION * float(surface.capacity(np.array([float(count)]))[0])
    requests = draw_window(model.traffic, count, rate, WINDOW, SEEDS[0])
    times = [time.perf_counter()]
    latencies = []
    for serve in (simulate, serve_replica):
        latencies.append(serve(surface.profile, surface.shape, requests).latency_s)
        times.append(time.perf_counter())
    return _compared(latencies[0], latencies[1], WINDOW, times)


def _compared(one: np.ndarray, two: np.ndarray, count: int, times: list[float]) -> dict[str, float]:
    slow, fast = np.diff(times).tolist()
    return {
        "max_abs_diff_s": float(np.max(np.abs(one - two))),
        "simpy_per_s": round(count / slow),
        "twin_per_s": round(count / fast),
        "twin_x_simpy": round(slow / fast, 1),
    }


def _predictions(model: FleetModel, tell: Progress) -> list[Figure]:
    """Return how far the runs that the profiles hold out are from their simulation."""
    from sim.serving.predicted import held_out

    tell("runs that the profile holds out")
    profiles = {group.profile.sha256: group.profile for group in model.groups}.values()
    found = [(profile.id, each) for profile in profiles for each in held_out(profile)]
    rows = [
        {
            "profile": name,
            "arrival_rate": each.window.arrival_rate,
            "throughput": round(each.throughput, 5),
            "ttft_p99": round(each.ttft_p99, 5),
            "e2e_p99": round(each.e2e_p99, 5),
        }
        for name, each in found
    ]
    worst = max((abs(each.throughput) for _, each in found), default=None)
    worst_p99 = max((each.p99 for _, each in found), default=None)
    detail = {"runs": rows} if rows else {"install": "a profile with held-out serving runs"}
    return [
        Figure("predicted.throughput_error", worst, "share", "lower", THROUGHPUT_BAR, detail),
        Figure("predicted.p99_error", worst_p99, "share", "lower", P99_BAR, detail),
    ]
