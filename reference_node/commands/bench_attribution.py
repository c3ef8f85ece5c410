"""`olsim bench attribution`: quality of the methods and of what they pay, and what attribution costs.

Decided here: exit codes (0 done, 1 a figure on the wrong side of its bar), and that standard output carries the result
alone: one JSON object with `--json`, tables without.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from reference_node.commands import need_packages
from reference_node.commands.bench import AsJson

MEASURES = ("lds", "rho", "top1", "tv", "noise")
TABLES = (
    ("f1.tier2.tv", "table", "fixture one, clusters"),
    ("f1.tier2.tv", "table_by_identity", "fixture one, by identity"),
    ("f2.tier1_over_spans_se", "table", "fixture two, clusters"),
)
_THOUSANDS = 100


def bench(
    as_json: AsJson = False,
    work: Annotated[
        Path, typer.Option(help="Folder of trained adapters and gradients; made anew where it lacks them.")
    ] = Path("runs/attribution"),
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the bank's adapters here, whatever is committed.")
    ] = False,
) -> None:
    """Attribution against retrained truth: quality and money mis-paid; what copies gain; cost of log and lookups."""
    need_packages("torch")
    from reference_node.attribution.bench.run import attribution_document
    from reference_node.bench.run import stderr_progress

    document = attribution_document(work, stderr_progress(time.perf_counter()), retrain=retrain)
    sys.stdout.write(json.dumps(document) + "\n" if as_json else text_of(document))
    if any(figure["ok"] is False for figure in document["figures"]):
        raise typer.Exit(1)


def text_of(document: dict[str, Any]) -> str:
    """Return the document as tables."""
    figures = {figure["id"]: figure for figure in document["figures"]}
    lines = [f"{'figure':<28}{'value':>10}{'bar':>8}  ok"]
    for name, figure in figures.items():
        value = "missing" if figure["value"] is None else _number(figure["value"], 3)
        bar = "-" if figure["bar"] is None else _number(figure["bar"], 2)
        verdict = {None: figure["detail"].get("install", ""), True: "yes", False: "NO"}[figure["ok"]]
        lines.append(f"{name:<28}{value:>10}{bar:>8}  {verdict}")
    for name, key, title in TABLES:
        if name in figures:
            lines += ["", f"{title:<28}" + "".join(f"{measure:>15}" for measure in MEASURES)]
            for method, row in figures[name]["detail"][key].items():
                cells = (f"{row[measure][0]:.3f} ±{row[measure][1]:.3f}" for measure in MEASURES)
                lines.append(f"{method:<28}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines) + "\n"


def _number(value: float, digits: int) -> str:
    """Return a figure with so many digits behind the point, none where it counts thousands."""
    return f"{value:,.{0 if abs(value) >= _THOUSANDS else digits}f}"
