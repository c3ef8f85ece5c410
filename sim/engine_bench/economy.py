"""The whole economy's day beside OTE-1: all phases, by the engine's public functions alone.

Rule decided here: an agent-step is an agent's day. 10,000 agents are lived in a batch of as many runs as a unit of
`olsim run` has, a million as one run; both are half a year old when they are measured, so that users pay and votes are
held. Samples go on from day to day and are taken in turn with OTE-1's. A sample is 30 days long, so that it holds the
two expensive days around a month's end as often as life does.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from sim.bench import Figure
from sim.chain.bench.timing import interleaved, ratio
from sim.engine_bench.contestants import AGENTS, BATCH, our_step
from sim.engine_bench.economy_memory import SCENARIO
from sim.engine_bench.memory import ROOT
from sim.engine_bench.setup import population
from sim.experiment.plan import default_block

if TYPE_CHECKING:
    from sim.bench import Progress

MANY = 1_000_000
RUNS = default_block(AGENTS, 1461)
"""Runs of the economy's batch."""
ROUNDS, DAYS, WARM_UP = 6, 30, 180
OTE1_DAYS = 6_000
RATE_BAR, GROWTH_BAR = 0.15, 1.25


def economy_figures(tell: Progress, rounds: int = ROUNDS, many: int = MANY) -> list[Figure]:
    """Measure the rate over OTE-1's and what an agent-day costs among many more agents."""
    tell(f"the economy's day, {RUNS} runs of {AGENTS:,} agents and one of {many:,}; {rounds + 1} rounds")
    steps = {
        "ote1": our_step(population(AGENTS), 1, OTE1_DAYS),
        "ote1_batch": our_step(population(AGENTS), BATCH, OTE1_DAYS // BATCH),
        "economy": _days(AGENTS, RUNS, DAYS, rounds),
        "economy_of_many": _days(many, 1, DAYS, rounds),
    }
    samples = interleaved(steps, rounds)
    detail = {
        "steps_per_s": {name: round(1 / median(values)) for name, values in samples.items()},
        "samples_ns_per_step": {
            name: [round(1e9 * s, 4) for s in values] for name, values in samples.items()
        },
        "runs": {"ote1": 1, "ote1_batch": BATCH, "economy": RUNS, "economy_of_many": 1},
        "over_ote1_batch": round(ratio(samples, "ote1_batch", "economy"), 4),
    }
    return [
        Figure(
            "economy.rate_over_ote1.n1e4", round(ratio(samples, "ote1", "economy"), 4), "ratio", "higher",
            RATE_BAR, detail,
        ),
        Figure(
            "economy.cost_growth.n1e4_n1e6", round(ratio(samples, "economy_of_many", "economy"), 3), "ratio",
            "lower", GROWTH_BAR, detail,
        ),
    ]  # fmt: skip


def _days(agents: int, runs: int, days: int, rounds: int) -> Callable[[int], float]:
    from sim.begin import begin_world
    from sim.clock import advance_day
    from sim.engine import build_economy
    from sim.scenario.load import load

    economy = build_economy(load(ROOT / SCENARIO), agents=agents, days=WARM_UP + (rounds + 1) * days)
    world = begin_world(economy, np.arange(1, runs + 1), None)
    for day in range(WARM_UP):
        advance_day(world, economy, day)

    def step(number: int) -> float:
        began = process_time()
        for day in range(WARM_UP + number * days, WARM_UP + (number + 1) * days):
            advance_day(world, economy, day)
        return (process_time() - began) / (agents * runs * days)

    return step
