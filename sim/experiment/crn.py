"""Common random numbers: how many runs the same luck in both arms saves.

Rule decided here: a draw's key holds no part of the scenario, so run k of a changed world has the luck of run k of the
base. The variance of the difference between pairs with the same luck is compared with that between pairs without
(run k of the base against a run of another number of the changed world); their ratio is the factor by which
independent seeds would need more runs for an interval of the same width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sim.economy import Economy

Float = NDArray[np.float64]

POLICY = ("agents.holders.sell.monthly=2.1 %",)
"""The benchmark's change of the baseline: holders sell 5 % more of what they hold."""

_BLOCK = 64


@dataclass(frozen=True, slots=True)
class VarianceRatio:
    """What common random numbers are worth.

    Parameters
    ----------
    ratio
        Variance with independent runs over variance with the same luck; infinite where the latter is 0.
    paired, independent
        The two variances.
    effect
        Mean of the paired differences.
    pairs
        Number of pairs.
    """

    ratio: float
    paired: float
    independent: float
    effect: float
    pairs: int


def variance_ratio(base: Float, same_luck: Float, other_luck: Float) -> VarianceRatio:
    """Return the ratio of the variances of two sets of differences.

    Parameters
    ----------
    base
        A number per run of the base, float64 (runs,).
    same_luck, other_luck
        The number in the changed world: in the runs of the same numbers, and in other runs.

    Raises
    ------
    ValueError
        If there are fewer than two runs, or the three differ in length.

    Examples
    --------
    >>> variance_ratio(np.array([1.0, 3.0]), np.array([2.0, 4.1]), np.array([5.0, 2.0])).pairs
    2
    """
    if not len(base) == len(same_luck) == len(other_luck) or len(base) < 2:
        lengths = f"{len(base)}, {len(same_luck)} and {len(other_luck)}"
        raise ValueError(f"{lengths} runs; a variance needs as many in all three, and two or more")
    paired = float(np.var(same_luck - base, ddof=1))
    independent = float(np.var(other_luck - base, ddof=1))
    ratio = independent / paired if paired > 0 else math.inf
    return VarianceRatio(ratio, paired, independent, float(np.mean(same_luck - base)), len(base))


def crn_variance_ratio(
    base: Economy, changed: Economy, pairs: int, metric: str = "price_usd", day: int | None = None
) -> VarianceRatio:
    """Return what common random numbers are worth for one change of the world.

    Parameters
    ----------
    base, changed
        The two worlds, of the same seed, population and length.
    pairs
        Runs of each arm, 2 or more; the changed world is also run under as many other numbers.
    metric, day
        Observable and day that are compared; None for the last day.

    Raises
    ------
    ValueError
        If the worlds do not go together, or there are fewer than two pairs.
    """
    for name in ("seed", "days", "layout"):
        if getattr(base, name) != getattr(changed, name):
            raise ValueError(f"the worlds differ in {name}: their runs are no pairs")
    day = base.days if day is None else day
    numbers = np.arange(2 * pairs, dtype=np.int64)
    return variance_ratio(
        _values(base, numbers[:pairs], metric, day),
        _values(changed, numbers[:pairs], metric, day),
        _values(changed, numbers[pairs:], metric, day),
    )


def _values(economy: Economy, runs: NDArray[np.int64], metric: str, day: int) -> Float:
    from sim.engine import run_batch

    blocks = [runs[first : first + _BLOCK] for first in range(0, len(runs), _BLOCK)]
    found = [run_batch(economy, block).metrics[metric][:, day] for block in blocks]
    return np.concatenate(found).astype(np.float64)


def policy_pair(
    scenario: Path, agents: int, days: int, change: Sequence[str] = POLICY
) -> tuple[Economy, Economy]:
    """Return a world and the world of the benchmark's change; they share calendars and fleet.

    Parameters
    ----------
    scenario
        The scenario file.
    agents, days
        Population and last day.
    change
        Overrides that make the changed world.
    """
    from sim.engine import build_economy
    from sim.priors import with_scenario
    from sim.scenario import load

    base = build_economy(load(scenario, [f"days={days}"]), agents=agents)
    paths = [text.partition("=")[0] for text in change]
    return base, with_scenario(base, load(scenario, [f"days={days}", *change]), paths)
