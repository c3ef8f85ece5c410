"""What people own: sums over accounts, sums by class and by group, and the largest who hold more than half.

Rule decided here: the same integers as numpy's sums and `models.inequality.nakamoto`, which are the references, and the
same terms as `gini_of_ranked` and `hhi` of that module, whose sums are left to numpy. The largest are found by counting
amounts into buckets by size; only those of one bucket are sorted.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_SHIFT = 48
"""Bits of a float64 below its exponent and the first four digits: 16 buckets to a doubling."""
_ONE = (1023 << 4) - 1
"""Place before that of the float 1.0; 0 has the place 0."""
_BUCKETS = 65 << 4


@njit(cache=True, nogil=True)
def owned(holdings, earned, first, out):  # type: ignore[no-untyped-def]
    """Add up the accounts and unclaimed payouts of each agent of some runs.

    Parameters
    ----------
    holdings
        int64 (accounts, all runs, agents).
    earned
        int64 (all runs, agents).
    first
        Row of the first of the runs.
    out
        int64 (runs, agents), written.
    """
    for i in range(out.shape[0]):
        row, total = earned[first + i], out[i]
        total[:] = row
        for k in range(0, holdings.shape[0] - 2, 3):  # three accounts wait for memory together
            one, two, three = holdings[k, first + i], holdings[k + 1, first + i], holdings[k + 2, first + i]
            for a in range(total.size):
                total[a] += one[a] + two[a] + three[a]
        for k in range(holdings.shape[0] - holdings.shape[0] % 3, holdings.shape[0]):
            held = holdings[k, first + i]
            for a in range(held.size):
                total[a] += held[a]


@njit(cache=True, nogil=True)
def by_class(amounts, starts, sums):  # type: ignore[no-untyped-def]
    """Sum amounts by class, as `numpy.add.reduceat` does.

    Parameters
    ----------
    amounts
        int64 (runs, agents).
    starts
        First column of each class, rising, int64 (classes,).
    sums
        int64 (runs, classes), written.
    """
    for r in range(amounts.shape[0]):
        for k in range(starts.size):
            stop = starts[k + 1] if k + 1 < starts.size else amounts.shape[1]
            row, total = amounts[r, starts[k] : stop], np.int64(0)
            for a in range(row.size):
                total += row[a]
            sums[r, k] = total


@njit(cache=True, nogil=True)
def by_group(amounts, groups, sums):  # type: ignore[no-untyped-def]
    """Sum the amounts of the first agents by group.

    Parameters
    ----------
    amounts
        int64 (runs, all agents).
    groups
        Group of each of the first agents, uint8 (runs, agents).
    sums
        int64 (runs, groups), written.
    """
    for r in range(amounts.shape[0]):
        row, group, total = amounts[r], groups[r], sums[r]
        total[:] = 0
        for a in range(group.size):
            total[group[a]] += row[a]


@njit(cache=True, nogil=True)
def _needed(amounts, places):  # type: ignore[no-untyped-def]
    total, counts, sums = np.int64(0), np.zeros(_BUCKETS, np.int64), np.zeros(_BUCKETS, np.int64)
    for a in range(amounts.size):
        place = max((places[a] >> _SHIFT) - _ONE, 0)
        places[a] = place
        total += amounts[a]
        counts[place] += 1
        sums[place] += amounts[a]
    if total == 0:
        return np.int64(0)
    half, held, needed, place = total // 2, np.int64(0), np.int64(0), _BUCKETS - 1
    while held + sums[place] <= half:
        held += sums[place]
        needed += counts[place]
        place -= 1
    inside, found = np.empty(counts[place], np.int64), 0
    for a in range(amounts.size):
        if places[a] == place:
            inside[found] = amounts[a]
            found += 1
    inside.sort()
    while held <= half:
        found -= 1
        held += inside[found]
        needed += 1
    return needed


@njit(cache=True, nogil=True)
def nakamoto(amounts, out):  # type: ignore[no-untyped-def]
    """Count how many of the largest together hold more than half, 0 where nobody holds anything.

    Parameters
    ----------
    amounts
        int64 (runs, agents), 0 or more.
    out
        int64 (runs,), written.
    """
    for r in range(amounts.shape[0]):
        # the bits of a positive float rise with it: exponent and first digits are its bucket
        out[r] = _needed(amounts[r], amounts[r].astype(np.float64).view(np.int64))


@njit(cache=True, nogil=True)
def gini_terms(ranked, terms):  # type: ignore[no-untyped-def]
    """Fill `terms`, float64, with rising amounts, int64 (runs, agents), times their 2 i - n - 1."""
    for r in range(ranked.shape[0]):
        amount, term = ranked[r], terms[r]
        for a in range(term.size):
            term[a] = np.float64(amount[a]) * np.float64(2 * a + 1 - term.size)


@njit(cache=True, nogil=True)
def squared_shares(amounts, totals, terms):  # type: ignore[no-untyped-def]
    """Fill `terms`, float64, with the squares of the shares that amounts, int64 (runs, agents), have in `totals`."""
    for r in range(amounts.shape[0]):
        amount, term, total = amounts[r], terms[r], np.float64(max(totals[r], 1))
        for a in range(term.size):
            share = np.float64(amount[a]) / total
            term[a] = share * share
