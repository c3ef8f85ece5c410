"""Figures of a comparison of serving policies: pure functions from a comparison to SVG text."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from sim.experiment.statistics import bands
from sim.policies.compare import Comparison
from sim.report.style import SERIES, Note, draw, fan, finish, to_svg

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

_QUANTILES = (5, 50, 95)


def costs(found: Comparison, note: Note) -> str:
    """Return cost per million tokens and replicas by policy, in operation and needed."""
    figure, (left, right) = draw(2, note)
    _points(left, found, (("cost", "in operation"), ("cost_needed", "needed")))
    left.axhline(found.outcome(found.reference, "fee").at.p50, color="#333333", linewidth=0.8, linestyle=":")
    finish(left, "Cost of serving; dotted: the fee", "USD per 1M tokens (log)", log=True, dated=False)
    _points(right, found, (("replicas", "in operation"), ("needed", "needed")))
    finish(right, "Machines", "machines (log)", log=True, dated=False)
    return to_svg(figure, "policy-costs")


def times(found: Comparison, note: Note) -> str:
    """Return time to first token and latency by policy, median and 99th percentile."""
    figure, (left, right) = draw(2, note)
    pairs = ((left, "ttft", "Time to first token"), (right, "latency", "Request latency"))
    for axes, name, title in pairs:
        _points(axes, found, ((f"{name}_p50", "median"), (f"{name}_p99", "99th percentile")))
        finish(axes, title, "seconds", dated=False)
    return to_svg(figure, "policy-times")


def profit(found: Comparison, note: Note) -> str:
    """Return operators' profit and network revenue over time."""
    figure, (left, right) = draw(2, note)
    columns = (
        (left, "operator_profit_usd", "Operators' profit"),
        (right, "fee_gross_usd", "Network revenue"),
    )
    for axes, column, title in columns:
        for policy, colour in zip(found.policies, SERIES, strict=False):
            fan(axes, bands(daily(found, policy, column), column, _QUANTILES), colour, policy)
        signed = column == "operator_profit_usd"
        finish(axes, title, "USD per day (log)" if signed else "USD per day", zero=not signed)
        if signed:
            _both_signs(axes)
    return to_svg(figure, "policy-profit")


def daily(found: Comparison, policy: str, column: str) -> pl.DataFrame:
    """Return an observable of an arm as rows of run, day and date."""
    import polars as pl

    values = found.arms[policy][column].astype(np.float64)
    runs, days = values.shape
    dates = [found.scenario.start + timedelta(days=day) for day in range(days)]
    return pl.DataFrame(
        {"day": list(range(days)) * runs, "date": dates * runs, column: values.ravel()}
    ).with_columns(pl.col(column).fill_nan(None))


def _points(axes: Axes, found: Comparison, shown: tuple[tuple[str, str], ...]) -> None:
    """Draw a median with its 5 to 95 % for each policy, figures side by side."""
    places = np.arange(len(found.policies), dtype=np.float64)
    for index, (key, label) in enumerate(shown):
        spreads = [found.outcome(policy, key).at for policy in found.policies]
        middle = np.array([at.p50 for at in spreads])
        reach = np.array([[at.p50 - at.p05 for at in spreads], [at.p95 - at.p50 for at in spreads]])
        shift = (index - (len(shown) - 1) / 2) * 0.22
        axes.errorbar(
            places + shift, middle, yerr=np.nan_to_num(reach), fmt="o", markersize=5, capsize=3,
            color=SERIES[index], label=label,
        )  # fmt: skip
    axes.set_xticks(places, found.policies)
    axes.set_xlim(-0.6, len(found.policies) - 0.4)


def _both_signs(axes: Axes) -> None:
    """Let losses of one policy stand beside small profits of another: logarithmic beyond 1 on both sides of 0."""
    from matplotlib.ticker import FuncFormatter

    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.axhline(0, color="#333333", linewidth=0.8)
