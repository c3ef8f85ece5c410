"""The unlock calendar alone: what is unlocked on a date, what comes next, and every month until the end.

Rule decided here: all of it follows from the token section; nothing is drawn and nothing is burned. What
trackers print is unlocked - burned, and burned is 0 here; circulating and float depend on what is held
where, so they need a run and are named instead of guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.calendar import add_months
from models.supply import shares_of
from models.vesting import Schedule, unlock_dates, unlocked_on, vested_on
from sim.schedules import schedules_of

if TYPE_CHECKING:
    from sim.scenario import TokenFile

NEEDS_A_RUN = ("circulating", "float")
"""Denominators that the calendar alone cannot know."""


@dataclass(frozen=True, slots=True)
class NextUnlock:
    """The first date after the one asked for on which something unlocks.

    Parameters
    ----------
    date
        That date.
    days_away
        Days from the date asked for.
    amount
        Ledger units.
    by_bucket
        Bucket -> ledger units, only buckets that unlock something.
    shares
        Denominator -> the amount's share of it on the date asked for, None where it is 0.
    """

    date: date
    days_away: int
    amount: int
    by_bucket: dict[str, int]
    shares: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Month:
    """What unlocks after one month end up to the next; month 0 is the first day and what lies before it.

    Parameters
    ----------
    month
        Months from the start.
    date
        Its end.
    by_bucket
        Bucket -> ledger units that unlock in it.
    unlocked
        Ledger units unlocked at its end, all buckets.
    """

    month: int
    date: date
    by_bucket: dict[str, int]
    unlocked: int


@dataclass(frozen=True, slots=True)
class Unlocks:
    """The answer of `olsim unlocks`; amounts are ledger units.

    Parameters
    ----------
    name, symbol, decimals, cap
        The token: a ledger unit is 10^-decimals of it.
    start, at
        First day of the calendar and the date asked for.
    allocated, vested
        Bucket -> ledger units, in the file's order; vested on the date asked for.
    following
        The next unlock, or None after the last.
    months
        The whole calendar.
    notes
        What a reader must know about the allocation.
    """

    name: str
    symbol: str
    decimals: int
    cap: int
    start: date
    at: date
    allocated: dict[str, int]
    vested: dict[str, int]
    following: NextUnlock | None
    months: tuple[Month, ...]
    notes: tuple[str, ...]

    @property
    def unlocked(self) -> int:
        """Ledger units unlocked on the date asked for."""
        return sum(self.vested.values())

    @property
    def locked(self) -> int:
        """Ledger units allocated and not yet unlocked."""
        return sum(self.allocated.values()) - self.unlocked

    @property
    def tracker_circulating(self) -> int:
        """Unlocked less burned, where the calendar alone knows of nothing burned."""
        return self.unlocked

    @property
    def unallocated(self) -> int:
        """Ledger units of the cap that no bucket holds."""
        return self.cap - sum(self.allocated.values())


def unlocks_of(file: TokenFile, at: date | None = None) -> Unlocks:
    """Return the unlock calendar of a token.

    Parameters
    ----------
    file
        What `sim.scenario.load_token` read.
    at
        Date asked for; None for the first day of the calendar, because nothing here reads today's date.

    Returns
    -------
    Unlocks
        Supply on that date, the next unlock and all months.

    Raises
    ------
    models.errors.InputError
        If a bucket's words do not release its allocation.
    """
    token = file.token
    schedules = schedules_of(token, file.start)
    day = file.start if at is None else at
    return Unlocks(
        name=file.name,
        symbol=token.symbol,
        decimals=token.ledger_decimals,
        cap=token.cap.value,
        start=file.start,
        at=day,
        allocated={name: schedule.allocation for name, schedule in schedules.items()},
        vested={name: vested_on(schedule, day) for name, schedule in schedules.items()},
        following=_following(schedules, day, token.cap.value),
        months=_months(schedules, file.start),
        notes=file.notes,
    )


def _following(schedules: dict[str, Schedule], day: date, cap: int) -> NextUnlock | None:
    later = {d for schedule in schedules.values() for d in unlock_dates(schedule) if d > day}
    if not later:
        return None
    first = min(later)
    risen = {
        name: vested_on(schedule, first) - vested_on(schedule, day) for name, schedule in schedules.items()
    }
    unlocked = unlocked_on(list(schedules.values()), day)
    locked = sum(schedule.allocation for schedule in schedules.values()) - unlocked
    amount = sum(risen.values())
    denominators = {"unlocked": unlocked, "locked": locked, "cap": cap, "tracker_circulating": unlocked}
    return NextUnlock(
        date=first,
        days_away=(first - day).days,
        amount=amount,
        by_bucket={name: rise for name, rise in risen.items() if rise},
        shares=shares_of(amount, denominators),
    )


def _months(schedules: dict[str, Schedule], start: date) -> tuple[Month, ...]:
    last = max((d for schedule in schedules.values() for d in unlock_dates(schedule)), default=start)
    before = dict.fromkeys(schedules, 0)
    months: list[Month] = []
    while not months or months[-1].date < last:
        end = add_months(start, len(months))
        now = {name: vested_on(schedule, end) for name, schedule in schedules.items()}
        risen = {name: now[name] - before[name] for name in schedules}
        months.append(Month(len(months), end, risen, sum(now.values())))
        before = now
    return tuple(months)


def as_json(answer: Unlocks, file: Path) -> dict[str, Any]:
    """Return the answer as one JSON object; amounts end in `_units` and are ledger units.

    Parameters
    ----------
    answer
        From `unlocks_of`.
    file
        The file that was read.
    """
    following = answer.following
    return {
        "schema": 1,
        "file": str(file),
        "name": answer.name,
        "symbol": answer.symbol,
        "ledger_decimals": answer.decimals,
        "start": answer.start.isoformat(),
        "at": answer.at.isoformat(),
        "cap_units": answer.cap,
        "locked_units": answer.locked,
        "unlocked_units": answer.unlocked,
        "tracker_circulating_units": answer.tracker_circulating,
        "unallocated_units": answer.unallocated,
        "needs_a_run": list(NEEDS_A_RUN),
        "buckets": [
            {"name": name, "allocated_units": allocated, "unlocked_units": answer.vested[name]}
            for name, allocated in answer.allocated.items()
        ],
        "next_unlock": None
        if following is None
        else {
            "date": following.date.isoformat(),
            "days_away": following.days_away,
            "amount_units": following.amount,
            "by_bucket_units": following.by_bucket,
            "share_of": following.shares,
        },
        "calendar": [
            {
                "month": month.month,
                "date": month.date.isoformat(),
                "by_bucket_units": month.by_bucket,
                "unlocks_units": sum(month.by_bucket.values()),
                "unlocked_units": month.unlocked,
            }
            for month in answer.months
        ],
        "notes": list(answer.notes),
    }


def as_csv(answer: Unlocks) -> str:
    """Return the calendar as CSV: one row per month, one column per bucket, amounts in ledger units."""
    names = list(answer.allocated)
    lines = [["month", "date", *(f"{name}_units" for name in names), "unlocks_units", "unlocked_units"]]
    for month in answer.months:
        amounts = [*month.by_bucket.values(), sum(month.by_bucket.values()), month.unlocked]
        lines.append([str(month.month), str(month.date), *(str(units) for units in amounts)])
    return "".join(",".join(line) + "\n" for line in lines)
