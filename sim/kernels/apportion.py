"""Dividing an amount per run by integer weights, run by run in cache.

Rule decided here: the same integers as `models.apportion`, which is the reference and is asked wherever an estimate in
float64 would not be off by at most one, or an argument is refused. The largest remainders are found by counting them
in buckets: only those of the bucket in which the last unit falls are sorted.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models import apportion as reference
from models.exact import LARGEST_DIVISOR, mul_div

Int = NDArray[np.int64]

_EXACT = 2**50
"""Quotients below this are estimated to within one."""
_SUMS = float(LARGEST_DIVISOR // 4)
"""Float sums of weights up to here are far enough from the largest divisor."""
_BUCKETS = 512
_NONE = np.int64(0)


@njit(cache=True, nogil=True)
def _whole(weights, total):  # type: ignore[no-untyped-def]
    """Return the sum of a run's weights, or -1 where the estimate would not do."""
    whole, most, least, about = _NONE, _NONE, _NONE, 0.0
    for a in range(weights.shape[0]):
        weight = weights[a]
        whole += weight
        most = max(most, weight)
        least = min(least, weight)
    about = np.float64(most) * weights.shape[0]
    if about > _SUMS:
        about = 0.0
        for a in range(weights.shape[0]):
            about += np.float64(weights[a])
    if least < 0 or total < 0 or about > _SUMS:
        return np.int64(-1)
    if min(total % max(whole, 1), most) >= _EXACT:
        return np.int64(-1)
    return whole


@njit(cache=True, nogil=True, inline="always")
def _floor(weight, times, rest, ratio, whole):  # type: ignore[no-untyped-def]
    """Return floor of total x weight / whole and what it leaves."""
    part = np.int64(ratio * np.float64(weight))
    remainder = rest * weight - part * whole  # products may wrap around, their difference does not
    high, low = np.int64(remainder < 0), np.int64(remainder >= whole)
    return part + low - high + times * weight, remainder + (high - low) * whole


@njit(cache=True, nogil=True, inline="always")
def floor_share(amount, over, ratio, under):  # type: ignore[no-untyped-def]
    """Return floor(amount x over / under), which must be below 2^50, given `ratio` = over / under."""
    part = np.int64(ratio * np.float64(amount))
    remainder = amount * over - part * under
    return part + np.int64(remainder >= under) - np.int64(remainder < 0)


@njit(cache=True, nogil=True)
def _count(remainders, scale, places, counts):  # type: ignore[no-untyped-def]
    """Find the bucket of each remainder and fill `counts`: two columns, because a sum waits for the one before it."""
    for a in range(places.shape[0]):
        places[a] = np.int32(np.float64(remainders[a]) * scale)
    counts[:] = 0
    for a in range(0, places.shape[0] - 1, 2):
        counts[places[a], 0] += 1
        counts[places[a + 1], 1] += 1
    if places.shape[0] % 2:
        counts[places[-1], 0] += 1


@njit(cache=True, nogil=True)
def _give(parts, remainders, whole, leftover, places, counts):  # type: ignore[no-untyped-def]
    """Give one unit each to the `leftover` largest remainders, ties to the lowest index."""
    _count(remainders, np.float64(_BUCKETS - 1) / np.float64(whole), places, counts)
    bucket, above = _BUCKETS - 1, _NONE
    while above + counts[bucket, 0] + counts[bucket, 1] < leftover:
        above += counts[bucket, 0] + counts[bucket, 1]
        bucket -= 1
    inside, found = np.empty(counts[bucket, 0] + counts[bucket, 1], np.int64), 0
    for a in range(parts.shape[0]):
        parts[a] += np.int64(places[a] > bucket)
    for a in range(parts.shape[0]):
        if places[a] == bucket:
            inside[found] = a
            found += 1
    level = remainders[inside]
    level.sort()
    needed = leftover - above
    least = level[found - needed]
    for k in range(found - needed, found):
        needed -= level[k] > least
    for a in inside:
        if remainders[a] > least:
            parts[a] += 1
        elif remainders[a] == least and needed > 0:
            parts[a] += 1
            needed -= 1


@njit(cache=True, nogil=True)
def _divide(total, weights, parts, dust, largest):  # type: ignore[no-untyped-def]
    """Fill `parts` and `dust`; return whether the estimates were good enough."""
    remainders, places = np.empty(weights.shape[1], np.int64), np.empty(weights.shape[1], np.int32)
    counts = np.empty((_BUCKETS, 2), np.int64)
    for r in range(weights.shape[0]):
        whole = _whole(weights[r], total[r])
        if whole < 0:
            return False
        left = total[r]
        if whole > 0:
            row, part, given = weights[r], parts[r], _NONE
            times, rest = left // whole, left % whole
            ratio = np.float64(rest) / np.float64(whole)
            for a in range(row.shape[0]):
                part[a], remainders[a] = _floor(row[a], times, rest, ratio, whole)
                given += part[a]
            left -= given
            if largest and left > 0:
                _give(part, remainders, whole, left, places, counts)
                left = _NONE
        else:
            parts[r] = 0
        dust[r] = left
    return True


def _parts(total: Int | int, weights: Int, largest: bool) -> tuple[Int, Int] | None:
    if weights.ndim != 2 or not weights.size:
        return None
    amount = np.ascontiguousarray(np.broadcast_to(np.asarray(total, np.int64), weights.shape[:1]))
    parts, dust = np.empty(weights.shape, np.int64), np.empty(len(weights), np.int64)
    exact = _divide(amount, np.ascontiguousarray(weights, np.int64), parts, dust, largest)
    return (parts, dust) if exact else None


def apportion(total: Int | int, weights: Int) -> Int:
    """Divide an amount per run by largest remainder, as `models.apportion.apportion` does.

    Parameters
    ----------
    total
        Amount per run in the ledger's unit, `(runs,)` or one number for all.
    weights
        Weights, `(runs, payees)`.
    """
    found = _parts(total, weights, True)
    return reference.apportion(total, weights) if found is None else found[0]


def apportion_floor(total: Int | int, weights: Int) -> tuple[Int, Int]:
    """Divide an amount per run by floors and say what they leave, as `models.apportion.apportion_floor` does.

    Parameters
    ----------
    total
        Amount per run in the ledger's unit, `(runs,)` or one number for all.
    weights
        Weights, `(runs, payees)`.
    """
    found = _parts(total, weights, False)
    return reference.apportion_floor(total, weights) if found is None else found


@njit(cache=True, nogil=True)
def _divide_some(total, whole, run, weights, parts):  # type: ignore[no-untyped-def]
    for i in range(run.shape[0]):
        r, weight = run[i], weights[i]
        times, rest = total[r] // whole[r], total[r] % whole[r]
        if weight < 0 or total[r] < 0 or min(rest, weight) >= _EXACT:
            return False
        parts[i], _ = _floor(weight, times, rest, np.float64(rest) / np.float64(whole[r]), whole[r])
    return True


def floors_of_some(total: Int, whole: Int, run: Int, weights: Int) -> Int:
    """Return floor(total x weight / whole) of few payees, as `models.exact.mul_div` does.

    Parameters
    ----------
    total, whole
        Amount and sum of all weights per run, int64 (runs,); `whole` is from 1 to 2^61.
    run, weights
        Row and weight of each payee, int64 (payees,); no weight is above its `whole`.
    """
    parts = np.empty(run.shape, np.int64)
    if _divide_some(total, whole, run, weights, parts):
        return parts
    return mul_div(total[run], weights, whole[run])[0]
