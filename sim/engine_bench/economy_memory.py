"""Memory of the whole economy: a million agents, one run.

Rule decided here: a shorter horizon counts as the peak of its set-up and days, or as the resident set at its end and
what the days that were not lived would add at the rate of the second half of those that were, whichever is more;
`--full` lives them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sim.bench import Figure, Progress
from sim.engine_bench import memory

SCENARIO = Path("scenarios") / "baseline.yaml"
AGENTS, HORIZON, SHORT = 1_000_000, 1461, 64
BAR = 2.0


def economy_peaks(days: int, agents: int = AGENTS) -> dict[str, Any]:
    """Return resident set and peak, MiB, after each power of two of days and the last, lived in this process."""
    from sim.engine import build_economy, run_batch
    from sim.scenario.load import load

    marks = {2**k for k in range(days.bit_length())} | {days}
    resident: dict[int, float] = {}

    def after(day: int) -> None:
        if day in marks:
            resident[day] = round(memory.resident_mib(), 1)

    economy = build_economy(load(memory.ROOT / SCENARIO), agents=agents, days=days)
    run_batch(economy, np.array([1]), on_day=after)
    peak = round(memory.peak_mib(), 1)
    return {"days": list(resident), "resident_mib": list(resident.values()), "peak_mib": peak}


def peak_figure(tell: Progress, full: bool) -> Figure:
    """Measure the peak in a process of its own."""
    days = HORIZON if full else SHORT
    tell(f"memory of {AGENTS:,} agents over {days} days")
    peaks = memory.in_child("economy", str(days))
    peak, growth = projected(peaks, HORIZON)
    detail = {**peaks, "growth_mib_per_day": round(growth, 4), "lived_days": days, "horizon_days": HORIZON}
    return Figure("economy.peak_gib.n1e6", round(peak / 1024, 3), "GiB", "lower", BAR, detail)


def projected(peaks: dict[str, Any], horizon: int) -> tuple[float, float]:
    """Return the peak at the horizon and its growth per day, MiB.

    Examples
    --------
    >>> projected({"days": [1, 32, 64], "resident_mib": [500.0, 900.0, 916.0], "peak_mib": 920.0}, 164)
    (966.0, 0.5)
    """
    days, values = peaks["days"], peaks["resident_mib"]
    half = max(k for k, day in enumerate(days) if 2 * day <= days[-1])
    growth = (values[-1] - values[half]) / (days[-1] - days[half])
    return max(peaks["peak_mib"], values[-1] + growth * (horizon - days[-1])), growth
