"""Interactive figures of the node: what was measured, how well the formula fits, what the fleet did.

Rule decided here: pure functions from profile rows and frames to plotly figures; measured numbers are points,
the fitted formula is a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.serving import StepFit, step_time_ms
from sim.dashboard.plot import LINE, blank, fans, from_zero, per_cent, plain_log, unknown
from sim.report.style import SERIES, Note

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

Rows = Sequence[Mapping[str, Any]]
LOAD = {
    "utilisation": "fleet utilisation",
    "refused_share": "demand refused",
    "cache_hit_rate": "adapter cache hits",
}
LATENCY = {
    "latency_p95_s": "request, 95th percentile",
    "latency_p50_s": "request, median",
    "ttft_p95_s": "first token, 95th percentile",
}
COST = {"serving_cost_usd_per_1m": "serving cost", "fee_usd_per_1m": "fee paid for tokens"}
TOKENS = {"tokens_demanded": "demanded", "tokens_served": "served"}
_MIXES = ("no adapter", "one adapter", "each its own")


def _mix(row: Mapping[str, Any]) -> str | None:
    """Return how adapters are mixed in a row of the bench; None for mixes between the extremes."""
    distinct, batch = row["distinct_adapters"], row["batch"]
    if distinct == 0:
        return _MIXES[0]
    if distinct == batch:
        return _MIXES[2]
    return _MIXES[1] if distinct == 1 else None


def decode(rows: Rows, fit: StepFit, rank: int, context: int, note: str) -> go.Figure:
    """Return tokens per second of one replica against batch: measured points, fitted lines.

    Parameters
    ----------
    rows
        The profile's decode rows.
    fit
        Its fitted step time.
    rank, context
        Which rows: LoRA rank (rows without an adapter always belong) and tokens of context.
    note
        What the figure rests on; stands below the title.
    """
    title = f"Decode speed, rank {rank}, context {context}"
    figure = blank(title, note, y="output tokens per second", x="batch, requests (log)")
    own = [row for row in rows if row["context"] == context and row["rank"] in (0, rank)]
    for mix, colour in zip(_MIXES, SERIES, strict=False):
        mine = sorted((row for row in own if _mix(row) == mix), key=lambda row: row["batch"])
        if mine:
            _add_measured(figure, mine, fit, mix, colour)
    if not figure.data:
        return unknown(figure, "the profile has no such rows")
    sizes = sorted({row["batch"] for row in own})
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=[str(size) for size in sizes])
    return from_zero(figure)


def _add_measured(figure: go.Figure, rows: Rows, fit: StepFit, name: str, colour: str) -> None:
    """Draw measured points and the fitted line through the same batches."""
    import plotly.graph_objects as go

    columns = ("batch", "distinct_adapters", "rank", "context")
    batch, distinct, rank, context = (np.array([row[c] for row in rows], np.float64) for c in columns)
    fitted = 1e3 * batch / step_time_ms(fit, batch, distinct, rank, context)
    x, measured = batch.tolist(), [row["tok_s"] for row in rows]
    dots, line = {"color": colour, "size": 9}, {"color": colour, "width": 2}
    figure.add_trace(go.Scatter(x=x, y=measured, mode="markers", name=name, marker=dots))
    figure.add_trace(
        go.Scatter(x=x, y=fitted.tolist(), mode="lines", name="fit", line=line, showlegend=False)
    )


def calibration(rows: Rows, fit: StepFit, note: str) -> go.Figure:
    """Return fitted against measured step time of every decode row; points on the line are fitted exactly."""
    import plotly.graph_objects as go

    title = f"Fit of the step time: R² {fit.r2:.3f}, largest error {fit.max_rel_err:.0%}"
    figure = blank(title, note, x="measured step, ms, median (log)", y="fitted step, ms (log)")
    if not rows:
        return unknown(figure, "the profile has no decode rows")
    names = ("batch", "distinct_adapters", "rank", "context")
    batch, distinct, rank, context = (np.array([row[name] for row in rows], np.float64) for name in names)
    measured = np.array([row["step_ms_p50"] for row in rows])
    fitted = step_time_ms(fit, batch, distinct, rank, context)
    ends = [float(min(measured.min(), fitted.min())) * 0.9, float(max(measured.max(), fitted.max())) * 1.1]
    line = {"color": LINE, "dash": "dash", "width": 1}
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", name="exact", line=line))
    texts = [f"batch {b:g}, {d:g} adapters of rank {r:g}, context {c:g}" for b, d, r, c in
             zip(batch, distinct, rank, context, strict=True)]  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=measured.tolist(),
            y=fitted.tolist(),
            text=texts,
            mode="markers",
            name="rows of the bench",
            marker={"color": SERIES[0], "size": 8},
            hovertemplate="%{x:.2f} ms, fit %{y:.2f} ms<br>%{text}",
        )
    )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(type="log", dtick="D2", tickformat=".3~g")
    figure.update_yaxes(type="log", dtick="D2", tickformat=".3~g")
    return figure


def windows(serving: Rows, note: str) -> go.Figure:
    """Return the measured serving runs: time to first token and whole request against the arrival rate."""
    import plotly.graph_objects as go

    figure = blank(
        "Measured serving runs",
        note,
        x="arrivals, requests per second",
        y="milliseconds",
    )
    ordered = sorted(serving, key=lambda row: row["arrival_rate"])
    if not ordered:
        return unknown(figure, "the profile has no serving runs")
    for (key, label), colour in zip(
        {"ttft_ms": "first token", "e2e_ms": "whole request"}.items(), SERIES, strict=False
    ):
        for quantile, dash in (("p50", "solid"), ("p99", "dot")):
            figure.add_trace(
                go.Scatter(
                    x=[row["arrival_rate"] for row in ordered],
                    y=[row[key][quantile] for row in ordered],
                    mode="lines+markers",
                    line={"color": colour, "dash": dash},
                    name=f"{label}, {'median' if quantile == 'p50' else '99th percentile'}",
                )
            )
    return from_zero(figure)


def load(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return utilisation, refusals and cache hits of the fleet."""
    figure = blank("Serving fleet", note, y="share, mean of the day")
    return from_zero(per_cent(fans(figure, metrics, LOAD)))


def latency(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return latencies of requests in the run."""
    figure = blank("Latency of requests", note, y="seconds, requests of the day")
    return from_zero(fans(figure, metrics, LATENCY))


def cost(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return serving cost and fee per million tokens; bands leave out days without tokens."""
    figure = blank("Cost and fee of a million tokens", note, y="USD per 1M tokens, daily (log)")
    positive = metrics.with_columns(metrics[column].replace(0.0, None) for column in COST)
    figure = fans(figure, positive, COST)
    return plain_log(figure) if figure.data else figure


def margin(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return the operators' margin."""
    figure = blank("Operators' margin over cost", note, y="share, 30 days")
    figure = per_cent(fans(figure, metrics, {"operator_margin": "margin"}, colours=(SERIES[2],)))
    figure.add_hline(y=0, line={"color": LINE, "width": 1})
    return figure


def tokens(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return tokens demanded and served."""
    figure = blank("Tokens demanded and served", note, y="million tokens per day")
    return from_zero(fans(figure, metrics, TOKENS, scale=1e6))
