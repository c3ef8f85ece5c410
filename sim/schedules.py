"""Schedules: the scenario's buckets as vesting calendars.

Rule decided here: how the words of a bucket become a `models.vesting.Schedule`.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from models.errors import InputError, Problem
from models.vesting import Schedule

if TYPE_CHECKING:
    from sim.scenario.token import Bucket, TokenSection


def schedule_of(name: str, bucket: Bucket, start: date) -> Schedule:
    """Return a bucket's calendar.

    Parameters
    ----------
    name
        Name of the bucket, for messages.
    bucket
        The bucket as read.
    start
        The token's start, which is also the date of the TGE part.

    Raises
    ------
    InputError
        If its words do not release the whole allocation.
    """
    try:
        return Schedule.build(
            allocation=bucket.allocation,
            start=bucket.start or start,
            tge=bucket.tge_amount,
            tge_date=start,
            cliff=bucket.cliff.value if bucket.cliff is not None else None,
            catch_up=bucket.catch_up,
            linear=bucket.linear.value if bucket.linear is not None else None,
            linear_of=bucket.linear_of,
            every=bucket.every,
            steps=[(*step.months, step.part) for step in bucket.steps] or None,
            table=bucket.rows or None,
        )
    except ValueError as error:
        raise InputError([Problem(str(error), f"token.buckets.{name}", str(bucket.share.place))]) from None


def schedules_of(token: TokenSection, start: date) -> dict[str, Schedule]:
    """Return every bucket's calendar, in the order of the file.

    Raises
    ------
    InputError
        If a bucket's words do not release the whole allocation.
    """
    return {name: schedule_of(name, bucket, token.tge or start) for name, bucket in token.buckets.items()}
