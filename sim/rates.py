"""Rates of the day: what tokens and access cost, and how bills are split.

Rule decided here: how governed columns become ledger integers. Rates quoted in USD follow yesterday's close
and are floored once; rates quoted in the token are used as they stand. Before its first date a rate is off
and nothing is sold; every other parameter that is off counts as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.calendar import month_position
from models.fees import SplitRule, access_fee, quote
from sim.governed_columns import OFF

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]

PAYEES = ("model", "stakers", "contributors")
"""Payees of the net fee; contributors keep what the floors leave over."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of the day, one element per run.

    Parameters
    ----------
    sold
        Whether the service is sold, bool.
    input, output
        Gwei per million tokens.
    access
        Gwei per day for the paid models of one simulated user.
    paid_level
        Share of paid models in 2^-32, uint64.
    usd_per_1m
        USD per million tokens of the mean mix of input and output.
    """

    sold: NDArray[np.bool_]
    input: Int
    output: Int
    access: Int
    paid_level: NDArray[np.uint64]
    usd_per_1m: Float


def stands_for(economy: Economy) -> float:
    """Return how many users one simulated user stands for; fewer simulated users stand for more each."""
    users = economy.scenario.agents.users
    return float(users.stands_for.value) * users.count / economy.layout.count("users")


def on(world: World, column: str) -> Int:
    """Return a governed column with 0 where the parameter is off, int64 (runs,)."""
    return np.maximum(world.governed.read(column), 0)


def rate_gwei(world: World, column: str, unit: str) -> Int:
    """Return a rate in gwei per million tokens.

    Parameters
    ----------
    world
        The world; yesterday's close prices USD.
    column
        Governed column of the rate.
    unit
        Unit in which the scenario wrote it; ``USD...`` is converted.
    """
    return quote(on(world, column), world.price_usd) if unit.startswith("USD") else on(world, column)


def rates_of(world: World, economy: Economy) -> Rates:
    """Return the prices of the day."""
    fees, tokens = economy.scenario.fees, economy.scenario.demand.tokens
    into, out = (rate_gwei(world, f"fees.{name}", getattr(fees, name).unit) for name in ("input", "output"))
    month = quote(on(world, "fees.access.price"), world.price_usd)
    fed, written = float(tokens.input.value), float(tokens.output.value)
    mix = (into * fed + out * written) / (fed + written)
    return Rates(
        sold=is_sold(world),
        input=into,
        output=out,
        access=access_fee(month, _days_in_month(world, economy), stands_for(economy)),
        paid_level=(on(world, "fees.access.paid_models") * 2**32 // 10_000).astype(np.uint64),
        usd_per_1m=mix / 1e9 * world.price_usd,
    )


def is_sold(world: World) -> NDArray[np.bool_]:
    """Return whether the service is sold, (runs,)."""
    return np.asarray(
        (world.governed.read("fees.input") != OFF) & (world.governed.read("fees.output") != OFF)
    )


def _days_in_month(world: World, economy: Economy) -> int:
    return month_position(economy.scenario.start, economy.date_of(world.day))[1]


def begins_month(world: World, economy: Economy) -> bool:
    """Whether today is the first day of a settlement epoch: day 0, or the day after an epoch ended."""
    return world.day == 0 or bool(economy.epoch_end[world.day - 1])


def split_rule(world: World, economy: Economy) -> SplitRule:
    """Return the split in force; a flat platform part counts once for each user that a bill stands for."""
    flat = np.floor(on(world, "fees.platform_flat") * stands_for(economy)).astype(np.int64)
    return SplitRule(
        platform_bps=on(world, "fees.platform"),
        platform_flat=flat,
        burn_bps=on(world, "fees.burn"),
        payees=PAYEES,
        weights=np.stack([on(world, f"fees.split.{name}") for name in PAYEES], axis=1),
    )
