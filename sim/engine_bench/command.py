"""`olsim bench engine`: OTE-1 beside its peers, beside what memory allows, and the whole economy's day beside OTE-1.

Rule decided here: exit code 1 where a figure is under its bar; progress goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from typing import Annotated

import typer

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Live all 1,461 days where memory is measured.")
    ] = False,
) -> None:
    """OTE-1 against cadCAD, Mesa, agentpy, numpy and polars, share of the bandwidth limit, the economy's day."""
    for name in ONE_THREAD:
        os.environ[name] = "1"  # one core each; read when the libraries load
    from sim.bench import document, table
    from sim.engine_bench.bandwidth import bandwidth_figure
    from sim.engine_bench.economy import economy_figures
    from sim.engine_bench.economy_memory import peak_figure
    from sim.engine_bench.memory import growth_mb
    from sim.engine_bench.rates import rate_figures

    began = time.perf_counter()

    def tell(text: str) -> None:
        sys.stderr.write(f"[{time.perf_counter() - began:6.1f} s] {text}\n")
        sys.stderr.flush()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers' own
        tell("memory of every engine over ten days")
        figures = rate_figures(tell, growth_mb(10))
        figures += [bandwidth_figure(tell), *economy_figures(tell), peak_figure(tell, full)]
    sys.stdout.write(json.dumps(document("engine", figures)) + "\n" if as_json else table(figures))
    if any(figure.ok is False for figure in figures):
        raise typer.Exit(1)
