"""Plan: which runs are computed together.

Rule decided here: a unit of work is a block of up to 16 runs of one arm; the witness run of the base arm is a
unit of its own. Draws are keyed by run number, so no grouping can change a row: blocks are made as even as
the workers allow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sim.results.shards import BASE, unit_name

BLOCK = 16
"""Most runs of a unit: enough for vector speed, little enough to lose when a run is killed."""

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


def plan(
    count: int,
    twins: Sequence[str],
    twin_runs: int,
    witness: int,
    have: Mapping[str, Collection[int]],
    workers: int,
) -> list[Unit]:
    """Return the units that are still to compute, the longest first.

    Parameters
    ----------
    count
        Runs of the base arm, numbered from 0.
    twins, twin_runs
        Names of the twins and how many runs each has.
    witness
        Run number of the witness run; beyond `count` there is none.
    have
        Arm -> run numbers already computed.
    workers
        Processes that share the work.

    Examples
    --------
    >>> [(u.name, len(u.runs)) for u in plan(20, ["t"], 2, 0, {}, 1)]
    [('base-000000-000000', 1), ('base-000001-000010', 10), ('base-000011-000019', 9), ('t-000000-000001', 2)]
    """
    missing = [run for run in range(count) if run not in have.get(BASE, ())]
    units = [Unit(BASE, (witness,), witness=True)] if witness in missing else []
    units += _blocks(BASE, [run for run in missing if run != witness], workers)
    for twin in twins:
        units += _blocks(twin, [run for run in range(twin_runs) if run not in have.get(twin, ())], 1)
    return units


def _blocks(arm: str, runs: Sequence[int], workers: int) -> list[Unit]:
    if not runs:
        return []
    pieces = max(-(-len(runs) // BLOCK), min(workers, len(runs)))
    size, larger = divmod(len(runs), pieces)
    blocks, first = [], 0
    for index in range(pieces):
        last = first + size + (index < larger)
        blocks.append(Unit(arm, tuple(runs[first:last])))
        first = last
    return blocks
