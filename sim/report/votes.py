"""Votes: what became of the scenario's own proposal.

Rule decided here: a proposal is the scenario's own where its events bear a title and not ``routine``. How often it
passed is counted over the runs that voted on it by the end of the run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from sim.report.text import number

if TYPE_CHECKING:
    import polars as pl

    from sim.results.reader import Run

ROUTINE = "routine"
DECIDED = ("executed", "queued", "defeated", "refused")


@dataclass(frozen=True, slots=True)
class ProposalOutcome:
    """What became of a proposal over the runs.

    Parameters
    ----------
    title
        Its title.
    runs
        Number of runs.
    submitted, passed, executed
        In how many runs it was submitted, passed the vote, and was executed.
    no_quorum, voted_down, refused
        In how many runs it missed quorum, reached it and lost, or was refused for want of votes.
    dates
        First and last date of execution, or None.
    """

    title: str
    runs: int
    submitted: int
    passed: int
    executed: int
    no_quorum: int
    voted_down: int
    refused: int
    dates: tuple[date, date] | None

    @property
    def text(self) -> str:
        """One sentence: whether the vote would pass."""
        share = number(self.passed / self.runs, "share")
        text = f"“{self.title}” passes in {self.passed} of {self.runs} runs ({share})"
        if self.dates is not None:
            first, last = self.dates
            when = f"on {first}" if first == last else f"between {first} and {last}"
            text += f" and is executed in {self.executed}, {when}"
        why = [
            f"misses quorum in {self.no_quorum}" if self.no_quorum else "",
            f"is voted down in {self.voted_down}" if self.voted_down else "",
            f"is refused for want of votes in {self.refused}" if self.refused else "",
        ]
        return "; it ".join([text, " and ".join(part for part in why if part)]) if any(why) else text


def proposals(run: Run) -> tuple[ProposalOutcome, ...]:
    """Return what became of the scenario's own proposals, in the order of their titles."""
    import polars as pl

    own = run.events.filter((pl.col("subject") != ROUTINE) & pl.col("kind").is_in([*DECIDED, "submitted"]))
    return tuple(
        _outcome(str(title), rows, run.manifest.runs)
        for (title,), rows in sorted(own.group_by("subject"), key=lambda group: str(group[0]))
    )


def _outcome(title: str, rows: pl.DataFrame, runs: int) -> ProposalOutcome:
    import polars as pl

    def having(kind: str) -> int:
        return rows.filter(pl.col("kind") == kind)["run"].n_unique()

    defeats = [json.loads(text) for text in rows.filter(pl.col("kind") == "defeated")["detail"]]
    no_quorum = sum(not detail.get("quorum_reached") for detail in defeats)
    days = rows.filter(pl.col("kind") == "executed")["date"].sort().to_list()
    passed = rows.filter(pl.col("kind").is_in(["queued", "executed"]))["run"].n_unique()
    return ProposalOutcome(
        title=title,
        runs=runs,
        submitted=having("submitted"),
        passed=passed,
        executed=having("executed"),
        no_quorum=no_quorum,
        voted_down=len(defeats) - no_quorum,
        refused=having("refused"),
        dates=(days[0], days[-1]) if days else None,
    )
