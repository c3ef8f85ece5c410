"""Task: some runs of one point, and the numbers that are kept of them.

Rule decided here: a task is named by everything that its rows depend on: the point's world, seed, code, population,
runs, metrics and days. The same task is never computed twice, and a task of another code or another point is never
taken for it. What is kept is a number per run, metric and day, in the metric's unit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.observables import BY_NAME
from sim.results.code import code_version

if TYPE_CHECKING:
    import polars as pl

    from sim.batch import BatchResult
    from sim.economy import Economy
    from sim.scenario.schema import Scenario

GWEI_PER_TOKEN = 1e9
BLOCK = 64
"""Most runs of a task."""

_STATIC = ("token", "start", "days", "initial")
"""Beginnings of the paths that calendars are made of."""


@dataclass(frozen=True, slots=True)
class Task:
    """Runs of a point.

    Parameters
    ----------
    economy
        The economy of the scenario that is varied.
    scenario, world
        The world at the point, and its hash.
    changed
        Paths that the point sets.
    point, runs
        Number of the point and its run numbers, rising.
    agents
        Size of the population instead of the scenario's, or None.
    metrics, days
        Observables that are kept, and the days on which.
    """

    economy: Economy
    scenario: Scenario
    world: str
    changed: tuple[str, ...]
    point: int
    runs: tuple[int, ...]
    agents: int | None
    metrics: tuple[str, ...]
    days: tuple[int, ...]

    @property
    def key(self) -> str:
        """Hash of everything that the rows depend on."""
        parts = [
            self.world, self.scenario.runs.seed, code_version(), self.agents,
            self.runs, self.metrics, self.days,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Point and first run: its name among the tasks of a sweep."""
        return f"{self.point:06d}-{self.runs[0]:06d}"

    @property
    def weight(self) -> int:
        """Expected cost, in runs."""
        return len(self.runs) + 1


def tasks_of_point(first: Task, runs: int) -> list[Task]:
    """Return the tasks of a point, in blocks of up to `BLOCK` runs.

    Parameters
    ----------
    first
        Says all but the runs.
    runs
        Number of runs.
    """
    from dataclasses import replace

    blocks = [range(begin, min(begin + BLOCK, runs)) for begin in range(0, runs, BLOCK)]
    return [replace(first, runs=tuple(block)) for block in blocks]


def compute(task: Task, on_day: Callable[[int], None] | None = None) -> pl.DataFrame:
    """Return what is kept of a task's runs: run, metric, day, value.

    Parameters
    ----------
    task
        What to compute.
    on_day
        Called with each day that ended.
    """
    from sim.engine import run_batch

    result = run_batch(_economy(task), np.array(task.runs, np.int64), on_day=on_day)
    return kept(result, task.metrics, task.days)


def _economy(task: Task) -> Economy:
    """Return the point's economy; calendars and population are taken over where the point leaves them alone."""
    from sim.engine import build_economy
    from sim.priors import with_scenario

    counts = any(path.startswith("agents.") and path.count(".") == 2 for path in task.changed)
    if counts or any(path.partition(".")[0] in _STATIC for path in task.changed):
        return build_economy(task.scenario, agents=task.agents)
    return with_scenario(task.economy, task.scenario, task.changed)


def kept(result: BatchResult, metrics: Sequence[str], days: Sequence[int]) -> pl.DataFrame:
    """Return the chosen numbers of a batch in long form.

    Parameters
    ----------
    result
        The batch.
    metrics
        Observables; money is converted to whole tokens.
    days
        Days. A metric that is known on the last day of a month only has its newest value.

    Returns
    -------
    polars.DataFrame
        run, metric, day, value; null where a run has none.
    """
    import polars as pl

    frames = []
    for name in metrics:
        values = result.metrics[name].astype(np.float64)
        values = values / GWEI_PER_TOKEN if name.endswith("_gwei") else values
        values = _newest(values) if BY_NAME[name].monthly else values
        for day in days:
            columns = {
                "run": result.runs,
                "metric": [name] * len(values),
                "day": [day] * len(values),
                "value": values[:, day],
            }
            frames.append(pl.DataFrame(columns, schema_overrides={"day": pl.Int64}))
    return pl.concat(frames).with_columns(pl.col("value").fill_nan(None)).sort("run", "metric", "day")


def _newest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each day's newest known value, NaN before the first, (runs, days)."""
    known = np.where(np.isnan(values), 0, np.arange(values.shape[1])[None, :])
    newest = np.maximum.accumulate(known, axis=1)
    return np.take_along_axis(values, newest, axis=1)
