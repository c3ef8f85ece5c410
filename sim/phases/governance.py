"""Governance: proposals from submission to execution, one step of the contracts after the other.

Rule decided here: the order of a day's steps: propose, read snapshots, vote, close and queue, execute. A
step that is due in no run costs nothing. `bind` is called when a day begins and writes what was executed
before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.governance import closing, delegation, submission, voting
from sim.governance.desk import Desk

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.services import Services
    from sim.world import World


def bind(world: World, economy: Economy) -> None:
    """Write the parameters executed on earlier days; called when a day begins, before its phases."""
    if world.governance.pending:
        closing.bind(Desk(world, economy))


def advance(world: World, economy: Economy, services: Services | None = None) -> None:
    """Run the day's steps of governance for all runs.

    Parameters
    ----------
    world, economy
        State and static data.
    services
        Holds the governor that decides for the witness run's row, or None: the formulas decide for all rows.

    Raises
    ------
    RuntimeError
        If a change that was executed earlier does not bind yet: `bind` was not called when the day began.
    """
    if any(change.day < world.day for change in world.governance.pending):
        raise RuntimeError("an executed change is not bound: call governance.bind when a day begins")
    if world.day == 0:
        delegation.begin(world, economy)
    desk = Desk(world, economy, services.governance if services else None)
    submission.submit(desk)
    voting.take_snapshots(desk)
    voting.cast(desk)
    closing.close(desk)
    closing.execute(desk)
    desk.charge_gas()
    closing.update_figures(desk)
