"""Worker: computes one unit of work in its own process and lands it.

Rule decided here: a worker gets everything by value and shares nothing but the run directory, so that a unit
gives the same rows wherever and however often it is computed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim.chain.journal import ReconciliationError
from sim.experiment.failures import CheckFailed
from sim.experiment.plan import Unit
from sim.experiment.progress import Reporter
from sim.experiment.twins import TWINS
from sim.governance_gateway import GatewayError
from sim.identities import IdentityBroken
from sim.ledger import FlowRefused
from sim.results.shards import BASE, land

if TYPE_CHECKING:
    from sim.chain.backends.nodes import Nodes
    from sim.economy import Economy
    from sim.witness import Witness


@dataclass(frozen=True, slots=True)
class Job:
    """A unit with all that it needs.

    Parameters
    ----------
    economy
        Static data of the base arm.
    unit
        What to compute.
    chain
        Whether the witness run executes on chain.
    directory
        The run directory.
    reporter
        Where progress is written.
    owner
        Process that holds the directory's lock.
    nodes
        Where the chains are; in this process when None.
    """

    economy: Economy
    unit: Unit
    chain: bool
    directory: Path
    reporter: Reporter
    owner: int
    nodes: Nodes | None = None


def compute(job: Job) -> str:
    """Compute a unit, land it and return its name.

    Raises
    ------
    CheckFailed
        If an identity is broken, the ledger refuses a move, or ledger or votes and chain disagree.
    """
    try:
        return _compute(job)
    except (IdentityBroken, FlowRefused, ReconciliationError, GatewayError) as error:
        raise CheckFailed(str(error)) from error


def _compute(job: Job) -> str:
    from sim.engine import run_batch

    unit = job.unit
    economy = job.economy if unit.arm == BASE else TWINS[unit.arm](job.economy)
    weight = unit.weight(job.chain)
    began = time.monotonic()
    chain = _open_chain(economy, job.nodes) if unit.witness and job.chain else None
    try:
        result = run_batch(
            economy,
            np.array(unit.runs, np.int64),
            witness=unit.runs[0] if unit.witness else None,
            chain=chain,
            on_day=lambda day: _after_day(job, weight, day),
        )
    finally:
        if chain is not None:
            chain.close()
    land(job.directory, unit.arm, result, economy.scenario.start, time.monotonic() - began)
    return unit.name


def _after_day(job: Job, weight: int, day: int) -> None:
    if job.owner not in (os.getpid(), os.getppid()):
        os._exit(
            1
        )  # the main process was killed: nobody waits for this unit, and its lock is free for another
    job.reporter.day(job.unit.name, weight, day, job.economy.days)


def _open_chain(economy: Economy, nodes: Nodes | None) -> Witness:
    """Return fresh chains for the witness run; the EVM loads here and nowhere else."""
    from sim.witness import Witness

    return Witness(economy, nodes)
