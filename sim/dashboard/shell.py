"""Shell: what every page stands in: the choice of the run, titles, tables, messages.

Rule decided here: one choice of run for all pages, kept in the address so that a view can be shared; reading
a run is cached by its name and the time of its manifest; bad input is shown in its own words, and a page
without a run says how to make one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from models.errors import InputError
from sim.dashboard.store import Entry, entries, runs_folder
from sim.experiment.statistics import Spread
from sim.report.blocks import Table
from sim.report.evidence import evidence_of
from sim.report.style import Note
from sim.report.text import interval
from sim.results.reader import Run, load_run

if TYPE_CHECKING:
    import plotly.graph_objects as go

RUN_KEY = "run"
PLOT = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
EXAMPLE = "olsim run scenarios/baseline.yaml --runs 4 --agents 400 --days 420 --chain off"


@st.cache_resource(max_entries=4, show_spinner="Reading the run …")
def _cached_run(directory: str, stamp: int) -> Run:
    """Return a run; `stamp` is when its manifest changed and takes part in nothing but the cache's key."""
    del stamp
    return load_run(Path(directory))


def choose_run() -> None:
    """Show the choice of the run in the sidebar; the name is kept in the address as ``?run=``."""
    complete = [entry.name for entry in entries(runs_folder()) if entry.status == "complete"]
    if not complete:
        st.sidebar.caption(f"No complete run in {runs_folder()}.")
        return
    asked = st.session_state.get(RUN_KEY, st.query_params.get(RUN_KEY))
    st.session_state[RUN_KEY] = asked if asked in complete else complete[0]
    st.sidebar.selectbox(
        "Run", complete, key=RUN_KEY, help="Every page shows this run; the newest comes first."
    )
    st.query_params[RUN_KEY] = st.session_state[RUN_KEY]


def chosen_entry() -> Entry | None:
    """Return the run directory that the pages show, or None where there is none."""
    name = st.session_state.get(RUN_KEY)
    found = {entry.name: entry for entry in entries(runs_folder()) if entry.status == "complete"}
    return found.get(name) if name in found else next(iter(found.values()), None)


def read_run(entry: Entry) -> Run:
    """Return a run, from the cache where its manifest has not changed.

    Raises
    ------
    InputError
        If the directory is damaged.
    """
    return _cached_run(str(entry.directory.resolve()), entry.stamp)


@contextmanager
def page(title: str, says: str) -> Iterator[None]:
    """Write a page's title and catch bad input below it.

    Parameters
    ----------
    title
        Title of the page.
    says
        One sentence on what it answers.
    """
    st.title(title)
    st.caption(says)
    try:
        yield
    except InputError as error:
        show_problems(error)


def show_problems(error: InputError) -> None:
    """Show every problem in its own words, ``file:line:column`` first where there is one."""
    st.error("\n\n".join(verbatim(str(problem)) for problem in error.problems))


def verbatim(text: str) -> str:
    """Return a text as Markdown that shows it as it is."""
    return f"`{text.replace('`', chr(39))}`"


def run_or_advice() -> Run | None:
    """Return the chosen run; without one say how to make one and return None."""
    entry = chosen_entry()
    if entry is not None:
        return read_run(entry)
    st.info(
        f"There is no complete run in `{runs_folder()}` yet. Start one on the page **Runs**, or in a "
        "terminal; this one takes less than a minute and can be looked at here as soon as it is done:"
    )
    st.code(EXAMPLE, language="bash")
    return None


def spread_help(value: Spread, when: date, unit: str = "") -> str:
    """Return what explains a median over runs: its date and its 5 to 95 %."""
    return f"median on {when}; 5 to 95 %: {interval(value.p05, value.p95, unit)}"


def note_of(run: Run, *columns: str) -> Note:
    """Return what stands below the title of a figure of some observables."""
    return Note(run.manifest.runs, evidence_of(run.parameters, columns))


def plot(figure: go.Figure, key: str) -> None:
    """Show a figure at the page's width, in its own colours.

    Parameters
    ----------
    figure
        From one of the modules of figures.
    key
        Unique on the page.
    """
    st.plotly_chart(figure, width="stretch", theme=None, key=key, config=PLOT)


def two(left: go.Figure, right: go.Figure, key: str) -> None:
    """Show two figures side by side."""
    columns = st.columns(2, gap="medium")
    for column, figure, side in zip(columns, (left, right), ("left", "right"), strict=True):
        with column:
            plot(figure, f"{key}-{side}")


def tiles(shown: Sequence[tuple[str, str, str]]) -> None:
    """Show numbers in a row: short words, the number, and what explains it.

    Parameters
    ----------
    shown
        Words (with the unit, up to about 22 letters), number as text, help text or "".
    """
    for column, (words, value, explains) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(words, value, border=True, help=explains or None)


def lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show a short table of texts in full, long cells wrapped."""
    import polars as pl

    frame = pl.DataFrame([list(row) for row in rows], schema=list(columns), orient="row")
    st.table(frame, border="horizontal", hide_index=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, height: int | None = None) -> None:
    """Show rows as a table with people's column names.

    Parameters
    ----------
    columns, rows
        Headings and cells.
    height
        Pixels; None for as many as the rows need.
    """
    import polars as pl

    frame = pl.DataFrame([list(row) for row in rows], schema=list(columns), orient="row", strict=False)
    st.dataframe(frame, hide_index=True, width="stretch", height="content" if height is None else height)


def block(shown: Table) -> None:
    """Show a table of the report; a folded one behind its caption."""
    if shown.folded:
        with st.expander(shown.caption):
            table(shown.columns, shown.rows, height=420 if len(shown.rows) > 12 else None)
        return
    if shown.caption:
        st.markdown(f"**{shown.caption}**")
    table(shown.columns, shown.rows)


def shown_path(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it, else as it is."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
