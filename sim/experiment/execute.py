"""Execution: from a scenario to a complete run directory.

Rule decided here: nothing is written before the whole input has been read; units of work are computed in
parallel and land one by one; a broken check stops the run and is written down; an interrupted run is
continued where it stopped.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.experiment.describe import describe, unlocks_frame, write_side_files
from sim.experiment.failures import CheckFailed, WorkerLost
from sim.experiment.plan import Unit, plan
from sim.experiment.progress import Progress, Reporter, watching
from sim.experiment.worker import Job, compute
from sim.results.directory import directory_name, open_directory
from sim.results.lock import writing
from sim.results.manifest import ChainFacts, Manifest, Timing
from sim.results.shards import assemble, computed, landed

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
        Processes.
    chain
        Whether the witness run executes on chain.
    resume
        Whether an existing directory may be continued or extended.
    command
        The command that a reader repeats to get the same numbers.
    nodes
        Where the chains are; in the witness run's own process when None.
    """

    economy: Economy
    out: Path | None
    workers: int
    chain: bool
    resume: bool
    command: str
    nodes: Nodes | None = None


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
        If the directory holds another run, or needs `Order.resume`.
    CheckFailed
        If a check stopped the run; the manifest says which.
    """
    wanted = describe(order.economy, command=order.command, chain=order.chain)
    directory = order.out or RUNS / directory_name(wanted.name, wanted.world_sha256)
    there = open_directory(directory, wanted, order.resume)
    if there is not None and there.status == "complete" and there.runs == wanted.runs:
        return directory
    fresh = there is None
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with writing(directory):
            _compute_all(order, _carried(wanted, there), directory, tell)
    except BaseException:
        if fresh and not landed(directory) and not _failed(directory):
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _failed(directory: Path) -> bool:
    try:
        return Manifest.read(directory).status == "failed"
    except InputError:
        return False


def _compute_all(order: Order, wanted: Manifest, directory: Path, tell: Callable[[Progress], None]) -> None:
    twins, have = wanted.twins, computed(directory)
    units = plan(wanted.runs, twins.names, twins.runs, wanted.chain.witness_run, have, order.workers)
    if order.chain and any(unit.witness for unit in units):
        _check_nodes(order)
    wanted.write(directory)
    write_side_files(directory, order.economy.scenario)
    reporter = Reporter(directory.resolve(), time.monotonic())
    reporter.write(total=sum(unit.weight(order.chain) for unit in units), stage="simulating")
    place = directory.resolve()
    jobs = [
        Job(order.economy, unit, order.chain, place, reporter, os.getpid(), order.nodes) for unit in units
    ]
    try:
        with watching(directory, tell):
            _compute_jobs(jobs, order.workers)
            reporter.write(stage="assembling")
            manifest = _completed(wanted, directory, units, time.monotonic() - reporter.began)
            assemble(directory, manifest, unlocks_frame(order.economy))
            reporter.write(stage="complete")
    except CheckFailed as failure:
        wanted.model_copy(update={"status": "failed", "failure": str(failure)}).write(directory)
        raise


def _check_nodes(order: Order) -> None:
    """Refuse nodes that the witness run cannot be executed on, before anything is computed."""
    if order.nodes is not None:
        from sim.chain.backends.connect import check_all
        from sim.chain.clock import DAY_S
        from sim.witness_deployment import midnight

        check_all(order.nodes, genesis_time=midnight(order.economy.scenario.start) - DAY_S)


def _compute_jobs(jobs: Sequence[Job], workers: int) -> None:
    if workers == 1 or len(jobs) == 1:
        for job in jobs:
            compute(job)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    pool = Parallel(n_jobs=workers, backend="loky", batch_size=1, return_as="generator_unordered")
    try:
        for _ in pool(delayed(compute)(job) for job in jobs):
            pass
    except BrokenProcessPool as error:
        raise WorkerLost(f"a worker process was killed ({error}); continue with --resume") from None


def _carried(wanted: Manifest, there: Manifest | None) -> Manifest:
    """Return the manifest with the checks of the runs that the directory holds already."""
    if there is None:
        return wanted
    residual = there.conservation_residual_gwei
    return wanted.model_copy(update={"chain": there.chain, "conservation_residual_gwei": residual})


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
