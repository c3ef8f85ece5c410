"""Fleet: the scenario's machines as a model of capacity and latency.

Rule decided here: which numbers of the scenario the serving model takes. Requests are a fixed number of tokens long,
named beside the model, because the scenario gives tokens per user and day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.serving.day import FleetGroup
from sim.serving.dedicated import DedicatedFleet
from sim.serving.fleet import FleetModel
from sim.serving.profile import read_profile
from sim.serving.surface import Traffic

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

Fleet = FleetModel | DedicatedFleet


def fleet_of(scenario: Scenario) -> Fleet:
    """Return the fleet model of a scenario; building it simulates a few serving windows.

    Raises
    ------
    InputError
        If a profile is missing or breaks its schema.
    """
    serving, demand = scenario.serving, scenario.demand
    groups = [
        FleetGroup(read_profile(part.profile), part.count, float(part.price.value)) for part in serving.fleet
    ]
    requests = float(demand.requests.value)
    traffic = Traffic(
        float(demand.tokens.input.value) / requests,
        float(demand.tokens.output.value) / requests,
        scenario.agents.builders.count * scenario.agents.builders.adapters_each,
        float(demand.popularity.zipf.value),
    )
    slo, seed = float(serving.cache.slo_ttft_p95.value), int(scenario.runs.seed)
    if serving.cache.policy == "dedicated":
        return DedicatedFleet.build(groups, traffic, slo_ttft_p95_s=slo, seed=seed)
    return FleetModel.build(
        groups,
        traffic,
        cache_policy=serving.cache.policy,
        slo_ttft_p95_s=slo,
        seed=seed,
        routing=serving.routing,
    )
