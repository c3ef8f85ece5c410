"""`olsim cadcad`: the simulation for people who come from cadCAD.

Rule decided here: exporting needs no cadCAD; running the exported module does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The daily phases as a cadCAD experiment.", no_args_is_help=True)

Scenario = Annotated[Path, typer.Argument(help="Scenario file.")]
Agents = Annotated[int, typer.Option(min=1, help="Number of agents, divided among the classes.")]
Days = Annotated[int, typer.Option(min=0, help="Last day; days 0 to this one are lived.")]
Runs = Annotated[int, typer.Option(min=1, help="Number of runs.")]
Out = Annotated[Path | None, typer.Option(help="The module to write; <scenario>_cadcad.py here if left out.")]


@app.callback()
def cadcad() -> None:
    """Keep `export` a command of its own beside those to come."""


@app.command()
def export(
    scenario: Scenario, agents: Agents = 100, days: Days = 30, runs: Runs = 2, out: Out = None
) -> None:
    """Write a Python module that builds the scenario as a cadCAD 0.5.3 experiment.

    Run by cadCAD's own executor it yields the rows of metrics.parquet that the engine yields. cadCAD keeps
    every state of every block, so choose sizes for a check, not for a study.
    """
    from sim.cadcad.export import module_text, write_module
    from sim.engine import build_economy
    from sim.scenario import load

    target = out or Path(f"{scenario.stem.replace('-', '_').replace('.', '_')}_cadcad.py")
    loaded = load(scenario)
    build_economy(loaded, agents=agents, days=days)
    write_module(module_text(loaded, target, agents=agents, days=days, runs=runs), target)
    typer.echo(
        f"wrote {target}: {runs} runs, {agents} agents, days 0 to {days}; run it with python {target}",
        err=True,
    )
