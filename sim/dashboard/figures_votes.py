"""Interactive figures of governance: turnout, quorum, votes, GOPEN.

Rule decided here: pure functions from frames to plotly figures; turnout is always named with its denominator.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from sim.dashboard.plot import LINE, MILLION_TOKENS, add_fan, blank, fans, from_zero, per_cent, unknown
from sim.experiment.statistics import bands
from sim.report.style import SERIES, Note
from sim.report.text import GWEI_PER_TOKEN

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

TURNOUT = {
    "turnout_gopen": "of GOPEN supply",
    "turnout_delegated": "of delegated GOPEN",
    "turnout_circulating": "of circulating OPEN",
}
RATES = {"quorum_rate": "reached quorum", "pass_rate": "passed"}
GOPEN = {"gopen_supply_gwei": "GOPEN supply", "gopen_delegated_gwei": "delegated"}
VOTES = {"for_gwei": "for", "against_gwei": "against", "abstain_gwei": "abstain"}
VOTE_COLOURS = {"for": "#3a7d44", "against": "#9b2226", "abstain": "#adb5bd"}
BINS = 25
FEW = 10
NO_VOTE = "no vote was held in any run"


def turnout(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return turnout of the last vote by denominator, with the quorum in force."""
    import polars as pl

    figure = blank("Turnout of the last vote", note, y="share, last vote by the day")
    if not metrics["turnout_gopen"].count():
        return unknown(figure, NO_VOTE)
    figure = fans(figure, metrics, TURNOUT)
    quorum = bands(metrics.with_columns(pl.col("quorum_bps") / 10_000), "quorum_bps", (50,))
    if quorum.height:
        add_fan(figure, quorum, LINE, "quorum in force, of GOPEN supply")
        figure.data[-1].line.dash = "dash"
    return from_zero(per_cent(figure))


def quorum(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return which share of votes so far reached quorum and passed."""
    figure = blank("Votes that reached quorum and passed", note, y="share of votes held so far")
    if not metrics["quorum_rate"].count():
        return unknown(figure, NO_VOTE)
    figure = per_cent(fans(figure, metrics, RATES))
    figure.update_yaxes(range=[0, 1.02])
    return figure


def small_votes(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return who casts the votes: small holders and contributors against everybody else."""
    figure = blank("Votes cast by small holders and contributors", note, y="share of votes cast, last vote")
    named = {"small_votes_share": "small holders and contributors"}
    return from_zero(per_cent(fans(figure, metrics, named, colours=(SERIES[2],))))


def gopen(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return GOPEN supply and how much of it anybody may vote with."""
    figure = blank("GOPEN", note, y="million GOPEN, end of day")
    return from_zero(fans(figure, metrics, GOPEN, scale=MILLION_TOKENS))


def capture(metrics: pl.DataFrame, note: Note) -> go.Figure:
    """Return what the votes cost that reach the quorum and win alone."""
    figure = blank("Cost of capturing a vote", note, y="USD at the day's price")
    return from_zero(fans(figure, metrics, {"cost_to_capture_usd": "votes to reach quorum and win alone"}))


def last_votes(events: pl.DataFrame) -> pl.DataFrame:
    """Return every vote that was cast.

    Parameters
    ----------
    events
        run, day, date, kind, subject, detail (JSON).

    Returns
    -------
    polars.DataFrame
        run, day, date, subject, proposal, voters, for_gwei, against_gwei, abstain_gwei.
    """
    import polars as pl

    rows = []
    for run, day, when, subject, detail in (
        events.filter(pl.col("kind") == "voted").select("run", "day", "date", "subject", "detail").iter_rows()
    ):
        known = json.loads(detail)
        votes = {name: int(known.get(name, 0)) for name in VOTES}
        rows.append(
            {
                "run": run,
                "day": day,
                "date": when,
                "subject": subject,
                "proposal": known.get("proposal"),
                "voters": known.get("voters"),
                **votes,
            }
        )
    kinds = {
        "run": pl.Int64, "day": pl.Int64, "date": pl.Date, "subject": pl.String, "proposal": pl.Int64,
        "voters": pl.Int64, **dict.fromkeys(VOTES, pl.Int64),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=kinds)


def votes(cast: pl.DataFrame, run: int, note: Note) -> go.Figure:
    """Return for, against and abstain of every vote of one run, stacked.

    Parameters
    ----------
    cast
        From `last_votes`.
    run
        Whose votes.
    note
        Below the title.
    """
    import plotly.graph_objects as go
    import polars as pl

    x = "number of the proposal, in order of the days on which votes were cast"
    figure = blank(f"Votes of run {run}", note, y="million GOPEN cast", x=x)
    own = cast.filter(pl.col("run") == run).sort("day")
    if not own.height:
        return unknown(figure, f"no vote was held in run {run}")
    names = [f"#{number}" for number in own["proposal"]]
    told = [f"{when}, {subject}" for when, subject in own.select("date", "subject").iter_rows()]
    for column, label in VOTES.items():
        heights = (own[column] / (GWEI_PER_TOKEN * 1e6)).to_list()
        figure.add_trace(
            go.Bar(
                x=names,
                y=heights,
                name=label,
                marker_color=VOTE_COLOURS[label],
                customdata=told,
                hovertemplate="%{y:,.3f} million<br>%{customdata}",
            )
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(type="category", tickangle=0)
    return figure


def histogram(turnouts: np.ndarray, quorum_share: float, note: Note) -> go.Figure:
    """Return over runs the turnout of the last vote, with the quorum as a line.

    Parameters
    ----------
    turnouts
        Share of GOPEN supply per run, NaN where no vote was held, float64 (runs,).
    quorum_share
        Quorum in force, share of GOPEN supply; NaN where none is.
    note
        Below the title.
    """
    import plotly.graph_objects as go

    figure = blank("Turnout of the last vote over runs", note, y="runs", x="share of GOPEN supply, last vote")
    known = turnouts[~np.isnan(turnouts)]
    if not known.size:
        return unknown(figure, NO_VOTE)
    top = max(float(known.max()), 0.0 if np.isnan(quorum_share) else quorum_share, 0.01)
    counts, edges = np.histogram(known, bins=BINS, range=(0.0, top))
    middles = (edges[:-1] + edges[1:]) / 2
    figure.add_trace(go.Bar(x=middles.tolist(), y=counts.tolist(), name="runs", marker_color=SERIES[0]))
    if not np.isnan(quorum_share):
        figure.add_vline(
            x=float(quorum_share),
            line={"color": LINE, "dash": "dash", "width": 1.5},
            annotation_text=f"quorum {quorum_share:.1%}",
            annotation_position="top right",
            annotation_bgcolor="rgba(255, 255, 255, 0.8)",
        )
    figure.update_layout(hovermode="closest", bargap=0.05, showlegend=False)
    figure.update_xaxes(tickformat=".3~%", range=[0, top * 1.02])
    figure.update_yaxes(rangemode="tozero", dtick=1 if counts.max() < FEW else None)
    return figure
