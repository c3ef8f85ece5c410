"""Votes: who can cast how many, and the draws of those who can, in one pass over those who hold GOPEN.

Rule decided here: the same integers as `models.turnout.voting_power` and the same words as `sim.draws.words`, which are
the references.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.turnout import SELF
from sim.kernels.blocks import BLOCK, is_empty
from sim.kernels.philox import block, key_words

_SELF = np.int32(SELF)


@njit(cache=True, nogil=True)
def voting_power(wrapped, delegate_to, first_delegate, power):  # type: ignore[no-untyped-def]
    """Write the votes of each agent of one run.

    Parameters
    ----------
    wrapped
        GOPEN of each agent, int64 (agents,).
    delegate_to
        `SELF`, `UNDELEGATED` or the index of a delegate, int32 (agents,).
    first_delegate
        Column of delegate 0.
    power
        int64 (agents,), zeros, written.
    """
    for first in range(0, wrapped.size, BLOCK):
        last = min(first + BLOCK, wrapped.size)
        if is_empty(wrapped, first, last):
            continue
        held, to = wrapped[first:last], delegate_to[first:last]
        for i in range(held.size):
            if to[i] >= 0:
                power[first_delegate + to[i]] += held[i]
            elif to[i] == _SELF:
                power[first + i] += held[i]


@njit(cache=True, nogil=True)
def draw(seed, stream, run, day, agents, turnout, direction):  # type: ignore[no-untyped-def]
    """Write the uniforms of the first two words of some agents' blocks, each the midpoint of one of 2^32 cells.

    Parameters
    ----------
    seed, stream, run, day
        Key and counter, uint64.
    agents
        Agent words, uint64 (agents,).
    turnout, direction
        float64 (agents,), written from words 0 and 1.
    """
    k0, k1 = key_words(seed)
    for i in range(agents.size):
        first, second, _, _ = block(agents[i], day, run, stream, k0, k1)
        turnout[i] = (np.float64(first) + 0.5) * 2.0**-32
        direction[i] = (np.float64(second) + 0.5) * 2.0**-32


@njit(cache=True, nogil=True)
def of_owners(wrapped, small, delegate_to, first_delegate, votes):  # type: ignore[no-untyped-def]
    """Add up the GOPEN of small owners whose votes are cast, by themselves or by their delegate.

    Parameters
    ----------
    wrapped, delegate_to, first_delegate
        As in `voting_power`.
    small
        Who counts as small, bool (agents,).
    votes
        Who votes, bool (agents,).

    Returns
    -------
    int
        Gwei.
    """
    total = np.int64(0)
    for first in range(0, wrapped.size, BLOCK):
        last = min(first + BLOCK, wrapped.size)
        if is_empty(wrapped, first, last):
            continue
        for a in range(first, last):
            to = delegate_to[a]
            if not small[a] or (to < 0 and to != _SELF):
                continue
            if votes[first_delegate + to if to >= 0 else a]:
                total += wrapped[a]
    return total
