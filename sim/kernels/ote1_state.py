"""What OTE-1's kernels work on: columns over agents, the state of a batch of runs, its record and its key.

Rule decided here: arrays over agents begin with a cache line, runs are the first axis of balances.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Words = NDArray[np.uint64]
LINE = 64
"""Bytes of a cache line, and of the widest vector."""


class Agents(NamedTuple):
    """Columns over agents, (agents,).

    Parameters
    ----------
    whole, fraction
        Gwei that vest on each day of the schedule, and r / duration in units of 2^-64, rounded up.
    cliff, duration
        Days.
    sell
        Share of the balance that is sold when the day's uniform is 1, in units of 2^32.
    weight
        Share of a payout; they sum to 1.
    product, low
        State of Philox when the agent's second multiplication is done: the product, and the low half of the first.
    """

    whole: Int
    fraction: Words
    cliff: Int
    duration: Int
    sell: NDArray[np.float64]
    weight: NDArray[np.float64]
    product: Words
    low: Words


class State(NamedTuple):
    """State of a batch.

    Parameters
    ----------
    balance
        int64 gwei (runs, agents).
    pool, usd
        The pool's tokens in gwei and its USD, (runs,).
    reserve, payout
        Gwei of the reserve, and what yesterday's close pays out today, (runs,).
    """

    balance: Int
    pool: Int
    usd: NDArray[np.float64]
    reserve: Int
    payout: Int


class Record(NamedTuple):
    """Pool and USD at the end of each day, and gwei sold on it, (days + 1, runs)."""

    pool: Int
    usd: NDArray[np.float64]
    sold: Int


class Key(NamedTuple):
    """Counter and key of the draws, uint64: first agent word, run numbers (runs,), stream, both words of the key."""

    agent: np.uint64
    runs: Words
    stream: np.uint64
    k0: np.uint64
    k1: np.uint64


class Rules(NamedTuple):
    """Gwei that the reserve pays out daily, and the pool's fee in thousandths."""

    revenue: int
    fee_per_mille: int


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that begins with a cache line, so that no vector of the pass spans two of them."""
    room = np.empty(values.nbytes + LINE, np.uint8)
    first = -room.ctypes.data % LINE
    out = room[first : first + values.nbytes].view(values.dtype).reshape(values.shape)
    out[...] = values
    return out


def new_state(runs: int, agents: int, pool: int, usd: float, reserve: int) -> State:
    """Return the state before the first day: empty balances, and the same pool and reserve in every run."""
    return State(
        aligned(np.zeros((runs, agents), np.int64)), np.full(runs, pool, np.int64), np.full(runs, usd),
        np.full(runs, reserve, np.int64), np.zeros(runs, np.int64),
    )  # fmt: skip


def part_of(state: State, record: Record, runs: slice) -> tuple[State, Record]:
    """Return views of some of the runs."""
    return (
        State(
            state.balance[runs], state.pool[runs], state.usd[runs], state.reserve[runs], state.payout[runs]
        ),
        Record(record.pool[:, runs], record.usd[:, runs], record.sold[:, runs]),
    )


def new_record(days: int, runs: int) -> Record:
    """Return an empty record."""
    shape = (days + 1, runs)
    return Record(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64))


def no_draws() -> NDArray[np.float64]:
    """Return the `given` of keyed draws."""
    return np.empty((0, 0))
