"""OTE-1 in float64 numpy: in place, without temporaries, drawn by numpy's fastest generator (SFC64)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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

MODULE, INSTALL = "numpy", "pip install numpy"


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    rng = np.random.Generator(np.random.SFC64(1))
    per_day = 1.0 / people.duration
    balance, claimed, vested, room = (np.zeros(people.count) for _ in range(4))

    def uniforms(matrix: str, day: int) -> None:
        if given is None:
            rng.random(out=room)
        else:
            np.copyto(room, getattr(given, matrix)[day])

    def run() -> Outcome:
        nonlocal claimed, vested
        pool, usd, turnout = POOL, USD, float("nan")
        for day in range(1, days + 1):
            np.subtract(day, people.cliff, out=vested)
            np.multiply(vested, per_day, out=vested)
            np.clip(vested, 0.0, 1.0, out=vested)
            np.multiply(vested, people.allocation, out=vested)
            np.add(balance, vested, out=balance)
            np.subtract(balance, claimed, out=balance)
            claimed, vested = vested, claimed

            uniforms("sales", day)
            np.multiply(room, people.sell, out=room)
            np.multiply(room, balance, out=room)
            np.subtract(balance, room, out=balance)
            sold = float(room.sum())
            net = sold * (1.0 - FEE)
            usd -= usd * net / (pool + net)
            pool += net

            np.multiply(people.weight, FEE * sold + REVENUE, out=room)
            np.add(balance, room, out=balance)

            if day % VOTE_EVERY == 0:
                np.log1p(balance, out=vested)
                np.multiply(vested, -SLOPE, out=vested)
                np.subtract(vested, people.bias, out=vested)
                np.exp(vested, out=vested)
                np.add(vested, 1.0, out=vested)
                np.reciprocal(vested, out=vested)
                uniforms("votes", day)
                turnout = float(balance @ (room < vested)) / float(balance.sum())
        held = float(balance.sum())
        residual = relative_residual(people, held, pool, float(claimed.sum()), days)
        return Outcome(usd / pool, turnout, held, residual)

    return run
