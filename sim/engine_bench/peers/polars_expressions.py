"""OTE-1 in polars expressions: a frame with a row per agent, a column per quantity, eager."""

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

MODULE, INSTALL = "polars", "pip install polars"


def prepare(people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
    """Return a run that is ready to start."""
    import polars as pl

    rng = np.random.Generator(np.random.SFC64(1))
    col = pl.col
    start = pl.DataFrame(
        {
            "vt": people.allocation, "cliff": people.cliff, "dur": people.duration, "sell": people.sell,
            "w": people.weight, "c0": people.bias, "bal": np.zeros(people.count), "claimed": np.zeros(people.count),
        }
    )  # fmt: skip

    def drawn(matrix: str, day: int) -> pl.Series:
        return pl.Series("u", rng.random(people.count) if given is None else getattr(given, matrix)[day])

    def run() -> Outcome:
        frame, pool, usd, turnout = start, POOL, USD, float("nan")
        for day in range(1, days + 1):
            vested = col("vt") * ((day - col("cliff")) / col("dur")).clip(0.0, 1.0)
            frame = frame.with_columns(drawn("sales", day), vested.alias("v"))
            frame = frame.with_columns(
                (col("bal") + col("v") - col("claimed")).alias("bal"), col("v").alias("claimed")
            )
            frame = frame.with_columns((col("bal") * col("sell") * col("u")).alias("s"))
            sold = float(frame["s"].sum())
            net = sold * (1.0 - FEE)
            usd -= usd * net / (pool + net)
            pool += net
            payout = FEE * sold + REVENUE
            frame = frame.with_columns((col("bal") - col("s") + col("w") * payout).alias("bal"))
            if day % VOTE_EVERY == 0:
                chance = 1.0 / (1.0 + (-(col("c0") + SLOPE * col("bal").log1p())).exp())
                voters = frame.with_columns(drawn("votes", day)).filter(col("u") < chance)
                turnout = float(voters["bal"].sum()) / float(frame["bal"].sum())
        held = float(frame["bal"].sum())
        residual = relative_residual(people, held, pool, float(frame["claimed"].sum()), days)
        return Outcome(usd / pool, turnout, held, residual)

    return run
