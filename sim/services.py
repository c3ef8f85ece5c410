"""Services: what the witness run talks to beside the world.

Rule decided here: an EVM never lives inside the world. The witness run's chain comes as a service, which privileged
flows call synchronously and which settles the journal at each epoch's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.governance_gateway import GovernanceGateway
    from sim.world import World


class Settlement(Protocol):
    """Who executes the witness run's journal."""

    def settle(self, world: World, economy: Economy) -> None:
        """Execute the epoch's journal and reconcile; raises on a disagreement."""


@dataclass(frozen=True, slots=True)
class Services:
    """Services of a batch that holds the witness run.

    Parameters
    ----------
    governance
        The governor that decides for the witness run's row.
    settlement
        The chain that replays its journal.
    """

    governance: GovernanceGateway | None = None
    settlement: Settlement | None = None
