"""Node: what was measured, how well the formula fits, and what serving cost in the run.

Rule decided here: a measured profile is shown with device, software, command and hash, and a warning stands
above it where the run used other bytes or another model than the fees price.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import streamlit as st

from models.errors import InputError
from sim.dashboard import figures_node, profiles
from sim.dashboard.shell import (
    chosen_entry,
    note_of,
    page,
    plot,
    read_run,
    run_or_advice,
    show_problems,
    shown_path,
    table,
    two,
)
from sim.experiment.statistics import spread
from sim.report.headline import on_day
from sim.report.style import Note
from sim.report.text import interval, number
from sim.report.verdict import warnings
from sim.results.reader import Run


def show() -> None:
    """Draw the page."""
    with page("Node", "What one serving replica can do by measurement, and what serving cost in the run."):
        entry = chosen_entry()
        run = None if entry is None else read_run(entry)
        paths = profiles.committed() if run is None else profiles.files_of(run)
        if run is not None:
            for text in warnings(run.manifest):
                if "profile" in text:
                    st.warning(text)
        _profile(run, paths)
        st.header("In the run")
        if run is None:
            run_or_advice()
        else:
            _serving(run)


def _profile(run: Run | None, paths: list[Path]) -> None:
    st.header("Measured profile")
    if not paths:
        st.info("No throughput profile was found: `olsim node bench` measures this machine and writes one.")
        return
    path = paths[0]
    if len(paths) > 1:
        path = st.selectbox("Profile", paths, format_func=shown_path, key="profile")
    try:
        if run is not None and profiles.changed(run, path):
            st.warning(
                f"{shown_path(path)} has been measured again since the run: what follows is the new measurement."
            )
        measured = profiles.read(path)
    except InputError as error:
        show_problems(error)
        return
    _measured(measured)


def _measured(measured: profiles.Measured) -> None:
    facts, document = measured.facts, measured.document
    note = Note(0, "measured" if facts.measured else "not measured")
    rows, fit = document["decode"], facts.fit
    tiles = (
        ("Best decode speed", f"{number(max(row['tok_s'] for row in rows))} tokens/s"),
        ("Adapter load from memory", f"{number(facts.host_load_ms)} ms"),
        ("Adapter load from disk", f"{number(facts.disk_load_ms)} ms"),
        ("Prefill", f"{number(facts.prefill_ms_per_token)} ms/token"),
        ("Fit of the step time", f"R² {fit.r2:.3f}"),
    )
    for column, (words, value) in zip(st.columns(len(tiles)), tiles, strict=True):
        column.metric(words, value, border=True)
    st.caption(
        f"Step time in ms = {number(fit.a)} + {number(fit.b)} x batch + {number(fit.c)} x distinct adapters x rank "
        f"+ {number(fit.d)} x batch x context."
    )
    choices = st.columns(2)
    context = choices[0].segmented_control(
        "Context, tokens", measured.contexts, default=measured.contexts[-1], required=True, key="context"
    )
    ranks = measured.ranks or [0]
    rank = choices[1].segmented_control("LoRA rank", ranks, default=ranks[-1], required=True, key="rank")
    two(
        figures_node.decode(rows, fit, int(rank), int(context), measurement(note)),
        figures_node.calibration(rows, fit, measurement(note)),
        "decode",
    )
    plot(figures_node.windows(document["serving"], measurement(note)), "windows")
    serving = profiles.serving_rows(measured)
    if serving:
        table(list(serving[0]), [list(row.values()) for row in serving])
    st.markdown("**Provenance**")
    table(["what", "as recorded"], profiles.provenance(measured))


class _Measurement(Note):
    """A note that says that a figure rests on a measurement, not on runs."""

    @property
    def text(self) -> str:
        """The line below the title."""
        return f"throughput profile, {self.evidence}"


def measurement(note: Note) -> Note:
    """Return a note for a figure of a profile."""
    return _Measurement(0, note.evidence)


def _serving(run: Run) -> None:
    metrics, last = run.metrics, run.start + timedelta(days=run.manifest.days)
    shown = {
        "Fleet utilisation": ("utilisation", "share", ""),
        "Adapter cache hits": ("cache_hit_rate", "share", ""),
        "Request latency, p95": ("latency_p95_s", "", " s"),
        "Serving cost": ("serving_cost_usd_per_1m", "", " USD/1M tokens"),
        "Operators' margin": ("operator_margin", "share", ""),
        "Replicas": ("replicas", "", ""),
    }
    for column, (words, (name, unit, tail)) in zip(st.columns(len(shown)), shown.items(), strict=True):
        value = spread(on_day(run, name, last))
        column.metric(
            words, f"{number(value.p50, unit)}{tail}", border=True,
            help=f"median on {last}; 5 to 95 %: {interval(value.p05, value.p95, unit)}{tail}",
        )  # fmt: skip
    two(
        figures_node.load(metrics, note_of(run, "utilisation")),
        figures_node.latency(metrics, note_of(run, "latency_p95_s")),
        "load",
    )
    two(
        figures_node.cost(metrics, note_of(run, "serving_cost_usd_per_1m", "fee_usd_per_1m")),
        figures_node.margin(metrics, note_of(run, "operator_margin")),
        "cost",
    )
    plot(figures_node.tokens(metrics, note_of(run, "users_active")), "tokens")
