"""Pots: which of the project's pots is the first to be empty.

Rule decided here: the pots, their names for people, and that the pace is the fall over the last 30 days, as in
the column ``first_empty_months``; where that column has no value no pot shrinks.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.results.reader import Run

POTS = {
    "treasury_gwei": "treasury",
    "pool_community_gwei": "community pool",
    "pool_ecosystem_gwei": "ecosystem pool",
    "staking_pot_gwei": "staking pot",
}
"""Column of each pot -> its name."""
PACE_DAYS = 30


def first_pots(run: Run, day: int) -> Counter[str]:
    """Return in how many runs each pot is the first to be empty at the pace of the last 30 days.

    Parameters
    ----------
    run
        A complete run.
    day
        Day of the run; runs in which no pot shrinks are left out.
    """
    import polars as pl

    rows = run.metrics.lazy().filter(pl.col("day").is_in([day - PACE_DAYS, day])).sort("run", "day")
    frame = rows.select("run", *POTS).collect()
    if frame.height != 2 * run.manifest.runs:
        return Counter()
    held = frame.select(*POTS).to_numpy().astype(np.float64).reshape(run.manifest.runs, 2, len(POTS))
    fall = held[:, 0] - held[:, 1]
    left = np.full(fall.shape, np.inf)
    np.divide(held[:, 1], fall, out=left, where=fall > 0)
    names = list(POTS.values())
    return Counter(
        names[pot] for pot, least in zip(left.argmin(1), left.min(1), strict=True) if least < np.inf
    )


def first_pot_text(run: Run, as_of: date, day: int) -> str:
    """Return the sentence that names the pot that is empty first."""
    counted = first_pots(run, day)
    if not counted:
        return f"on {as_of} no pot shrinks"
    runs = run.manifest.runs
    parts = [f"{name} in {count} of {runs} runs" for name, count in counted.most_common()]
    still = runs - counted.total()
    return "first empty is the " + ", the ".join(parts) + (f"; none shrinks in {still}" if still else "")
