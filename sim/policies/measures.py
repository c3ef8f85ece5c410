"""Measures: which figures a comparison of serving policies shows, and how a run's last days become one number.

Rules decided here. Times and hit rates are means over the days, weighted by tokens served; refusals by tokens asked
for. The cost per million tokens is given twice: of the replicas that operators had, and of the fewest that would have
served every day's demand within the latency bound. The second does not depend on who entered or left and is what the
claims about sharing are about. Nothing served means no cost per token, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.serving import usd_per_million_tokens

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """The last days of an arm.

    Parameters
    ----------
    metrics
        Observable -> (runs, days).
    usd_per_replica_hour
        Mean price of the fleet's replicas as they are at the start.
    """

    metrics: Mapping[str, Float]
    usd_per_replica_hour: float

    @classmethod
    def of(cls, scenario: Scenario, metrics: Mapping[str, NDArray[Any]], days: int) -> Window:
        """Cut the last days out of an arm's metrics."""
        parts = scenario.serving.fleet
        price = sum(part.count * float(part.price.value) for part in parts) / sum(
            part.count for part in parts
        )
        kept = {name: values[:, -days:].astype(np.float64) for name, values in metrics.items()}
        return cls(kept, price)

    def total(self, name: str) -> Float:
        """Return the sum over the days, null counting as 0, (runs,)."""
        return np.asarray(np.nansum(self.metrics[name], axis=1))

    def mean(self, name: str) -> Float:
        """Return the mean over the days, (runs,)."""
        return np.asarray(self.metrics[name].mean(axis=1))

    def weighted(self, name: str, by: str) -> Float:
        """Return the mean over the days weighted by another observable, (runs,); NaN without any weight."""
        weight = np.nan_to_num(self.metrics[by])
        value = np.where(weight > 0, self.metrics[name], 0.0)
        return ratio((value * weight).sum(axis=1), weight.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a comparison.

    Parameters
    ----------
    key, label, unit
        Name for programs and for people; unit, shares as fractions of 1.
    columns
        Observables behind it, which say the class of its weakest input.
    of
        From a window to (runs,).
    """

    key: str
    label: str
    unit: str
    columns: tuple[str, ...]
    of: Callable[[Window], Float]


def ratio(over: Float, under: Float) -> Float:
    """Return over / under, NaN where there is nothing to divide by."""
    return np.asarray(np.divide(over, under, out=np.full(np.shape(under), np.nan), where=under > 0))


def cost_at_need(window: Window) -> Float:
    """Return the USD per 1M tokens asked for, of the fewest replicas that serve the busiest day, (runs,)."""
    tokens = window.mean("tokens_demanded")
    cost = usd_per_million_tokens(
        window.usd_per_replica_hour, window.metrics["replicas_needed"].max(axis=1), tokens
    )
    return np.where(np.isfinite(cost), cost, np.nan)


def _timed(key: str, label: str) -> Figure:
    return Figure(key, label, "s", (f"{key}_s",), lambda window: window.weighted(f"{key}_s", "tokens_served"))


FIGURES = (
    _timed("ttft_p50", "time to first token, median"),
    _timed("ttft_p99", "time to first token, 99th percentile"),
    _timed("latency_p50", "request latency, median"),
    _timed("latency_p99", "request latency, 99th percentile"),
    Figure(
        "refused", "demand refused", "share", ("refused_share",),
        lambda window: window.weighted("refused_share", "tokens_demanded"),
    ),
    Figure(
        "hits", "adapter on the device", "share", ("cache_hit_rate",),
        lambda window: window.weighted("cache_hit_rate", "tokens_served"),
    ),
    Figure(
        "served", "tokens served", "tokens/day", ("tokens_served",), lambda window: window.mean("tokens_served")
    ),
    Figure("replicas", "machines in operation", "machines", ("replicas",), lambda window: window.mean("replicas")),
    Figure(
        "needed", "machines needed for all demand", "machines", ("replicas_needed",),
        lambda window: np.asarray(window.metrics["replicas_needed"].max(axis=1)),
    ),
    Figure(
        "cost", "cost, machines in operation", "USD/1M tokens", ("serving_cost_usd_per_1m",),
        lambda window: window.weighted("serving_cost_usd_per_1m", "tokens_served"),
    ),
    Figure(
        "cost_needed", "cost, machines needed", "USD/1M tokens", ("replicas_needed", "serving_cost_usd_per_1m"),
        cost_at_need,
    ),
    Figure(
        "fee", "fee that users pay", "USD/1M tokens", ("fee_usd_per_1m",),
        lambda window: window.weighted("fee_usd_per_1m", "tokens_served"),
    ),
    Figure(
        "profit", "operators' profit", "USD/day", ("operator_profit_usd",),
        lambda window: window.mean("operator_profit_usd"),
    ),
    Figure(
        "revenue", "network revenue", "USD/day", ("fee_gross_usd",), lambda window: window.mean("fee_gross_usd")
    ),
)  # fmt: skip
"""Figures of a comparison, in the order shown. A machine is one replica: a GPU where the profile was made on one."""
