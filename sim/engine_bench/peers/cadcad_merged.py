"""OTE-1 in cadCAD with agents as dictionaries and as few blocks as its steps allow: two, so half the copies of state.

The documented idiom, a block for each step, is `cadcad_dict`; agents, draws and votes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.engine_bench.peers.cadcad_dict import Agent, Drawn, genesis, outcome, source, turnout
from sim.engine_bench.peers.cadcad_execute import INSTALL, experiment, take
from sim.engine_bench.setup import FEE, REVENUE, VOTE_EVERY, Draws, Outcome, Population

MODULE = "cadCAD"
__all__ = ["INSTALL", "MODULE", "prepare"]


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    executor = experiment(genesis(people), _blocks(source(given)), days)
    return lambda: outcome(people, executor.execute()[0][-1], days)


def _traded(agent: Agent, day: int, drawn: float) -> tuple[Agent, float]:
    vested = agent["allocation"] * min(max((day - agent["cliff"]) / agent["duration"], 0.0), 1.0)
    balance = agent["balance"] + vested - agent["claimed"]
    sold = balance * agent["sell"] * drawn
    return {**agent, "balance": balance - sold, "claimed": vested}, sold


def _blocks(drawn: Drawn) -> list[dict[str, Any]]:
    def trade(_params: Any, _substep: Any, _history: Any, state: dict[str, Any]) -> dict[str, Any]:
        day, agents, sold = state["timestep"] + 1, [], 0.0
        for column, agent in enumerate(state["agents"]):
            traded, amount = _traded(agent, day, drawn("sales", day, column))
            agents.append(traded)
            sold += amount
        return {"agents": agents, "sold": sold}

    def swap(
        _params: Any, _substep: Any, _history: Any, state: dict[str, Any], signal: Any
    ) -> tuple[str, float]:
        net = signal["sold"] * (1.0 - FEE)
        return "usd", state["usd"] - state["usd"] * net / (state["pool"] + net)

    def deposit(
        _params: Any, _substep: Any, _history: Any, state: dict[str, Any], signal: Any
    ) -> tuple[str, float]:
        return "pool", state["pool"] + signal["sold"] * (1.0 - FEE)

    def pay_and_vote(_params: Any, _substep: Any, _history: Any, state: dict[str, Any]) -> dict[str, Any]:
        payout, day = FEE * state["sold"] + REVENUE, state["timestep"]
        agents = [
            {**agent, "balance": agent["balance"] + agent["weight"] * payout} for agent in state["agents"]
        ]
        if day % VOTE_EVERY:
            return {"agents": agents, "turnout": state["turnout"]}
        return {"agents": agents, "turnout": turnout(agents, day, drawn)}

    return [
        {"policies": {"trade": trade},
         "variables": {"agents": take("agents"), "sold": take("sold"), "usd": swap, "pool": deposit}},
        {"policies": {"pay_and_vote": pay_and_vote},
         "variables": {"agents": take("agents"), "turnout": take("turnout")}},
    ]  # fmt: skip
