"""OTE-1 in cadCAD's documented idiom: agents are a list of dictionaries, a block for each step of the day.

What happens is decided in policies, which signal it; state updates build the new state from the signal.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log1p
from random import Random
from typing import Any

from sim.engine_bench.peers.cadcad_execute import INSTALL, experiment, take
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

MODULE = "cadCAD"
__all__ = ["INSTALL", "MODULE", "prepare"]

Agent = dict[str, float]
State = dict[str, Any]
Drawn = Callable[[str, int, int], float]
"""Uniform of a matrix, a day and a column."""


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    executor = experiment(genesis(people), _blocks(source(given)), days)
    return lambda: outcome(people, executor.execute()[0][-1], days)


def source(given: Draws | None) -> Drawn:
    """Return where uniforms come from: Python's own generator unless they are given."""
    if given is None:
        draw = Random(1).random
        return lambda _matrix, _day, _column: draw()
    return lambda matrix, day, column: float(getattr(given, matrix)[day, column])


def genesis(people: Population) -> State:
    """Return the state before the first day."""
    names = ("allocation", "cliff", "duration", "sell", "weight", "bias")
    columns = [getattr(people, name).tolist() for name in names]
    agents = [
        dict(zip(names, row, strict=True), balance=0.0, claimed=0.0) for row in zip(*columns, strict=True)
    ]
    return {"agents": agents, "pool": POOL, "usd": USD, "sold": 0.0, "turnout": float("nan")}


def outcome(people: Population, last: State, days: int) -> Outcome:
    """Return how a run ended, from its last record."""
    held = sum(agent["balance"] for agent in last["agents"])
    claimed = sum(agent["claimed"] for agent in last["agents"])
    residual = relative_residual(people, held, last["pool"], claimed, days)
    return Outcome(last["usd"] / last["pool"], last["turnout"], held, residual)


def turnout(agents: list[Agent], day: int, drawn: Drawn) -> float:
    """Return voters' balances over all balances."""
    voting = sum(
        agent["balance"]
        for column, agent in enumerate(agents)
        if drawn("votes", day, column) < 1.0 / (1.0 + exp(-(agent["bias"] + SLOPE * log1p(agent["balance"]))))
    )
    return voting / sum(agent["balance"] for agent in agents)


def _vest(_params: Any, _substep: Any, _history: Any, state: State) -> State:
    day = state["timestep"] + 1  # the first block of a day still sees the day before
    agents = []
    for agent in state["agents"]:
        vested = agent["allocation"] * min(max((day - agent["cliff"]) / agent["duration"], 0.0), 1.0)
        balance = agent["balance"] + vested - agent["claimed"]
        agents.append({**agent, "balance": balance, "claimed": vested})
    return {"agents": agents}


def _selling(drawn: Drawn) -> Callable[..., State]:
    def sell(_params: Any, _substep: Any, _history: Any, state: State) -> State:
        agents, total, day = [], 0.0, state["timestep"]
        for column, agent in enumerate(state["agents"]):
            sold = agent["balance"] * agent["sell"] * drawn("sales", day, column)
            agents.append({**agent, "balance": agent["balance"] - sold})
            total += sold
        return {"agents": agents, "sold": total}

    return sell


def _swap(_params: Any, _substep: Any, _history: Any, state: State, signal: State) -> tuple[str, float]:
    net = signal["sold"] * (1.0 - FEE)
    return "usd", state["usd"] - state["usd"] * net / (state["pool"] + net)


def _deposit(_params: Any, _substep: Any, _history: Any, state: State, signal: State) -> tuple[str, float]:
    return "pool", state["pool"] + signal["sold"] * (1.0 - FEE)


def _pay(_params: Any, _substep: Any, _history: Any, state: State) -> State:
    payout = FEE * state["sold"] + REVENUE
    return {
        "agents": [
            {**agent, "balance": agent["balance"] + agent["weight"] * payout} for agent in state["agents"]
        ]
    }


def _voting(drawn: Drawn) -> Callable[..., State]:
    def vote(_params: Any, _substep: Any, _history: Any, state: State) -> State:
        day = state["timestep"]
        if day % VOTE_EVERY:
            return {"turnout": state["turnout"]}
        return {"turnout": turnout(state["agents"], day, drawn)}

    return vote


def _blocks(drawn: Drawn) -> list[State]:
    return [
        {"policies": {"vest": _vest}, "variables": {"agents": take("agents")}},
        {"policies": {"sell": _selling(drawn)},
         "variables": {"agents": take("agents"), "sold": take("sold"), "usd": _swap, "pool": _deposit}},
        {"policies": {"pay": _pay}, "variables": {"agents": take("agents")}},
        {"policies": {"vote": _voting(drawn)}, "variables": {"turnout": take("turnout")}},
    ]  # fmt: skip
