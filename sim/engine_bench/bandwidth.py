"""Bandwidth: how near OTE-1 at a million agents comes to what memory allows.

Rule decided here: the limit is the bandwidth of an update in place (`x *= a`, and `x += y`, whichever is faster) of
as much memory, measured in the same rounds, over the nine words of an agent-step in 64-bit integers with exact vesting:
balance read and written; quotient, remainder, cliff, duration and its reciprocal, share sold, weight. Our kernel moves
eight, because a fraction stands for remainder and reciprocal; the share by that count stands under the detail.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from sim.bench import Figure
from sim.chain.bench.timing import interleaved
from sim.engine_bench.contestants import our_step
from sim.engine_bench.setup import population
from sim.kernels.ote1_state import aligned

if TYPE_CHECKING:
    from sim.bench import Progress

AGENTS, DAYS = 1_000_000, 29
"""As many days as pass between votes: a vote is arithmetic, not traffic."""
BYTES, BYTES_MOVED = 72, 64
BAR = 0.55
ROUNDS = 7
REPEATS = 10


def bandwidth_figure(tell: Progress, rounds: int = ROUNDS, agents: int = AGENTS) -> Figure:
    """Measure our engine and memory in turn and return the share of the limit."""
    tell(f"OTE-1, {agents:,} agents, and updates in place; {rounds + 1} rounds")
    samples = interleaved(
        {
            "olsim": our_step(population(agents), 1, DAYS),
            "scale": _update(agents, 1),
            "add": _update(agents, 2),
        },
        rounds,
    )
    bandwidth = [1 / min(a, b) for a, b in zip(samples["scale"], samples["add"], strict=True)]
    rates = [1 / seconds for seconds in samples["olsim"]]
    share = median(BYTES * rate / limit for rate, limit in zip(rates, bandwidth, strict=True))
    detail = {
        "bytes_per_step": BYTES,
        "bytes_moved_per_step": BYTES_MOVED,
        "share_by_bytes_moved": round(share * BYTES_MOVED / BYTES, 4),
        "update_gb_per_s": [round(limit / 1e9, 2) for limit in bandwidth],
        "steps_per_s": [round(rate) for rate in rates],
        "days": DAYS,
    }
    return Figure("ote1.bandwidth_share.n1e6", round(share, 4), "share", "higher", BAR, detail)


def _update(elements: int, operands: int) -> Callable[[int], float]:
    words = BYTES_MOVED // 8 - 1  # the balance is one array, read and written
    x, y = (aligned(np.ones(words * elements // operands)) for _ in range(2))

    def step(_number: int) -> float:
        began = process_time()
        for _ in range(REPEATS):
            if operands == 1:
                np.multiply(x, 1.0, out=x)
            else:
                np.add(x, y, out=x)
        return (process_time() - began) / (REPEATS * x.nbytes * (operands + 1))

    return step
