"""Figures of the machinery: serving and the bridge.

Rule decided here: pure functions from frames to SVG text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.experiment.statistics import bands
from sim.report.style import SERIES, Note, draw, fan, finish, positive, share_axis, to_svg
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import polars as pl

_QUANTILES = (5, 50, 95)


def serving(metrics: pl.DataFrame, note: Note) -> str:
    """Return utilisation and refusals, and the latency of requests."""
    figure, (left, right) = draw(2, note)
    named = {
        "utilisation": "utilisation",
        "refused_share": "demand refused",
        "cache_hit_rate": "adapter cache hits",
    }
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        fan(left, bands(metrics, column, _QUANTILES), colour, label)
    finish(left, "Serving fleet", "share")
    share_axis(left)
    named = {
        "latency_p95_s": "request, 95th percentile",
        "latency_p50_s": "request, median",
        "ttft_p95_s": "first token, 95th",
    }
    for (column, label), colour in zip(named.items(), SERIES, strict=False):
        fan(right, bands(metrics, column, _QUANTILES), colour, label)
    finish(right, "Latency", "seconds")
    return to_svg(figure, "serving")


def serving_money(metrics: pl.DataFrame, note: Note) -> str:
    """Return serving cost against the fee per million tokens, and operators' margin."""
    figure, (left, right) = draw(2, note)
    for (column, label), colour in zip(
        {"serving_cost_usd_per_1m": "cost", "fee_usd_per_1m": "fee"}.items(), SERIES, strict=False
    ):
        fan(left, positive(bands(metrics, column, _QUANTILES)), colour, label)
    finish(left, "Cost and fee of serving", "USD per 1M tokens (log)", log=True)
    fan(right, bands(metrics, "operator_margin", _QUANTILES), SERIES[2], "margin")
    right.axhline(0, color="#333333", linewidth=0.8)
    finish(right, "Operators' margin, 30 days", "(revenue - cost) / cost", zero=False)
    share_axis(right)
    return to_svg(figure, "serving-money")


def bridge(metrics: pl.DataFrame, note: Note) -> str:
    """Return what the bridge holds on L1 and what is between the chains."""
    import polars as pl

    figure, (axes,) = draw(1, note)
    for (column, label), colour in zip(
        {"escrow_gwei": "escrow on L1", "bridge_in_flight_gwei": "between the chains"}.items(),
        SERIES,
        strict=False,
    ):
        scaled = metrics.select("day", "date", pl.col(column) / (GWEI_PER_TOKEN * 1e6))
        fan(axes, bands(scaled, column, _QUANTILES), colour, label)
    finish(axes, "Bridge", "million OPEN")
    return to_svg(figure, "bridge")
