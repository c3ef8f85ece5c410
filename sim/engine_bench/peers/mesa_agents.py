"""OTE-1 in Mesa 3: an agent is an object, a day is `agents.do` twice, and once more on days of a vote."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log1p
from typing import Any

from sim.engine_bench.setup import (
    FEE,
    POOL,
    REVENUE,
    SLOPE,
    USD,
    VOTE_EVERY,
    Draws,
    Outcome,
    Population,
    relative_residual,
)

MODULE, INSTALL = "mesa", "pip install 'olsim[peers]'"


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    model = _model(people, given)

    def run() -> Outcome:
        for _ in range(days):
            model.step()
        held = sum(agent.balance for agent in model.agents)
        claimed = sum(agent.claimed for agent in model.agents)
        residual = relative_residual(people, held, model.pool, claimed, days)
        return Outcome(model.usd / model.pool, model.turnout, held, residual)

    return run


def _model(people: Population, given: Draws | None) -> Any:
    import mesa

    class Holder(mesa.Agent):  # type: ignore[misc, unused-ignore]
        def __init__(self, model: Any, column: int) -> None:
            super().__init__(model)
            self.column = column
            self.allocation = float(people.allocation[column])
            self.cliff = float(people.cliff[column])
            self.duration = float(people.duration[column])
            self.share = float(people.sell[column])
            self.weight = float(people.weight[column])
            self.bias = float(people.bias[column])
            self.balance = self.claimed = 0.0

        def trade(self) -> None:
            vested = self.allocation * min(max((self.model.day - self.cliff) / self.duration, 0.0), 1.0)
            self.balance += vested - self.claimed
            self.claimed = vested
            sold = self.balance * self.share * self.model.drawn("sales", self.column)
            self.balance -= sold
            self.model.sold += sold

        def receive(self, payout: float) -> None:
            self.balance += self.weight * payout

        def vote(self) -> None:
            chance = 1.0 / (1.0 + exp(-(self.bias + SLOPE * log1p(self.balance))))
            if self.model.drawn("votes", self.column) < chance:
                self.model.voting += self.balance
            self.model.held += self.balance

    class Economy(mesa.Model):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__(seed=1)
            self.pool, self.usd, self.turnout, self.day = POOL, USD, float("nan"), 0
            if given is None:
                draw = self.random.random
                self.drawn = lambda _matrix, _column: draw()
            else:
                self.drawn = lambda matrix, column: float(getattr(given, matrix)[self.day, column])
            for column in range(people.count):
                Holder(self, column)

        def step(self) -> None:
            self.day += 1
            self.sold = 0.0
            self.agents.do("trade")
            net = self.sold * (1.0 - FEE)
            self.usd -= self.usd * net / (self.pool + net)
            self.pool += net
            self.agents.do("receive", FEE * self.sold + REVENUE)
            if self.day % VOTE_EVERY == 0:
                self.voting = self.held = 0.0
                self.agents.do("vote")
                self.turnout = self.voting / self.held

    return Economy()
