"""OTE-1 in integers: population, pool and reserve in gwei, and how a turnout is counted.

Rule decided here: an allocation is rounded to gwei once; everything that is paid is an integer from then on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.engine_bench.setup import FEE, GWEI, POOL, RESERVE, REVENUE, SLOPE, Population

Int = NDArray[np.int64]
Float = NDArray[np.float64]

POOL_GWEI, RESERVE_GWEI, REVENUE_GWEI = int(POOL * GWEI), int(RESERVE * GWEI), int(REVENUE * GWEI)
FEE_PER_MILLE = round(FEE * 1000)


@dataclass(frozen=True)
class Holdings:
    """Allocations in gwei and their schedules in days, int64 (agents,), with the shares of the population."""

    allocation: Int
    cliff: Int
    duration: Int
    people: Population

    @classmethod
    def of(cls, people: Population) -> Holdings:
        """Return a population's allocations as integers."""
        allocation = np.rint(people.allocation * GWEI).astype(np.int64)
        return cls(allocation, people.cliff.astype(np.int64), people.duration.astype(np.int64), people)

    def vested(self, day: int) -> Int:
        """Return what has vested by a day, int64 gwei (agents,): the exact cumulative floor, without overflow."""
        whole, rest = np.divmod(self.allocation, self.duration)
        elapsed = np.clip(day - self.cliff, 0, self.duration)
        return np.asarray(whole * elapsed + rest * elapsed // self.duration)


def odds_against(balance: Int, bias: Float, out: Float) -> Float:
    """Return the odds against voting, ``exp(-(c0 + C1 * log1p(tokens)))``, in `out`, (agents,).

    Parameters
    ----------
    balance, bias
        Gwei, and the bias of votes.
    out
        float64 (agents,), written.
    """
    np.multiply(balance, 1.0 / GWEI, out=out)
    np.log1p(out, out=out)
    out *= -SLOPE
    out -= bias
    return np.exp(out, out=out)


def turnout(balance: Int, bias: Float, drawn: Float) -> float:
    """Return voters' balances over all balances, NaN where nobody holds anything.

    Parameters
    ----------
    balance, bias
        Gwei, and the bias of votes, (agents,).
    drawn
        Uniforms of the votes, (agents,).
    """
    voters = drawn * (1.0 + odds_against(balance, bias, np.empty(len(balance)))) < 1.0
    total = int(balance.sum())
    return int(balance[voters].sum()) / total if total else float("nan")
