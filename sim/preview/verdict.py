"""Verdict: the one paragraph that a delegate reads first.

Rule decided here: it says the chance to pass with its interval, the chance of the quorum, and the
largest changes at the longest horizon, with how sure their direction is. A change counts as clear where
90 % of the runs agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from models.units import GWEI_PER_OPEN
from sim.observables import BY_NAME
from sim.preview.differences import METRICS, Delta

_Z90 = 1.6448536269514722
_NAMED = 4


def interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 90 % interval of a probability by Wilson's score.

    Examples
    --------
    >>> tuple(round(end, 3) for end in interval(5, 10))
    (0.269, 0.731)
    """
    share, z2 = successes / trials, _Z90**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z90 / (1 + z2 / trials) * sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def verdict(deltas: Sequence[Delta], passed: NDArray[np.bool_], reached: NDArray[np.bool_]) -> str:
    """Return the verdict.

    Parameters
    ----------
    deltas
        Differences of all horizons and views.
    passed, reached
        Per run, bool (runs,).
    """
    low, high = interval(int(passed.sum()), len(passed))
    head = (
        f"Passes with probability {passed.mean():.0%} (90 % interval {low:.0%} to {high:.0%}, "
        f"{len(passed)} runs); reaches the quorum with {reached.mean():.0%}."
    )
    executed = [delta for delta in deltas if delta.view == "if_executed"]
    if not executed:
        return f"{head} No horizon lies within the days computed."
    horizon = max(delta.horizon_days for delta in executed)
    if not any(delta.spread.mean or delta.spread.p05 or delta.spread.p95 for delta in executed):
        return f"{head} If executed it changes nothing: every difference is exactly 0."
    clear = [delta for delta in executed if delta.horizon_days == horizon and _is_clear(delta)]
    said = "; ".join(phrase(delta) for delta in sorted(clear, key=_size, reverse=True)[:_NAMED])
    tail = said or "no metric changes in one direction in 90 % of the runs"
    return f"{head} If executed, {horizon} days later: {tail}."


def phrase(delta: Delta) -> str:
    """Return a difference in words, with its median, its 5 to 95 % band and the judgement."""
    over = delta.spread
    scale = GWEI_PER_OPEN if delta.unit.startswith("gwei") else 1
    unit = delta.unit.replace("gwei", "OPEN")
    low, middle, high = (f"{value / scale:+,.4g}" for value in (over.p05, over.p50, over.p95))
    judged = ""
    if over.p_worse is not None:
        judged = ", worse" if METRICS[delta.metric] * over.p50 < 0 else ", better"
    return f"{BY_NAME[delta.metric].label} {middle} {unit} ({low} to {high}{judged})"


def _is_clear(delta: Delta) -> bool:
    return delta.spread.p05 > 0 or delta.spread.p95 < 0


def _size(delta: Delta) -> float:
    """Return how large a change is beside the baseline."""
    size = abs(delta.spread.p50)
    return size / abs(delta.baseline) if delta.baseline else size
