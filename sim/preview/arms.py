"""Arms: the same world and the same luck, with and without what a proposal changes.

Rule decided here: both arms hold the proposal's whole lifecycle, and both are made to execute it; the
baseline arm's action is empty. What differs is therefore the action alone. Whether the votes would pass
it is asked in a third arm, unforced, that only lives until the votes are counted. Where they fail
nothing is executed and the two arms are the same world, so the expected difference of a run is its
forced difference where it passes and 0 where it fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from sim.batch import BatchResult
    from sim.scenario.schema import Scenario

BLOCK = 16
"""Most runs that are computed together."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much to compute: runs, agents (None: the scenario's), last day, processes."""

    runs: int
    agents: int | None
    days: int
    workers: int


@dataclass(frozen=True, slots=True)
class Arm:
    """Results of all runs of one arm.

    Parameters
    ----------
    metrics
        Observable -> (runs, days + 1), NaN for null.
    groups, events
        Long-form columns as `sim.batch.TABLES` lists them.
    """

    metrics: Mapping[str, NDArray[Any]]
    groups: Mapping[str, NDArray[Any]]
    events: Mapping[str, Sequence[Any]]

    def happened(self, kind: str, title: str) -> dict[int, tuple[int, dict[str, Any]]]:
        """Return run -> (day, detail) of an event of the proposal with this title."""
        columns = zip(*(self.events[c] for c in ("run", "day", "kind", "subject", "detail")), strict=True)
        return {
            int(run): (int(day), json.loads(detail))
            for run, day, what, subject, detail in columns
            if what == kind and subject == title
        }


Simulate = Callable[["Scenario", "Size"], Arm]
"""From a scenario and a size to an arm; `simulate` is the one that lives the days."""


def load_pair(baseline: Path, proposal: Path, overrides: Sequence[str] = ()) -> tuple[Scenario, Scenario]:
    """Read a baseline and a proposal that extends it.

    Raises
    ------
    InputError
        If the second file holds no proposal, the first one does, or the second does not extend the first.
    """
    from sim.scenario import load

    base, overlay = load(baseline, overrides), load(proposal, overrides)
    if overlay.proposal is None:
        raise InputError(f"{proposal}: proposal: is missing; a preview needs a file with a proposal")
    if base.proposal is not None:
        raise InputError(
            f"{baseline}: proposal: the baseline holds one already; give the file that it extends"
        )
    if baseline.resolve() not in {path.resolve() for path in overlay.files}:
        parents = ", ".join(str(path) for path in overlay.files[1:])
        raise InputError(f"{proposal}: extends: it extends {parents}, not {baseline}")
    return base, overlay


def with_votes(scenario: Scenario, *, empty: bool = False, **votes: Any) -> Scenario:
    """Return the scenario with other votes (``force``, ``payoffs``) and, if `empty`, without actions."""
    proposal = scenario.proposal
    assert proposal is not None
    changed: dict[str, Any] = {"votes": proposal.votes.model_copy(update=votes)}
    if empty:
        changed["actions"] = ()
    return scenario.model_copy(update={"proposal": proposal.model_copy(update=changed)})


def simulate(scenario: Scenario, size: Size) -> Arm:
    """Live the days of all runs of an arm, in blocks that may share the work among processes.

    Parameters
    ----------
    scenario
        The arm's world.
    size
        How much to compute.
    """
    from sim.engine import build_economy

    economy = build_economy(scenario, agents=size.agents, days=size.days)
    blocks = [range(first, min(first + BLOCK, size.runs)) for first in range(0, size.runs, BLOCK)]
    if size.workers > 1 and len(blocks) == 1 and size.runs > 1:
        half = size.runs // 2
        blocks = [range(half), range(half, size.runs)]
    if size.workers == 1 or len(blocks) == 1:
        return join([_block(economy, runs) for runs in blocks])
    from joblib import Parallel, delayed

    return join(Parallel(n_jobs=size.workers)(delayed(_block)(economy, runs) for runs in blocks))


def _block(economy: Any, runs: range) -> BatchResult:
    from sim.engine import run_batch

    return run_batch(economy, np.array(runs, np.int64))


def join(batches: Sequence[BatchResult]) -> Arm:
    """Return the batches of an arm as one, in the order of run numbers."""
    return Arm(
        metrics={name: np.concatenate([b.metrics[name] for b in batches]) for name in batches[0].metrics},
        groups={
            name: np.concatenate([np.asarray(b.groups[name]) for b in batches]) for name in batches[0].groups
        },
        events={name: [x for b in batches for x in b.events[name]] for name in batches[0].events},
    )
