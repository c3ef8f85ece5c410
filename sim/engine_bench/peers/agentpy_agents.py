"""OTE-1 in agentpy: an `AgentList` whose agents are called by name, in fixed order."""

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

MODULE, INSTALL = "agentpy", "pip install 'olsim[peers]'"


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    model = _model(people, given)

    def run() -> Outcome:
        for _ in range(days):
            model.t += 1
            model.step()
        held = sum(agent.balance for agent in model.holders)
        claimed = sum(agent.claimed for agent in model.holders)
        residual = relative_residual(people, held, model.pool, claimed, days)
        return Outcome(model.usd / model.pool, model.turnout, held, residual)

    return run


def _model(people: Population, given: Draws | None) -> Any:
    import agentpy

    class Holder(agentpy.Agent):  # type: ignore[misc, unused-ignore]
        def setup(self) -> None:
            self.balance = self.claimed = 0.0

        def trade(self) -> None:
            vested = self.allocation * min(max((self.model.t - self.cliff) / self.duration, 0.0), 1.0)
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

    class Economy(agentpy.Model):  # type: ignore[misc, unused-ignore]
        def setup(self) -> None:
            self.pool, self.usd, self.turnout = POOL, USD, float("nan")
            if given is None:
                draw = self.random.random
                self.drawn = lambda _matrix, _column: draw()
            else:
                self.drawn = lambda matrix, column: float(getattr(given, matrix)[self.t, column])
            self.holders = agentpy.AgentList(self, people.count, Holder)
            columns = {
                "column": range(people.count), "allocation": people.allocation, "cliff": people.cliff,
                "duration": people.duration, "share": people.sell, "weight": people.weight, "bias": people.bias,
            }  # fmt: skip
            for name, values in columns.items():
                for holder, value in zip(self.holders, values, strict=True):
                    setattr(holder, name, value if name == "column" else float(value))

        def step(self) -> None:
            self.sold = 0.0
            self.holders.trade()
            net = self.sold * (1.0 - FEE)
            self.usd -= self.usd * net / (self.pool + net)
            self.pool += net
            self.holders.receive(FEE * self.sold + REVENUE)
            if self.t % VOTE_EVERY == 0:
                self.voting = self.held = 0.0
                self.holders.vote()
                self.turnout = self.voting / self.held

    model = Economy({"seed": 1})
    model.sim_setup()
    return model
