"""Votes: who can cast how many, and the draws of those who can.

Rule decided here: votes are added up from those who delegated, who are few and always the same. The integers are those
of `models.turnout.voting_power` and the words those of `sim.draws.words`, which are the references.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty
from sim.kernels.philox import block, key_words


@njit(cache=True, nogil=True)
def delegated(wrapped, is_owner, totals):  # type: ignore[no-untyped-def]
    """Add up the GOPEN that somebody may vote with in each run.

    Parameters
    ----------
    wrapped
        GOPEN of each agent, int64 (runs, agents).
    is_owner
        Who delegated, bool (runs, agents); to read everything in order is faster than to pick the owners.
    totals
        int64 (runs,), written.
    """
    for r in range(totals.size):
        held, own, total = wrapped[r], is_owner[r], np.int64(0)
        for a in range(held.size):
            total += held[a] if own[a] else 0
        totals[r] = total


@njit(cache=True, nogil=True)
def voters(  # type: ignore[no-untyped-def]
    wrapped, owner, voter, is_small, starts, rows, columns, power, of_small, counts
):
    """List who has votes in some runs, run after run and in the order of columns.

    Parameters
    ----------
    wrapped
        GOPEN of each agent, int64 (runs, agents).
    owner, voter
        Column of everybody who delegated, run after run, and of who votes with its GOPEN, int32 (owners,).
    is_small
        Which owners count as small, bool (owners,).
    starts
        Where the owners of each run begin and those of the last end, int64 (runs + 1,).
    rows
        The runs, int64 (places,); one may stand in it more than once.
    columns, power, of_small
        Column of each voter, its votes, and those of them that small owners have, int64 with room for places x agents,
        written from 0.
    counts
        How many voters each place has, int64 (places,), written.
    """
    votes, small_votes = np.zeros(wrapped.shape[1], np.int64), np.zeros(wrapped.shape[1], np.int64)
    found = 0
    for p in range(rows.size):
        r, before = rows[p], found
        for k in range(starts[r], starts[r + 1]):
            held = wrapped[r, owner[k]]
            votes[voter[k]] += held
            small_votes[voter[k]] += held if is_small[k] else 0
        for first in range(0, votes.size, BLOCK):
            last = min(first + BLOCK, votes.size)
            if is_empty(votes, first, last):
                continue
            for a in range(first, last):
                if votes[a] != 0:
                    columns[found], power[found], of_small[found] = a, votes[a], small_votes[a]
                    votes[a] = small_votes[a] = 0
                    found += 1
        counts[p] = found - before


@njit(cache=True, nogil=True)
def draw(seed, stream, runs, days, agents, turnout, direction):  # type: ignore[no-untyped-def]
    """Write the uniforms of the first two words of some agents' blocks, each the midpoint of one of 2^32 cells.

    Parameters
    ----------
    seed, stream
        Key, and part of the counter, uint64.
    runs, days
        Run and day of each place, uint64 (places,).
    agents
        Agent words, uint64 (places, voters).
    turnout, direction
        float64 (places, voters), written from words 0 and 1.
    """
    k0, k1 = key_words(seed)
    for p in range(agents.shape[0]):
        for i in range(agents.shape[1]):
            first, second, _, _ = block(agents[p, i], days[p], runs[p], stream, k0, k1)
            turnout[p, i] = (np.float64(first) + 0.5) * 2.0**-32
            direction[p, i] = (np.float64(second) + 0.5) * 2.0**-32
