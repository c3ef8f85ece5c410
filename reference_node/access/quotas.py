"""Quotas: how much of the node one key may use.

Rules decided here. Requests per minute fill a token bucket that holds one minute's worth, so a key may burst
that many and then goes at the steady rate. Tokens per day count against the UTC day on which the request was
admitted: what a request could use at most is set aside at admission and what it did not use is given back, so
a day's sum never passes the limit. Every refusal says when trying again can succeed; a request that could
never succeed (larger than a whole day's tokens) says so and has no such time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

from models.errors import InputError, Problem
from models.units import SECONDS_PER_DAY

BUSY_RETRY_S = 1.0
"""Advice where a key has too many requests in flight: nobody knows when one of them ends."""
_ROUNDING_S = 1e-3


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of a key; None is no limit.

    Parameters
    ----------
    requests_per_minute
        Admitted requests, at least 1.
    tokens_per_day
        Prompt and completion tokens per UTC day, at least 1.
    concurrent
        Requests in flight, at least 1.
    stored_bytes
        Adapter bytes of the key's tenant, 0 or more.
    """

    requests_per_minute: int | None = 600
    tokens_per_day: int | None = 10_000_000
    concurrent: int | None = 64
    stored_bytes: int | None = 1 << 30

    def __post_init__(self) -> None:
        problems = []
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "stored_bytes" else 1
            if value is not None and (type(value) is not int or value < least):
                message = f"{value!r} is not allowed; a whole number of {least} or more, or none"
                problems.append(Problem(message, f"quota.{field.name}"))
        if problems:
            raise InputError(problems)


class Limited(Protocol):
    """Whose use is counted: an `ApiKey`, or anything with an id and a quota."""

    @property
    def id(self) -> str:
        """Public id."""

    @property
    def quota(self) -> Quota:
        """Limits."""


class QuotaExceeded(RuntimeError):  # noqa: N818 - it is an answer to a caller, and says when to come back
    """A key asked for more than its quota.

    Parameters
    ----------
    message
        Which limit, its value, and what was asked.
    retry_after_s
        Seconds after which the same request can succeed, or None where it never can.
    limit
        Name of the limit, a field of `Quota`.
    """

    def __init__(self, message: str, retry_after_s: float | None, limit: str) -> None:
        super().__init__(message)
        self.message, self.retry_after_s, self.limit = message, retry_after_s, limit


@dataclass(slots=True)
class _Use:
    day: int
    tokens: int
    bucket: float
    filled_s: float
    running: int = 0


@dataclass(slots=True)
class Reservation:
    """What an admitted request holds until it is released.

    Parameters
    ----------
    key
        Whose request it is.
    day
        UTC day it counts against, days since 1970.
    tokens
        Tokens set aside.
    ended
        Whether it was released.
    """

    key: Limited
    day: int
    tokens: int
    ended: bool = False


class QuotaLedger:
    """What every key has used; safe to call from several threads.

    Parameters
    ----------
    clock
        Unix seconds.
    spent_today
        Tokens that a key id has already used on the current UTC day, asked once per key and day: a restart
        does not give a key a second day's worth.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, spent_today: Callable[[str], int] = lambda key_id: 0
    ) -> None:
        self._clock, self._spent_today = clock, spent_today
        self._lock = threading.Lock()
        self._uses: dict[str, _Use] = {}

    def admit(self, key: Limited, tokens: int) -> Reservation:
        """Set aside one request that uses at most `tokens`; end it with `release`.

        Parameters
        ----------
        key
            Whose request it is (`ApiKey`).
        tokens
            Prompt tokens plus the most tokens that may be generated.

        Raises
        ------
        QuotaExceeded
            If a limit would be passed; then nothing is set aside.
        """
        with self._lock:
            use, quota, now = self._use(key), key.quota, self._clock()
            _check_concurrent(use, quota)
            _check_tokens(use, quota, tokens, now)
            if quota.requests_per_minute is not None:
                self._take_request(use, quota.requests_per_minute, now)
            use.running += 1
            use.tokens += tokens
            return Reservation(key, use.day, tokens)

    def release(self, reservation: Reservation, used: int) -> None:
        """End an admitted request that used `used` tokens; a second call changes nothing."""
        with self._lock:
            if reservation.ended:
                return
            reservation.ended = True
            use = self._use(reservation.key)
            use.running -= 1
            if use.day == reservation.day:  # what yesterday's request gives back is yesterday's
                use.tokens += used - reservation.tokens

    def check_stored(self, key: Limited, stored: int, more: int) -> None:
        """Refuse an upload that would pass the tenant's bytes.

        Parameters
        ----------
        key
            Whose upload it is.
        stored, more
            Bytes that the tenant has, and that the upload adds.

        Raises
        ------
        QuotaExceeded
            Without a time to retry: only deleting helps.
        """
        limit = key.quota.stored_bytes
        if limit is not None and stored + more > limit:
            message = (
                f"{more} bytes more than the {stored} stored pass the quota of {limit}; delete adapters first"
            )
            raise QuotaExceeded(message, None, "stored_bytes")

    def tokens_today(self, key: Limited) -> int:
        """Return the tokens of the current UTC day, those set aside for requests in flight included."""
        with self._lock:
            return self._use(key).tokens

    def _use(self, key: Limited) -> _Use:
        now = self._clock()
        day = int(now // SECONDS_PER_DAY)
        use = self._uses.get(key.id)
        if use is None:
            full = float(key.quota.requests_per_minute or 0)
            use = self._uses[key.id] = _Use(day, self._spent_today(key.id), full, now)
        elif use.day < day:  # a clock that steps back does not bring yesterday's tokens again
            use.day, use.tokens = day, 0
        return use

    @staticmethod
    def _take_request(use: _Use, per_minute: int, now: float) -> None:
        gained = max(0.0, now - use.filled_s) * per_minute / 60.0
        use.bucket, use.filled_s = min(float(per_minute), use.bucket + gained), now
        if use.bucket < 1.0:
            wait = (1.0 - use.bucket) * 60.0 / per_minute + _ROUNDING_S
            raise QuotaExceeded(
                f"the quota of {per_minute} requests per minute is used up", wait, "requests_per_minute"
            )
        use.bucket -= 1.0


def _check_concurrent(use: _Use, quota: Quota) -> None:
    if quota.concurrent is not None and use.running >= quota.concurrent:
        message = f"{use.running} requests are in flight, the most that this key may have"
        raise QuotaExceeded(message, BUSY_RETRY_S, "concurrent")


def _check_tokens(use: _Use, quota: Quota, tokens: int, now: float) -> None:
    limit = quota.tokens_per_day
    if limit is None or use.tokens + tokens <= limit:
        return
    if tokens > limit:
        message = f"the request may use {tokens} tokens, more than the quota of {limit} a day"
        raise QuotaExceeded(message, None, "tokens_per_day")
    message = (
        f"the request may use {tokens} tokens; {max(0, limit - use.tokens)} of the day's {limit} are left"
    )
    raise QuotaExceeded(message, SECONDS_PER_DAY - now % SECONDS_PER_DAY, "tokens_per_day")
