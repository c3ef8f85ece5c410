"""The token: cap, buckets and their unlock rules.

Rule decided here: an allocation is its share of the cap exactly, in ledger units; shares sum to the cap unless the
file says that its source does not; a bucket unlocks by one of linear, steps or table, after its part at the start.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError, core_schema

from models.units import INT64_MAX, format_amount
from sim.scenario.fields import (
    AmountP,
    DateValue,
    Flag,
    MaybeAmount,
    MaybeDate,
    MaybeFile,
    MaybeMonths,
    Section,
    ShareP,
    Text,
    choice,
    whole,
)
from sim.scenario.leaves import Context, Mistake, leaf_schema, refuse
from sim.scenario.kinds import text_of
from sim.scenario.tables import read_table
from sim.scenario.tree import Map, Scalar

ROLES = ("community", "ecosystem", "liquidity", "investors", "team")
"""What a bucket is for; a run needs each of them once."""

MAX_MONTH = 1200
"""Longest calendar in months."""


class MonthRange:
    """Annotation of ``13..18``: the months of a step, both ends included."""

    def read(self, node: Any, context: Context) -> tuple[int, int]:
        """Return first and last month."""
        text = text_of(node, "a range of months such as 13..18")
        first, dots, last = text.partition("..")
        last = last if dots else first
        if not (first.strip().isdigit() and last.strip().isdigit()):
            raise ValueError(f"'{text}' is not a range of months; expected a form such as 13..18")
        bounds = int(first), int(last)
        if not 1 <= bounds[0] <= bounds[1] <= MAX_MONTH:
            raise ValueError(f"'{text}' must rise within 1 to {MAX_MONTH}")
        return bounds

    def write(self, value: tuple[int, int], context: Context) -> str:
        """Return ``first..last``."""
        return f"{value[0]}..{value[1]}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """A text."""
        return {"type": ["string", "integer"], "description": "months, such as 13..18"}


class PartValue:
    """Annotation of ``3/48`` or ``6.25 %``: an exact part of what is left after the start."""

    def read(self, node: Any, context: Context) -> Fraction:
        """Return the part as an exact rational."""
        text = text_of(node, "a part such as 3/48 or 6.25 %")
        try:
            percent = text.endswith("%")
            part = Fraction(text.removesuffix("%").strip().replace("_", "")) / (100 if percent else 1)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"'{text}' is not a part; expected a form such as 3/48 or 6.25 %") from None
        if not 0 <= part <= 1:
            raise ValueError(f"'{text}' is out of bounds; allowed 0 to 1")
        return part

    def write(self, value: Fraction, context: Context) -> str:
        """Return the exact rational."""
        return f"{value.numerator}/{value.denominator}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """A text."""
        return {"type": ["string", "number"], "description": "a part, such as 3/48 or 6.25 %"}


class Step(Section):
    """Months in which a part of the remainder unlocks in equal monthly instalments.

    Parameters
    ----------
    months
        First and last month after the bucket's start, both included.
    part
        Part of (allocation - part at the start) that unlocks over these months together.
    """

    months: Annotated[tuple[int, int], MonthRange()]
    part: Annotated[Fraction, PartValue()]


class Bucket(Section):
    """One allocation and its unlock rule.

    Parameters
    ----------
    share
        Share of the cap.
    tge
        Amount unlocked on the start day, inside the share.
    start
        First day of this bucket's calendar, or None for the token's.
    cliff
        Time before the first instalment.
    catch_up
        Whether instalments accrue during the cliff and are paid at its end.
    linear
        Length of the instalments; after the cliff, or including it where `catch_up` is set.
    linear_of
        ``remainder``: instalments divide allocation - tge. ``allocation``: each instalment is a part of the whole
        allocation, on top of tge, until the bucket is empty.
    every
        One instalment per calendar month, day or second.
    steps
        Piecewise monthly rates instead of `linear`.
    table
        CSV file of dates and amounts instead of `linear`.
    role
        What the bucket is for; its own name where that is a role.
    """

    share: ShareP
    tge: MaybeAmount = None
    start: MaybeDate = None
    cliff: MaybeMonths = None
    catch_up: Flag = False
    linear: MaybeMonths = None
    linear_of: Annotated[str, choice("remainder", "allocation")] = "remainder"
    every: Annotated[str, choice("month", "day", "second")] = "month"
    steps: tuple[Step, ...] = ()
    table: MaybeFile = None
    role: Annotated[str | None, choice(*ROLES)] = None
    _allocation: int = PrivateAttr(default=0)
    _rows: tuple[tuple[date, int], ...] = PrivateAttr(default=())

    @property
    def allocation(self) -> int:
        """The bucket's tokens in ledger units, ``share * cap`` exactly."""
        return self._allocation

    @property
    def tge_amount(self) -> int:
        """Ledger units unlocked on the start day."""
        return self.tge.value if self.tge is not None else 0

    @property
    def rows(self) -> tuple[tuple[date, int], ...]:
        """Dates and ledger units of `table`, in order of date; empty without a table."""
        return self._rows

    @model_validator(mode="after")
    def _one_rule(self) -> Bucket:
        mistakes = [*_rule_mistakes(self), *_step_mistakes(self), *_linear_mistakes(self)]
        if mistakes:
            raise refuse(mistakes)
        return self


def _rule_mistakes(bucket: Bucket) -> list[Mistake]:
    place = bucket.share.place
    given = [name for name in ("linear", "steps", "table") if getattr(bucket, name)]
    if len(given) > 1:
        return [Mistake(f"has {' and '.join(given)}; a bucket unlocks by one of them", place)]
    if bucket.cliff is not None and not given:
        return [
            Mistake("has a cliff but neither linear, steps nor table after it", bucket.cliff.place, "cliff")
        ]
    if bucket.cliff is not None and "linear" not in given:
        return [Mistake(f"goes with linear, not with {given[0]}", bucket.cliff.place, "cliff")]
    if bucket.catch_up and bucket.cliff is None:
        return [Mistake("catch_up needs a cliff to catch up from", place, "catch_up")]
    return []


def _linear_mistakes(bucket: Bucket) -> list[Mistake]:
    linear, cliff = bucket.linear, bucket.cliff
    if linear is None:
        return []
    mistakes = []
    if linear.value.months + linear.value.seconds <= 0:
        mistakes.append(Mistake("lasts no time; expected 1 month or more", linear.place, "linear"))
    if linear.value.months > MAX_MONTH:
        mistakes.append(Mistake(f"is over {MAX_MONTH} months", linear.place, "linear"))
    if bucket.every == "month" and linear.value.seconds:
        message = f"{linear.value} is not counted in months, but instalments come every month; set every: day"
        mistakes.append(Mistake(message, linear.place, "linear"))
    if cliff is not None and bucket.catch_up and _longer(cliff.value, linear.value):
        message = (
            f"{cliff.value} is longer than linear {linear.value}, which includes it where catch_up is set"
        )
        mistakes.append(Mistake(message, cliff.place, "cliff"))
    return mistakes


def _longer(cliff: Any, linear: Any) -> bool:
    """Compare durations; a month against days counts as 30 days."""
    days = [duration.months * 30 * 86_400 + duration.seconds for duration in (cliff, linear)]
    return bool(days[0] > days[1])


def _step_mistakes(bucket: Bucket) -> list[Mistake]:
    if not bucket.steps:
        return []
    mistakes = []
    place = bucket.share.place
    last = 0
    for index, step in enumerate(bucket.steps):
        if step.months[0] <= last:
            message = (
                f"month {step.months[0]} is already in the step before; ranges must rise and not overlap"
            )
            mistakes.append(Mistake(message, place, f"steps.{index}.months"))
        last = step.months[1]
    total = sum((step.part for step in bucket.steps), Fraction(0))
    if total != 1:
        mistakes.append(Mistake(f"parts sum to {total}, not to 1", place, "steps"))
    return mistakes


class TokenSection(Section):
    """Cap, units and buckets.

    Parameters
    ----------
    symbol
        The token's symbol.
    ledger_decimals
        Digits after the point that the ledger keeps; 9 makes its unit a gwei.
    cap
        All tokens there can ever be, in ledger units.
    tge
        Day on which the calendars start, or None for the scenario's start.
    sums_to_cap
        False for a published reading whose parts do not sum; the difference becomes a note.
    buckets
        The allocations by name.
    """

    symbol: Text = "OPEN"
    ledger_decimals: Annotated[int, whole(0, 18)] = 9
    cap: AmountP
    tge: MaybeDate = None
    sums_to_cap: Flag = True
    buckets: dict[str, Bucket] = Field(min_length=1)
    _notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about a reading that does not sum."""
        return self._notes

    def amount(self, units: int) -> str:
        """Write ledger units with the token's symbol."""
        return format_amount(units, self.symbol, self.ledger_decimals)

    @model_validator(mode="before")
    @classmethod
    def _roles(cls, data: Any) -> Any:
        """Give a bucket whose name is a role that role."""
        buckets = data.get("buckets") if isinstance(data, Map) else None
        for name, bucket in buckets.items() if isinstance(buckets, Map) else ():
            if name in ROLES and isinstance(bucket, Map) and "role" not in bucket:
                bucket.put("role", Scalar(name, "str", bucket.place, cls._no_base(bucket)), bucket.place)
        return data

    @staticmethod
    def _no_base(bucket: Map) -> Any:
        from pathlib import Path

        return Path(bucket.place.file).parent

    @model_validator(mode="after")
    def _allocate(self) -> TokenSection:
        mistakes: list[Mistake] = []
        for name, bucket in self.buckets.items():
            mistakes += self._allocate_one(name, bucket)
        total = sum(bucket.allocation for bucket in self.buckets.values())
        if not mistakes:
            mistakes += self._check_sum(total)
        if mistakes:
            raise refuse(mistakes)
        self._notes = (*self._notes, *self._gross_notes())
        return self

    def _allocate_one(self, name: str, bucket: Bucket) -> list[Mistake]:
        below = f"buckets.{name}"
        exact = bucket.share.value * self.cap.value
        if exact.denominator != 1:
            message = f"is not a whole number of 10^-{self.ledger_decimals} {self.symbol} of the cap"
            return [Mistake(message, bucket.share.place, f"{below}.share")]
        bucket._allocation = int(exact)
        if bucket.tge_amount > bucket.allocation:
            assert bucket.tge is not None
            over = self.amount(bucket.tge_amount - bucket.allocation)
            message = f"{self.amount(bucket.tge_amount)} is {over} more than the share {self.amount(bucket.allocation)}"
            return [Mistake(message, bucket.tge.place, f"{below}.tge")]
        if bucket.table is None:
            return self._leftover(below, bucket)
        rows, mistakes = read_table(bucket, self.symbol, self.ledger_decimals, below)
        bucket._rows = rows
        return mistakes

    def _leftover(self, below: str, bucket: Bucket) -> list[Mistake]:
        left = bucket.allocation - bucket.tge_amount
        if left and not (bucket.linear or bucket.steps):
            message = f"{self.amount(left)} never unlock: tge is less than the share and nothing follows it"
            return [Mistake(message, bucket.share.place, below)]
        return []

    def _check_sum(self, total: int) -> list[Mistake]:
        missing = self.cap.value - total
        if missing == 0:
            return []
        percent = float(Fraction(total * 100, self.cap.value)) if self.cap.value else 0.0
        word = "missing" if missing > 0 else "too many"
        message = f"allocations sum to {self.amount(total)} ({percent:.2f} % of the cap): {self.amount(abs(missing))} {word}"
        if not self.sums_to_cap:
            if missing < 0:
                return [
                    Mistake(f"{message}; no reading can allot more than the cap", self.cap.place, "buckets")
                ]
            self._notes = (message,)
            return []
        return [Mistake(message, self.cap.place, "buckets")]

    def _gross_notes(self) -> tuple[str, ...]:
        return tuple(
            f"bucket {name} issues its whole share in instalments on top of {self.amount(bucket.tge_amount)} at the "
            "start; it is stopped when it is empty, before the last instalment"
            for name, bucket in self.buckets.items()
            if bucket.linear_of == "allocation" and bucket.tge_amount
        )


def largest_decimals(whole_tokens: Fraction) -> int:
    """Return the most ledger decimals at which `whole_tokens` fit an int64.

    Examples
    --------
    >>> largest_decimals(Fraction(10**10))
    8
    """
    decimals = 18
    while decimals > 0 and whole_tokens * 10**decimals > INT64_MAX:
        decimals -= 1
    return decimals


__all__ = ["ROLES", "Bucket", "DateValue", "PydanticCustomError", "Step", "TokenSection", "largest_decimals"]
