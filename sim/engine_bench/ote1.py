"""OTE-1 on this engine: int64 gwei, keyed draws, the fused kernel, threads over runs.

Rule decided here: kernels live through the days up to a vote; on the day of a vote its payout is made, and turnout is
counted by numpy, whose exponentials and logarithms are vectors. A run's numbers depend on its own number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sim import draws
from sim.draws import Decision
from sim.engine_bench.money import (
    FEE_PER_MILLE,
    POOL_GWEI,
    RESERVE_GWEI,
    REVENUE_GWEI,
    Holdings,
    odds_against,
)
from sim.engine_bench.setup import GWEI, USD, VOTE_EVERY, Draws, Outcome, Population
from sim.kernels import ote1, ote1_state, philox

SEED = 7
CLASS = "holders"
"""Class of the agent word of the draws."""
CHUNK = 16_384
"""Agents at a time of a vote, so that its vectors stay in the second level of cache."""
RULES = ote1_state.Rules(REVENUE_GWEI, FEE_PER_MILLE)


class Simulation:
    """A batch of runs.

    Parameters
    ----------
    people
        The population.
    days
        Last day.
    runs
        Run numbers.
    given
        Uniforms to use in place of keyed draws, or None.
    seed
        Seed of the keyed draws.
    """

    def __init__(
        self,
        people: Population,
        days: int,
        runs: Sequence[int] = (0,),
        given: Draws | None = None,
        seed: int = SEED,
    ) -> None:
        self.holdings, self.days, self.seed, self.given = Holdings.of(people), days, seed, given
        self.runs = np.asarray(runs, np.int64)
        self._key = _key(seed, self.runs)
        self._agents = _agents(self.holdings, self._key)
        self.restart()

    def restart(self) -> None:
        """Return to the eve of the first day."""
        count, runs = self.holdings.people.count, len(self.runs)
        self.state = ote1_state.new_state(runs, count, POOL_GWEI, USD, RESERVE_GWEI)
        self.record = ote1_state.new_record(self.days, runs)
        self.turnout = np.full((self.days + 1, runs), np.nan)

    def run(self, threads: int = 1) -> None:
        """Live through all days, runs divided among threads."""
        if threads == 1:
            self._days(slice(None))
            return
        cuts = np.linspace(0, len(self.runs), threads + 1).astype(int)
        parts = [slice(i, j) for i, j in pairwise(cuts) if j > i]
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(self._days, parts))

    def outcomes(self) -> list[Outcome]:
        """Return how each run ended."""
        residual = self.residual_gwei()
        votes = self.turnout[VOTE_EVERY::VOTE_EVERY]
        return [
            Outcome(
                float(self.state.usd[r]) / (int(self.state.pool[r]) / GWEI),
                float(votes[-1, r]) if len(votes) else float("nan"),
                int(self.state.balance[r].sum()) / GWEI,
                float(residual[r]),
            )
            for r in range(len(self.runs))
        ]

    def residual_gwei(self) -> NDArray[np.int64]:
        """Return gwei that appeared or vanished, int64 (runs,)."""
        start = int(self.holdings.allocation.sum()) + POOL_GWEI + RESERVE_GWEI
        left = int((self.holdings.allocation - self.holdings.vested(self.days)).sum())
        state = self.state
        return np.asarray(
            state.balance.sum(axis=1) + state.pool + state.reserve + state.payout + left - start
        )

    def _days(self, part: slice) -> None:
        state, record = ote1_state.part_of(self.state, self.record, part)
        key = self._key._replace(runs=self._key.runs[part])
        given = ote1_state.no_draws() if self.given is None else self.given.sales
        first = 1
        while first <= self.days:
            last = min(self.days, first + VOTE_EVERY - 1)
            ote1.advance(self._agents, state, record, key, given, RULES, first, last)
            ote1.pay(self._agents, state)
            if last % VOTE_EVERY == 0:
                self._vote(state, part, last)
            first = last + 1

    def _vote(self, state: ote1_state.State, part: slice, day: int) -> None:
        for i, r in enumerate(range(*part.indices(len(self.runs)))):
            self.turnout[day, r] = self._turnout(state.balance[i], self._key.runs[r], day)

    def _turnout(self, balance: NDArray[np.int64], run: np.uint64, day: int) -> float:
        bias = self.holdings.people.bias
        odds, drawn, voting, total = np.empty(CHUNK), np.empty(CHUNK), 0, 0
        for i in range(0, len(balance), CHUNK):
            part = balance[i : i + CHUNK]
            count = len(part)
            odds_against(part, bias[i : i + CHUNK], odds[:count])
            if self.given is None:
                first = self._key.agent + np.uint64(i)
                ote1.vote_uniforms(drawn[:count], self._key, run, np.uint64(day), first)
            else:
                drawn[:count] = self.given.votes[day, i : i + CHUNK]
            voted, held = ote1.count_votes(part, odds[:count], drawn[:count])
            voting, total = voting + voted, total + held
        return voting / total if total else float("nan")


def simulate(people: Population, days: int, given: Draws | None = None) -> Outcome:
    """Return how one run ends."""
    simulation = Simulation(people, days, given=given)
    simulation.run()
    return simulation.outcomes()[0]


def _key(seed: int, runs: NDArray[np.int64]) -> ote1_state.Key:
    found = draws.key(seed, Decision.OTE1_SELL, runs, 0, CLASS)
    k0, k1 = (np.uint64(word) for word in philox.key_words(found.seed))
    return ote1_state.Key(found.agent, found.runs, found.stream, k0, k1)


def _agents(holdings: Holdings, key: ote1_state.Key) -> ote1_state.Agents:
    people, count = holdings.people, holdings.people.count
    whole, rest = np.divmod(holdings.allocation, holdings.duration)
    fraction = [-((-r << 64) // d) for r, d in zip(rest.tolist(), holdings.duration.tolist(), strict=True)]
    columns = (
        whole, np.array(fraction, np.uint64), holdings.cliff, holdings.duration, people.sell * 2.0**-32,
        people.weight, np.zeros(count, np.uint64), np.zeros(count, np.uint64),
    )  # fmt: skip
    agents = ote1_state.Agents(*(ote1_state.aligned(column) for column in columns))
    ote1.begin_blocks(agents, key)
    return agents
