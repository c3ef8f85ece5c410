"""`olsim explain`: how a metric came about.

Rule decided here: the answer names values over runs, the flows of the month, the parameters in force with
file and line, and what votes had changed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.tree import Tree

    from sim.report.trace import Trace

MOST_FLOWS = 12


def explain(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    day: Annotated[int, typer.Option(help="Day of the run.")],
    metric: Annotated[str, typer.Option(help="Column of metrics.parquet, such as price_usd.")],
    account: Annotated[
        str, typer.Option(help="Account label or its beginning, such as wallet.l2/holders.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Explain a metric's value on a day: flows, parameters in force and where they were set."""
    from sim.report.trace import trace
    from sim.results import load_run

    found = trace(load_run(run), metric, day, account)
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), default=str) + "\n")
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(tree(found))


def tree(found: Trace) -> Tree:
    """Return a trace as a tree for a terminal."""
    from rich.markup import escape
    from rich.tree import Tree

    from sim.report.text import GWEI_PER_TOKEN, interval, number

    metric, spread = found.metric, found.over_runs
    unit = metric.unit
    root = Tree(f"[bold]{metric.name}[/bold] on day {found.day} ({found.date}): {metric.label}, {unit}")
    root.add(
        f"over {spread.n} runs: median {number(spread.p50, unit)}, "
        f"5 to 95 % {interval(spread.p05, spread.p95, unit)}; "
        f"witness run {number(found.witness, unit)}; weakest input {found.evidence}"
    )
    if metric.mechanism:
        root.add(f"null: {metric.mechanism}")
    month = (
        "no month ended from that day on" if found.month_end is None else f"month to day {found.month_end}"
    )
    flows = root.add(f"flows of the witness run, {month}")
    for flow in found.flows[:MOST_FLOWS]:
        amount = number(flow.amount_gwei / GWEI_PER_TOKEN)
        flows.add(f"{flow.flow} {flow.source} -> {flow.target}: {amount} OPEN ({flow.amount_gwei} gwei)")
    if len(found.flows) > MOST_FLOWS:
        flows.add(f"and {len(found.flows) - MOST_FLOWS} smaller ones (--json lists them)")
    if found.balances:
        balances = root.add("balances at that month's end")
        for label, held in found.balances:
            balances.add(f"{label}: {number(held / GWEI_PER_TOKEN)} OPEN ({held} gwei)")
    parameters = root.add("parameters in force")
    for row in found.parameters:
        parameters.add(escape(f"{row.path} = {row.value} [{row.evidence}] {row.place}".rstrip()))
    if found.events:
        events = root.add("executed by votes of the witness run so far")
        for event in found.events:
            events.add(escape(f"day {event.day} {event.kind} {event.subject}: {event.detail}"))
    return root
