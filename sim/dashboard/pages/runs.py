"""Runs: which runs there are, a new one in the background, and how far it has come.

Rule decided here: the page starts a process and reads files; nothing that it shows lives in the page, so it
may be closed and opened again at any time.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from models.errors import InputError
from sim.dashboard import launch
from sim.dashboard.shell import RUN_KEY, chosen_entry, page, show_problems, table
from sim.dashboard.store import Entry, entries, listing, runs_folder, scenario_files
from sim.experiment.progress import read_progress
from sim.experiment.screen import time_left
from sim.results.directory import REPORT_HTML, REPORT_MD

EVERY_S = 0.5
REPORT_HEIGHT = 900
COLUMNS = ("run", "status", "scenario", "from", "days", "runs", "agents", "chain", "checks", "wall time")


def show() -> None:
    """Draw the page."""
    with page("Runs", "Every run directory of this folder, and a place to start another."):
        folder = runs_folder()
        _form(folder)
        _under_way(folder)
        _browser(folder)
        _report(chosen_entry())


def _form(folder: Path) -> None:
    st.header("Run a scenario")
    files = [path.as_posix() for path in scenario_files()]
    with st.form("new-run", border=True):
        scenario = st.selectbox(
            "Scenario or proposal file",
            files,
            index=0 if files else None,
            accept_new_options=True,
            key="new-scenario",
            placeholder="path of a scenario file",
        )
        sizes = st.columns(4)
        runs = sizes[0].number_input("Runs", 1, 4096, 4, key="new-runs")
        agents = sizes[1].number_input("Agents", 50, 10_000_000, 400, step=100, key="new-agents")
        days = sizes[2].number_input("Days", 1, 36_500, 420, step=30, key="new-days")
        name = sizes[3].text_input("Name of the run directory", key="new-name", placeholder="by its sizes")
        chain = st.toggle("Execute the witness run on the in-process chain (slower)", key="new-chain")
        pressed = st.form_submit_button("Start", type="primary")
    if pressed and not scenario:
        st.error("Choose a scenario file, or type the path of one.")
    elif pressed:
        wanted = launch.Request(Path(str(scenario)), int(runs), int(agents), int(days), bool(chain))
        _start(wanted, name.strip() or wanted.name(), folder)


def _start(wanted: launch.Request, name: str, folder: Path) -> None:
    """Check the scenario, then start it; what is wrong with it is shown as the command line would."""
    from sim.scenario import load

    try:
        load(wanted.scenario, [f"runs.count={wanted.runs}", f"days={wanted.days}"])
        launch.start(wanted, name, folder)
    except InputError as error:
        show_problems(error)
    else:
        st.toast(f"Started {name}")


def _under_way(folder: Path) -> None:
    """Show the runs that are computed and what became of the jobs of this page, twice a second while any is."""
    if _is_busy(folder):
        _watch(folder)
    elif launch.jobs(folder):
        _standing(folder)


def _is_busy(folder: Path) -> bool:
    """Return whether a run is computed, by a job of this page or elsewhere."""
    busy = any(launch.is_running(folder, job.name) for job in launch.jobs(folder))
    return busy or any(entry.status == "computing" for entry in entries(folder))


@st.fragment(run_every=EVERY_S)
def _watch(folder: Path) -> None:
    if not _is_busy(folder):
        # nothing is drawn before: a button that the whole page draws anew at once would lose its click
        st.rerun()
    _standing(folder)


def _standing(folder: Path) -> None:
    """Draw how runs stand."""
    found = {entry.name: entry for entry in entries(folder)}
    jobs = launch.jobs(folder)
    running = {job.name for job in jobs if launch.is_running(folder, job.name)}
    elsewhere = [e.name for e in found.values() if e.status == "computing" and e.name not in running]
    st.subheader("Under way and ended")
    for job in jobs:
        if job.name in running:
            _bar(folder, job.name, job)
        else:
            _ended(folder, job, found.get(job.name))
    for name in elsewhere:
        _bar(folder, name, None)


def _bar(folder: Path, name: str, job: launch.Job | None) -> None:
    progress = read_progress(folder / name)
    stage = "writing the report" if progress.stage == "complete" else progress.stage
    text = f"**{name}**: {stage}, {100 * progress.fraction:.0f} % {time_left(progress)}"
    left, right = st.columns([6, 1], vertical_alignment="bottom")
    left.progress(progress.fraction, text=text)
    if job is not None:
        right.button("Stop", key=f"stop-{name}", on_click=launch.stop, args=(folder, job))


def _ended(folder: Path, job: launch.Job, entry: Entry | None) -> None:
    left, middle, right = st.columns([6, 1, 1])
    if entry is not None and entry.status == "complete":
        left.success(f"**{job.name}** is complete: `{job.command}`")
        middle.button("Show it", key=f"open-{job.name}", on_click=_choose, args=(job.name,))
    else:
        lines = launch.messages(folder, job) or ["it was stopped"]
        said = "\n".join(f"{line}  " for line in lines[-12:])
        left.error(f"**{job.name}** ended without a complete run: `{job.command}`\n```\n{said}\n```")
    right.button("Dismiss", key=f"dismiss-{job.name}", on_click=launch.forget, args=(folder, job))


def _choose(name: str) -> None:
    st.session_state[RUN_KEY] = name


def _browser(folder: Path) -> None:
    st.header("Run directories")
    found = entries(folder)
    if not found:
        st.info(f"There is no run directory in `{folder}` yet.")
        return
    rows = [[row.get(column) for column in COLUMNS] for row in listing(found)]
    st.caption(f"In `{folder}`, the newest first. The sidebar chooses which complete run the pages show.")
    table(COLUMNS, rows)
    for entry in found:
        if entry.problem:
            st.warning(f"**{entry.name}** is {entry.status}: {entry.problem}")


def _report(entry: Entry | None) -> None:
    if entry is None:
        return
    st.header(f"Report of {entry.name}")
    html = entry.directory / REPORT_HTML
    if not html.is_file():
        st.info(f"There is no report yet; write it with `olsim report {entry.directory}`.")
        return
    buttons = st.columns([1, 1, 4])
    buttons[0].download_button(
        "Save report.html", html.read_bytes(), f"{entry.name}.html", "text/html", key="html"
    )
    markdown = entry.directory / REPORT_MD
    if markdown.is_file():
        buttons[1].download_button(
            "Save report.md", markdown.read_bytes(), f"{entry.name}.md", "text/markdown", key="md"
        )
    if st.toggle("Show the report here", key="show-report"):
        st.iframe(html, height=REPORT_HEIGHT)
