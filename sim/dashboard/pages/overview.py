"""Overview: the headline of a run, what limits it, and what it rests on.

Rule decided here: the first screen holds the verdict, the headline table with the class of each number's
weakest input, and the proof of the books; warnings stand above numbers.
"""

from __future__ import annotations

from datetime import date, timedelta

import streamlit as st

from models.calendar import add_months
from sim.dashboard.figures_supply import price
from sim.dashboard.shell import block, lines, note_of, page, plot, run_or_advice, tiles
from sim.report.appendix import assumption_blocks, missing_blocks, parameter_blocks, reproduce_blocks
from sim.report.blocks import Block, Code, Paragraph, Table
from sim.report.headline import Headline, Line, default_as_of, headline
from sim.report.text import interval, number
from sim.report.verdict import verdict, warnings
from sim.results.reader import Run

TILES = {
    "next_unlock_of_float": "Next unlock, of float",
    "usage_cover": "Usage cover",
    "price_usd": "Price, USD",
    "contributor_above_break_even": "Above break-even",
    "quorum_rate": "Votes with quorum",
}
"""Numbers that stand above the table, and their short words."""
NO_BREAK = "\N{NO-BREAK SPACE}"


def show() -> None:
    """Draw the page."""
    with page(
        "Overview", "What the run says first: the headline, how sure it is, and whether the books balance."
    ):
        run = run_or_advice()
        if run is not None:
            _run(run)


def _run(run: Run) -> None:
    manifest = run.manifest
    st.markdown(
        f"**{manifest.name}**: {manifest.runs} runs of {manifest.agents:,} agents, {manifest.days + 1:,} days "
        f"from {manifest.start}, seed {manifest.seed}"
    )
    head = headline(run, as_of(run))
    st.info(verdict(head))
    found = warnings(manifest)
    if found:
        st.warning("\n".join(f"- {text}" for text in found))
    _tiles(head)
    st.subheader("Headline")
    st.caption(f"Median and 5 to 95 % of {head.runs} runs, on {head.as_of} and on the last day, {head.last}.")
    lines(*headline_cells(head))
    st.caption(f"Row 6: {head.serving}." if head.serving else "Row 6: no serving profile.")
    _proof(head)
    plot(price(run.metrics, note_of(run, "price_usd"), manifest.bands), "overview-price")
    _below(run)


def as_of(run: Run) -> date:
    """Ask for the date that the headline speaks of: a month end of the run."""
    last = run.start + timedelta(days=run.manifest.days)
    ends, month = [], 0
    while (end := add_months(run.start, month)) <= last:
        ends.append(end)
        month += 1
    default = default_as_of(run)
    ends = sorted({*ends, default})
    if len(ends) == 1:
        return default
    return st.select_slider("Date of the headline", ends, value=default, key="as-of")


def _tiles(head: Headline) -> None:
    shown = []
    for key, words in TILES.items():
        line = head.line(key)
        range_ = interval(line.at.p05, line.at.p95, line.unit)
        shown.append((words, number(line.at.p50, line.unit), f"{line.label}; 5 to 95 %: {range_}"))
    tiles(shown)


def headline_cells(head: Headline) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the headline table; numbers do not break over lines."""
    columns = [
        "row", "number", "unit", "median", "5 to 95 %", "median, last day", "5 to 95 %, last day", "weakest input",
    ]  # fmt: skip
    return columns, [_cells(line) for line in head.lines]


def _cells(line: Line) -> list[str]:
    numbers = []
    for value in (line.at, line.last):
        numbers += [number(value.p50, line.unit), interval(value.p05, value.p95, line.unit)]
    unit = "" if line.unit == "share" else line.unit
    return [
        str(line.row),
        line.label,
        *(text.replace(" ", NO_BREAK) for text in (unit, *numbers)),
        line.evidence,
    ]


def _proof(head: Headline) -> None:
    footer = head.footer
    chain = f"{footer.chain_diff_wei} wei" if footer.chain_executed else "chain off"
    tiles(
        [
            (
                "Conservation residual",
                f"{footer.residual_gwei} gwei",
                "What is missing of the cap, any run and day",
            ),
            ("Ledger against chain", chain, "Largest difference of an account in the witness run"),
            ("Reconciled epochs", str(footer.reconciled_epochs), "Epochs whose accounts were compared"),
            (
                "Illustrative inputs",
                number(footer.illustrative_share, "share"),
                "Share of parameters that only make a mechanism visible and were estimated from nothing",
            ),
        ]
    )


def _below(run: Run) -> None:
    groups: dict[str, list[Block]] = {
        "Columns without values, and why": missing_blocks(run),
        "Assumptions by section and class": assumption_blocks(run),
        "Every parameter with its place": parameter_blocks(run),
        "Reproduce": reproduce_blocks(run),
    }
    for title, blocks in groups.items():
        with st.expander(title):
            for one in blocks:
                _plain(one)


def _plain(one: Block) -> None:
    if isinstance(one, Paragraph):
        st.markdown(one.text)
    elif isinstance(one, Code):
        st.code(one.text, language=None)
    elif isinstance(one, Table):
        block(Table(one.columns, one.rows, one.caption))
