"""Governance: who turns out, whether that is a quorum, what was voted on and what came of it.

Rule decided here: turnout is always shown with its denominator and beside the quorum in force.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from sim.dashboard import figures_votes
from sim.dashboard.shell import note_of, page, plot, run_or_advice, table, two
from sim.experiment.statistics import spread
from sim.report.headline import on_day
from sim.report.text import GWEI_PER_TOKEN, interval, number
from sim.results.reader import Run

if TYPE_CHECKING:
    import polars as pl

KINDS = {
    "submitted": "submitted", "refused": "refused: too few votes to propose", "voted": "votes were cast",
    "defeated": "defeated", "queued": "passed, queued in the timelock", "executed": "executed",
    "bound": "in force from this day",
}  # fmt: skip
_TIMES = ("timestamp", "snapshot", "deadline", "eta")


def show() -> None:
    """Draw the page."""
    with page("Governance", "Who turns out, whether it is a quorum, and what becomes of proposals."):
        run = run_or_advice()
        if run is not None:
            _run(run)


def _run(run: Run) -> None:
    metrics, last = run.metrics, run.start + timedelta(days=run.manifest.days)
    turnouts = on_day(run, "turnout_gopen", last)
    margins = on_day(run, "quorum_margin", last)
    quorums = on_day(run, "quorum_bps", last)
    _tiles(run, turnouts, margins, last)
    plot(figures_votes.turnout(metrics, note_of(run, "turnout_gopen")), "turnout")
    known = quorums[~np.isnan(quorums)]
    two(
        figures_votes.quorum(metrics, note_of(run, "quorum_rate")),
        figures_votes.histogram(
            turnouts,
            float(np.median(known)) / 10_000 if known.size else float("nan"),
            note_of(run, "turnout_gopen"),
        ),
        "quorum",
    )
    two(
        figures_votes.small_votes(metrics, note_of(run, "small_votes_share")),
        figures_votes.capture(metrics, note_of(run, "cost_to_capture_usd")),
        "power",
    )
    plot(figures_votes.gopen(metrics, note_of(run, "gopen_supply_gwei")), "gopen")
    _proposals(run)


def _tiles(run: Run, turnouts: np.ndarray, margins: np.ndarray, last: date) -> None:
    held = margins[~np.isnan(margins)]
    reached = f"{number(float(np.mean(held >= 0)), 'share')}" if held.size else "–"
    turnout, small = spread(turnouts), spread(on_day(run, "small_votes_share", last))
    rate, cost = spread(on_day(run, "quorum_rate", last)), spread(on_day(run, "cost_to_capture_usd", last))
    tiles = (
        (
            "Turnout of GOPEN, last vote",
            number(turnout.p50, "share"),
            interval(turnout.p05, turnout.p95, "share"),
        ),
        ("Probability of reaching quorum", number(rate.p50, "share"), interval(rate.p05, rate.p95, "share")),
        ("Runs whose last vote reached it", reached, f"{held.size} of {run.manifest.runs} runs held a vote"),
        (
            "Votes of small holders, contributors",
            number(small.p50, "share"),
            interval(small.p05, small.p95, "share"),
        ),
        ("Cost of capture", f"{number(cost.p50)} USD", f"{interval(cost.p05, cost.p95)} USD"),
    )
    for column, (words, value, spread_text) in zip(st.columns(len(tiles)), tiles, strict=True):
        column.metric(words, value, border=True, help=f"median on {last}; 5 to 95 %: {spread_text}")


def _proposals(run: Run) -> None:
    st.subheader("Proposals")
    events = run.events
    if not events.height:
        st.info("No proposal was made in any run.")
        return
    numbers = events["run"].unique().sort().to_list()
    witness = run.manifest.chain.witness_run
    start = numbers.index(witness) if witness in numbers else 0
    chosen = st.selectbox(
        "Run number", numbers, index=start, key="vote-run",
        format_func=lambda one: f"{one} (witness, executed on chain)" if one == witness and run.manifest.chain.executed else str(one),
    )  # fmt: skip
    note = note_of(run, "turnout_gopen")
    plot(figures_votes.votes(figures_votes.last_votes(events), chosen, note), "votes")
    st.caption(
        "Votes are recorded as for, against and abstain; of classes, the small holders and contributors are counted "
        "apart (figure above)."
    )
    own = events.filter(events["run"] == chosen).sort("day", maintain_order=True)
    table(["date", "proposal", "title", "what happened", "details"], [event_cells(row) for row in own.iter_rows(named=True)],
          height=420 if own.height > 12 else None)  # fmt: skip
    _counts(events, run.manifest.runs)


def event_cells(row: dict[str, object]) -> list[str]:
    """Return the cells of an event: date, proposal, title, what happened, details in people's units."""
    known = json.loads(str(row["detail"]))
    slot = known.pop("proposal", None)
    details = ", ".join(
        f"{_words(name)} {_amount(name, value)}" for name, value in known.items() if name != "timestamp"
    )
    kind = str(row["kind"])
    named = "–" if slot in (None, -1) else f"#{slot}"
    return [str(row["date"]), named, str(row["subject"]), KINDS.get(kind, kind), details]


def _words(name: str) -> str:
    return name.removesuffix("_gwei").replace("_", " ")


def _amount(name: str, value: object) -> str:
    if name.endswith("_gwei") and isinstance(value, int):
        return f"{number(value / GWEI_PER_TOKEN)} GOPEN"
    if name in _TIMES and isinstance(value, int):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(value)


def _counts(events: pl.DataFrame, runs: int) -> None:
    import polars as pl

    counted = (
        events.group_by("kind").agg(pl.len().alias("n"), pl.col("run").n_unique().alias("runs")).sort("kind")
    )
    rows = [
        [KINDS.get(kind, kind), number(n / runs), f"{own} of {runs}"] for kind, n, own in counted.iter_rows()
    ]
    with st.expander("Over all runs"):
        table(["what happened", "times per run", "runs with any"], rows)
