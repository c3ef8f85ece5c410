"""Figure of common random numbers: how many runs the same luck in both arms saves.

Rule decided here: the benchmark is a scenario in which holders sell 5 % more of what they hold, and its price in the
end; pairs of a tiny population, because the ratio is about luck and not about resolution.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from sim.bench import Figure, Progress

PAIRS, AGENTS, DAYS = 60, 1000, 120
BAR = 500.0


def luck_figure(path: Path, tell: Progress) -> Figure:
    """Return the variance of differences between independent runs over that between runs of the same luck."""
    from sim.experiment.crn import POLICY, crn_variance_ratio, policy_pair

    tell(f"common random numbers: {PAIRS} pairs of {AGENTS:,} agents x {DAYS} days")
    base, changed = policy_pair(path, AGENTS, DAYS)
    found = crn_variance_ratio(base, changed, PAIRS)
    detail = {**asdict(found), "change": list(POLICY), "agents": AGENTS, "days": DAYS, "metric": "price_usd"}
    if math.isinf(found.ratio):
        return Figure("crn.variance_ratio", None, "ratio", "higher", BAR, detail | {"ratio": None})
    return Figure("crn.variance_ratio", found.ratio, "ratio", "higher", BAR, detail)
