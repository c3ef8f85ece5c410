"""Groups: who gains and who loses, by class and by decile of the baseline holding.

Rule decided here: rows are grouped by baseline status, so both arms speak of the same accounts. A
group's value is what it was paid between the execution and the horizon, at each month's price, plus what
it holds then at that day's price; prices and payments are those of the arm. Values are USD per agent;
decile 0 is the whole class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.units import GWEI_PER_OPEN
from sim.preview.arms import Arm
from sim.preview.differences import spread

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupValue:
    """USD per agent of one group in one arm, (runs,): paid since the execution, and held at the horizon."""

    income_usd: Float
    holding_usd: Float

    @property
    def total_usd(self) -> Float:
        """Both together."""
        return self.income_usd + self.holding_usd


def values(arm: Arm, executed: NDArray[np.int64], horizon: int) -> dict[tuple[str, int], GroupValue]:
    """Return each group's value at a horizon.

    Parameters
    ----------
    arm
        Results of one arm.
    executed
        Day of execution per run, int64 (runs,); run numbers are 0 .. runs - 1.
    horizon
        Days after the execution.

    Returns
    -------
    dict
        (class, decile) -> value; empty where no month ends by the horizon.
    """
    columns = {name: np.asarray(arm.groups[name]) for name in ("run", "day", "class", "decile", "agents")}
    if not columns["run"].size:
        return {}
    run, day = columns["run"].astype(np.int64), columns["day"].astype(np.int64)
    price = arm.metrics["price_usd"][run, day]
    counts = np.maximum(columns["agents"].astype(np.int64), 1)
    first = executed[run]
    by_then = (day > first) & (day <= first + horizon)
    last_day = np.full(len(executed), -1, np.int64)
    np.maximum.at(last_day, run[by_then], day[by_then])
    found = {}
    for name, decile in sorted(set(zip(columns["class"].tolist(), columns["decile"].tolist(), strict=True))):
        own = by_then & (columns["class"] == name) & (columns["decile"] == decile)
        paid = _usd(arm.groups["income_gwei"], price, counts)
        held = np.where(day == last_day[run], _usd(arm.groups["holding_gwei"], price, counts), 0.0)
        if own.any():
            income, holding = (np.zeros(len(executed)) for _ in range(2))
            np.add.at(income, run[own], paid[own])
            np.add.at(holding, run[own], held[own])
            found[str(name), int(decile)] = GroupValue(income, holding)
    return found


def _usd(gwei: Any, price: Float, counts: NDArray[np.int64]) -> Float:
    return np.asarray(gwei, np.float64) / GWEI_PER_OPEN * price / counts


def payoffs(base: Arm, other: Arm, executed: NDArray[np.int64], horizon: int) -> dict[str, float]:
    """Return the change of each class's value if the proposal executes, in percent, as the mean over runs.

    Parameters
    ----------
    base, other
        The two forced arms.
    executed, horizon
        As in `values`.
    """
    before, after = values(base, executed, horizon), values(other, executed, horizon)
    found = {}
    for (name, decile), value in before.items():
        mean = float(value.total_usd.mean())
        if decile == 0 and mean > 0:
            found[name] = 100.0 * float((after[name, decile].total_usd - value.total_usd).mean()) / mean
    return found


def group_rows(
    base: Arm, other: Arm, executed: NDArray[np.int64], horizons: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Return winners and losers if the proposal executes, one row per group and horizon."""
    rows = []
    for horizon in horizons:
        before, after = values(base, executed, horizon), values(other, executed, horizon)
        for (name, decile), value in before.items():
            rows.append(_row(name, decile, horizon, value, after[name, decile]))
    return rows


def _row(name: str, decile: int, horizon: int, before: GroupValue, after: GroupValue) -> dict[str, Any]:
    change = after.total_usd - before.total_usd
    mean = float(before.total_usd.mean())
    return {
        "class": name,
        "decile": decile,
        "horizon_days": horizon,
        "unit": "USD per agent",
        "baseline": mean,
        "proposal": float(after.total_usd.mean()),
        "change_percent": 100.0 * float(change.mean()) / mean if mean > 0 else None,
        "income_change": float((after.income_usd - before.income_usd).mean()),
        "holding_change": float((after.holding_usd - before.holding_usd).mean()),
        **asdict(spread(change, 1)),
    }


def classes(rows: Sequence[dict[str, Any]], horizon: int) -> list[dict[str, Any]]:
    """Return the rows of whole classes at a horizon."""
    return [row for row in rows if row["decile"] == 0 and row["horizon_days"] == horizon]
