"""A week of overload, simulated exactly: the check of what a fluid backlog makes of each day.

Rule decided here: the fleet's days carry a fluid backlog from one to the next; the same week is served request by
request by one replica, its queue bounded as the node's is, without a break at midnight. Days are compared by what
was served and refused in them, and by the times of those who came in them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.serving import SECONDS_PER_DAY, FloatArray
from sim.serving.fleet import FleetModel
from sim.serving.mixture import SHOWN
from sim.serving.replicas import Outcome
from sim.serving.surface_error import TIMES
from sim.serving.traffic import Requests, draw_window
from sim.serving.twin import serve_replica

WORST = (0.75, 0.9, 1.1, 1.6, 1.3, 1.05, 0.8)
"""Demand over capacity of each day: a rise through saturation and back."""


@dataclass(frozen=True, slots=True)
class Week:
    """The days of a week as the fleet has them and as they were, over capacity; relative errors of times.

    Parameters
    ----------
    rho
        Demand of each day, shape (days,).
    served, refused
        Fluid and exact, shape (2, days).
    times
        Relative error of `TIMES`, shape (days, 6).
    """

    rho: FloatArray
    served: FloatArray
    refused: FloatArray
    times: FloatArray


def check_week(fleet: FleetModel, seed: int, rho: tuple[float, ...] = WORST) -> Week:
    """Compare a week's days with the same week served request by request.

    Parameters
    ----------
    fleet
        One kind of machine that serves every adapter.
    seed
        Of the week's draws.
    rho
        Demand over capacity of each day.

    Raises
    ------
    ValueError
        If there are several kinds of machine, or adapters are refused.
    """
    if len(fleet.groups) != 1 or fleet.surfaces[0].shape.cache_policy == "resident":
        raise ValueError("a week is checked for one kind of machine that serves every adapter")
    days, surface = np.array(rho), fleet.surfaces[0]
    rate = float(surface.capacity(np.array([float(fleet.traffic.adapters)]))[0])
    fluid = _fluid(fleet, days)
    requests = _requests(fleet, days * rate * SECONDS_PER_DAY, seed)
    bounded = replace(surface.shape, queue_limit=round(rate * fleet.max_wait_s))
    served, refused, times = _exact(requests, serve_replica(surface.profile, bounded, requests), days.size)
    whole = rate * SECONDS_PER_DAY
    return Week(
        days,
        np.stack([fluid[0], served / whole]),
        np.stack([fluid[1], refused / whole]),
        np.abs(fluid[2:].T / times - 1.0),
    )


def _fluid(fleet: FleetModel, rho: FloatArray) -> FloatArray:
    """Return served and refused over capacity, and the times, of each day, shape (2 + 6, days)."""
    one, backlog, rows = np.ones((1, 1), np.int64), np.zeros(1), []
    capacity = fleet.day(np.zeros(1), np.zeros(1), one, backlog).capacity_tokens
    share = fleet.traffic.input_tokens / fleet.request_tokens
    for load in rho:
        asked = load * capacity
        day = fleet.day(share * asked, (1.0 - share) * asked, one, backlog)
        backlog = day.backlog_tokens
        amounts = ((day.served_in + day.served_out) / capacity, day.refused_tokens / capacity)
        rows.append([float(value[0]) for value in (*amounts, *(getattr(day, name) for name in TIMES))])
    return np.array(rows).T


def _requests(fleet: FleetModel, expected: FloatArray, seed: int) -> Requests:
    """Draw arrivals at a rate that differs by day; `expected` requests a day, shape (days,)."""
    total = np.concatenate(([0.0], np.cumsum(expected)))
    drawn = draw_window(fleet.traffic, fleet.traffic.adapters, 1.0, round(total[-1]), seed)
    seconds = SECONDS_PER_DAY * np.arange(total.size)
    return replace(drawn, arrival_s=np.interp(drawn.arrival_s, total, seconds))


def _exact(requests: Requests, outcome: Outcome, days: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return requests served and refused by day, (days,), and the times of those who came, (days, 6)."""
    came = (requests.arrival_s / SECONDS_PER_DAY).astype(np.int64).clip(0, days - 1)
    kept = ~outcome.refused
    left = ((requests.arrival_s + outcome.latency_s)[kept] / SECONDS_PER_DAY).astype(np.int64)
    served = np.bincount(left, minlength=days)[:days].astype(np.float64)
    refused = np.bincount(came[outcome.refused], minlength=days).astype(np.float64)
    groups = [kept & (came == day) for day in range(days)]
    times = [
        [
            quantile
            for column in (outcome.ttft_s, outcome.latency_s)
            for quantile in np.quantile(column[group], SHOWN)
        ]
        for group in groups
    ]
    return served, refused, np.array(times)
