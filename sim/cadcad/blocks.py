"""Blocks: the daily phases as partial state update blocks of a cadCAD 0.5.3 experiment.

Rule decided here: what the engine does on a day, cut at the same places, without the engine's clock. One
block per phase, in order; run k of cadCAD is run number k - 1 of the engine, alone in a batch of its own,
with the same keyed draws. Timestep 0 is genesis, before anything has moved; timestep t lives day t - 1.

State variables are ``world`` (all state), ``day``, ``date`` and one variable per observable. A block's policy
copies the world that it was given, advances the copy and sends it as a signal; state updates only take
signals. cadCAD lets in-place changes of a state leak into its records; nothing here changes a state in place,
so the result is the same whether cadCAD copies states itself or is told not to (``deepcopy_off``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import InputError
from sim import identities
from sim.begin import begin_world
from sim.clock import PHASES, begin_day, run_phase
from sim.engine import build_economy
from sim.observables import OBSERVABLES
from sim.scenario import load

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

State = dict[str, Any]
Policy = Callable[[Any, int, Any, State], State]
Update = Callable[[Any, int, Any, State, State], tuple[str, Any]]
CALENDAR = ("day", "date")
NAMES = tuple(observable.name for observable in OBSERVABLES)


def read_economy(scenario: Path, sha256: str, *, agents: int, days: int) -> Economy:
    """Return the static data of an exported scenario.

    Parameters
    ----------
    scenario
        The scenario file that was exported.
    sha256
        Hash of the scenario at the time of the export, files counted by content.
    agents, days
        Size of the population and last day.

    Raises
    ------
    InputError
        If the scenario is wrong, or is another one than was exported.
    """
    loaded = load(scenario)
    if loaded.sha256(exclude_runs=False) != sha256:
        raise InputError(f"{scenario}: has changed since it was exported; run olsim cadcad export again")
    return build_economy(loaded, agents=agents, days=days)


def genesis() -> State:
    """Return the state variables before the first day: no world, because all runs of cadCAD begin alike."""
    return {"world": None, "day": -1, "date": "", **dict.fromkeys(NAMES)}


def blocks(economy: Economy) -> list[dict[str, Any]]:
    """Return one partial state update block per phase.

    Parameters
    ----------
    economy
        Static data, shared by all runs.
    """
    return [_block(economy, name, module, first=place == 0) for place, (name, module) in enumerate(PHASES)]


def experiment(economy: Economy, runs: int) -> Any:
    """Return a `cadCAD.configuration.Experiment` of the whole simulation.

    Parameters
    ----------
    economy
        Static data; its days give the timesteps.
    runs
        Number of runs; they are the engine's runs 0 .. runs - 1.
    """
    from cadCAD.configuration import Experiment

    built = Experiment()
    built.append_model(
        model_id=economy.scenario.name,
        initial_state=genesis(),
        partial_state_update_blocks=blocks(economy),
        sim_configs={"N": runs, "T": range(economy.days + 1), "M": {}},
    )
    return built


def execute(built: Any, *, processes: bool = False, deepcopy_off: bool = False) -> list[State]:
    """Run an experiment with cadCAD's own executor and return its records.

    Parameters
    ----------
    built
        The experiment.
    processes
        Whether runs get a process each (cadCAD's multi_proc) instead of following each other in this one.
    deepcopy_off
        Pass cadCAD's switch that stops it from copying states (this process alone).

    Returns
    -------
    list of dict
        1 + timesteps x blocks records per run: state variables, then simulation, subset, run, substep,
        timestep.
    """
    from cadCAD.engine import ExecutionContext, ExecutionMode, Executor
    from pandas.errors import PerformanceWarning

    processes = processes and len(built.configs) > 1
    mode = ExecutionMode.multi_mode if processes else ExecutionMode.single_mode
    context = ExecutionContext(mode, additional_objs={"deepcopy_off": True} if deepcopy_off else None)
    with warnings.catch_warnings():
        # cadCAD fills its table of updates column by column; a hundred are enough for pandas to complain
        warnings.simplefilter("ignore", PerformanceWarning)
        records, _, _ = Executor(context, built.configs, supress_print=True).execute()
    if processes:
        _stop_processes(len(built.configs))
    return list(records)


def _stop_processes(count: int) -> None:
    """Close the pool that cadCAD leaves running, found by the same arguments."""
    from pathos.multiprocessing import ProcessPool

    ProcessPool(processes=count).clear()


def metrics(records: Iterable[Mapping[str, Any]]) -> list[State]:
    """Return the rows of ``metrics.parquet`` that cadCAD's records hold.

    Parameters
    ----------
    records
        What `execute` returns.

    Returns
    -------
    list of dict
        One row per run and day: run (as the engine counts), day, date, observables.
    """
    last = len(PHASES)
    return [
        {"run": row["run"] - 1, **{name: row[name] for name in (*CALENDAR, *NAMES)}}
        for row in records
        if row["substep"] == last
    ]


def _block(economy: Economy, name: str, module: ModuleType, *, first: bool) -> dict[str, Any]:
    variables = ["world"]
    if first:
        variables += CALENDAR
    if name == "record":
        variables += NAMES
    return {
        "label": name,
        "policies": {name: _policy(economy, name, module, first=first)},
        "variables": {variable: _take(variable) for variable in variables},
    }


def _policy(economy: Economy, name: str, module: ModuleType, *, first: bool) -> Policy:
    """Return the policy that advances a copy of the world by one phase."""

    def policy(_params: Any, _substep: int, _history: Any, state: State) -> State:
        world = deepcopy(state["world"])
        signals: State = {}
        if first:
            world = world or begin_world(economy, np.array([state["run"] - 1], np.int64))
            day = state["day"] + 1
            begin_day(world, economy, day)
            signals |= {"day": day, "date": economy.date_of(day).isoformat()}
        if name == "record":
            identities.check(world, economy)
        run_phase(world, economy, name, module, None)
        if name == "record":
            signals |= _observed(world)
        return {"world": world, **signals}

    return policy


def _observed(world: World) -> State:
    """Return today's observables of a batch of one run as Python numbers."""
    return {name: world.record.columns[name][0, world.day].item() for name in NAMES}


def _take(variable: str) -> Update:
    """Return the state update that takes a signal of the same name."""

    def update(_params: Any, _substep: int, _history: Any, _state: State, signals: State) -> tuple[str, Any]:
        return variable, signals[variable]

    return update
