"""Grantees: the first few of those who may be chosen, in an order that keyed draws say; and who stays for the income.

Rule decided here: the same agents as a stable sort of everybody's key would put first, the active behind the dormant;
the same floats as numpy's, operation by operation.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_32 = np.int64(32)


@njit(cache=True, nogil=True)
def _insert(keys, agents, found, key, agent):  # type: ignore[no-untyped-def]
    """Insert a key behind those that are not above it; what stands last gives way."""
    at = found
    while at > 0 and keys[at - 1] > key:
        if at < keys.size:
            keys[at], agents[at] = keys[at - 1], agents[at - 1]
        at -= 1
    if at < keys.size:
        keys[at], agents[at] = key, agent


@njit(cache=True, nogil=True)
def first(words, behind, award, number, run, agent):  # type: ignore[no-untyped-def]
    """List the first agents without an award by their draws, ties by index; returns how many there are.

    Parameters
    ----------
    words
        Draws, uint32 (runs, agents).
    behind
        Who is chosen only where none of the others is left, bool (runs, agents).
    award
        What they were awarded before, int64 (runs, agents).
    number
        How many are chosen where so many may be, int64 (runs,).
    run, agent
        Row and column of each, int64 with room for all of them, written.
    """
    count = 0
    for r in range(words.shape[0]):
        most = min(max(number[r], 0), words.shape[1])
        keys, found, last = np.empty(most, np.int64), 0, np.int64(-1) if most == 0 else np.int64(1) << 33
        own = agent[count : count + most]
        for a in range(words.shape[1]):
            key = np.int64(words[r, a]) + (np.int64(behind[r, a]) << _32)
            if key < last and award[r, a] == 0:
                _insert(keys, own, found, key, a)
                found = min(found + 1, most)
                if found == most:
                    last = keys[most - 1]
        run[count : count + found] = r
        count += found
    return count


@njit(cache=True, nogil=True, inline="always")
def _usd(income, price, people):  # type: ignore[no-untyped-def]
    return np.float64(income) / 1e9 * price / people


@njit(cache=True, nogil=True)
def incomes(income, price, people, active, out):  # type: ignore[no-untyped-def]
    """Fill `out`, float64 (runs, contributors), with the income of who is active in USD; parameters as in `stay`."""
    for r in range(out.shape[0]):
        gwei, takes_part, usd, at = income[r], active[r], out[r], price[r]
        for a in range(usd.size):
            usd[a] = _usd(gwei[a], at, people) if takes_part[a] else 0.0


@njit(cache=True, nogil=True)
def stay(income, price, people, active, tranche, words, outside, average, leave, join):  # type: ignore[no-untyped-def]
    """Let contributors leave where the month paid them too little, and join where it paid well on average.

    Parameters
    ----------
    income
        The month's income, int64 gwei (runs, contributors).
    price
        USD per token, float64 (runs,).
    people
        People that one simulated contributor stands for.
    active
        Who takes part, bool (runs, contributors), written.
    tranche
        Tranches paid of a running grant, int64 (runs, contributors): who has one does not leave.
    words
        Draws, uint32 (runs, contributors).
    outside
        USD that the same work earns outside.
    average
        Income of those who are active, float64 (runs,).
    leave, join
        Word from which on nobody leaves or joins, uint64.
    """
    for r in range(active.shape[0]):
        gwei, takes_part, paid, word, at = income[r], active[r], tranche[r], words[r], price[r]
        joins = join if average[r] > outside else np.uint64(0)
        for a in range(takes_part.size):
            leaves = (paid[a] <= 0) & (_usd(gwei[a], at, people) < outside) & (word[a] < leave)
            takes_part[a] = (not leaves) if takes_part[a] else word[a] < joins
