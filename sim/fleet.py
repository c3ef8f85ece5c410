"""Fleet: the scenario's machines as a model of capacity and latency.

Rule decided here: which numbers of the scenario the serving model takes. Requests are a fixed number of tokens long,
named beside the model, because the scenario gives tokens per user and day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.serving.fleet import FleetGroup, FleetModel
from sim.serving.profile import read_profile

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario


def fleet_of(scenario: Scenario) -> FleetModel:
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
    return FleetModel.from_scenario(
        groups,
        input_tokens_per_request=float(demand.tokens.input.value) / requests,
        output_tokens_per_request=float(demand.tokens.output.value) / requests,
        adapters=scenario.agents.builders.count * scenario.agents.builders.adapters_each,
        zipf=float(demand.popularity.zipf.value),
        cache_policy=serving.cache.policy,
        slo_ttft_p95_s=float(serving.cache.slo_ttft_p95.value),
        seed=int(scenario.runs.seed),
    )
