"""Plan: which runs are computed together.

Rule decided here: a unit of work is a block of runs of one arm; the witness run of the base arm is a unit of its
own. Draws are keyed by run number, so no grouping can change a row: a block is as large as pays (numpy's and
Python's own cost of a day is shared by its runs) and no larger than memory allows, and blocks are made as even as
the workers allow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sim.observables import OBSERVABLES
from sim.results.shards import BASE, unit_name

PAYS = 5_120_000
"""Agents times runs beyond which a larger unit is hardly faster: 512 runs of 10,000 agents."""

MOST = 512
"""Most runs of a unit: however small the population, a kill loses no more."""

UNIT_BYTES = 4 * 2**30
"""Most memory of one unit in flight, where the machine has it."""

AWAY_BYTES = 512 * 2**20
"""The same on a cluster, whose machines' memory is not known; its shards also travel."""

_AGENT_RUN_BYTES = 320
_CELL_BYTES = 3 * 8
_FIXED_COST = 4
_CHAIN_COST = 12


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of work.

    Parameters
    ----------
    arm
        `sim.results.shards.BASE` or the name of a twin.
    runs
        Run numbers, rising.
    witness
        Whether it is the witness run's.
    """

    arm: str
    runs: tuple[int, ...]
    witness: bool = False

    @property
    def name(self) -> str:
        """Name of the unit and of its folder."""
        return unit_name(self.arm, self.runs)

    def weight(self, chain: bool) -> int:
        """Return the expected cost in runs: every unit has a fixed part, and the chain adds its own."""
        return len(self.runs) + _FIXED_COST + (_CHAIN_COST if self.witness and chain else 0)


def default_block(agents: int, days: int, memory_bytes: int = UNIT_BYTES) -> int:
    """Return how many runs a unit has unless somebody says otherwise.

    Parameters
    ----------
    agents
        Simulated agents of a run.
    days
        Last day.
    memory_bytes
        What one unit may take: agents' state and, until they land, the observables of every day.

    Examples
    --------
    >>> [default_block(agents, 365) for agents in (1_000, 10_000, 100_000, 1_000_000)]
    [512, 512, 51, 5]
    """
    per_run = agents * _AGENT_RUN_BYTES + (days + 1) * len(OBSERVABLES) * _CELL_BYTES
    return max(1, min(PAYS // agents, min(memory_bytes, UNIT_BYTES) // per_run, MOST))


def missing_runs(
    count: int, twins: Sequence[str], twin_runs: int, have: Mapping[str, Collection[int]]
) -> dict[str, list[int]]:
    """Return arm -> the runs that are still to compute, without arms that are whole.

    Parameters
    ----------
    count
        Runs of the base arm, numbered from 0.
    twins, twin_runs
        Names of the twins and how many runs each has.
    have
        Arm -> run numbers already computed.
    """
    wanted = {BASE: range(count), **{twin: range(twin_runs) for twin in twins}}
    missing = {arm: [run for run in runs if run not in have.get(arm, ())] for arm, runs in wanted.items()}
    return {arm: runs for arm, runs in missing.items() if runs}


def plan(missing: Mapping[str, Sequence[int]], witness: int, workers: int, block: int) -> list[Unit]:
    """Return the units that are still to compute, the longest first.

    Parameters
    ----------
    missing
        Arm -> runs to compute.
    witness
        Run number of the witness run.
    workers
        How many units are computed at once.
    block
        Most runs of a unit.

    Examples
    --------
    >>> units = plan({"base": range(20), "t": range(2)}, witness=0, workers=1, block=16)
    >>> [(unit.name, len(unit.runs)) for unit in units]
    [('base-000000-000000', 1), ('base-000001-000010', 10), ('base-000011-000019', 9), ('t-000000-000001', 2)]
    """
    units = [Unit(BASE, (witness,), witness=True)] if witness in missing.get(BASE, ()) else []
    for arm, runs in missing.items():
        rest = [run for run in runs if arm != BASE or run != witness]
        units += _blocks(arm, rest, workers if arm == BASE else 1, block)
    return units


def _blocks(arm: str, runs: Sequence[int], workers: int, block: int) -> list[Unit]:
    if not runs:
        return []
    rounds = -(-len(runs) // (block * workers))
    pieces = min(rounds * workers, len(runs))  # so that no worker idles while another computes a last block
    size, larger = divmod(len(runs), pieces)
    blocks, first = [], 0
    for index in range(pieces):
        last = first + size + (index < larger)
        blocks.append(Unit(arm, tuple(runs[first:last])))
        first = last
    return blocks
