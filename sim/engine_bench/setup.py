"""OTE-1: the population, the rules and the golden digits that every engine shares.

Rule decided here: N agents hold a vesting allocation, sell part of their balance into a constant-product pool daily,
are paid fees and revenue by weight, and vote each 30th day. Day t = 1 .. T, in this order:

1. vest: ``v = vt * clip((t - cliff) / dur, 0, 1)``; ``bal += v - claimed``; ``claimed = v``.
2. sell: ``s = bal * sell * u``; ``bal -= s``; ``S = sum(s)``; ``net = S * (1 - f)``; ``Y -= Y * net / (X + net)``;
   ``X += net``.
3. payout: ``P = f * S + R``; ``reserve -= R``; ``bal += w * P``.
4. each 30th day: an agent votes iff ``q < 1 / (1 + exp(-(c0 + C1 * log1p(bal))))``; turnout = voters' balances / all.

``sum(bal) + X + sum(vt - claimed) + reserve`` never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

ALLOCATION = 6e8
POOL = 5e7
"""Tokens of the pool at the start, X."""
USD = 1e7
"""USD of the pool at the start, Y."""
RESERVE = 2e8
REVENUE = 1e5
"""Tokens that the reserve pays out daily, R."""
FEE = 0.003
SLOPE = 0.35
"""How turnout rises with the logarithm of the balance, C1."""
VOTE_EVERY = 30
GWEI = 10**9

GOLDEN_AGENTS, GOLDEN_DAYS = 1000, 60
GOLDEN_PRICE, GOLDEN_TURNOUT, GOLDEN_BALANCE = 0.06820102382, 0.5212496769, 26422294.17
"""What every engine gives in conformance mode, to the digits shown."""


@dataclass(frozen=True)
class Population:
    """Columns over agents, float64 (agents,): allocation, cliff and duration in days, shares, weight, bias of votes."""

    allocation: Float
    cliff: Float
    duration: Float
    sell: Float
    weight: Float
    bias: Float

    @property
    def count(self) -> int:
        """How many agents there are."""
        return len(self.allocation)


@dataclass(frozen=True)
class Draws:
    """Uniforms that are given, float64 (days + 1, agents): for sales and for votes."""

    sales: Float
    votes: Float


@dataclass(frozen=True)
class Outcome:
    """What an engine ended with.

    Parameters
    ----------
    price_usd
        USD per token on the last day.
    turnout
        Turnout of the last vote, NaN before the first.
    balance
        Tokens held by agents.
    residual
        Tokens that appeared or vanished, as a share of all tokens; exactly 0 where money is integers.
    """

    price_usd: float
    turnout: float
    balance: float
    residual: float


def population(agents: int) -> Population:
    """Return the population of so many agents, the same on every machine."""
    rng = np.random.Generator(np.random.Philox(7))
    allocation = rng.pareto(1.5, agents) + 1
    allocation *= ALLOCATION / allocation.sum()
    cliff = rng.choice([0.0, 90.0, 180.0, 365.0], agents)
    duration = rng.choice([1.0, 365.0, 730.0, 1095.0], agents)
    sell = rng.beta(1.2, 20, agents)
    weight = rng.exponential(1.0, agents)
    return Population(allocation, cliff, duration, sell, weight / weight.sum(), rng.normal(-4.0, 1.0, agents))


def conformance_draws(agents: int, days: int) -> Draws:
    """Return the uniforms of conformance mode: two matrices one after the other from one generator."""
    rng = np.random.Generator(np.random.Philox(99))
    return Draws(rng.random((days + 1, agents)), rng.random((days + 1, agents)))


def relative_residual(people: Population, balance: float, pool: float, claimed: float, days: int) -> float:
    """Return the invariant's change over its value, for money in floats of tokens; the reserve paid every day."""
    start = POOL + float(people.allocation.sum()) + RESERVE
    end = balance + pool + float(people.allocation.sum()) - claimed + RESERVE - days * REVENUE
    return abs(end - start) / start
