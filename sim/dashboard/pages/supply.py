"""Supply and unlocks: what is unlocked when, what of it circulates, and what the price does meanwhile.

Rule decided here: the calendar is exact and stands first; it can be read from a file without any run.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from sim.dashboard import figures_supply
from sim.dashboard.shell import note_of, page, plot, run_or_advice, table, tiles, two
from sim.dashboard.store import scenario_files
from sim.report.appendix import TWIN_WORDS
from sim.report.evidence import evidence_of
from sim.report.style import Note
from sim.report.text import number
from sim.results.reader import Run

if TYPE_CHECKING:
    from sim.unlocks import Unlocks

SOURCES = ("the run", "a scenario or token file")
LATEST = date(2100, 1, 1)
"""Last date of the calendar that can be asked for."""
EXPLAINED = (
    "**As trackers print it** counts everything that is unlocked. **Circulating** leaves out treasury, "
    "reward pools and inventories. **Float** is what lies free in wallets: the part that can be sold today."
)


def show() -> None:
    """Draw the page."""
    with page(
        "Supply and unlocks",
        "Which tokens are unlocked when, how many circulate, and what the price rests on.",
    ):
        source = st.segmented_control("Show", SOURCES, default=SOURCES[0], required=True, key="supply-source")
        if source == SOURCES[1]:
            _calendar()
            return
        run = run_or_advice()
        if run is not None:
            _run(run)


def _run(run: Run) -> None:
    metrics = run.metrics
    plot(
        figures_supply.unlocks(run.unlocks, Note(0, evidence_of(run.parameters, ["unlocked_gwei"]))),
        "unlocks",
    )
    st.markdown(EXPLAINED)
    plot(figures_supply.supplies(metrics, note_of(run, "circulating_gwei")), "supplies")
    months = figures_supply.by_month(metrics)
    two(
        figures_supply.monthly_flows(months, note_of(run, "emission_gwei")),
        figures_supply.unlock_share(months, note_of(run, "unlock_share_of_float")),
        "flows",
    )
    st.caption("Medians over runs of whole months from the start; what unlocks on the first day is left out.")
    st.subheader("Price")
    st.caption(
        f"Quantiles over {run.manifest.runs} runs. The price is an assumption in disguise: see what holds it."
    )
    paths = st.toggle(f"Show single runs (the first {figures_supply.MAX_PATHS})", key="price-paths")
    plot(figures_supply.price(metrics, note_of(run, "price_usd"), run.manifest.bands, paths=paths), "price")
    if run.twins.height:
        note = Note(run.manifest.twins.runs, evidence_of(run.parameters, ["price_usd"]))
        plot(figures_supply.twins(metrics, run.twins, TWIN_WORDS, note), "twins")
    else:
        st.caption(
            "The scenario asks for no twins; `runs.twins` shows what unlocks and inflow do to the price."
        )


def _calendar() -> None:
    """Draw the calendar of a file: exact, without agents and without a run."""
    from sim.scenario import load_token
    from sim.unlocks import unlocks_of

    files = [path.as_posix() for path in scenario_files(tokens=True)]
    chosen = st.selectbox(
        "File",
        files,
        index=0 if files else None,
        accept_new_options=True,
        key="calendar-file",
        placeholder="path of a scenario, or of a file with start and token alone",
        bind="query-params",
    )
    if not chosen:
        st.info("Choose a file, or type the path of a scenario or of a file with `start` and `token` alone.")
        return
    file = load_token(Path(chosen))
    asked = st.date_input(
        "Date", value=file.start, min_value=file.start, max_value=LATEST, key="calendar-date"
    )
    answer = unlocks_of(file, asked if isinstance(asked, date) else None)
    _supply_on(answer)
    for note in answer.notes:
        st.warning(note)
    roles = {name: bucket.role or "" for name, bucket in file.token.buckets.items()}
    plot(figures_supply.calendar(answer, roles), "calendar")
    _months(answer)


def _supply_on(answer: Unlocks) -> None:
    whole = 10**answer.decimals
    supply = {"Unlocked": answer.unlocked, "Locked": answer.locked, "Cap": answer.cap}
    tiles(
        [
            (f"{words}, {answer.symbol}", number(units / whole), f"{units / answer.cap:.2%} of the cap")
            for words, units in supply.items()
        ]
    )
    following = answer.following
    if following is None:
        st.success("Everything is unlocked.")
        return
    shares = ", ".join(
        f"{number(float('nan') if share is None else share, 'share')} of {name.replace('_', ' ')}"
        for name, share in following.shares.items()
    )
    st.markdown(
        f"Next unlock: **{number(following.amount / whole)} {answer.symbol}** on **{following.date}**, "
        f"{following.days_away} days later: {shares}."
    )


def _months(answer: Unlocks) -> None:
    symbol, whole = answer.symbol, 10**answer.decimals
    named = (f"{name}, {symbol}" for name in answer.allocated)
    columns = ["month", "until", *named, f"unlocked in all, {symbol}"]
    rows = [
        [
            str(month.month),
            str(month.date),
            *(f"{units / whole:,.2f}" for units in (*month.by_bucket.values(), month.unlocked)),
        ]
        for month in answer.months
    ]
    st.markdown("**What unlocks in each month**")
    table(columns, rows, height=420)
