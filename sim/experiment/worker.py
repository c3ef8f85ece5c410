"""Worker: computes one unit of work.

Rule decided here: a unit gets everything by value and gives its shard back as bytes, so that it gives the same rows
wherever and however often it is computed. Only a unit that shares the coordinator's machine writes into the run
directory itself.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError
from sim.chain.journal import ReconciliationError
from sim.experiment.failures import CheckFailed
from sim.experiment.plan import Unit
from sim.experiment.progress import Reporter
from sim.experiment.twins import TWINS
from sim.governance_gateway import GatewayError
from sim.identities import IdentityBroken
from sim.ledger import FlowRefused
from sim.results.origin import Origin, installation_difference
from sim.results.shards import BASE, Shard, encode, land

if TYPE_CHECKING:
    from sim.chain.backends.nodes import Nodes
    from sim.economy import Economy
    from sim.witness import Witness


class Stopped(Exception):  # noqa: N818 - named after what happened
    """The computation that this unit belongs to has ended without it."""


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
    origin
        What computes it.
    reporter
        Where progress is told.
    nodes
        Where the chains are; in this process when None.
    """

    economy: Economy
    unit: Unit
    chain: bool
    origin: Origin
    reporter: Reporter
    nodes: Nodes | None = None


def compute(job: Job) -> Shard:
    """Compute a unit.

    Raises
    ------
    CheckFailed
        If an identity is broken, the ledger refuses a move, or ledger or votes and chain disagree.
    """
    try:
        return _compute(job)
    except (IdentityBroken, FlowRefused, ReconciliationError, GatewayError) as error:
        raise CheckFailed(str(error)) from error


def compute_here(directory: Path, job: Job) -> None:
    """Compute a unit on the machine of the run directory, and land it there."""
    land(directory, compute(job))


def compute_away(job: Job) -> Shard:
    """Compute a unit where the run directory may not be seen.

    Raises
    ------
    InputError
        If code or packages here are not those that are asked for: this worker came after the others were checked.
    """
    different = installation_difference(job.origin)
    if different:
        raise InputError(f"worker {gethostname()}, process {os.getpid()}, is refused: {different}")
    return compute(job)


def _compute(job: Job) -> Shard:
    from sim.engine import run_batch
    from sim.priors import drawn_economy

    unit = job.unit
    economy = job.economy if unit.arm == BASE else TWINS[unit.arm](job.economy)
    if unit.witness:
        economy = drawn_economy(economy, unit.runs[0])  # the contracts get what this run draws
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
    return encode(unit.arm, result, economy.scenario.start, time.monotonic() - began, job.origin)


def _after_day(job: Job, weight: int, day: int) -> None:
    reporter = job.reporter
    if reporter.stopped:
        raise Stopped
    if reporter.owner not in (0, os.getpid(), os.getppid()):
        os._exit(1)  # the main process was killed: nobody waits for this unit
    reporter.day(job.unit.name, weight, day, job.economy.days)


def _open_chain(economy: Economy, nodes: Nodes | None) -> Witness:
    """Return fresh chains for the witness run; the EVM loads here and nowhere else."""
    from sim.witness import Witness

    return Witness(economy, nodes)
