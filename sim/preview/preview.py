"""Preview: the verdict on a proposal before anybody votes.

Rule decided here: the chance to pass is that of the unforced arm, in which voters follow the payoffs
that the paired runs measured for their class; the differences are those of the forced arms. Agents
respond to what changes: decisions with held-back responses (behaviour fixed) are not computed, and the
result says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.units import SECONDS_PER_DAY
from sim.preview import differences, groups
from sim.preview.arms import Arm, Simulate, Size, simulate, with_votes
from sim.preview.onchain import rehearse
from sim.preview.verdict import verdict

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario


@dataclass(frozen=True, slots=True)
class Preview:
    """What a proposal would do.

    Parameters
    ----------
    scenario
        The scenario with the proposal.
    size
        What was computed.
    executed_day
        Day of the execution where it passes.
    passed, reached
        Per run, bool (runs,): whether the votes pass it, and whether they reach the quorum.
    deltas
        Differences.
    groups
        Winners and losers.
    payoffs
        Change of each class's value in percent, which the voters follow.
    chain
        The rehearsal on the chain.
    verdict
        One paragraph.
    notes
        What a reader must know.
    """

    scenario: Scenario
    size: Size
    executed_day: int
    passed: NDArray[np.bool_]
    reached: NDArray[np.bool_]
    deltas: list[differences.Delta]
    groups: list[dict[str, Any]]
    payoffs: dict[str, float]
    chain: dict[str, Any]
    verdict: str = ""
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the preview as plain data."""
        proposal = self.scenario.proposal
        assert proposal is not None
        executed = self.scenario.start + timedelta(days=self.executed_day)
        return {
            "schema": 1,
            "title": proposal.title,
            "submit": proposal.submit.isoformat(),
            "executed": executed.isoformat(),
            "runs": self.size.runs,
            "agents": self.size.agents,
            "days": self.size.days,
            "seed": int(self.scenario.runs.seed),
            "behaviour": ["respond"],
            "verdict": self.verdict,
            "pass_probability": float(self.passed.mean()),
            "quorum_probability": float(self.reached.mean()),
            "payoffs_percent": self.payoffs,
            "deltas": [delta.as_json() for delta in self.deltas],
            "groups": self.groups,
            "chain": self.chain,
            "notes": self.notes,
        }


def preview(overlay: Scenario, size: Size, live: Simulate = simulate) -> Preview:
    """Compute a preview.

    Parameters
    ----------
    overlay
        The scenario with the proposal.
    size
        Runs, agents, last day and processes; see `last_day`.
    live
        From a scenario and a size to an arm.

    Raises
    ------
    InputError
        If the proposal executes after the last day.
    """
    proposal = overlay.proposal
    assert proposal is not None
    base = live(with_votes(overlay, empty=True, force="pass"), size)
    other = live(with_votes(overlay, force="pass"), size)
    executed = _executed_days(base, overlay, size)
    horizon = proposal.votes.direction.horizon.days
    payoffs = groups.payoffs(base, other, executed, horizon)
    passed, reached = _votes(overlay, size, payoffs, live)
    horizons = tuple(duration.days for duration in overlay.report.horizons)
    found, missing = differences.deltas(base.metrics, other.metrics, executed, horizons, passed)
    reachable = tuple(h for h in horizons if int(executed.max()) + h <= size.days)
    return Preview(
        scenario=overlay, size=size, executed_day=int(executed.min()), passed=passed, reached=reached,
        deltas=found, groups=groups.group_rows(base, other, executed, reachable), payoffs=payoffs,
        chain=rehearse(overlay),
        verdict=verdict(found, passed, reached), notes=_notes(overlay, size, executed, horizons, missing),
    )  # fmt: skip


def last_day(scenario: Scenario, days: int | None = None) -> int:
    """Return the last day that a preview lives: the longest horizon after the earliest execution.

    Parameters
    ----------
    scenario
        With a proposal.
    days
        Another last day, or None; the scenario's own is never passed.

    Raises
    ------
    InputError
        If the proposal is executed after the last day.
    """
    proposal = scenario.proposal
    assert proposal is not None
    execution = _days_after_submission(scenario, "delay", "period", "timelock")
    longest = max((duration.days for duration in scenario.report.horizons), default=0)
    limit = scenario.days if days is None else min(days, scenario.days)
    if execution >= limit:
        raise InputError(
            f"proposal.submit: executed on day {execution} at the earliest, and the last day is {limit}; "
            f"allowed is a submission that leaves at least a day after its execution"
        )
    return min(limit, execution + longest) if days is None else limit


def _days_after_submission(scenario: Scenario, *rules: str) -> int:
    """Return the day that lies some rules' lengths after the submission, a part of a day counting as one."""
    assert scenario.proposal is not None
    submit = scenario.proposal.submit
    lengths = [getattr(scenario.governance, rule).on(submit) for rule in rules]
    if None in lengths:
        raise InputError(f"proposal.submit: governance has not begun on {submit}")
    seconds = sum(int(length.seconds) for length in lengths)
    return (submit - scenario.start).days + -(-seconds // SECONDS_PER_DAY)


def _executed_days(arm: Arm, overlay: Scenario, size: Size) -> NDArray[np.int64]:
    """Return the day of the execution per run in a forced arm."""
    assert overlay.proposal is not None
    done = arm.happened("executed", overlay.proposal.title)
    missing = [run for run in range(size.runs) if run not in done]
    if missing:
        raise InputError(
            f"proposal.submit: not executed by day {size.days} in {len(missing)} of {size.runs} runs; "
            "allow more days"
        )
    return np.array([done[run][0] for run in range(size.runs)], np.int64)


def _votes(
    overlay: Scenario, size: Size, payoffs: dict[str, float], live: Simulate
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return per run whether the votes pass the proposal, and whether they reach the quorum."""
    assert overlay.proposal is not None
    proposal, closed = overlay.proposal, _days_after_submission(overlay, "delay", "period") + 1
    arm = live(
        with_votes(overlay, force="none", payoffs=payoffs),
        Size(size.runs, size.agents, min(closed, size.days), size.workers),
    )
    queued = arm.happened("queued", proposal.title)
    defeated = arm.happened("defeated", proposal.title)
    passed = np.array([run in queued for run in range(size.runs)])
    failed_with_quorum = [run for run, (_, detail) in defeated.items() if detail["quorum_reached"]]
    return passed, passed | np.isin(np.arange(size.runs), failed_with_quorum)


def _notes(
    overlay: Scenario, size: Size, executed: NDArray[np.int64], horizons: tuple[int, ...], missing: list[str]
) -> list[str]:
    notes = [f"no value in any run: {', '.join(missing)}"] if missing else []
    beyond = [f"{h} d" for h in horizons if int(executed.max()) + h > size.days]
    if beyond:
        notes.append(f"beyond the last day {size.days}: horizon {', '.join(beyond)}")
    if "fixed" in overlay.report.behaviour:
        notes.append("behaviour: agents respond; an arm with their decisions held fixed is not computed")
    if overlay.report.flip:
        notes.append("flip: what would turn the verdict is not computed")
    return notes
