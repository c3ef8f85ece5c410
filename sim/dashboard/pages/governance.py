"""Governance: who turns out, whether that is a quorum, what was voted on and what came of it.

Rule decided here: turnout is always shown with its denominator and beside the quorum in force.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from sim.dashboard import figures_votes
from sim.dashboard.shell import note_of, page, plot, run_or_advice, spread_help, table, tiles, two
from sim.experiment.statistics import spread
from sim.report.headline import on_day
from sim.report.text import DASH, GWEI_PER_TOKEN, number
from sim.results.reader import Run

if TYPE_CHECKING:
    import polars as pl

KINDS = {
    "submitted": "submitted", "refused": "refused: too few votes to propose", "voted": "votes were cast",
    "defeated": "defeated", "queued": "passed and queued", "executed": "executed",
    "bound": "in force from this day",
}  # fmt: skip
LONG, MANY = 420, 12
"""Height in pixels of a long table, and from how many rows it is one."""
_FLAGS = ("quorum_reached",)
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


def _tiles(run: Run, turnouts: NDArray[np.float64], margins: NDArray[np.float64], last: date) -> None:
    held = margins[~np.isnan(margins)]
    reached = number(float(np.mean(held >= 0)), "share") if held.size else DASH
    turnout, rate = spread(turnouts), spread(on_day(run, "quorum_rate", last))
    small, cost = (spread(on_day(run, name, last)) for name in ("small_votes_share", "cost_to_capture_usd"))
    tiles(
        [
            (
                "Turnout of GOPEN",
                number(turnout.p50, "share"),
                f"Last vote; {spread_help(turnout, last, 'share')}",
            ),
            (
                "Quorum reached",
                number(rate.p50, "share"),
                f"Share of a run's votes that reached it; {spread_help(rate, last, 'share')}",
            ),
            ("Quorum, last vote", reached, f"{held.size} of {run.manifest.runs} runs held a vote"),
            (
                "Small holders' votes",
                number(small.p50, "share"),
                f"Small holders and contributors, share of votes cast; {spread_help(small, last, 'share')}",
            ),
            ("Cost of capture, USD", number(cost.p50), spread_help(cost, last)),
        ]
    )


def _proposals(run: Run) -> None:
    st.subheader("Proposals")
    events = run.events
    if not events.height:
        st.info("No proposal was made in any run.")
        return
    numbers = events["run"].unique().sort().to_list()
    witness = run.manifest.chain.witness_run
    on_chain = witness if run.manifest.chain.executed else None
    chosen = st.selectbox(
        "Run number",
        numbers,
        index=numbers.index(witness) if witness in numbers else 0,
        key="vote-run",
        format_func=lambda one: f"{one} (witness, executed on chain)" if one == on_chain else str(one),
    )
    plot(
        figures_votes.votes(figures_votes.last_votes(events), chosen, note_of(run, "turnout_gopen")), "votes"
    )
    st.caption(
        "Votes are recorded as for, against and abstain. Of the classes, small holders and contributors are "
        "counted apart, in the figure above."
    )
    own = events.filter(events["run"] == chosen).sort("day", maintain_order=True)
    rows = [event_cells(row) for row in own.iter_rows(named=True)]
    columns = ["date", "proposal", "title", "what happened", "details"]
    table(columns, rows, height=LONG if own.height > MANY else None)
    _counts(events, run.manifest.runs)


def event_cells(row: dict[str, object]) -> list[str]:
    """Return the cells of an event: date, proposal, title, what happened, details in people's units."""
    known = json.loads(str(row["detail"]))
    slot = known.pop("proposal", None)
    details = ", ".join(
        f"{_words(name)} {_amount(name, value)}" for name, value in known.items() if name != "timestamp"
    )
    kind = str(row["kind"])
    named = DASH if slot in (None, -1) else f"#{slot}"
    return [str(row["date"]), named, str(row["subject"]), KINDS.get(kind, kind), details]


def _words(name: str) -> str:
    return name.removesuffix("_gwei").replace("_", " ")


def _amount(name: str, value: object) -> str:
    if name.endswith("_gwei") and isinstance(value, int):
        return f"{number(value / GWEI_PER_TOKEN)} GOPEN"
    if name in _FLAGS:
        return "yes" if value else "no"
    if name in _TIMES and isinstance(value, int):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"
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
