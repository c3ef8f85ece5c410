"""Clock of the witness chains: which second a day's actions happen at.

Rule decided here: what happens on day d happens at noon of that day or later the same day, on both chains alike; time
never goes back, and an action that cannot happen before a later day is refused with the day on which it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.backend import ChainError

if TYPE_CHECKING:
    from sim.chain.bridge import Bridge
    from sim.chain.evm import Chain

DAY_S = 86_400
NOON_S = DAY_S // 2


@dataclass
class SandboxClock:
    """Time of both chains.

    Parameters
    ----------
    day0_timestamp
        Midnight at which day 0 begins, seconds.
    l2
        Chain whose time is read; the bridge keeps both equal.
    bridge
        Moves both chains forward and credits deposits on the way.
    """

    day0_timestamp: int
    l2: Chain
    bridge: Bridge

    @property
    def now(self) -> int:
        """Present time of both chains."""
        return self.l2.time

    def noon(self, day: int) -> int:
        """Timestamp of noon on a day."""
        return self.day0_timestamp + day * DAY_S + NOON_S

    def day_of(self, timestamp: int) -> int:
        """Day that a timestamp falls on."""
        return (timestamp - self.day0_timestamp) // DAY_S

    def move_to(self, day: int, earliest: int = 0) -> int:
        """Go to the first second on `day` that is not before noon, not before `earliest` and not in the past.

        Returns
        -------
        int
            The time gone to.

        Raises
        ------
        ChainError
            If that second is on a later day.
        """
        target = max(self.noon(day), earliest, self.now)
        if self.day_of(target) != day:
            raise ChainError(
                f"not possible on day {day}: the chains stand on day {self.day_of(self.now)}"
                f" and it can happen on day {self.day_of(target)} at the earliest"
            )
        self.bridge.advance(target)
        return target
