"""Execution of a sweep: from a plan to a complete sweep directory.

Rule decided here: every task lands as one Parquet file under a name that its content follows from, by atomic rename.
A sweep that was interrupted, or is asked for with more points, runs or other axes, computes what it lacks and nothing
twice; a file that cannot be read is named, set aside and computed again.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from models.parameters import CLASSES
from sim.experiment.executors import AUTO, SHORT, Executor, open_executor
from sim.experiment.failures import CheckFailed, disk_named
from sim.experiment.progress import Progress, ProgressFile, Reporter, watching
from sim.governance_gateway import GatewayError
from sim.identities import IdentityBroken
from sim.ledger import FlowRefused
from sim.results.code import code_version, package_versions
from sim.results.lock import writing
from sim.results.origin import Origin, installation_difference
from sim.results.tables import read_parquet, write_parquet
from sim.sweeps.frame import indices_frame, outcomes, points_frame, tidy
from sim.sweeps.plan import Plan
from sim.sweeps.task import Task, compute, tasks_of_point

if TYPE_CHECKING:
    import polars as pl

    from sim.economy import Economy

SCHEMA = 1
"""Version of the layout of a sweep directory."""

FACTS, FRAME, POINTS, OUTCOMES, INDICES = (
    "sweep.json", "sweep.parquet", "points.parquet", "outcomes.parquet", "sensitivity.parquet",
)  # fmt: skip
PARTS = "parts"
RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class Order:
    """What to compute and how.

    Parameters
    ----------
    plan
        The points.
    economy
        Economy of the scenario that is varied.
    agents
        Size of the population instead of the scenario's, or None.
    out
        The sweep directory; None for ``runs/sweep-<scenario>-<hash>``.
    workers, backend
        As in `sim.experiment.execute.Order`.
    resume
        Whether an existing directory may be continued or extended.
    command
        The command that a reader repeats to get the same numbers.
    """

    plan: Plan
    economy: Economy
    agents: int | None
    out: Path | None
    workers: int
    resume: bool
    command: str
    backend: str = AUTO


def run_sweep(order: Order, tell: Callable[[Progress], None]) -> Path:
    """Compute what is missing of a sweep and write its tables.

    Parameters
    ----------
    order
        What to compute.
    tell
        Called with the progress about twice a second.

    Returns
    -------
    pathlib.Path
        The complete sweep directory.

    Raises
    ------
    InputError
        If the directory holds something else or needs `Order.resume`, or the disk is full.
    CheckFailed
        If a check stopped a run.
    """
    tasks = _tasks(order)
    facts = _facts(order, tasks)
    directory = order.out or RUNS / f"sweep-{order.plan.scenario.name}-{facts['sha256'][:12]}"
    if _is_whole(directory, facts, order.resume):
        return directory
    with disk_named(directory):
        (directory / PARTS).mkdir(parents=True, exist_ok=True)
        with writing(directory):
            _write_facts(directory, {**facts, "status": "running"})
            began = time.monotonic()
            _compute_missing(order, tasks, directory, tell)
            _assemble(order.plan, tasks, directory)
            _write_facts(
                directory, {**facts, "status": "complete", "wall_s": round(time.monotonic() - began, 2)}
            )
    return directory


def _tasks(order: Order) -> list[Task]:
    plan = order.plan
    tasks = []
    for point in plan.points:
        changed = tuple(scale.base for scale, text in zip(plan.scales, point.texts, strict=True) if text)
        first = Task(
            order.economy,
            point.scenario,
            point.scenario.sha256(),
            changed,
            point.index,
            (),
            order.agents,
            plan.sweep.metrics,
            plan.days,
        )
        tasks += tasks_of_point(first, point.scenario.runs.count)
    return tasks


def _facts(order: Order, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return what ``sweep.json`` says; its hash names the directory."""
    import hashlib

    plan = order.plan
    digest = hashlib.sha256("".join(task.key for task in tasks).encode()).hexdigest()
    known = {parameter.evidence for _, parameter in plan.scenario.parameters()}
    axes = [
        {"path": scale.axis.path, "unit": scale.unit, **_said(plan, index)}
        for index, scale in enumerate(plan.scales)
    ]
    return {
        "schema": SCHEMA, "sha256": digest, "name": plan.scenario.name, "command": order.command,
        "mode": plan.sweep.mode, "axes": axes, "points": len(plan.points), "runs": plan.scenario.runs.count,
        "seed": plan.scenario.runs.seed, "agents": order.economy.layout.population, "days": plan.scenario.days,
        "at": list(plan.days), "metrics": list(plan.sweep.metrics), "code_version": code_version(),
        "packages": package_versions(), "weakest": max(known, key=CLASSES.index),
    }  # fmt: skip


def _said(plan: Plan, index: int) -> dict[str, str]:
    """Return an axis in words: its values, its ends or its prior; and class and place of what it varies."""
    scale = plan.scales[index]
    known = dict(plan.scenario.parameters()).get(scale.base)
    if scale.prior is not None:
        words = f"{scale.prior.kind} prior"
    elif scale.texts:
        words = ", ".join(scale.texts)
    else:
        words = f"{scale.axis.ends[0]} to {scale.axis.ends[1]}, {scale.axis.scale}"
    return {"values": words, "class": known.evidence if known else ""}


def _is_whole(directory: Path, facts: dict[str, Any], resume: bool) -> bool:
    """Whether nothing is left to do; refuse a directory that holds something else."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return False
    try:
        there = json.loads((directory / FACTS).read_text(encoding="utf-8"))
        status, sha256 = there["status"], there["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{directory}: holds no sweep; choose another --out, nothing is overwritten"
        ) from None
    if status == "complete" and sha256 == facts["sha256"]:
        return True
    if not resume:
        raise InputError(
            f"{directory}: holds a {status} sweep of {there.get('points')} points; add --resume to continue or "
            "extend it, or choose another --out (nothing is computed twice)"
        )
    return False


def _write_facts(directory: Path, facts: dict[str, Any]) -> None:
    temporary = directory / f".{FACTS}.part"
    temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    temporary.replace(directory / FACTS)


def _file(directory: Path, task: Task) -> Path:
    return directory / PARTS / f"{task.name}-{task.key[:16]}.parquet"


def _compute_missing(
    order: Order, tasks: Sequence[Task], directory: Path, tell: Callable[[Progress], None]
) -> None:
    notes = [note for task in tasks if (note := _set_aside(_file(directory, task)))]
    wanted = {_file(directory, task) for task in tasks}
    unused = [path for path in (directory / PARTS).glob("*.parquet") if path not in wanted]
    if unused:
        notes.append(f"{len(unused)} files of other points, runs or code in {PARTS}/ are not used")
    missing = [task for task in tasks if not _file(directory, task).is_file()]
    if not missing:
        return
    origin = Origin(code_version(), package_versions(), order.plan.scenario.sha256(), order.economy.seed)
    runs = sum(len(task.runs) for task in missing)
    work = runs * order.economy.layout.population * (order.economy.days + 1)
    lines = ProgressFile(directory.resolve(), time.monotonic())
    reporter = Reporter(lines, os.getpid())
    with open_executor(order.backend, order.workers, work < SHORT * order.workers, origin) as executor:
        lines({"total": sum(task.weight for task in missing), "stage": "simulating", "notes": notes})
        with watching(directory, tell):
            try:
                _land_all(executor, reporter, origin, missing, directory)
            except BaseException:
                reporter.stopped = True  # ends tasks in other threads of this process
                raise
            lines({"stage": "complete"})


def _land_all(
    executor: Executor, reporter: Reporter, origin: Origin, tasks: Sequence[Task], directory: Path
) -> None:
    work = partial(_computed, origin if executor.remote else None, executor.reporter(reporter))
    named = {task.name: task for task in tasks}
    for name, content in executor.map(work, tasks):
        target = _file(directory, named[name])
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_bytes(content)
        temporary.replace(target)


def _set_aside(path: Path) -> str:
    """Move a file that is no table out of the way, and return what a person must hear about it."""
    if not path.is_file():
        return ""
    try:
        read_parquet(path, ["run", "metric", "day", "value"])
    except InputError as error:
        path.replace(path.with_suffix(".corrupt"))
        return f"{path.name} is set aside and computed again: {str(error).partition(';')[0]}"
    return ""


class _Stopped(Exception):  # noqa: N818 - named after what happened
    """The sweep that this task belongs to has ended without it."""


def _computed(origin: Origin | None, reporter: Reporter, task: Task) -> tuple[str, bytes]:
    """Return name and Parquet bytes of a task; runs in a worker, on whatever machine."""
    if origin is not None and (different := installation_difference(origin)):
        raise InputError(f"a worker is refused: {different}")

    def after_day(day: int) -> None:
        if reporter.stopped:
            raise _Stopped
        if reporter.owner not in (0, os.getpid(), os.getppid()):
            os._exit(1)  # the main process was killed: nobody waits for this task
        reporter.day(task.name, task.weight, day, task.economy.days)

    try:
        frame = compute(task, after_day)
    except (IdentityBroken, FlowRefused, GatewayError) as error:
        raise CheckFailed(f"point {task.point}: {error}") from error
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return task.name, buffer.getvalue()


def _assemble(plan: Plan, tasks: Sequence[Task], directory: Path) -> None:
    import polars as pl

    parts: dict[int, list[pl.DataFrame]] = {}
    for task in tasks:
        parts.setdefault(task.point, []).append(read_parquet(_file(directory, task)))
    points = points_frame(plan)
    frame = tidy(points, {point: pl.concat(frames) for point, frames in parts.items()})
    means = outcomes(frame)
    for table, name in (
        (frame, FRAME), (points, POINTS), (means, OUTCOMES), (indices_frame(plan.design, means), INDICES),
    ):  # fmt: skip
        write_parquet(table, directory / name, {"olsim.schema": str(SCHEMA)})
