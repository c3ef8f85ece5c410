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
    lines,
    note_of,
    page,
    plot,
    read_run,
    run_or_advice,
    show_problems,
    shown_path,
    spread_help,
    tiles,
    two,
)
from sim.experiment.statistics import spread
from sim.report.headline import on_day
from sim.report.text import number
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
            st.warning(f"{shown_path(path)} has changed since the run: what follows is the new measurement.")
        measured = profiles.read(path)
    except InputError as error:
        show_problems(error)
        return
    _measured(measured)


def _measured(measured: profiles.Measured) -> None:
    facts, document = measured.facts, measured.document
    note = f"throughput profile {facts.id}, {'measured' if facts.measured else 'not measured'}"
    rows, fit = document["decode"], facts.fit
    tiles(
        [
            ("Decode, tokens/s", number(max(row["tok_s"] for row in rows)), "Best row of the bench"),
            ("Adapter load, ms", number(facts.host_load_ms), "From the machine's memory, median"),
            ("From disk, ms", number(facts.disk_load_ms), "Adapter load from disk, median"),
            ("Prefill, ms per token", number(facts.prefill_ms_per_token), "One prompt alone"),
            ("Fit of step time, R²", f"{fit.r2:.3f}", f"Largest relative error {fit.max_rel_err:.0%}"),
        ]
    )
    st.caption(
        f"Step time in ms = {number(fit.a)} + {number(fit.b)} x batch + {number(fit.c)} x distinct adapters "
        f"x rank + {number(fit.d)} x batch x context. Points are measured, lines are this fit."
    )
    choices = st.columns(2)
    context = choices[0].segmented_control(
        "Context, tokens", measured.contexts, default=measured.contexts[-1], required=True, key="context"
    )
    ranks = measured.ranks or [0]
    rank = choices[1].segmented_control("LoRA rank", ranks, default=ranks[-1], required=True, key="rank")
    two(
        figures_node.decode(rows, fit, int(rank), int(context), note),
        figures_node.calibration(rows, fit, note),
        "decode",
    )
    plot(figures_node.windows(document["serving"], note), "windows")
    serving = profiles.serving_rows(measured)
    if serving:
        lines(list(serving[0]), [list(row.values()) for row in serving])
    st.markdown("**Provenance**")
    lines(["what", "as recorded"], profiles.provenance(measured))


def _serving(run: Run) -> None:
    metrics, last = run.metrics, run.start + timedelta(days=run.manifest.days)
    shown = {
        "Utilisation": ("utilisation", "share"),
        "Cache hits": ("cache_hit_rate", "share"),
        "Latency p95, s": ("latency_p95_s", ""),
        "Cost, USD/1M": ("serving_cost_usd_per_1m", ""),
        "Margin over cost": ("operator_margin", "share"),
        "Replicas": ("replicas", ""),
    }
    values = {words: (spread(on_day(run, name, last)), unit) for words, (name, unit) in shown.items()}
    tiles([(words, number(v.p50, unit), spread_help(v, last, unit)) for words, (v, unit) in values.items()])
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
