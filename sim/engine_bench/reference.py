"""OTE-1 in plain numpy and int64 gwei: the reference that the fused kernel equals, integer for integer.

Rule decided here: the day as `sim.engine_bench.setup` states it, each step an array of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import draws
from sim.draws import Decision
from sim.engine_bench.money import FEE_PER_MILLE, POOL_GWEI, RESERVE_GWEI, REVENUE_GWEI, Holdings, turnout
from sim.engine_bench.ote1 import CLASS, SEED
from sim.engine_bench.setup import GWEI, USD, VOTE_EVERY, Draws, Outcome, Population


@dataclass
class ReferenceRun:
    """State of one run: balances and what was claimed, (agents,), pool and reserve in gwei, USD, last turnout."""

    balance: NDArray[np.int64]
    claimed: NDArray[np.int64]
    pool: int = POOL_GWEI
    usd: float = USD
    reserve: int = RESERVE_GWEI
    turnout: float = float("nan")


def reference(
    people: Population, days: int, run: int = 0, given: Draws | None = None, seed: int = SEED
) -> ReferenceRun:
    """Return a run after its last day."""
    holdings, count = Holdings.of(people), people.count
    state = ReferenceRun(np.zeros(count, np.int64), np.zeros(count, np.int64))
    for day in range(1, days + 1):
        vested = holdings.vested(day)
        state.balance += vested - state.claimed
        state.claimed = vested
        drawn = _drawn(Decision.OTE1_SELL, count, day, run, seed) if given is None else given.sales[day]
        sold = (state.balance.astype(np.float64) * people.sell * drawn).astype(np.int64)
        state.balance -= sold
        _pay(state, people, int(sold.sum()))
        if day % VOTE_EVERY == 0:
            drawn = _drawn(Decision.OTE1_VOTE, count, day, run, seed) if given is None else given.votes[day]
            state.turnout = turnout(state.balance, people.bias, drawn)
    return state


def reference_outcome(people: Population, days: int, given: Draws | None = None) -> Outcome:
    """Return how one run ends."""
    state = reference(people, days, given=given)
    allocation = int(Holdings.of(people).allocation.sum())
    held = int(state.balance.sum())
    residual = held + state.pool + state.reserve - int(state.claimed.sum()) - POOL_GWEI - RESERVE_GWEI
    return Outcome(
        state.usd / (state.pool / GWEI), state.turnout, held / GWEI,
        residual / (allocation + POOL_GWEI + RESERVE_GWEI),
    )  # fmt: skip


def _pay(state: ReferenceRun, people: Population, sold: int) -> None:
    fee = sold * FEE_PER_MILLE // 1000
    net = sold - fee
    state.usd -= state.usd * float(net) / (float(state.pool) + float(net))
    state.pool += net
    payout = fee + REVENUE_GWEI
    paid = (people.weight * float(payout)).astype(np.int64)
    state.balance += paid
    state.reserve += payout - int(paid.sum()) - REVENUE_GWEI


def _drawn(decision: Decision, count: int, day: int, run: int, seed: int) -> NDArray[np.float64]:
    return np.asarray(draws.uniform(seed, decision, np.array([run]), day, CLASS, count)[0])
