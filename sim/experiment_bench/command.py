"""`olsim bench experiment`: what experiments cost, and how far their serving model is from the truth.

Rule decided here: exit code 1 where a figure is under its bar; progress goes to standard error; what is quick is never
the default.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    scenario: Annotated[Path, typer.Option(help="Scenario of the runs and of the fleet.")] = Path(
        "scenarios/baseline.yaml"
    ),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="64 runs scaled up to 1,000: an estimate in a fraction of the time."),
    ] = False,
) -> None:
    """Compare a thousand runs with one Mesa run, and the serving model with what was simulated and measured."""
    if not scenario.is_file():
        raise InputError(f"{scenario}: no such scenario; name one with --scenario")
    from sim.bench import document, table
    from sim.experiment_bench.ensemble import QUICK_RUNS, RUNS, EnsembleSize, ensemble_figure
    from sim.experiment_bench.luck import luck_figure
    from sim.experiment_bench.peer import mesa_run
    from sim.experiment_bench.serving import serving_figures
    from sim.scenario import load

    began = time.perf_counter()

    def tell(text: str) -> None:
        sys.stderr.write(f"[{time.perf_counter() - began:6.1f} s] {text}\n")
        sys.stderr.flush()

    figures = [
        *serving_figures(load(scenario), tell),
        luck_figure(scenario, tell),
        ensemble_figure(scenario, EnsembleSize(QUICK_RUNS if quick else RUNS), tell, mesa_run()),
    ]
    sys.stdout.write(json.dumps(document("experiment", figures)) + "\n" if as_json else table(figures))
    if any(figure.ok is False for figure in figures):
        raise typer.Exit(1)
