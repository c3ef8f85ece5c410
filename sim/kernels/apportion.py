"""Dividing an amount per run by integer weights, run by run in cache.

Rule decided here: the same integers as `models.apportion`, which is the reference and is asked wherever an estimate in
float64 would not be off by at most one, or an argument is refused. The largest remainders are found without sorting:
a level above which there are as many as units are left over is approached by counting, which is one vector
instruction for eight payees; only where none is found are those sorted that are still in question.
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
_TRIES = 8
"""Levels that are tried before the remainders in question are sorted."""
_NONE = np.int64(0)


@njit(cache=True, nogil=True)
def whole_of(weights, total):  # type: ignore[no-untyped-def]
    """Return the sum of a run's weights, or -1 where the estimate would not do.

    Parameters
    ----------
    weights
        int64 (payees,).
    total
        Amount to be divided.
    """
    whole, most, signs = _NONE, _NONE, np.int64(total)
    for a in range(weights.shape[0]):
        weight = weights[a]
        whole += weight
        most = max(most, weight)
        signs |= weight
    about = np.float64(most) * weights.shape[0]
    if about > _SUMS:
        about = 0.0
        for a in range(weights.shape[0]):
            about += np.float64(weights[a])
    if signs < 0 or about > _SUMS:
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
def _above(remainders, level):  # type: ignore[no-untyped-def]
    count = _NONE
    for a in range(remainders.shape[0]):
        count += np.int64(remainders[a] > level)
    return count


@njit(cache=True, nogil=True)
def _give_some(parts, remainders, low, high, needed):  # type: ignore[no-untyped-def]
    """Give one unit each to the `needed` largest remainders from above `low` to `high`, ties to the lowest index."""
    inside, found = np.empty(remainders.shape[0], np.int64), 0
    for a in range(remainders.shape[0]):
        if low < remainders[a] <= high:
            inside[found] = a
            found += 1
    inside = inside[:found]
    level = remainders[inside]
    level.sort()
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
def _give(parts, remainders, whole, leftover, positive):  # type: ignore[no-untyped-def]
    """Give one unit each to the `leftover` largest of `positive` remainders above 0, ties to the lowest index.

    More than `leftover` remainders are above `low`, fewer are above `high`.
    """
    low, high, over_low, over_high = _NONE, whole - 1, positive, _NONE
    for _ in range(_TRIES):
        if high - low < 2:
            break
        place = np.float64(over_low - leftover) / np.float64(over_low - over_high)
        level = low + np.int64(np.float64(high - low) * place)
        level = min(max(level, low + 1), high - 1)
        count = _above(remainders, level)
        if count > leftover:
            low, over_low = level, count
        else:
            high, over_high = level, count
        if count == leftover:
            break
    for a in range(parts.shape[0]):
        parts[a] += np.int64(remainders[a] > high)
    if over_high < leftover:
        _give_some(parts, remainders, low, high, leftover - over_high)


@njit(cache=True, nogil=True)
def divide_run(total, weights, whole, parts, remainders, largest):  # type: ignore[no-untyped-def]
    """Divide one run's amount and return what is left of it.

    Parameters
    ----------
    total
        Amount, which `whole_of` did not refuse.
    weights
        int64 (payees,).
    whole
        Their sum, above 0.
    parts, remainders
        int64 (payees,), written.
    largest
        Whether what floors leave goes to the largest remainders.
    """
    times, rest = total // whole, total % whole
    ratio = np.float64(rest) / np.float64(whole)
    given, positive = _NONE, _NONE
    for a in range(parts.shape[0]):
        part, remainder = _floor(weights[a], times, rest, ratio, whole)
        parts[a], remainders[a] = part, remainder
        given += part
        positive += np.int64(remainder > 0)
    left = total - given
    if largest and left > 0:
        _give(parts, remainders, whole, left, positive)
        return _NONE
    return left


@njit(cache=True, nogil=True)
def _divide(total, weights, parts, dust, largest):  # type: ignore[no-untyped-def]
    """Fill `parts` and `dust`; return whether the estimates were good enough."""
    remainders = np.empty(weights.shape[1], np.int64)
    for r in range(weights.shape[0]):
        whole = whole_of(weights[r], total[r])
        if whole < 0:
            return False
        if whole > 0:
            dust[r] = divide_run(total[r], weights[r], whole, parts[r], remainders, largest)
        else:
            parts[r] = 0
            dust[r] = total[r]
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
    end, i = run.size, 0
    while i < end:
        r = run[i]
        under, times, rest = whole[r], total[r] // whole[r], total[r] % whole[r]
        ratio, is_close = np.float64(rest) / np.float64(under), rest < _EXACT
        if total[r] < 0:
            return False
        while i < end and run[i] == r:  # division is slow, and payees of a run follow each other
            weight = weights[i]
            if weight < 0 or not (is_close or weight < _EXACT):
                return False
            parts[i], _ = _floor(weight, times, rest, ratio, under)
            i += 1
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
