"""The peer of the ensemble: one OTE-1 run of Mesa 3, the very code that `olsim bench engine` measures.

Rule decided here: setting up is not timed, living through the days is.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

from sim.engine_bench.peers import mesa_agents
from sim.engine_bench.setup import population


def mesa_run() -> Callable[[int, int], float] | None:
    """Return what runs Mesa once with so many agents and days and says the seconds; None where it is missing."""
    return mesa_seconds if importlib.util.find_spec(mesa_agents.MODULE) else None


def mesa_seconds(agents: int, days: int) -> float:
    """Return the seconds that one OTE-1 run of Mesa takes."""
    run = mesa_agents.prepare(population(agents), days)
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
