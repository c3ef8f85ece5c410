"""Export: a scenario as a Python module that builds a cadCAD experiment.

Rule decided here: the module is short and readable, names the scenario by a path relative to itself and by
its hash, and refuses to run once the scenario says something else.
"""

from __future__ import annotations

import os
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.priors import INFLOW, uncertain

if TYPE_CHECKING:
    from sim.scenario import Scenario

MARK = "Written by olsim cadcad export"
"""Stands in the first line of every exported module; a file without it is never overwritten."""
TEMPLATE = Template('''\
"""$mark: the scenario '$name' as an experiment of cadCAD 0.5.3.

`exp` is a cadCAD Experiment: $runs runs, $agents agents, days 0 to $days. One partial state update block per
daily phase; state variables: world (all state of the run), day, date and one per observable. Timestep 0 is
genesis, timestep t is day t - 1; run k is the engine's run k - 1, with the same draws. Run this file to
execute it with cadCAD's own executor, or import `exp` and use any executor you like.
"""

from pathlib import Path

from cadCAD.configuration import Experiment

from sim.cadcad import blocks

SCENARIO = (Path(__file__).resolve().parent / $scenario).resolve()
SCENARIO_SHA256 = "$sha256"
AGENTS, DAYS, RUNS = $agents, $days, $runs

economy = blocks.read_economy(SCENARIO, SCENARIO_SHA256, agents=AGENTS, days=DAYS)
genesis_states = blocks.genesis()
partial_state_update_blocks = blocks.blocks(economy)
sim_config = {"N": RUNS, "T": range(DAYS + 1), "M": {}}

exp = Experiment()
exp.append_model(
    model_id=$name_literal,
    initial_state=genesis_states,
    partial_state_update_blocks=partial_state_update_blocks,
    sim_configs=sim_config,
)

if __name__ == "__main__":
    import pandas as pd

    metrics = pd.DataFrame(blocks.metrics(blocks.execute(exp)))
    print(metrics[metrics["day"] == DAYS].set_index("run").T.to_string())
''')


def module_text(scenario: Scenario, target: Path, *, agents: int, days: int, runs: int) -> str:
    """Return the text of the module.

    Parameters
    ----------
    scenario
        The scenario, read from a file.
    target
        Where the module will lie; the scenario's path is relative to its folder.
    agents, days, runs
        Size of the experiment.

    Raises
    ------
    InputError
        If runs would live in different scenarios: cadCAD's blocks hold one.
    """
    drawn = [path for path in uncertain(scenario) if path != INFLOW]
    if drawn:
        raise InputError(
            f"{', '.join(drawn)}: a prior is drawn anew in each run, but all blocks of cadCAD share one "
            "scenario; give it a value in a file that extends this one"
        )
    relative = Path(os.path.relpath(scenario.files[0].resolve(), target.resolve().parent)).as_posix()
    return TEMPLATE.substitute(
        mark=MARK,
        name=scenario.name.replace("\\", "").replace('"', "'"),
        name_literal=_literal(scenario.name),
        scenario=_literal(relative),
        sha256=scenario.sha256(exclude_runs=False),
        agents=agents,
        days=days,
        runs=runs,
    )


def write_module(text: str, target: Path) -> None:
    """Write the module in one step; nothing but an earlier export is replaced.

    Parameters
    ----------
    text
        The module.
    target
        Its file.

    Raises
    ------
    InputError
        If the folder is missing, or the file is somebody's own.
    """
    if target.suffix != ".py":
        raise InputError(f"--out {target}: the export is a Python module; the name must end in .py")
    if not target.parent.is_dir():
        raise InputError(f"--out {target}: the folder {target.parent} does not exist")
    if target.exists() and not (target.is_file() and _is_export(target)):
        raise InputError(f"--out {target}: exists and is no earlier export; it is left as it is")
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)


def _is_export(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return MARK in file.readline()


def _literal(text: str) -> str:
    """Return a Python string literal with double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
