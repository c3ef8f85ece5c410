"""What people own: sums over accounts, sums by class and by group, and the largest who hold more than half.

Rule decided here: the same integers as numpy's sums and `models.inequality.nakamoto`, which are the references, and the
same terms as `gini_of_ranked` and `hhi` of that module, whose sums are left to numpy. The largest are found by raising
the level below which nobody is among them; only those above it are sorted.
"""

from __future__ import annotations

import numpy as np
from numba import njit


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
def _at_least(amounts, level):  # type: ignore[no-untyped-def]
    """Return how many amounts are at the level or above, and their sum."""
    count = held = np.int64(0)
    for a in range(amounts.size):
        count += np.int64(amounts[a] >= level)
        held += amounts[a] if amounts[a] >= level else 0
    return count, held


@njit(cache=True, nogil=True)
def _needed(amounts):  # type: ignore[no-untyped-def]
    level = np.int64(1)
    count, total = _at_least(amounts, level)
    half, held, before = total // 2, total, amounts.size
    while (
        0 < count < before - before // 8
    ):  # those in question who hold less than an even part of the rest are not
        before, level = count, max((held - half) // count, level)
        count, held = _at_least(amounts, level)
    inside, found = np.empty(count, np.int64), 0
    for a in range(amounts.size):
        if amounts[a] >= level:
            inside[found] = amounts[a]
            found += 1
    inside.sort()
    held = needed = np.int64(0)
    while found > 0 and held <= half:
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
        out[r] = _needed(amounts[r])


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
