"""Fleet: the scenario's machines as a model of capacity and latency, and how far that model may be off.

Rule decided here: which numbers of the scenario the serving model takes, and which observables carry the error of its
surface. Requests are a fixed number of tokens long, named beside the model, because the scenario gives tokens per
user and day. The same machines, traffic and seed give the same model, which is therefore built once in a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sim.serving.day import FleetGroup
from sim.serving.dedicated import DedicatedFleet
from sim.serving.fleet import FleetModel
from sim.serving.profile import read_profile
from sim.serving.traffic import Traffic

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

Fleet = FleetModel | DedicatedFleet

READ = {
    "ttft_p50_s": "ttft_p50_s",
    "ttft_p95_s": "ttft_p95_s",
    "ttft_p99_s": "ttft_p99_s",
    "latency_p50_s": "latency_p50_s",
    "latency_p95_s": "latency_p95_s",
    "latency_p99_s": "latency_p99_s",
    "cache_hit_rate": "hit_rate",
    "utilisation": "capacity_tokens",
    "refused_share": "capacity_tokens",
    "replicas_needed": "capacity_tokens",
}
"""Observable -> the number of the surface that it is read from, see `SurfaceError.by_number`."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """All that a fleet model depends on."""

    groups: tuple[FleetGroup, ...]
    traffic: Traffic
    policy: str
    slo_ttft_p95_s: float
    seed: int
    routing: str


def fleet_of(scenario: Scenario) -> Fleet:
    """Return the fleet model of a scenario; building it simulates a few dozen serving windows.

    Raises
    ------
    InputError
        If a profile is missing or breaks its schema.
    """
    return _fleet(_terms(scenario))


def stated_errors(scenario: Scenario) -> Mapping[str, tuple[float, float]]:
    """Return the median and the largest relative error of each observable that is read from a response surface.

    Measured at points on which the surface was not built, with draws of a seed of their own.
    """
    return _errors(_terms(scenario))


def _terms(scenario: Scenario) -> _Terms:
    serving, demand = scenario.serving, scenario.demand
    requests = float(demand.requests.value)
    return _Terms(
        groups=tuple(
            FleetGroup(read_profile(part.profile), part.count, float(part.price.value))
            for part in serving.fleet
        ),
        traffic=Traffic(
            float(demand.tokens.input.value) / requests,
            float(demand.tokens.output.value) / requests,
            scenario.agents.builders.count * scenario.agents.builders.adapters_each,
            float(demand.popularity.zipf.value),
        ),
        policy=serving.cache.policy,
        slo_ttft_p95_s=float(serving.cache.slo_ttft_p95.value),
        seed=int(scenario.runs.seed),
        routing=serving.routing,
    )


@lru_cache(maxsize=16)
def _fleet(terms: _Terms) -> Fleet:
    slo, seed = terms.slo_ttft_p95_s, terms.seed
    if terms.policy == "dedicated":
        return DedicatedFleet.build(list(terms.groups), terms.traffic, slo_ttft_p95_s=slo, seed=seed)
    return FleetModel.build(
        list(terms.groups),
        terms.traffic,
        cache_policy=terms.policy,
        slo_ttft_p95_s=slo,
        seed=seed,
        routing=terms.routing,
    )


@lru_cache(maxsize=16)
def _errors(terms: _Terms) -> Mapping[str, tuple[float, float]]:
    numbers = _fleet(terms).error(terms.seed + 1).by_number()
    return {observable: numbers[name] for observable, name in READ.items()}
