"""`olsim bench chain`: how fast the chain is beside its peers, how it grows, and what a witness run makes of it.

Rule decided here: exit code 1 where a figure is under its bar; progress goes to standard error.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError

DAYS_MAX = 3_650


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    scenario: Annotated[
        Path, typer.Option(help="Scenario of the witness run whose transactions are the mix.")
    ] = Path("scenarios/baseline.yaml"),
    witness_days: Annotated[int, typer.Option(help="Days of that witness run.")] = 92,
) -> None:
    """Chain against eth-tester and titanoboa, growth to 10,000 blocks, and the mix of a witness run."""
    if not 31 <= witness_days <= DAYS_MAX:
        raise InputError(f"--witness-days {witness_days}: expected 31 to {DAYS_MAX}")
    if not scenario.is_file():
        raise InputError(f"{scenario}: no such scenario; name one with --scenario")
    from sim.bench import document, table
    from sim.chain.bench.engines import engine_figures
    from sim.chain.bench.growth import growth_figures
    from sim.chain.bench.mix import mix_figures

    began = time.perf_counter()

    def tell(text: str) -> None:
        sys.stderr.write(f"[{time.perf_counter() - began:6.1f} s] {text}\n")
        sys.stderr.flush()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # peers' own
        figures = [*engine_figures(tell), *growth_figures(tell), *mix_figures(scenario, witness_days, tell)]
    sys.stdout.write(json.dumps(document("chain", figures)) + "\n" if as_json else table(figures))
    if any(figure.ok is False for figure in figures):
        raise typer.Exit(1)
