"""Margins of operators: on how many days in a row they were beyond a threshold.

Rule decided here: the same floats as `models.operators.margin` and the same days as `models.operators.days_in_a_row`.
"""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def count_days(revenue, spent, shared, machine, factor, high, low, above, below):  # type: ignore[no-untyped-def]
    """Count a day more where the margin was beyond a threshold in the month and on the day, and begin anew elsewhere.

    Parameters
    ----------
    revenue, spent
        USD of one replica of each kind over the month and on the day, float64 (2, runs, kinds).
    shared
        What is left of the revenue when one more replica shares it, float64 (runs, kinds).
    machine
        Kind of each operator, int64 (operators,).
    factor
        Cost of each operator relative to the kind's, float64 (runs, operators).
    high, low
        The thresholds: the margin with one more replica above `high`, the margin as it is below `low`.
    above, below
        Days in a row so far, int64 (runs, operators), changed.
    """
    for r in range(above.shape[0]):
        for o in range(above.shape[1]):
            kind, more, less = machine[o], True, True
            for when in range(2):
                earned, cost = revenue[when, r, kind], spent[when, r, kind] * factor[r, o]
                if cost > 0:
                    more &= (earned * shared[r, kind] - cost) / cost > high
                    less &= (earned - cost) / cost < low
                else:
                    more = less = False
            above[r, o] = above[r, o] + 1 if more else 0
            below[r, o] = below[r, o] + 1 if less else 0
