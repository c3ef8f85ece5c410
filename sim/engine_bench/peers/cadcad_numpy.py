"""OTE-1 in cadCAD with the best hand-written state: two arrays and four numbers, a single block, vectorised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    genesis = {
        "balance": np.zeros(people.count), "claimed": np.zeros(people.count), "pool": POOL, "usd": USD,
        "turnout": float("nan"),
    }  # fmt: skip
    block = {"policies": {"day": _policy(people, given)}, "variables": {name: take(name) for name in genesis}}
    executor = experiment(genesis, [block], days)

    def run() -> Outcome:
        records, _tensor, _sessions = executor.execute()
        last = records[-1]
        held = float(last["balance"].sum())
        residual = relative_residual(people, held, last["pool"], float(last["claimed"].sum()), days)
        return Outcome(last["usd"] / last["pool"], last["turnout"], held, residual)

    return run


def _policy(people: Population, given: Draws | None) -> Callable[..., dict[str, Any]]:
    rng = np.random.Generator(np.random.SFC64(1))
    per_day = 1.0 / people.duration

    def uniforms(matrix: str, day: int) -> Any:
        return rng.random(people.count) if given is None else getattr(given, matrix)[day]

    def policy(_params: Any, _substep: Any, _history: Any, state: dict[str, Any]) -> dict[str, Any]:
        day = state["timestep"] + 1
        vested = people.allocation * np.clip((day - people.cliff) * per_day, 0.0, 1.0)
        balance = state["balance"] + vested - state["claimed"]
        sales = balance * people.sell * uniforms("sales", day)
        balance -= sales
        sold = float(sales.sum())
        net = sold * (1.0 - FEE)
        usd = state["usd"] - state["usd"] * net / (state["pool"] + net)
        balance += people.weight * (FEE * sold + REVENUE)
        turnout = state["turnout"]
        if day % VOTE_EVERY == 0:
            chance = 1.0 / (1.0 + np.exp(-(people.bias + SLOPE * np.log1p(balance))))
            turnout = float(balance[uniforms("votes", day) < chance].sum()) / float(balance.sum())
        return {
            "balance": balance, "claimed": vested, "pool": state["pool"] + net, "usd": usd, "turnout": turnout,
        }  # fmt: skip

    return policy
