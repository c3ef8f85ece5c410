"""Clock of the witness chains: which second a day's actions happen at.

Rule decided here: what the journal says about a day happens from 11 o'clock, governance from noon, on both
chains alike. Time never goes back; an action that cannot happen before a later day is refused with the day on
which it can.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.chain.backend import ChainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.chain.backend import SandboxChain
    from sim.chain.bridge import Bridge

DAY_S = 86_400
NOON_S = DAY_S // 2
JOURNAL_S = NOON_S - 3_600


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
        Moves both chains forward, and does what is due on the way.
    """

    day0_timestamp: int
    l2: SandboxChain
    bridge: Bridge
    _alarms: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    @property
    def now(self) -> int:
        """Present time of both chains."""
        return self.l2.time

    @property
    def today(self) -> int:
        """Day on which the chains stand."""
        return self.day_of(self.now)

    def noon(self, day: int) -> int:
        """Timestamp of noon on a day, from which governance acts."""
        return self.day0_timestamp + day * DAY_S + NOON_S

    def journal_hour(self, day: int) -> int:
        """Timestamp from which the journal of a day is executed."""
        return self.day0_timestamp + day * DAY_S + JOURNAL_S

    def day_of(self, timestamp: int) -> int:
        """Day that a timestamp falls on."""
        return (timestamp - self.day0_timestamp) // DAY_S

    def governance_day(self, timestamp: int) -> int:
        """Day from whose noon to the next noon a timestamp falls."""
        return (timestamp - self.day0_timestamp - NOON_S) // DAY_S

    def go(self, timestamp: int) -> None:
        """Bring both chains to `timestamp`, or leave them where they are if that is past."""
        for alarm in [a for a in self._alarms if a[0] < timestamp]:
            self._alarms.remove(alarm)
            self.bridge.advance(alarm[0] + 1)
            alarm[1]()
        self.bridge.advance(timestamp)

    def move_to(self, day: int, earliest: int) -> int:
        """Go to the first second from `earliest` on that is not in the past and falls on `day`.

        Returns
        -------
        int
            The time gone to.

        Raises
        ------
        ChainError
            If that second is on another day.
        """
        target = max(earliest, self.now)
        if self.day_of(target) != day:
            raise ChainError(
                f"not possible on day {day}: the chains stand on day {self.today}"
                f" and it can happen on day {self.day_of(target)}"
            )
        self.go(target)
        return target

    def once_past(self, timestamp: int, action: Callable[[], None]) -> None:
        """Do something in the first second after `timestamp`, whenever the chains get there."""
        self._alarms.append((timestamp, action))
