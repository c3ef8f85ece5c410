"""Execution: from a scenario to a complete run directory.

Rule decided here: nothing is written before the whole input has been read; units of work are computed in
parallel and land one by one; a broken check stops the run and is written down; an interrupted run is
continued where it stopped.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.experiment.describe import describe, unlocks_frame, write_side_files
from sim.experiment.executors import AUTO, SHORT, Executor, open_executor
from sim.experiment.failures import CheckFailed, disk_named
from sim.experiment.memory import memory_share
from sim.experiment.plan import AWAY_BYTES, Unit, default_block, missing_runs, plan
from sim.experiment.progress import Progress, ProgressFile, Reporter, watching
from sim.experiment.worker import Job, compute_away, compute_here
from sim.results.assembly import assemble
from sim.results.directory import FINAL_TABLES, PARTS, directory_name, open_directory
from sim.results.lock import writing
from sim.results.manifest import ChainFacts, Manifest, Timing
from sim.results.origin import Origin
from sim.results.shards import BASE, land, landed, unit_folders
from sim.results.trust import computed, set_aside_untrusted

if TYPE_CHECKING:
    from sim.chain.backends.nodes import Nodes
    from sim.economy import Economy

RUNS = Path("runs")
"""Folder of run directories, in the working directory."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run and how.

    Parameters
    ----------
    economy
        The economy; its scenario says runs, seed and twins.
    out
        The run directory; None for ``runs/<scenario>-<hash>``.
    workers
        Processes or threads of this machine.
    chain
        Whether the witness run executes on chain.
    resume
        Whether an existing directory may be continued or extended.
    command
        The command that a reader repeats to get the same numbers.
    nodes
        Where the chains are; in the witness run's own process when None.
    backend
        Where units are computed, one of `sim.experiment.executors.FORM`.
    block
        Most runs of a unit; None for `sim.experiment.plan.default_block`.
    """

    economy: Economy
    out: Path | None
    workers: int
    chain: bool
    resume: bool
    command: str
    nodes: Nodes | None = None
    backend: str = AUTO
    block: int | None = None


def run_experiment(order: Order, tell: Callable[[Progress], None]) -> Path:
    """Compute what is missing of a run and make its directory whole.

    Parameters
    ----------
    order
        What to run.
    tell
        Called with the progress about twice a second.

    Returns
    -------
    pathlib.Path
        The complete run directory.

    Raises
    ------
    InputError
        If the directory holds another run or needs `Order.resume`, the backend cannot be used, or the disk is full.
    CheckFailed
        If a check stopped the run; the manifest says which.
    WorkerLost
        If a worker process or the cluster died; what had landed is kept.
    """
    wanted = describe(order.economy, command=order.command, chain=order.chain)
    directory = order.out or RUNS / directory_name(wanted.name, wanted.world_sha256)
    there = open_directory(directory, wanted, order.resume)
    if there is not None and there.status == "complete" and there.runs == wanted.runs and not order.resume:
        return directory
    with disk_named(directory):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with writing(directory):
                _complete(order, wanted, there, directory, tell)
        except BaseException:
            if there is None and not any(unit_folders(directory)) and not _failed(directory):
                shutil.rmtree(directory, ignore_errors=True)
            raise
    return directory


def _failed(directory: Path) -> bool:
    try:
        return Manifest.read(directory).status == "failed"
    except InputError:
        return False


def _complete(
    order: Order, wanted: Manifest, there: Manifest | None, directory: Path, tell: Callable[[Progress], None]
) -> None:
    """Compute what the locked directory lacks or cannot be trusted in, and assemble it."""
    origin = Origin.of(wanted)
    notes = [] if there is None else set_aside_untrusted(directory, there, origin)
    missing = missing_runs(wanted.runs, wanted.twins.names, wanted.twins.runs, computed(directory))
    whole = all((directory / name).is_file() for name in FINAL_TABLES)
    if there is not None and there.status == "complete" and whole and not missing:
        return
    with open_executor(order.backend, order.workers, _brief(order, wanted, missing), origin) as executor:
        block = order.block or default_block(wanted.agents, wanted.days, _unit_bytes(executor))
        units = plan(missing, wanted.chain.witness_run, executor.workers, block)
        if order.chain and any(unit.witness for unit in units):
            _check_nodes(order)
        carried = _carried(wanted, there)
        carried.write(directory)
        write_side_files(directory, order.economy.scenario)
        lines = ProgressFile(directory.resolve(), time.monotonic())
        lines(
            {"total": sum(unit.weight(order.chain) for unit in units), "stage": "simulating", "notes": notes}
        )
        try:
            with watching(directory, tell):
                _compute_units(
                    order, units, origin, executor, directory.resolve(), Reporter(lines, os.getpid())
                )
                lines({"stage": "assembling"})
                manifest = _completed(carried, directory, units, time.monotonic() - lines.began)
                assemble(directory, manifest, unlocks_frame(order.economy))
                lines({"stage": "complete"})
        except CheckFailed as failure:
            carried.model_copy(update={"status": "failed", "failure": str(failure)}).write(directory)
            raise


def _brief(order: Order, wanted: Manifest, missing: Mapping[str, Sequence[int]]) -> bool:
    """Return whether the work is over before processes have started, and no EVM is part of it."""
    if order.chain and wanted.chain.witness_run in missing.get(BASE, ()):
        return False
    agent_days = sum(map(len, missing.values())) * wanted.agents * (wanted.days + 1)
    return agent_days < SHORT * order.workers


def _unit_bytes(executor: Executor) -> int:
    """Return what a unit may take: this machine's memory is no measure of a cluster's."""
    return AWAY_BYTES if executor.remote else memory_share(executor.workers)


def _compute_units(
    order: Order,
    units: Sequence[Unit],
    origin: Origin,
    executor: Executor,
    directory: Path,
    reporter: Reporter,
) -> None:
    """Compute the units and land each when it is done."""
    (directory / PARTS).mkdir(exist_ok=True)
    told = executor.reporter(reporter)
    jobs = [Job(order.economy, unit, order.chain, origin, told, order.nodes) for unit in units]
    try:
        if executor.remote:
            for shard in executor.map(compute_away, jobs):
                land(directory, shard)
        else:
            for _ in executor.map(partial(compute_here, directory), jobs):
                pass
    except BaseException:
        reporter.stopped = True  # ends units in other threads of this process
        raise


def _check_nodes(order: Order) -> None:
    """Refuse nodes that the witness run cannot be executed on, before anything is computed."""
    if order.nodes is not None:
        from sim.chain.backends.connect import check_all
        from sim.chain.clock import DAY_S
        from sim.witness_deployment import midnight

        check_all(order.nodes, genesis_time=midnight(order.economy.scenario.start) - DAY_S)


def _carried(wanted: Manifest, there: Manifest | None) -> Manifest:
    """Return the manifest with the checks and the hashes of what the directory holds already."""
    if there is None:
        return wanted
    kept = ("chain", "conservation_residual_gwei", "files", "assembling")
    return wanted.model_copy(update={name: getattr(there, name) for name in kept})


def _completed(wanted: Manifest, directory: Path, units: Sequence[Unit], wall_s: float) -> Manifest:
    """Return the manifest with what the units found and how fast they were."""
    facts = landed(directory).values()
    chain = wanted.chain.model_dump()
    for unit in facts:
        chain |= unit.chain or {}
    residuals = [wanted.conservation_residual_gwei, *(unit.residual_gwei for unit in facts)]
    steps = sum(len(unit.runs) for unit in units) * wanted.agents * (wanted.days + 1)
    return wanted.model_copy(
        update={
            "conservation_residual_gwei": max(residuals),
            "chain": ChainFacts.model_validate(chain),
            "timing": Timing(wall_s=round(wall_s, 2), agent_steps_per_s=round(steps / max(wall_s, 1e-9), 1)),
        }
    )
