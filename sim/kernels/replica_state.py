"""What a replica in numba works on: its step times and limits, the window's requests, its state, what it records.

Rule decided here: structures of plain arrays, all allocated before the window begins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.kernels.adapter_cache import Linked

ROWS, PROMPTS, STEPS, CONTEXT, DISTINCT, NEXT, PLANS, REGROUPED = range(8)
"""Places in `State.counts`."""


class Machine(NamedTuple):
    """What a replica's steps take (ms), and its limits.

    Parameters
    ----------
    line
        Of a decode step: fixed, per row, per distinct adapter, per token of context, shape (4,).
    alone, joining
        Of prompts alone and beside decode rows: per forward, per prompt, per token, shape (3,).
    factors
        What the line misses by rows, shape (rows + 1,).
    regroup_ms
        What a step takes more after rows have joined or left.
    rows_max, step_tokens, look_max, bypass_max, queue_max
        Rows; tokens of a step; waiting requests that a step looks at; how often one may be passed; waiting requests
        beyond which arrivals are refused.
    """

    line: NDArray[np.float64]
    alone: NDArray[np.float64]
    joining: NDArray[np.float64]
    factors: NDArray[np.float64]
    regroup_ms: float
    rows_max: int
    step_tokens: int
    look_max: int
    bypass_max: int
    queue_max: int


class Window(NamedTuple):
    """Requests of a window: the second at which each comes, its adapter, tokens in and out; shape (requests,)."""

    arrival: NDArray[np.float64]
    adapter: NDArray[np.int64]
    input: NDArray[np.int64]
    output: NDArray[np.int64]


class Records(NamedTuple):
    """Moments of admission, first and last token; whether the adapter was there; whether it was refused."""

    admitted: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    hit: NDArray[np.bool_]
    refused: NDArray[np.bool_]


class State(NamedTuple):
    """A replica between two steps.

    Parameters
    ----------
    counts
        See `ROWS` and what follows it.
    queue
        Waiting requests.
    rows
        Step at which each row ends, and its request, shape (2, rows).
    prompts
        Request and tokens left of each admitted prompt, shape (2, rows).
    shared
        Rows of each adapter, shape (adapters,).
    barred
        The last plan in which an adapter could not be had, shape (adapters,).
    passed
        Requests that wait for a slot in this plan, shape (look_max,).
    bypassed
        How often each request was passed, shape (requests,).
    heard
        Moment at which the last arrival was heard, shape (1,).
    """

    counts: NDArray[np.int64]
    queue: Linked
    rows: NDArray[np.int64]
    prompts: NDArray[np.int64]
    shared: NDArray[np.int64]
    barred: NDArray[np.int64]
    passed: NDArray[np.int64]
    bypassed: NDArray[np.int64]
    heard: NDArray[np.float64]
